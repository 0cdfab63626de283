"""Extracts the EXIF block of a TIFF file: directories are copied value by value, makers' notes keep their offset.

Makers' notes contain offsets, often relative to the start of the file, which break if a rebuilt block moves the note. So the
bytes before the pixels are taken unchanged if they hold nothing but EXIF; otherwise the note keeps its offset in a new block; and
if that would make the block too long, the offsets inside the note are adjusted.
"""

import struct
from typing import IO, NamedTuple

from psal_cli.image.exif import DESCRIPTIVE, EXIF_IFD, GPS_IFD, SIZES

INTEROP_IFD, MAKER_NOTE = 0xA005, 0x927C
STRIPS, STRIP_LENGTHS, TILES, SUB_DIRECTORIES = 273, 279, 324, 330
FURTHEST = 48 << 10  # notes beyond this offset are moved: a JPEG file holds blocks of 64 kB
MOST_ENTRIES = 4096  # of a directory
LONGEST = 1 << 20  # bytes of a value
MOST = 1 << 24  # bytes of all values
NOTE_STARTS = (0, 4, 6, 8, 10, 12, 14, 18, 22, 26)  # offset of the directory in a maker's note, after its name
MOST_NOTE_ENTRIES = 1024
MOST_NOTE_DIRECTORIES = 32
LONG, UNDEFINED, IFD = 4, 7, 13


class Entry(NamedTuple):
    """An entry of a directory. offset: of its value in the file, 0 if the value is in the entry itself."""

    tag: int
    kind: int
    numbers: int
    value: bytes
    offset: int


class _Reader:
    """The directories of a TIFF or BigTIFF file."""

    def __init__(self, file: IO[bytes]):
        self.file = file
        head = self.bytes_at(0, 16)
        self.order = {b"II": "<", b"MM": ">"}[head[:2]]
        self.big = struct.unpack_from(self.order + "H", head, 2)[0] == 43
        self.first: int = struct.unpack_from(self.order + ("Q" if self.big else "I"), head, 8 if self.big else 4)[0]
        self.length = file.seek(0, 2)
        self.left = MOST

    def bytes_at(self, offset: int, count: int) -> bytes:
        self.file.seek(offset)
        return self.file.read(count)

    def directory(self, at: int) -> list[Entry]:
        """The entries whose values lie inside the file; values that are too long are left empty."""
        count_format, entry_format, inline = ("Q", "HHQ", 8) if self.big else ("H", "HHI", 4)
        start = at + struct.calcsize(self.order + count_format)
        (count,) = struct.unpack(self.order + count_format, self.bytes_at(at, start - at))
        if count > MOST_ENTRIES:
            raise ValueError(f"a directory of {count} entries")
        head = struct.calcsize(self.order + entry_format)
        body, entries = self.bytes_at(start, count * (head + inline)), []
        for place in range(0, len(body) - head - inline + 1, head + inline):
            tag, kind, number = struct.unpack_from(self.order + entry_format, body, place)
            field = body[place + head : place + head + inline]
            size = SIZES.get(kind, 0) * number
            if not size:
                continue
            if size <= inline:
                entries.append(Entry(tag, kind, number, field[:size], 0))
                continue
            (offset,) = struct.unpack(self.order + ("Q" if self.big else "I"), field)
            if offset + size <= self.length:
                value = self.bytes_at(offset, size) if size <= min(LONGEST, self.left) else b""
                self.left -= len(value)
                entries.append(Entry(tag, kind, number, value, offset))
        return entries

    def number(self, entry: Entry) -> int:
        """The first number of a SHORT or LONG entry."""
        letter = "H" if entry.kind == 3 else "I"
        return int(struct.unpack_from(self.order + letter, entry.value)[0])


