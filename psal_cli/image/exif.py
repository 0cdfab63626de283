"""EXIF blocks, rewritten for pixels that were turned upright and edited.

Rewritten in place, not parsed and composed again: camera makers' notes hold offsets that must stay true.
"""

import re
import struct
from collections.abc import Callable, Iterator

from PIL import Image

ORIENTATION, EXIF_IFD, GPS_IFD = 0x0112, 0x8769, 0x8825
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
SHORT, RATIONAL = 3, 5
INCHES = {2: 1, 3: 1 / 2.54}  # in a unit of resolution
SIZES = {1: 1, 2: 1, SHORT: 2, 4: 4, RATIONAL: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes of a number, by its type
THUMBNAIL_AT, THUMBNAIL_LENGTH = 0x0201, 0x0202
WIDTH_TAGS, HEIGHT_TAGS = (0x0100, 0xA002), (0x0101, 0xA003)
# The tags of a TIFF's first directory that describe the picture; the others say how its pixels are stored.
DESCRIPTIVE = {269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)}


def exif_block(image: Image.Image) -> bytes | None:
    """The EXIF block of a Pillow image, starting with b"Exif\\0\\0" or the byte order; of a TIFF, what describes it."""
    if image.format == "TIFF":
        described = _described(image.getexif())
        return described.tobytes() if len(described) else None
    block = image.info.get("exif")
    if block or not len(image.getexif()):
        return block
    return image.getexif().tobytes()  # a PNG's text form, or an orientation that only its XMP gives


def _described(exif: Image.Exif) -> Image.Exif:
    """A copy with what describes the picture, without what a TIFF writer lays out itself."""
    kept = Image.Exif()
    for tag in exif:
        if tag in DESCRIPTIVE:
            kept[tag] = exif[tag]
    for tag in (EXIF_IFD, GPS_IFD):
        if directory := exif.get_ifd(tag):
            kept[tag] = dict(directory)
    return kept


def orientation_in(block: bytes) -> int | None:
    """The orientation that an EXIF block tells, None where it tells none. Raises ValueError or struct.error: it is no EXIF."""
    block = _Block(block)
    return next(
        (block.number(kind, where) for tag, kind, where in block.directory(block.number(4, 4)) if tag == ORIENTATION), None
    )


def resolution_in(block: bytes) -> tuple[float, float] | None:
    """Dots an inch across and down that a sound EXIF block tells, None where it tells none."""
    block = _Block(block)
    found = {tag: (kind, where) for tag, kind, where in block.directory(block.number(4, 4))}
    across, down = found.get(X_RESOLUTION, (0, 0)), found.get(Y_RESOLUTION, (0, 0))
    inches = INCHES.get(block.number(*found[RESOLUTION_UNIT]) if RESOLUTION_UNIT in found else 2)
    if across[0] != RATIONAL or down[0] != RATIONAL or inches is None:
        return None
    return block.fraction(across[1]) / inches, block.fraction(down[1]) / inches


def resolution_block(dpi: tuple[float, float]) -> bytes:
    """An EXIF block that tells dots an inch across and down, and nothing else."""
    entries = ((X_RESOLUTION, RATIONAL, 1, 50), (Y_RESOLUTION, RATIONAL, 1, 58), (RESOLUTION_UNIT, SHORT, 1, 2))
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    values = struct.pack("<IIII", round(dpi[0] * 1000), 1000, round(dpi[1] * 1000), 1000)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + values


def upright_exif(block: bytes, size: tuple[int, int]) -> bytes:
    """The EXIF block with orientation 1, the picture's size (width, height) and no thumbnail; all else byte for byte.

    Pictures in makers' notes are overwritten with zeros. Raises ValueError or struct.error when the block is no EXIF.
    """
    block = _Block(block)
    todo, seen = [block.number(4, 4)], set()
    while todo:
        at = todo.pop()
        if at in seen:
            raise ValueError("a directory that contains itself")
        seen.add(at)
        for tag, kind, where in block.directory(at):
            if tag == ORIENTATION:  # whatever its type was
                struct.pack_into(block.order + "HIHH", block.data, where - 6, SHORT, 1, 1, 0)
            elif tag in WIDTH_TAGS or tag in HEIGHT_TAGS:
                block.put(kind, where, size[tag in HEIGHT_TAGS])
            elif tag == EXIF_IFD:
                todo.append(block.number(kind, where))
        after = block.end(at)
        if len(seen) == 1 and after + 4 <= len(block.data) and block.number(4, after):
            block.clear_thumbnail(
                {tag: block.number(kind, where) for tag, kind, where in block.directory(block.number(4, after))}
            )
            block.put(4, after, 0)
    block.clear_previews()
    return b"Exif\0\0" + bytes(block.data)


