"""Rewrites EXIF blocks for pixels that were turned upright and edited.

They are changed in place, not parsed and rebuilt, because makers' notes contain offsets that must stay valid.
"""

import re
import struct
from collections.abc import Callable, Iterator

ORIENTATION, EXIF_IFD, GPS_IFD = 0x0112, 0x8769, 0x8825
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
SHORT, RATIONAL = 3, 5
BYTES = {1, 2, 6, 7}  # the types whose values are text or bytes
HEAD = 8  # bytes: the byte order and the offset of the first directory
ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
INCHES = {2: 1, 3: 1 / 2.54}  # in a unit of resolution
SIZES = {1: 1, 2: 1, SHORT: 2, 4: 4, RATIONAL: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes, by type
THUMBNAIL_AT, THUMBNAIL_LENGTH = 0x0201, 0x0202
WIDTH_TAGS, HEIGHT_TAGS = (0x0100, 0xA002), (0x0101, 0xA003)
# The tags of a TIFF's first directory that describe the picture; the others describe the storage of its pixels.
DESCRIPTIVE = {
    *(269, 270, 271, 272, 282, 283, 285, 296, 297, 301, 305, 306, 315, 316, 318, 319),
    *(18246, 18249, 33432, 33434, 33437, *range(36864, 37530), *range(40091, 40096), 50341),
    # Tags that belong in the EXIF directory but that some programs write into the first.
    *(34850, 34852, 34855, 34856, 34858, 34859, *range(34864, 34870), *range(41483, 41996), *range(42016, 42038), 42240),
}


def orientation_in(block: bytes) -> int | None:
    """The orientation in an EXIF block, None if it has none. Raises ValueError or struct.error if it is not EXIF."""
    data = _Block(block)
    return next((data.number(kind, where) for tag, kind, where in data.directory(data.number(4, 4)) if tag == ORIENTATION), None)


def first_tags(block: bytes) -> list[int]:
    """The tags of the first directory; empty for a damaged block."""
    try:
        data = _Block(block)
        return [tag for tag, _, _ in data.directory(data.number(4, 4))]
    except (ValueError, struct.error):
        return []


def resolution_in(block: bytes) -> tuple[float, float] | None:
    """The resolution in a valid EXIF block, horizontal and vertical dots per inch; None if it has none."""
    data = _Block(block)
    entries = {tag: (kind, where) for tag, kind, where in data.directory(data.number(4, 4))}
    across, down = entries.get(X_RESOLUTION, (0, 0)), entries.get(Y_RESOLUTION, (0, 0))
    inches = INCHES.get(data.number(*entries[RESOLUTION_UNIT]) if RESOLUTION_UNIT in entries else 2)
    if across[0] != RATIONAL or down[0] != RATIONAL or inches is None:
        return None
    return data.fraction(across[1]) / inches, data.fraction(down[1]) / inches


def resolution_block(dpi: tuple[float, float]) -> bytes:
    """An EXIF block with a horizontal and vertical resolution in dots per inch, and nothing else."""
    entries = ((X_RESOLUTION, RATIONAL, 1, 50), (Y_RESOLUTION, RATIONAL, 1, 58), (RESOLUTION_UNIT, SHORT, 1, 2))
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    values = struct.pack("<IIII", round(dpi[0] * 1000), 1000, round(dpi[1] * 1000), 1000)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + values


def upright_exif(block: bytes, size: tuple[int, int]) -> bytes:
    """The EXIF block with orientation 1, the picture's size (width, height) and no thumbnail; everything else is unchanged.

    Previews in makers' notes are overwritten with zeros. Raises ValueError or struct.error if the block is not EXIF.
    """
    data = _Block(block)
    first = data.number(4, 4)
    below = [data.number(kind, where) for tag, kind, where in data.directory(first) if tag == EXIF_IFD][:1]
    if first in below:
        raise ValueError("a directory that contains itself")
    for at in (first, *below):
        for tag, kind, where in data.directory(at):
            if tag == ORIENTATION:  # whatever its type
                struct.pack_into(data.order + "HIHH", data.data, where - 6, SHORT, 1, 1, 0)
            elif tag in WIDTH_TAGS or tag in HEIGHT_TAGS:
                data.put(kind, where, size[tag in HEIGHT_TAGS])
    after = data.end(first)
    if after + 4 <= len(data.data) and data.number(4, after):
        data.clear_thumbnail({tag: data.number(kind, where) for tag, kind, where in data.directory(data.number(4, after))})
        data.put(4, after, 0)
    data.clear_previews()
    return b"Exif\0\0" + bytes(data.data)


def without_orientation(block: bytes) -> bytes:
    """The EXIF block, from its byte order on, without the orientation tag, which means upright.

    For writers that rebuild the block if it contains that tag.
    """
    data = _Block(block)
    data.drop(data.number(4, 4), lambda tag, where: tag == ORIENTATION)
    return bytes(data.data)


def without_lost_values(block: bytes) -> bytes:
    """The EXIF block without entries whose values or directories would lie beyond its end, and without resolutions that are no
    numbers, for which Pillow refuses a whole JPEG file.

    Raises ValueError or struct.error if the rest is not EXIF.
    """
    data = _Block(block)
    head, first = data.data[:HEAD], data.number(4, 4)
    data.drop(first, data.is_lost)
    below = {tag: data.number(kind, where) for tag, kind, where in reversed(list(data.directory(first)))}
    for tag in (EXIF_IFD, GPS_IFD):
        if tag in below:
            data.drop(below[tag], data.is_lost)
    if data.data[:HEAD] != head or data.end(first) > len(data.data):  # a TIFF file could not begin with it
        raise ValueError("its directories lie over each other")
    return b"Exif\0\0" + bytes(data.data)


class _Block:
    """The bytes of an EXIF block, from the byte order on, read and edited in place."""

    def __init__(self, block: bytes):
        self.data = bytearray(re.sub(rb"^(Exif\0\0)+", b"", block))
        start = bytes(self.data[:4])
        if start not in ORDERS:
            raise ValueError("it does not begin as TIFF does")
        self.order = ORDERS[start]

    def end(self, at: int) -> int:
        """Position of the offset of the next directory."""
        return at + 2 + 12 * int(struct.unpack_from(self.order + "H", self.data, at)[0])

    def directory(self, at: int) -> Iterator[tuple[int, int, int]]:
        """Yields (tag, type, position of its value)."""
        for entry in range(at + 2, self.end(at), 12):
            tag, kind = struct.unpack_from(self.order + "HH", self.data, entry)
            yield tag, kind, entry + 8

    def drop(self, at: int, unwanted: Callable[[int, int], bool]) -> None:
        """Removes the entries of a directory for which unwanted(tag, position of its value) is true; the others move up."""
        kept = [self.data[where - 8 : where + 4] for tag, _, where in self.directory(at) if not unwanted(tag, where)]
        after = self.end(at) + 4  # including the offset of the next directory
        body = struct.pack(self.order + "H", len(kept)) + b"".join(kept) + self.data[after - 4 : after]
        self.data[at:after] = body.ljust(min(after, len(self.data)) - at, b"\0")

    def is_lost(self, tag: int, where: int) -> bool:
        kind, count, offset = struct.unpack_from(self.order + "HII", self.data, where - 6)
        if tag in (EXIF_IFD, GPS_IFD):
            offset = self.number(kind, where)
            return offset + 2 > len(self.data) or self.end(offset) > len(self.data)
        if tag in (X_RESOLUTION, Y_RESOLUTION) and (kind in BYTES or not count):
            return True
        size = SIZES.get(kind, 0) * count
        return bool(size > 4 and offset + size > len(self.data))

    def number(self, kind: int, at: int) -> int:
        return int(struct.unpack_from(self.order + ("H" if kind == 3 else "I"), self.data, at)[0])

    def fraction(self, at: int) -> float:
        """The rational number whose offset is at `at`; 0 if it is undefined."""
        above, below = struct.unpack_from(self.order + "II", self.data, self.number(4, at))
        return float(above / below) if below else 0.0

    def put(self, kind: int, at: int, value: int) -> None:
        if kind == 4 or (kind == 3 and value <= 0xFFFF):
            struct.pack_into(self.order + ("H" if kind == 3 else "I"), self.data, at, value)

    def clear_thumbnail(self, entries: dict[int, int]) -> None:
        start = entries.get(THUMBNAIL_AT, 0)
        end = start + entries.get(THUMBNAIL_LENGTH, 0)
        if 8 <= start < end <= len(self.data):
            self.data[start:end] = b"" if end == len(self.data) else bytes(end - start)

    def clear_previews(self) -> None:
        """Overwrites the JPEG pictures inside makers' notes with zeros."""
        at, seen = 0, set[int]()
        while (start := self.data.find(b"\xff\xd8\xff", at)) >= 0:
            at = self._end_of_jpeg(start, seen)
            self.data[start:at] = bytes(at - start)
            at = max(at, start + 1)

    def _end_of_jpeg(self, start: int, seen: set[int]) -> int:
        """The end of the JPEG picture that may begin at `start`; `start` if none does.

        seen: starts of segments that led to no picture, so that no segment is walked twice.
        """
        at = start + 2
        while at not in seen and self.data[at : at + 1] == b"\xff" and self.data[at + 1 : at + 2] >= b"\xc0":
            seen.add(at)
            scan, length = self.data[at + 1] == 0xDA, int.from_bytes(self.data[at + 2 : at + 4])
            at += 2 + max(length, 2)
            if scan:
                end = self.data.find(b"\xff\xd9", at)
                return end + 2 if end >= 0 else len(self.data)
        return start
