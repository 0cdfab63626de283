"""Parses the header of an OpenEXR file without the library that decodes it."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, NamedTuple

import numpy as np

MAGIC = b"\x76\x2f\x31\x01"
VERSION, LONG_NAMES, DEEP, SEVERAL = 2, 0x400, 0x800, 0x1000  # the second word: the version and flags
LONGEST_NAME = 255
LARGEST = 64 << 20  # bytes in an attribute
MOST_ATTRIBUTES = 10_000
MOST_SIDE = 1 << 24
UINT, HALF, FLOAT = range(3)  # pixel types
ROWS = dict(enumerate((1, 1, 1, 16, 32, 16, 32, 32, 32, 256, 256, 32, 256, 1)))  # per chunk, by compression
TILED = "tiledimage"


class Channel(NamedTuple):
    """A channel. kind: UINT, HALF or FLOAT; step: its subsampling in columns and rows."""

    name: str
    kind: int
    step: tuple[int, int]


@dataclass(frozen=True)
class Head:
    """The header of the first part. window: its left, top, right, bottom, inclusive; tile: (width, height), None if the pixels
    are stored in rows; parts: 1, or 2 for several parts; end: the position after the header."""

    channels: tuple[Channel, ...]
    window: tuple[int, int, int, int]
    compression: int
    tile: tuple[int, int] | None
    deep: bool
    parts: int
    chromaticities: tuple[float, ...] | None
    end: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        left, top, right, bottom = self.window
        return right - left + 1, bottom - top + 1


class Colours(NamedTuple):
    """The channels of the picture: its colours (R, G, B or Y), its alpha if any, and all other channels of the file."""

    colours: tuple[str, ...]
    alpha: str | None
    others: tuple[str, ...]


class Attributes(NamedTuple):
    """The attributes of an OpenEXR file.

    half: whether its values have 16 bits; chromaticities: None if it states none; windows: the data and display windows of a
    picture of (width, height) `size`, unless both are just that size; others: by name, as the package returns them.
    """

    half: bool
    chromaticities: tuple[float, ...] | None
    size: tuple[int, int]
    windows: tuple[tuple[str, object], ...]
    others: tuple[tuple[str, object], ...]


def read_head(file: IO[bytes]) -> Head:
    """Reads the header of a file. Raises ValueError if it is damaged."""
    file.seek(0)
    start = file.read(8)
    if len(start) < 8 or start[:4] != MAGIC:
        raise ValueError("not an OpenEXR file")
    (flags,) = struct.unpack_from("<I", start, 4)
    if flags & 0xFF != VERSION:
        raise ValueError(f"version {flags & 0xFF} of OpenEXR")
    several = bool(flags & SEVERAL)
    attributes = dict(_attributes(file))
    end = file.tell()
    kind = attributes.get("type", b"").rstrip(b"\0").decode("latin-1")
    window: tuple[int, int, int, int] = (
        struct.unpack("<4i", attributes["dataWindow"]) if "dataWindow" in attributes else (0, 0, -1, -1)
    )
    chromaticities = attributes.get("chromaticities", b"")
    head = Head(
        channels=tuple(_channels(attributes.get("channels", b""))),
        window=window,
        compression=attributes.get("compression", b"\0")[0],
        tile=_tile(attributes) if kind == TILED or (not several and bool(flags & 0x200)) else None,
        deep=bool(flags & DEEP) and kind not in ("scanlineimage", TILED),
        parts=2 if several and file.read(1) not in (b"", b"\0") else 1,
        chromaticities=struct.unpack("<8f", chromaticities) if len(chromaticities) == 32 else None,
        end=end,
    )
    if not head.channels or min(head.size) < 1 or max(head.size) > MOST_SIDE:
        raise ValueError("its header names no channels, or no size")
    return head


def check_whole(file: IO[bytes], head: Head) -> None:
    """Raises ValueError if pixels are missing, which the library would print on stderr.

    Checks files with one part only: their table of chunk offsets follows the header and begins with the full size.
    """
    if head.deep or head.parts > 1 or (head.tile is None and head.compression not in ROWS):
        return
    width, height = head.size
    across, down = head.tile or (width, ROWS.get(head.compression, 1))
    count = -(-width // across) * -(-height // down)
    length = file.seek(0, 2)
    if head.end + 8 * count > length:
        raise ValueError("it is cut off")
    file.seek(head.end)
    table = np.frombuffer(file.read(8 * count), "<u8")
    last, before = int(table.max()), 4 if head.tile is None else 16  # bytes of a chunk that say where it belongs
    if not table.all() or last + before + 4 > length:
        raise ValueError("it is cut off")
    file.seek(last + before)
    (packed,) = struct.unpack("<i", file.read(4))
    if packed < 0 or last + before + 4 + packed > length:
        raise ValueError("it is cut off")


def colours_of(channels: tuple[Channel, ...]) -> Colours | None:
    """The channels of the picture: those without a layer, otherwise those of the first layer; None if there are none."""
    names = {channel.name for channel in channels}
    layers = dict.fromkeys(["", *(name[: name.rfind(".") + 1] for name in sorted(names))])
    for layer in layers:
        for wanted in ("RGB", "Y"):
            colours = tuple(layer + letter for letter in wanted)
            if names.issuperset(colours) and not (wanted == "Y" and {layer + "RY", layer + "BY"} & names):
                alpha = layer + "A" if layer + "A" in names else None
                return Colours(colours, alpha, tuple(sorted(names - {*colours, alpha})))
    return None


def _tile(attributes: dict[str, bytes]) -> tuple[int, int]:
    sides: tuple[int, int] = struct.unpack("<2I", attributes.get("tiles", b"")[:8])
    if min(sides) < 1:
        raise ValueError("its tiles have no size")
    return sides


def _attributes(file: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    for _ in range(MOST_ATTRIBUTES):
        if not (name := _text(file)):
            return
        _text(file)  # its type
        head = file.read(4)
        (length,) = struct.unpack("<i", head) if len(head) == 4 else (-1,)
        data = file.read(length) if 0 <= length <= LARGEST else b""
        if length < 0 or len(data) < length:
            raise ValueError("its header is cut off")
        yield name, data
    raise ValueError("its header has no end")


def _text(file: IO[bytes]) -> str:
    """A text that ends with a zero."""
    out = b""
    while len(out) <= LONGEST_NAME:
        sign = file.read(1)
        if not sign:
            raise ValueError("its header is cut off")
        if sign == b"\0":
            return out.decode("latin-1")
        out += sign
    raise ValueError("a name in its header has no end")


def _channels(data: bytes) -> Iterator[Channel]:
    at = 0
    while at < len(data) and data[at]:
        end = data.find(b"\0", at)
        if end < 0 or end + 17 > len(data):
            raise ValueError("its list of channels is cut off")
        kind, across, down = struct.unpack_from("<i4x2i", data, end + 1)
        yield Channel(data[at:end].decode("latin-1"), kind, (across, down))
        at = end + 17