def tiff_exif(file: IO[bytes]) -> bytes | None:
    """The EXIF block of a TIFF file, from its byte order on, with the tags that describe the picture; None if there are none.

    Raises ValueError, KeyError or struct.error if the file's directories are damaged.
    """
    reader = _Reader(file)
    everything = reader.directory(reader.first)
    first = [entry for entry in everything if entry.tag in DESCRIPTIVE and entry.value]
    below: dict[int, list[Entry]] = {}
    places: dict[int, int] = {}
    for entry in everything:
        if entry.tag in (EXIF_IFD, GPS_IFD) and entry.tag not in below:
            _read_below(reader, entry, below, places)
    exif = below.get(EXIF_IFD, [])
    if interop := next((entry for entry in exif if entry.tag == INTEROP_IFD), None):
        _read_below(reader, interop, below, places)
    if not (first or below):
        return None
    return _front(reader, everything, first, below, places) or _composed(reader.order, first, below)


def _read_below(reader: _Reader, pointer: Entry, below: dict[int, list[Entry]], places: dict[int, int]) -> None:
    """Reads the directory that an entry points to; only a damaged one is dropped."""
    at = reader.number(pointer)
    try:
        below[pointer.tag], places[pointer.tag] = reader.directory(at), at
    except (ValueError, struct.error):
        return


def _front(
    reader: _Reader, everything: list[Entry], first: list[Entry], below: dict[int, list[Entry]], places: dict[int, int]
) -> bytes | None:
    """The bytes before the pixels with a new first directory after them, if they hold EXIF and nothing else."""
    if reader.big or not below:
        return None
    ends = [entry.offset + len(entry.value) for entries in below.values() for entry in entries if entry.offset]
    ends += [at + 6 + 12 * len(below[tag]) for tag, at in places.items()]
    others = [entry.offset for entry in everything if entry.offset and entry not in first]
    others += [reader.number(entry) for entry in everything if entry.tag in (STRIPS, TILES, SUB_DIRECTORIES) and entry.value]
    front = min([reader.first, *others])
    if max(ends) > min(front, FURTHEST):
        return None
    ends += [end for entry in first if entry.offset and (end := entry.offset + len(entry.value)) <= front]
    block = bytearray(reader.bytes_at(0, front).rstrip(b"\0").ljust(max(ends), b"\0"))
    directory = {}
    for entry in first:
        offset = entry.offset
        if offset + len(entry.value) > front:  # the resolution, which psal writes after the pixels
            block += bytes(len(block) % 2)
            offset = len(block)
            block += entry.value
        directory[entry.tag] = _packed(reader.order, entry, offset)
    for tag in (EXIF_IFD, GPS_IFD):
        if tag in places:
            directory[tag] = struct.pack(reader.order + "HHII", tag, LONG, 1, places[tag])
    block += bytes(len(block) % 2)
    struct.pack_into(reader.order + "I", block, 4, len(block))
    block += struct.pack(reader.order + "H", len(directory)) + b"".join(entry for _, entry in sorted(directory.items()))
    return bytes(block) + bytes(4)


def _packed(order: str, entry: Entry, offset: int) -> bytes:
    field = struct.pack(order + "I", offset) if len(entry.value) > 4 else entry.value.ljust(4, b"\0")
    return struct.pack(order + "HHI", entry.tag, entry.kind, entry.numbers) + field


def _composed(order: str, first: list[Entry], below: dict[int, list[Entry]]) -> bytes:
    """A new block with the directories, and the maker's note at its old offset unless that is too far."""
    note = next((entry for entry in below.get(EXIF_IFD, []) if entry.tag == MAKER_NOTE and entry.offset), None)
    rest = 8 + sum(_room(entries, note) for entries in (first, *below.values()))
    block = bytearray({"<": b"II*\0", ">": b"MM\0*"}[order] + bytes(4))
    note_at, behind = 0, False
    if note and note.offset <= FURTHEST:
        note_at, behind = note.offset, note.offset >= rest
        if not behind:
            block += bytes(note_at - len(block)) + note.value
    elif note:
        note_at, behind = rest + rest % 2, True
        note = note._replace(value=moved_note(note.value, order, note.offset, note_at))
    places: dict[int, int] = {}
    for tag in (INTEROP_IFD, GPS_IFD, EXIF_IFD):
        if tag in below:
            places[tag] = _placed(block, order, below[tag], places, note_at)
    for tag in (EXIF_IFD, GPS_IFD):
        if tag in places:
            first = [*first, Entry(tag, LONG, 1, bytes(4), 0)]
    struct.pack_into(order + "I", block, 4, _placed(block, order, first, places, 0))
    if note and behind:
        block += bytes(note_at - len(block)) + note.value
    return bytes(block)


