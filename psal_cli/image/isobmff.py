"""Metadata in the boxes of an AVIF or HEIC file: colours, the EXIF block, whether there is a gain map."""

from collections.abc import Iterator
from typing import IO, NamedTuple

MOST = 1 << 22  # bytes of the meta box that are read
MOST_BOXES = 4096
UNSPECIFIED = 2  # of primaries and transfer functions
LONGEST = 1 << 24  # bytes of EXIF


class About(NamedTuple):
    """nclx: primaries, transfer function and matrix of the first picture, None if unspecified; exif: the block, from its byte
    order on; gain_map: whether the file has one."""

    nclx: tuple[int, int, int] | None
    exif: bytes | None
    gain_map: bool


def read_about(file: IO[bytes]) -> About:
    """Reads the boxes of a file. Raises ValueError, IndexError or OverflowError if they are damaged."""
    file.seek(0)
    brands = meta = b""
    for kind, at, length in _top(file):
        if kind == b"ftyp":
            file.seek(at)
            brands = file.read(min(length, 4096))
        elif kind == b"meta":
            file.seek(at)
            meta = file.read(min(length, MOST))[4:]
            break
    boxes = dict(_boxes(meta))
    pitm = boxes.get(b"pitm", bytes(6))
    primary = int.from_bytes(pitm[4 : 6 if pitm[0] == 0 else 8])
    kinds = _items(boxes.get(b"iinf", b""))
    gain_map = b"tmap" in kinds.values() or b"hdrgainmap" in meta or b"tmap" in brands
    exif = next((item for item, kind in kinds.items() if kind == b"Exif"), None)
    block = _item(file, boxes.get(b"iloc", b""), exif, boxes.get(b"idat", b"")) if exif is not None else None
    return About(_nclx(boxes.get(b"iprp", b""), primary), _without_offset(block), gain_map)


def _without_offset(block: bytes | None) -> bytes | None:
    """The EXIF block without the leading offset of its byte order."""
    if not block or len(block) < 8:
        return None
    return block[4 + int.from_bytes(block[:4]) :] or None


def _top(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Yields (kind, start of the content, length) of the top-level boxes."""
    end, at = file.seek(0, 2), 0
    for _ in range(MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind, body = int.from_bytes(head[:4]), head[4:8], 8
        if length == 1:
            length, body = int.from_bytes(head[8:16]), 16
        length = length or end - at
        if length < body:
            return
        yield kind, at + body, length - body
        at += length


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields (kind, content) of the boxes inside a box's content."""
    at = 0
    for _ in range(MOST_BOXES):
        length = int.from_bytes(data[at : at + 4])
        if at + 8 > len(data) or length < 8:
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + length]
        at += length


def _items(iinf: bytes) -> dict[int, bytes]:
    """The kind of each item."""
    types = {}
    for kind, data in _boxes(iinf[6 if iinf[:1] == b"\0" else 8 :]):
        if kind == b"infe" and data[0] >= 2:
            wide = 2 if data[0] == 2 else 4
            types[int.from_bytes(data[4 : 4 + wide])] = data[6 + wide : 10 + wide]
    return types


def _nclx(iprp: bytes, primary: int) -> tuple[int, int, int] | None:
    """The nclx colours among the properties of the primary item, or the first ones in the file if none is associated."""
    boxes = dict(_boxes(iprp))
    properties = list(_boxes(boxes.get(b"ipco", b"")))
    mine = _associated(boxes.get(b"ipma", b""), primary)
    for number, (kind, data) in enumerate(properties, 1):
        if kind == b"colr" and data[:4] == b"nclx" and (number in mine or not mine):
            primaries, transfer, matrix = (int.from_bytes(data[at : at + 2]) for at in (4, 6, 8))
            return primaries, transfer, matrix
    return None


def _associated(ipma: bytes, item: int) -> set[int]:
    """The indices of the properties of an item."""
    if len(ipma) < 8:
        return set()
    wide, large = 2 if ipma[0] == 0 else 4, ipma[3] & 1
    at, properties = 8, set()
    for _ in range(min(int.from_bytes(ipma[4:8]), len(ipma))):
        number, count = int.from_bytes(ipma[at : at + wide]), int.from_bytes(ipma[at + wide : at + wide + 1])
        at += wide + 1
        for place in range(at, at + count * (1 + large), 1 + large):
            if number == item:
                properties.add(int.from_bytes(ipma[place : place + 1 + large]) & (0x7FFF if large else 0x7F))
        at += count * (1 + large)
    return properties


def _item(file: IO[bytes], iloc: bytes, item: int, idat: bytes) -> bytes | None:
    """The content of an item, None if its location is of an unsupported kind."""
    if len(iloc) < 8:
        return None
    version, sizes, more = iloc[0], iloc[4], iloc[5]
    wide = 4 if version == 2 else 2
    offset_size, length_size, base_size, index_size = sizes >> 4, sizes & 15, more >> 4, (more & 15) * (version > 0)
    at = 6
    count, at = int.from_bytes(iloc[at : at + wide]), at + wide
    for _ in range(min(count, len(iloc))):
        number, at = int.from_bytes(iloc[at : at + wide]), at + wide
        method, at = (iloc[at + 1] & 15, at + 2) if version > 0 else (0, at)
        at += 2
        base, at = int.from_bytes(iloc[at : at + base_size]), at + base_size
        extents, at = int.from_bytes(iloc[at : at + 2]), at + 2
        step = index_size + offset_size + length_size
        if number != item:
            at += extents * step
            continue
        out = b""
        for place in range(at + index_size, at + min(extents, 64) * step, max(step, 1)):
            start = base + int.from_bytes(iloc[place : place + offset_size])
            length = int.from_bytes(iloc[place + offset_size : place + offset_size + length_size])
            if length + len(out) > LONGEST:
                return None
            if method == 1:
                out += idat[start : start + length]
            elif method == 0:
                file.seek(start)
                out += file.read(length)
        return out
    return None


def with_colours(data: bytes, cicp: bytes) -> bytes:
    """Changes the primaries and transfer function that an AVIF file declares, without changing its pixels.

    cicp: primaries, transfer function first. Raises ValueError if the file declares no colours.
    """
    at = data.index(b"colrnclx") + 8
    return data[:at] + bytes([0, cicp[0], 0, cicp[1]]) + data[at + 4 :]
