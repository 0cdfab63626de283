"""Chunks of PNG files other than pixels: colour, text, metadata blocks written as text, and others."""

import struct
import zlib
from typing import IO

from PIL import Image

COLOUR = (b"mDCV", b"cLLI", b"sRGB", b"gAMA", b"cHRM")
TEXT = (b"tEXt", b"zTXt", b"iTXt")
XMP_KEYWORD, RAW_KEYWORD, COMMENT_KEYWORD = b"XML:com.adobe.xmp", b"Raw profile type ", b"Comment"
SRGB = {  # chunks that only declare sRGB, which is the default
    b"gAMA": [(45455).to_bytes(4)],
    b"cHRM": [b"".join(n.to_bytes(4) for n in (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))],
    b"cICP": [bytes([primaries, transfer, 0, 1]) for primaries in (1, 2) for transfer in (1, 2, 6, 13)],  # 2: unspecified
}
SIGNIFICANT, BACKGROUND, TIME, SUGGESTED, DENSITY, HISTOGRAM = b"sBIT", b"bKGD", b"tIME", b"sPLT", b"pHYs", b"hIST"
UNSAFE_BUT_KEPT = (SIGNIFICANT, BACKGROUND, TIME, SUGGESTED)  # although their names mark them as dependent on the pixels
# Chunks about the storage of pixels, or an animation, which is reported; eXIf and iCCP have their own fields.
LAYOUT = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf", b"iCCP", b"acTL", b"fcTL", b"fdAT", b"iDOT", b"CgBI")
LONGEST = 1 << 24  # bytes of one chunk
MOST = 1 << 26  # bytes of all chunks
MOST_TEXT = 1 << 26  # bytes of all texts decompressed for one field
LONGEST_TEXT = 1 << 24  # bytes of one decompressed text

Chunk = tuple[bytes, bytes]


def read_chunks(file: IO[bytes]) -> list[Chunk]:
    """(type, data) of a PNG file's chunks other than pixels, texts still compressed. Raises ValueError if they are too long."""
    chunks: list[Chunk] = []
    left = MOST
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        length, kind = int.from_bytes(head[:4]), head[4:]
        if kind in LAYOUT:
            file.seek(length + 4, 1)
            continue
        left -= length
        if length > LONGEST or left < 0:
            raise ValueError(f"a text of {length / 1e6:.0f} MB")
        chunks.append((kind, file.read(length)))
        file.seek(4, 1)
    return chunks


def kept_chunks(chunks: list[Chunk], image: Image.Image, turned: bool) -> list[Chunk]:
    """The chunks that may be copied to another PNG file and that no other field of Metadata holds, for RGB or grey.

    image: their picture, loaded; turned: whether it is rotated by 90 degrees.
    """
    out = []
    for kind, data in chunks:
        if kind == DENSITY and data[8:9] == b"\0":  # an aspect ratio, not a resolution
            out.append((kind, data[4:8] + data[:4] + b"\0" if turned else data))
        elif kind == BACKGROUND and image.mode in ("P", "PA"):
            palette = image.getpalette("RGB") or []
            colour = palette[3 * data[0] : 3 * data[0] + 3] if data else []
            if len(colour) == 3:
                out.append((kind, struct.pack(">HHH", *colour)))
        elif _is_other(kind) and (kind in UNSAFE_BUT_KEPT or kind[3:].islower()):
            out.append((kind, data))
    return out


def _is_other(kind: bytes) -> bool:
    """Whether such a chunk belongs in `chunks`: no other field of Metadata holds it, and the decoder does not use it."""
    return kind not in (b"cICP", DENSITY, *COLOUR, *TEXT, *LAYOUT) and kind[:1].islower()


def lost_chunks(file: IO[bytes]) -> list[str]:
    """The names of chunks that are dropped from any edited picture, each once."""
    names: dict[str, None] = {}
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        kind = head[4:]
        if _is_other(kind) and kind not in UNSAFE_BUT_KEPT and not kind[3:].islower():
            names[f"chunk {kind.decode('latin-1')}" if kind != b"caBX" else "Content Credentials"] = None
        file.seek(int.from_bytes(head[:4]) + 4, 1)
    return list(names)


def fits(chunk: Chunk, channels: int, alpha: bool, bits: int) -> bool:
    """Whether a chunk that describes channel values fits these pixels."""
    kind, data = chunk
    if kind == SIGNIFICANT:
        return len(data) == channels + alpha and all(0 < value <= bits for value in data)
    if kind == BACKGROUND:
        return len(data) == 2 * channels and (bits == 16 or not any(data[::2]))
    return True


def with_alpha(chunk: Chunk, bits: int) -> Chunk:
    """The significant bits of a picture whose alpha came from a palette or a transparency key."""
    kind, data = chunk
    return (kind, data + bytes([bits])) if kind == SIGNIFICANT and len(data) in (1, 3) else chunk


def keyword(chunk: Chunk) -> bytes:
    """The keyword of a text chunk; empty for other chunks."""
    return chunk[1][:80].split(b"\0", 1)[0] if chunk[0] in TEXT else b""


def is_srgb(chunk: Chunk) -> bool:
    kind, data = chunk
    return kind == b"sRGB" or data in SRGB.get(kind, ())


def text_of(chunk: Chunk) -> bytes:
    """The text in a chunk, as UTF-8. Raises ValueError or zlib.error if it is damaged or too long."""
    kind, data = chunk
    _, text = data.split(b"\0", 1)
    if kind == b"iTXt":
        packed, (_, _, text) = text[:1] == b"\1", text[2:].split(b"\0", 2)
        return _unpacked(text) if packed else text
    return (_unpacked(text[1:]) if kind == b"zTXt" else text).decode("latin-1").encode()


def texts_of(chunks: list[Chunk], name: bytes) -> list[bytes]:
    """All texts with a keyword. Raises ValueError if they are too long in total."""
    texts: list[bytes] = []
    left = MOST_TEXT
    for chunk in chunks:
        if keyword(chunk) == name:
            texts.append(text_of(chunk))
            left -= len(texts[-1])
            if left < 0:
                raise ValueError(f"texts of more than {MOST_TEXT / 1e6:.0f} MB")
    return texts


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(data, LONGEST_TEXT)
    if unpacker.unconsumed_tail:
        raise ValueError(f"a text of more than {LONGEST_TEXT / 1e6:.0f} MB")
    return text


def text_chunk(name: bytes, text: bytes) -> Chunk:
    """text: UTF-8."""
    return b"iTXt", name + b"\0\0\0\0\0" + text


def raw_block(chunks: list[Chunk], *kinds: bytes) -> bytes | None:
    """The first metadata block of one of `kinds` that ImageMagick or ExifTool wrote as text: name, length and hexadecimal
    digits."""
    for chunk in chunks:
        if keyword(chunk) in [RAW_KEYWORD + kind for kind in kinds]:
            _, length, digits = text_of(chunk).strip().split(None, 2)
            return bytes.fromhex(digits.decode("ascii"))[: int(length)]
    return None


def xmp_block(chunks: list[Chunk]) -> bytes | None:
    packet = next((text_of(chunk) for chunk in chunks if keyword(chunk) == XMP_KEYWORD), None)
    return packet or raw_block(chunks, b"xmp")


def raw_chunk(kind: bytes, block: bytes) -> Chunk:
    digits = block.hex().encode()
    lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = b"\n%s\n%8d\n%s\n" % (kind, len(block), lines)
    return b"zTXt", RAW_KEYWORD + kind + b"\0\0" + zlib.compress(text)
