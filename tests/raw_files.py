"""Files that neither Pillow nor OpenCV writes, byte by byte: PNG, TIFF and ICC profiles. `from .raw_files import ...`."""

import struct
import zlib

import numpy as np

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))  # row, column, steps


def chunk(kind, data):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_file(array, interlaced=False, chunks=(), late=(), cut=0):
    """A PNG file of uint8 or uint16 [H, W, 1 to 4], no line filtered; chunks before and `late` ones behind the pixels.

    cut: bytes of the last rows that its stream of pixels lacks, though it ends as it should.
    """
    height, width, samples = array.shape
    array = array.astype(array.dtype.newbyteorder(">"))
    parts = [array[row::down, column::across] for row, column, down, across in ADAM7] if interlaced else [array]
    lines = b"".join(b"\0" + line.tobytes() for part in parts if part.size for line in part)
    lines = lines[: len(lines) - cut]
    head = struct.pack(">IIBBBBB", width, height, 8 * array.itemsize, {1: 0, 2: 4, 3: 2, 4: 6}[samples], 0, 0, int(interlaced))
    body = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(lines)), *late, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in body)


def tiff_file(array, order="<", white_is_zero=False, extra=None, planes=False, compression=1, tile=None, tags=()):
    """A TIFF file of an array [H, W, C]: in strips of 5 rows or in tiles, not compressed (1) or deflated (8).

    extra: what the last channel is (0 unknown, 1 alpha that the colours are multiplied by, 2 alpha); tags: more entries
    (tag, type 3 or 4, values).
    """
    height, width, samples = array.shape
    array = array.astype(array.dtype.newbyteorder(order))
    layers = [array[..., number : number + 1] for number in range(samples)] if planes else [array]
    if tile:
        padded = [np.pad(layer, ((0, -height % tile), (0, -width % tile), (0, 0))) for layer in layers]
        spans = [(row, column) for row in range(0, height, tile) for column in range(0, width, tile)]
        pieces = [layer[row : row + tile, column : column + tile].tobytes() for layer in padded for row, column in spans]
        places, sizes, more = 324, 325, [(322, 4, [tile]), (323, 4, [tile])]
    else:
        pieces = [layer[row : row + 5].tobytes() for layer in layers for row in range(0, height, 5)]
        places, sizes, more = 273, 279, [(278, 4, [5])]
    pieces = [zlib.compress(piece) if compression == 8 else piece for piece in pieces]
    starts = [8 + sum(map(len, pieces[:number])) for number in range(len(pieces))]
    colours = samples - (extra is not None)
    kind = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    entries = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [8 * array.itemsize] * samples),
        (259, 3, [compression]),
        (262, 3, [{1: 0 if white_is_zero else 1, 3: 2, 4: 5}[colours]]),
        (places, 4, starts),
        (277, 3, [samples]),
        (sizes, 4, list(map(len, pieces))),
        (284, 3, [2 if planes else 1]),
        (339, 3, [kind] * samples),
        *more,
        *([(338, 3, [extra])] if extra is not None else []),
        *tags,
    ]
    entries = list({entry[0]: entry for entry in entries}.values())
    at = 8 + sum(map(len, pieces))
    directory, values, behind = struct.pack(order + "H", len(entries)), b"", at + 2 + 12 * len(entries) + 4
    for tag, number, content in sorted(entries):
        data = struct.pack(order + {3: "H", 4: "I"}[number] * len(content), *content)
        if len(data) > 4:
            data, values = struct.pack(order + "I", behind + len(values)), values + data
        directory += struct.pack(order + "HHI", tag, number, len(content)) + data.ljust(4, b"\0")
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", at)
    return head + b"".join(pieces) + directory + bytes(4) + values


def profile(space="RGB ", gamma=1.0, turned=False):
    """A small but valid ICC profile for "RGB " or "GRAY": sRGB's primaries (`turned`: green, blue, red), a plain gamma."""
    primaries = [(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)]
    primaries = primaries[1:] + primaries[:1] if turned else primaries

    def xyz(values):
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {b"wtpt": xyz((0.9642, 1.0, 0.8249))}
    if space == "GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= {name + b"XYZ": xyz(primary) for name, primary in zip((b"r", b"g", b"b"), primaries, strict=True)}
        tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    return _icc(b"mntr", space.encode(), b"XYZ ", tags)


def cmyk_profile():
    """A small but valid ICC profile: CMYK to Lab through a table of 2x2x2x2 colours."""
    table = []
    for index in range(16):
        c, m, y, k = (index >> shift & 1 for shift in (3, 2, 1, 0))
        light = 255 * (1 - k) * (1 - 0.2 * (c + m + y))
        table += [light, 128 + 70 * (m - c) * (1 - k), 128 + 70 * (y - m / 2 - c / 2) * (1 - k)]
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *[65536 if i % 4 == 0 else 0 for i in range(9)])
    lut += ramp * 4 + bytes(int(value) for value in table) + ramp * 3
    return _icc(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def prophoto_profile(version):
    """ProPhoto RGB, its curves a number (version 2) or a parametric curve with a description in Unicode (version 4)."""

    def numbers(kind, *values):
        return kind + bytes(4) + struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    name = "ProPhoto".encode("utf-16-be")
    text = b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(name), 28) + name
    tags = {b"desc": text, b"cprt": text} if version == 4 else {}
    tags[b"wtpt"] = numbers(b"XYZ ", 0.9642, 1.0, 0.8249)
    primaries = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))
    for letter, primary in zip("rgb", primaries, strict=True):
        tags[f"{letter}XYZ".encode()] = numbers(b"XYZ ", *primary)
        plain = b"curv" + bytes(4) + struct.pack(">IH", 1, round(1.8 * 256)) + bytes(2)
        tags[f"{letter}TRC".encode()] = plain if version == 2 else numbers(b"para", 0, 1.8)
    return _icc(b"mntr", b"RGB ", b"XYZ ", tags, version)


def _icc(kind, space, connection, tags, version=2):
    listed, body, at = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        listed += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12x4s", at + len(body), b"lcms", {2: 0x02400000, 4: 0x04200000}[version], kind, space, connection, b"acsp"
    )
    head = head.ljust(68, b"\0") + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + listed + body
