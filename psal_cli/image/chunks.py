"""What a PNG file carries beside its pixels: its chunks of colour and of text, and blocks that are written as text."""

import zlib
from typing import IO

COLOUR = (b"mDCV", b"cLLI", b"sRGB", b"gAMA", b"cHRM")
TEXT = (b"tEXt", b"zTXt", b"iTXt")
XMP_KEYWORD, RAW_KEYWORD, COMMENT_KEYWORD = b"XML:com.adobe.xmp", b"Raw profile type ", b"Comment"
SRGB = {  # chunks that say no more than that the colours are sRGB, as a picture without any is read
    b"gAMA": [(45455).to_bytes(4)],
    b"cHRM": [b"".join(n.to_bytes(4) for n in (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))],
    b"cICP": [bytes([primaries, transfer, 0, 1]) for primaries in (1, 2) for transfer in (1, 2, 6, 13)],  # 2: not said
}
LONGEST = 1 << 24  # bytes of one chunk
LONGEST_TEXT = 1 << 24  # bytes of one text when it is unpacked

Chunk = tuple[bytes, bytes]


def read_chunks(file: IO[bytes]) -> list[Chunk]:
    """The (type, data) of a PNG file's chunks of colour and of text, the texts still packed. Raises ValueError: too long."""
    found = []
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        length, kind = int.from_bytes(head[:4]), head[4:]
        if kind not in (b"cICP", *COLOUR, *TEXT):
            file.seek(length + 4, 1)
            continue
        if length > LONGEST:
            raise ValueError(f"a text of {length / 1e6:.0f} MB")
        found.append((kind, file.read(length)))
        file.seek(4, 1)
    return found


def keyword(chunk: Chunk) -> bytes:
    return chunk[1].split(b"\0", 1)[0]


def is_srgb(chunk: Chunk) -> bool:
    kind, data = chunk
    return kind == b"sRGB" or data in SRGB.get(kind, ())


def text_of(chunk: Chunk) -> bytes:
    """The text in a chunk, as UTF-8. Raises ValueError or zlib.error when it is damaged or too long."""
    kind, data = chunk
    _, text = data.split(b"\0", 1)
    if kind == b"iTXt":
        packed, (_, _, text) = text[:1] == b"\1", text[2:].split(b"\0", 2)
        return _unpacked(text) if packed else text
    return (_unpacked(text[1:]) if kind == b"zTXt" else text).decode("latin-1").encode()


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
    """The first block of one of `kinds` that ImageMagick and ExifTool write as text: name, length and hexadecimal digits."""
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
