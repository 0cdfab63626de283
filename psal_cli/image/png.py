"""Writes PNG files of 8 and 16 bits (Pillow writes no 16-bit colour, OpenCV no grey with alpha), and looks into others."""

import struct
import zlib
from typing import IO

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {(1, False): 0, (1, True): 4, (3, False): 2, (3, True): 6}
LEVEL = 4  # of deflate: 5 % larger than the usual 6, in less than half of its time
BAND = 1 << 20  # bytes before compression
SUB, UP, AVERAGE = 1, 2, 3


def write_png(
    file: IO[bytes], pixels: np.ndarray, alpha: np.ndarray | None, chunks: list[tuple[bytes, bytes]], level: int | None = None
) -> None:
    """Writes one picture.

    pixels: uint8 or uint16 [H, W, C], C = 1 or 3; alpha: None or the same dtype [H, W]; chunks: (name, data), written before
    the pixels; level: 0 (not compressed) to 9, of deflate.
    """
    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, COLOUR_TYPES[channels, alpha is not None], 0, 0, 0)
    file.write(SIGNATURE)
    for name, data in [(b"IHDR", head), *chunks]:
        _write_chunk(file, name, data)
    samples = channels + (alpha is not None)
    deflate = zlib.compressobj(LEVEL if level is None else level)
    above = np.zeros((1, width * samples * pixels.itemsize), np.uint8)
    step = max(1, BAND // above.shape[1])
    for top in range(0, height, step):
        rows = slice(top, top + step)
        band = pixels[rows] if alpha is None else np.dstack([pixels[rows], alpha[rows]])
        lines = band.astype(band.dtype.newbyteorder(">"), copy=False).reshape(band.shape[0], -1).view(np.uint8)
        _write_data(file, deflate.compress(_filtered(lines, above, samples * pixels.itemsize)))
        above = lines[-1:]
    _write_data(file, deflate.flush())
    _write_chunk(file, b"IEND", b"")


def _filtered(lines: np.ndarray, above: np.ndarray, pixel: int) -> np.ndarray:
    """uint8 [N, 1 + bytes]: each line by the filter that leaves the smallest differences, its number in front.

    above: the line before the first; pixel: bytes a pixel.
    """
    up = np.concatenate([above, lines[:-1]])
    left = np.zeros_like(lines)
    left[:, pixel:] = lines[:, :-pixel]
    middle = (left & up) + ((left ^ up) >> 1)  # half of their sum, without the ninth bit that it would need
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
    """The EXIF block of a PNG file, wherever it lies in it: behind the pixels too, where Pillow looks only once it decodes."""
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        length = int.from_bytes(head[:4])
        if head[4:] == b"eXIf":
            return b"Exif\0\0" + file.read(length)
        file.seek(length + 4, 1)
    return None