def without_orientation(block: bytes) -> bytes:
    """The EXIF block, from its byte order on, without the tag of orientation, which means upright.

    For writers that compose the block anew where the tag is in it.
    """
    block = _Block(block)
    block.drop(block.number(4, 4), lambda tag, where: tag == ORIENTATION)
    return bytes(block.data)


def without_lost_values(block: bytes) -> bytes:
    """The EXIF block without entries whose values, or directories, should lie behind its end."""
    block = _Block(block)
    first = block.number(4, 4)
    block.drop(first, block.is_lost)
    for tag, kind, where in list(block.directory(first)):
        if tag in (EXIF_IFD, GPS_IFD):
            block.drop(block.number(kind, where), block.is_lost)
    return b"Exif\0\0" + bytes(block.data)


class _Block:
    """The bytes of an EXIF block, from the byte order on, read and changed in place."""

    def __init__(self, block: bytes):
        self.data = bytearray(re.sub(rb"^(Exif\0\0)+", b"", block))
        self.order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(self.data[:4]))
        if self.order is None:
            raise ValueError("it does not begin as TIFF does")

    def end(self, at: int) -> int:
        """Where the offset of the next directory lies."""
        return at + 2 + 12 * struct.unpack_from(self.order + "H", self.data, at)[0]

    def directory(self, at: int) -> Iterator[tuple[int, int, int]]:
        """Yields (tag, type, where its value lies)."""
        for entry in range(at + 2, self.end(at), 12):
            yield *struct.unpack_from(self.order + "HH", self.data, entry), entry + 8

    def drop(self, at: int, unwanted: Callable[[int, int], bool]) -> None:
        """Removes the entries of a directory of which unwanted(tag, where its value lies) is true; the others move up."""
        kept = [self.data[where - 8 : where + 4] for tag, _, where in self.directory(at) if not unwanted(tag, where)]
        after = self.end(at) + 4  # with the offset of the next directory
        body = struct.pack(self.order + "H", len(kept)) + b"".join(kept) + self.data[after - 4 : after]
        self.data[at:after] = body.ljust(min(after, len(self.data)) - at, b"\0")

    def is_lost(self, tag: int, where: int) -> bool:
        kind, count, offset = struct.unpack_from(self.order + "HII", self.data, where - 6)
        if tag in (EXIF_IFD, GPS_IFD):
            offset = self.number(kind, where)
            return offset + 2 > len(self.data) or self.end(offset) > len(self.data)
        size = SIZES.get(kind, 0) * count
        return size > 4 and offset + size > len(self.data)

    def number(self, kind: int, at: int) -> int:
        return struct.unpack_from(self.order + ("H" if kind == 3 else "I"), self.data, at)[0]

    def fraction(self, at: int) -> float:
        """The rational number whose place lies at `at`; 0 for those without a value."""
        above, below = struct.unpack_from(self.order + "II", self.data, self.number(4, at))
        return above / below if below else 0.0

    def put(self, kind: int, at: int, value: int) -> None:
        if kind == 4 or (kind == 3 and value <= 0xFFFF):
            struct.pack_into(self.order + ("H" if kind == 3 else "I"), self.data, at, value)

    def clear_thumbnail(self, entries: dict[int, int]) -> None:
        start = entries.get(THUMBNAIL_AT, 0)
        end = start + entries.get(THUMBNAIL_LENGTH, 0)
        if 8 <= start < end <= len(self.data):
            self.data[start:end] = b"" if end == len(self.data) else bytes(end - start)

    def clear_previews(self) -> None:
        """Overwrites the JPEG pictures that makers' notes hold with zeros."""
        at = 0
        while (start := self.data.find(b"\xff\xd8\xff", at)) >= 0:
            at = self._end_of_jpeg(start)
            self.data[start:at] = bytes(at - start)
            at = max(at, start + 1)

    def _end_of_jpeg(self, start: int) -> int:
        """Where the JPEG picture ends that may begin at `start`; `start` where none does."""
        at = start + 2
        while self.data[at : at + 1] == b"\xff" and self.data[at + 1 : at + 2] >= b"\xc0":
            scan, length = self.data[at + 1] == 0xDA, int.from_bytes(self.data[at + 2 : at + 4])
            at += 2 + max(length, 2)
            if scan:
                end = self.data.find(b"\xff\xd9", at)
                return end + 2 if end >= 0 else len(self.data)
        return start
