"""Reads the header of a JPEG XL file without decoding: its Pillow plugin decodes the picture on opening."""

from typing import IO, NamedTuple

CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width : height
SIZES = ((9, 1), (13, 1), (18, 1), (30, 1))
ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))
GREY = 1  # of the colour spaces
HEADER = 4096  # bytes of the codestream that are read
LONGEST = 1 << 24  # bytes of XMP
BLOCKS = {b"Exif": "EXIF", b"xml ": "XMP"}
ALPHA, SPOT, CFA = 0, 2, 5  # of the kinds of extra channels


class Head(NamedTuple):
    """The header. width, height: of the upright picture; xmp: the packet; packed: which of EXIF and XMP are compressed with
    Brotli."""

    width: int
    height: int
    bits: int
    float: bool
    grey: bool
    alpha: bool
    animated: bool
    lossy: bool
    xmp: bytes | None
    packed: tuple[str, ...]
    gain_map: bool


class _Bits:
    """Reads numbers from a codestream, least significant bit first."""

    def __init__(self, data: bytes):
        self.number, self.left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self.left:
            raise ValueError("its header is cut off")
        value = self.number & ((1 << count) - 1)
        self.number >>= count
        self.left -= count
        return value

    def choose(self, *codes: tuple[int, int]) -> int:
        """Reads a number coded in one of four ways, selected by two bits: (bits to read, offset to add)."""
        count, base = codes[self.take(2)]
        return base + self.take(count)


def read_head(file: IO[bytes]) -> Head:
    """Reads the header. Raises ValueError if it is damaged."""
    codestream, xmp, packed, gain_map = _boxes(file)
    if codestream[:2] != b"\xff\x0a":
        raise ValueError("it holds no picture")
    bits = _Bits(codestream[2:])
    width, height = _size(bits)
    animated = False
    if bits.take(1):  # everything else has its default: 8 bits, RGB
        return Head(width, height, 8, False, False, False, animated, True, xmp, packed, gain_map)
    if bits.take(1):
        if bits.take(3) >= 4:  # orientation, counted from 0
            width, height = height, width
        if bits.take(1):
            _size(bits)  # the intended display size
        if bits.take(1):
            _preview(bits)
        animated = bool(bits.take(1))
        if animated:
            _animation(bits)
    depth, is_float = _depth(bits)
    bits.take(1)
    channels = [_extra(bits) for _ in range(bits.choose((0, 0), (0, 1), (4, 2), (12, 1)))]
    lossy, grey = bool(bits.take(1)), False  # XYB, a colour space of lossy pictures only
    if not bits.take(1):  # the colour space is not the default, sRGB
        bits.take(1)
        grey = bits.choose(*ENUM) == GREY
    return Head(width, height, depth, is_float, grey, ALPHA in channels, animated, lossy, xmp, packed, gain_map)


def _boxes(file: IO[bytes]) -> tuple[bytes, bytes | None, tuple[str, ...], bool]:
    """The start of the codestream, the XMP packet, the names of compressed blocks, whether there is a gain map."""
    file.seek(0)
    start = file.read(len(CONTAINER))
    if start != CONTAINER:
        return start + file.read(HEADER), None, (), False
    packed: dict[str, None] = {}
    codestream, xmp, gain_map, at = b"", None, False, len(CONTAINER)
    while len(head := file.read(8)) == 8:
        length, kind, body = int.from_bytes(head[:4]), head[4:], 8
        if length == 1:
            length, body = int.from_bytes(file.read(8)), 16
        if kind in (b"jxlc", b"jxlp") and len(codestream) < HEADER:
            file.seek(4 * (kind == b"jxlp"), 1)  # the index of the part
            inside = length - body - 4 * (kind == b"jxlp") if length else HEADER
            codestream += file.read(min(max(inside, 0), HEADER))
        elif kind == b"xml " and xmp is None:
            xmp = file.read(min(length - body, LONGEST) if length else LONGEST)
        elif kind == b"brob" and (name := BLOCKS.get(file.read(4))):
            packed[name] = None
        elif kind == b"jhgm":
            gain_map = True
        at += length
        if length < body:  # 0: up to the end of the file
            break
        file.seek(at)
    return codestream, xmp, tuple(packed), gain_map


def _size(bits: _Bits) -> tuple[int, int]:
    """(width, height), each a small multiple of 8 or an arbitrary number."""
    small = bits.take(1)

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.choose(*SIZES)

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    across, down = RATIOS[ratio - 1]
    return height * across // down, height


def _preview(bits: _Bits) -> None:
    eighths = bits.take(1)
    codes = ((0, 16), (0, 32), (5, 1), (9, 33)) if eighths else ((6, 1), (8, 65), (10, 321), (12, 1345))
    bits.choose(*codes)
    if not bits.take(3):
        bits.choose(*codes)


def _animation(bits: _Bits) -> None:
    bits.choose((0, 100), (0, 1000), (10, 1), (30, 1))
    bits.choose((0, 1), (0, 1001), (8, 1), (10, 1))
    bits.choose((0, 0), (3, 0), (16, 0), (32, 0))
    bits.take(1)


def _depth(bits: _Bits) -> tuple[int, bool]:
    """(bits per channel, whether they are floating-point)."""
    if not bits.take(1):
        return bits.choose((0, 8), (0, 10), (0, 12), (6, 1)), False
    depth = bits.choose((0, 32), (0, 16), (0, 24), (6, 1))
    bits.take(4)
    return depth, True


def _extra(bits: _Bits) -> int:
    """The kind of an extra channel."""
    if bits.take(1):
        return ALPHA
    kind = bits.choose(*ENUM)
    _depth(bits)
    bits.choose((0, 0), (0, 3), (0, 4), (3, 1))
    bits.take(8 * bits.choose((0, 0), (4, 0), (5, 16), (10, 48)))  # its name
    if kind == ALPHA:
        bits.take(1)
    elif kind == SPOT:
        bits.take(64)
    elif kind == CFA:
        bits.choose((0, 1), (2, 0), (4, 3), (8, 19))
    return kind
