"""Ways to damage a file. Each takes (random.Random, bytes, another file) and returns bytes; those that know a format keep it
plausible (chunk lengths and checksums), so that the damage reaches the code behind the first check."""

import random
import struct
import zlib
from collections.abc import Iterator

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
SIZES = (0, 1, 2, 39, 41, 255, 256, 16_384, 30_000, 65_535, 65_536, 100_000, 0x7FFFFFFF, 0xFFFFFFFF)
EXR = b"\x76\x2f\x31\x01"
Span = tuple[int, int]


def _place(rng: random.Random, data: bytes, length: int = 1) -> int:
    """Somewhere in the file, half of the time among its first bytes, where headers are."""
    return rng.randrange(max(1, min(len(data), rng.choice((256, len(data)))) - length + 1))


def _set(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new[: max(0, len(data) - at)] + data[at + len(new) :]


def flip_bits(rng, data, other):
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        out[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(out)


def set_number(rng, data, other):
    for _ in range(rng.choice((1, 1, 3))):
        kind = rng.choice((">B", "<H", ">H", "<I", ">I"))
        size = struct.calcsize(kind)
        data = _set(data, _place(rng, data, size), struct.pack(kind, rng.choice(NUMBERS) & ((1 << 8 * size) - 1)))
    return data


def delete(rng, data, other):
    at = _place(rng, data)
    return data[:at] + data[at + rng.choice((1, 2, 4, 16, 256)) :]


def insert(rng, data, other):
    at, count = _place(rng, data), rng.choice((1, 2, 4, 16, 1000))
    return data[:at] + rng.choice((bytes(count), b"\xff" * count, rng.randbytes(count))) + data[at:]


def repeat(rng, data, other):
    at, count = _place(rng, data), rng.choice((1, 4, 16, 256))
    return data[: at + count] + data[at : at + count] * rng.choice((1, 1, 100)) + data[at + count :]


def cut_off(rng, data, other):
    return data[: rng.randrange(len(data))]


def splice(rng, data, other):
    """The beginning of one file and the end of another."""
    return data[: rng.randrange(len(data))] + other[rng.randrange(max(1, len(other))) :]


# ------------------------------------------------------------------------------------------------------ chunks of files


def _png_chunks(data: bytes) -> Iterator[Span]:
    at = 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        yield at, end
        at = end


def _jpeg_segments(data: bytes) -> Iterator[Span]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        yield at, end
        at = end
    yield at, len(data)


def _riff_chunks(data: bytes) -> Iterator[Span]:
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield at, at + 8 + length + length % 2
        at += 8 + length + length % 2


def _boxes(data: bytes, at: int = 0, end: int | None = None) -> Iterator[Span]:
    """Those of AVIF, HEIC and JPEG XL files, and the ones inside of `meta` and `iprp` too."""
    end = len(data) if end is None else end
    while at + 8 <= end:
        length = int.from_bytes(data[at : at + 4]) or end - at
        yield at, at + length
        inside = {b"meta": 12, b"iprp": 8, b"ipco": 8, b"iinf": 14}.get(data[at + 4 : at + 8])
        if inside and length > inside:
            yield from _boxes(data, at + inside, min(end, at + length))
        at += max(length, 8)


def _exr_attributes(data: bytes) -> Iterator[Span]:
    at = 8
    while at < len(data) and data[at]:
        size = data.find(b"\0", data.find(b"\0", at) + 1) + 1
        if size <= at or size + 4 > len(data):
            return
        end = size + 4 + int.from_bytes(data[size : size + 4], "little")
        yield at, end
        at = end
    yield at + 1, len(data)


def _tiff_entries(data: bytes) -> Iterator[Span]:
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", data, 4)[0] if len(data) >= 8 else len(data)
    count = struct.unpack_from(order + "H", data, at)[0] if at + 2 <= len(data) else 0
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        yield entry, entry + 12


def chunks(data: bytes) -> list[Span]:
    if data.startswith(b"\x89PNG"):
        spans = _png_chunks(data)
    elif data.startswith(b"\xff\xd8"):
        spans = _jpeg_segments(data)
    elif data.startswith(b"RIFF"):
        spans = _riff_chunks(data)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        spans = _tiff_entries(data)
    elif data[4:8] in (b"ftyp", b"JXL "):
        spans = _boxes(data)
    elif data.startswith(EXR):
        spans = _exr_attributes(data)
    else:
        return []
    return [(start, end) for start, end in spans if start < end <= len(data)]


def _repaired(data: bytes) -> bytes:
    """PNG checksums and the RIFF length made right again."""
    if data.startswith(b"\x89PNG"):
        out = bytearray(data)
        for start, end in _png_chunks(data):
            if end <= len(data):
                out[end - 4 : end] = struct.pack(">I", zlib.crc32(data[start + 4 : end - 4]))
        return bytes(out)
    if data.startswith(b"RIFF"):
        return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    return data


def chunk_shuffle(rng, data, other):
    """A chunk is left out, doubled, moved, or taken from another file."""
    spans = chunks(data)
    if not spans:
        return delete(rng, data, other)
    start, end = rng.choice(spans)
    piece, without = data[start:end], data[:start] + data[end:]
    to = rng.choice(spans)[0]
    foreign = [other[a:b] for a, b in chunks(other)] or [b""]
    return _repaired(
        rng.choice(
            (
                without,
                data[:end] + piece * rng.choice((1, 300)) + data[end:],
                without[:to] + piece + without[to:],
                data[:to] + rng.choice(foreign) + data[to:],
            )
        )
    )


def chunk_damage(rng, data, other):
    """Numbers and bits inside of one chunk, in its head rather than its body."""
    spans = chunks(data)
    if not spans:
        return set_number(rng, data, other)
    start, end = rng.choice(spans)
    for _ in range(rng.choice((1, 2, 5))):
        at = rng.randrange(start, max(start + 1, min(end, start + rng.choice((16, 40, 100_000)))))
        kind = rng.choice((">B", "<H", ">H", "<I", ">I"))
        value = rng.choice((rng.choice(NUMBERS), rng.randrange(64), rng.getrandbits(32))) & ((1 << 8 * struct.calcsize(kind)) - 1)
        data = _set(data, at, struct.pack(kind, value))
    return _repaired(data)


def change_size(rng, data, other):
    """Another width or height in the header: nothing, a little off, or huge."""
    places = {b"\x89P": ((16, ">I"), (20, ">I")), b"BM": ((18, "<I"), (22, "<I"))}.get(data[:2], ())
    if data.startswith(b"\xff\xd8"):
        places = [(at + 5 + 2 * i, ">H") for at, _ in chunks(data) if 0xC0 <= data[at + 1] <= 0xC2 for i in (0, 1)]
    elif data[:4] in (b"II*\0", b"MM\0*"):
        order = "<" if data[:2] == b"II" else ">"
        places = [(at + 8, order + "I") for at, _ in chunks(data) if struct.unpack_from(order + "H", data, at)[0] in (256, 257)]
    elif data.startswith(b"RIFF"):
        places = [(at + {b"VP8 ": 14, b"VP8L": 9, b"VP8X": 12}.get(data[at : at + 4], 8), "<H") for at, _ in chunks(data)]
    elif data[4:8] in (b"ftyp", b"JXL "):
        at = data.find(b"ispe")
        places = [(at + 8, ">I"), (at + 12, ">I")] if at >= 0 else [(34, "<I")]
    elif data.startswith(EXR):
        at = data.find(b"dataWindow\0box2i\0")
        places = [(at + 21 + 4 * i, "<I") for i in range(4)] if at >= 0 else []
    for at, kind in places:
        if rng.random() < 0.7:
            data = _set(data, at, struct.pack(kind, rng.choice(SIZES) & ((1 << 8 * struct.calcsize(kind)) - 1)))
    return _repaired(data)


WAYS = {
    mutation.__name__: mutation
    for mutation in (flip_bits, set_number, delete, insert, repeat, cut_off, splice, chunk_shuffle, chunk_damage, change_size)
}
WEIGHTS = (2, 2, 1, 1, 1, 1, 1, 2, 4, 2)


def mutated(rng: random.Random, data: bytes, other: bytes) -> tuple[bytes, str]:
    """One to three kinds of damage, and their names."""
    names = rng.choices(list(WAYS), WEIGHTS, k=rng.choice((1, 1, 1, 2, 3)))
    for name in names:
        if data:
            data = WAYS[name](rng, data, other)
    return data, "+".join(names)