def _room(entries: list[Entry], note: Entry | None) -> int:
    """Upper bound of the bytes of a directory with its values and two more pointers, without the note."""
    values = sum(len(entry.value) + 1 for entry in entries if entry is not note)
    return 32 + 12 * len(entries) + values


def _placed(block: bytearray, order: str, entries: list[Entry], places: dict[int, int], note_at: int) -> int:
    """Appends a directory and its values, and returns its offset. places: offsets of the directories that it points to."""
    block += bytes(len(block) % 2)
    at = len(block)
    kept = {entry.tag: entry for entry in entries if entry.value and SIZES.get(entry.kind)}
    behind, values = at + 2 + 12 * len(kept) + 4, bytearray()
    block += struct.pack(order + "H", len(kept))
    for tag, entry in sorted(kept.items()):
        if tag in places:
            block += struct.pack(order + "HHII", tag, LONG, 1, places[tag])
        elif tag == MAKER_NOTE and note_at and entry.offset:
            block += _packed(order, entry, note_at)
        else:
            block += _packed(order, entry, behind + len(values))
            if len(entry.value) > 4:
                values += entry.value + bytes(len(entry.value) % 2)
    block += bytes(4) + values
    return at


def moved_note(note: bytes, order: str, old: int, new: int) -> bytes:
    """A maker's note moved to another offset: its offsets from the start of the file are adjusted.

    Unchanged if its offsets are relative to the note, or do not fit it.
    """
    data = bytearray(note)
    if len(note) > 8 and note[-8:-4] in (b"II*\0", b"MM\0*"):  # Canon's record of the note's original offset
        footer = "<" if note[-8:-4] == b"II*\0" else ">"
        if struct.unpack_from(footer + "I", note, len(note) - 4) == (old,):
            struct.pack_into(footer + "I", data, len(note) - 4, new)
    for start in NOTE_STARTS:
        for byte_order in (order, "<" if order == ">" else ">"):
            if _fits(note, start, byte_order, old):
                _move(data, start, byte_order, old, new - old, set())
                return bytes(data)
    return bytes(data)


def _fits(note: bytes | bytearray, start: int, order: str, old: int) -> bool:
    """Whether there is a directory at `start` whose offsets, from the start of the file, lie inside the note."""
    if start + 2 > len(note):
        return False
    (count,) = struct.unpack_from(order + "H", note, start)
    if not 0 < count <= MOST_NOTE_ENTRIES or start + 2 + 12 * count > len(note):
        return False
    inside = outside = 0
    for place in range(start + 2, start + 2 + 12 * count, 12):
        _, kind, number, offset = struct.unpack_from(order + "HHII", note, place)
        if kind not in SIZES:
            return False
        size = SIZES[kind] * number
        if size > 4:
            fits = old <= offset and offset + size <= old + len(note)
            inside, outside = inside + fits, outside + (not fits)
    return inside > 4 * outside


def _move(data: bytearray, start: int, order: str, old: int, by: int, seen: set[int]) -> None:
    """Adjusts the offsets of a fitting directory and its subdirectories. seen: offsets already visited."""
    seen.add(start)
    (count,) = struct.unpack_from(order + "H", data, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        _, kind, number, offset = struct.unpack_from(order + "HHII", data, place)
        size = SIZES[kind] * number
        if not (old <= offset and offset + (size if size > 4 else 0) <= old + len(data)):
            continue
        below, is_directory = offset - old, False
        if (kind == IFD or (kind == LONG and number == 1) or (kind == UNDEFINED and size > 4)) and below not in seen:
            is_directory = len(seen) < MOST_NOTE_DIRECTORIES and _fits(data, below, order, old)
            seen.add(below)
        if size > 4 or is_directory:
            struct.pack_into(order + "I", data, place + 8, offset + by)
        if is_directory:
            _move(data, below, order, old, by, seen)
