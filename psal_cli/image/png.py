"""Writes PNG files of 8 and 16 bits (Pillow writes no 16-bit colour, OpenCV no grey with alpha), and inspects others."""

import struct
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np
from PIL import Image

from psal_cli.strips import rows_within, strips

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {(1, False): 0, (1, True): 4, (3, False): 2, (3, True): 6}
LEVEL = 4  # deflate level: files are 5 % larger than with the usual 6, in less than half the time
BAND = 1 << 20  # bytes before compression
PIECE = 1 << 16  # bytes of compressed pixels read at a time
SUB, UP, AVERAGE = 1, 2, 3
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
PLAIN = ((0, 0, 1, 1),)  # first row and column, and steps, of each pass
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
MOST = 1032  # the largest compression ratio of deflate


def write_png(
    file: IO[bytes], pixels: np.ndarray, alpha: np.ndarray | None, chunks: list[tuple[bytes, bytes]], level: int | None = None
) -> None:
    """Writes one picture.

    pixels: uint8 or uint16 [H, W, C], C = 1 or 3; alpha: None or the same dtype [H, W]; chunks: (name, data), written before
    the pixels; level: of deflate, 0 (not compressed) to 9.
    """
    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, COLOUR_TYPES[channels, alpha is not None], 0, 0, 0)
    file.write(SIGNATURE)
    for name, data in [(b"IHDR", head), *chunks]:
        _write_chunk(file, name, data)
    samples = channels + (alpha is not None)
    deflate = zlib.compressobj(LEVEL if level is None else level)
    above = np.zeros((1, width * samples * pixels.itemsize), np.uint8)
    for rows in (part.rows for part in strips(height, rows_within(BAND, above.shape[1]))):
        band = pixels[rows] if alpha is None else np.dstack([pixels[rows], alpha[rows]])
        lines = band.astype(band.dtype.newbyteorder(">"), copy=False).reshape(band.shape[0], -1).view(np.uint8)
        _write_data(file, deflate.compress(_filtered(lines, above, samples * pixels.itemsize).data))
        above = lines[-1:]
    _write_data(file, deflate.flush())
    _write_chunk(file, b"IEND", b"")


def _filtered(lines: np.ndarray, above: np.ndarray, pixel: int) -> np.ndarray:
    """uint8 [N, 1 + bytes]: each line, filtered with the smallest differences, after the number of its filter.

    above: the line before the first; pixel: bytes per pixel.
    """
    up = np.concatenate([above, lines[:-1]])
    left = np.zeros_like(lines)
    left[:, pixel:] = lines[:, :-pixel]
    middle = (left & up) + ((left ^ up) >> 1)  # half of their sum without a ninth bit
    out, least = np.empty((len(lines), 1 + lines.shape[1]), np.uint8), None
    for number, guess in ((UP, up), (SUB, left), (AVERAGE, middle)):
        difference = lines - guess
        cost = np.abs(difference.view(np.int8)).view(np.uint8).sum(1, dtype=np.int64)
        better = cost < least if least is not None else np.ones(len(lines), bool)
        out[better, 0], out[better, 1:] = number, difference[better]
        least = cost if least is None else np.minimum(cost, least)
    return out


def _write_data(file: IO[bytes], data: bytes) -> None:
    if data:
        _write_chunk(file, b"IDAT", data)


def _write_chunk(file: IO[bytes], name: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + name)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(name))))


def late_exif(file: IO[bytes]) -> bytes | None:
    """The EXIF block of a PNG file, also after the pixels, which Pillow reads only on decoding."""
    return next((b"Exif\0\0" + file.read(length) for kind, length in _chunks(file) if kind == b"eXIf"), None)


def is_too_short(file: IO[bytes]) -> bool:
    """Whether a PNG file is too short for the rows in its header, at any compression ratio."""
    rows = _length_of_rows(file)
    return rows > MOST * file.seek(0, 2)


def lacks_rows(image: Image.Image, file: IO[bytes]) -> bool:
    """Whether the pixels of a PNG file end before its last row, which Pillow silently fills with zeros."""
    width, height = image.size
    if not image.info.get("interlace") and np.asarray(image.crop((0, height - 1, width, height))).any():
        return False
    left, unpacker = _length_of_rows(file), zlib.decompressobj()
    for kind, length in _chunks(file):
        while kind == b"IDAT" and length > 0 and left > 0 and (data := file.read(min(length, PIECE))):
            length -= len(data)
            while data and left > 0:
                left -= len(unpacker.decompress(data, BAND))
                data = unpacker.unconsumed_tail
    return left > len(unpacker.flush())


def _length_of_rows(file: IO[bytes]) -> int:
    """Uncompressed bytes of all rows in the header, including the filter bytes."""
    head = next(file.read(13) for kind, _ in _chunks(file) if kind == b"IHDR")
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    total = 0
    for row, column, down, across in ADAM7 if interlaced else PLAIN:
        rows, columns = -(-(height - row) // down), -(-(width - column) // across)
        if columns > 0:
            total += max(rows, 0) * (1 + -(-columns * bits * SAMPLES[colour] // 8))
    return total


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yields (type, length) of each chunk, with the file positioned at its data."""
    at = len(SIGNATURE)
    file.seek(at)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        length = int.from_bytes(head[:4])
        yield head[4:], length
        at += 12 + length
        file.seek(at)
