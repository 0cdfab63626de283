"""Writes losslessly compressed TIFF files with all EXIF directories, which Pillow drops from compressed files."""

import re
import struct
import zlib
from typing import IO, Literal

import numpy as np

from psal_cli.image.exif import DESCRIPTIVE, EXIF_IFD, GPS_IFD
from psal_cli.image.metadata import IPTC_TAG, PHOTOSHOP_TAG, XMP_TAG, Metadata
from psal_cli.strips import rows_within, strips

SHORT, LONG, RATIONAL, BYTE, UNDEFINED = 3, 4, 5, 1, 7
LETTERS = {SHORT: "H", LONG: "I", RATIONAL: "I"}
ICC_TAG = 34675
RESOLUTION = {282: (RATIONAL, 1), 283: (RATIONAL, 1), 296: (SHORT, 1)}  # tag -> type and count, the only ones
STRIP = 1 << 20  # bytes before compression
LEVEL = 5  # deflate level: files are 4 % larger than with the usual 6, in less than half the time
LIMIT = 1 << 32  # bytes that TIFF's offsets can address


def write_tiff(
    file: IO[bytes], pixels: np.ndarray, alpha: np.ndarray | None, metadata: Metadata, level: int | None = None
) -> None:
    """Writes one picture to a seekable file.

    The file begins with the unchanged EXIF block, which is a TIFF file without pixels: its directories and makers' notes stay in
    place, so their offsets remain valid. The pixels follow, then a new first directory with the entries of EXIF and of the
    pixels.

    pixels: uint8, uint16 or float32 [H, W, C], C = 1 or 3; alpha: None or the same dtype [H, W]; level: of deflate, 0 (not
    compressed) to 9. Raises OverflowError above 4 GB, the limit of TIFF.
    """
    out = _Directory(file, re.sub(rb"^(Exif\0\0)+", b"", metadata.exif or b"") or b"II*\0\x08\0\0\0\0\0")
    height, width, channels = pixels.shape
    samples = channels + (alpha is not None)
    rows = rows_within(STRIP, width * samples * pixels.itemsize)
    places, lengths = [], []
    for part in strips(height, rows):
        strip = _strip(pixels[part.rows], None if alpha is None else alpha[part.rows], out.order, level)
        places.append(out.place(strip))
        lengths.append(len(strip))
    out.add(256, LONG, width)
    out.add(257, LONG, height)
    out.add(258, SHORT, *[8 * pixels.itemsize] * samples)
    out.add(259, SHORT, 8)  # compression: deflate
    out.add(262, SHORT, 2 if channels == 3 else 1)  # red, green, blue, or grey with black = 0
    out.add(273, LONG, *places)
    out.add(277, SHORT, samples)
    out.add(278, LONG, rows)
    out.add(279, LONG, *lengths)
    out.add(284, SHORT, 1)  # the samples of a pixel are interleaved
    floats = pixels.dtype.kind == "f"
    out.add(317, SHORT, 3 if floats else 2)  # predictor: differences to the left pixel, per sample, or per byte for floats
    if floats:
        out.add(339, SHORT, *[3] * samples)  # floating-point numbers
    if alpha is not None:
        out.add(338, SHORT, 2)  # the last sample is alpha, the others are not premultiplied
    if metadata.dpi:
        out.add(282, RATIONAL, round(metadata.dpi[0] * 1000), 1000)
        out.add(283, RATIONAL, round(metadata.dpi[1] * 1000), 1000)
        out.add(296, SHORT, 2)  # dots per inch
    if metadata.xmp:
        out.add_bytes(XMP_TAG, BYTE, metadata.xmp)
    if metadata.iptc:
        out.add_bytes(IPTC_TAG, UNDEFINED, metadata.iptc)
    if metadata.photoshop:
        out.add_bytes(PHOTOSHOP_TAG, BYTE, metadata.photoshop)
    if metadata.icc:
        out.add_bytes(ICC_TAG, UNDEFINED, metadata.icc)
    out.finish()


def _strip(pixels: np.ndarray, alpha: np.ndarray | None, order: Literal["<", ">"], level: int | None) -> bytes:
    block = pixels.copy() if alpha is None else np.dstack([pixels, alpha])
    if block.dtype.kind == "f":
        return zlib.compress(_predicted(block).tobytes(), LEVEL if level is None else level)
    block[:, 1:] -= block[:, :-1].copy()
    numbers = np.dtype(f"{order}u{block.itemsize}")
    return zlib.compress(block.astype(numbers, copy=False).tobytes(), LEVEL if level is None else level)


def _predicted(block: np.ndarray) -> np.ndarray:
    """The floating-point predictor, uint8: for each row of float32 [N, W, C] the highest bytes, then the next ones, as
    differences to the left pixel."""
    rows, width, samples = block.shape
    planes = block.astype(">f4").view(np.uint8).reshape(rows, width * samples, 4).swapaxes(1, 2).reshape(rows, -1, samples)
    planes[:, 1:] -= planes[:, :-1].copy()
    return planes


class _Directory:
    """Builds the first directory of a file that begins with `exif`: copies its entries, and places values too long for an
    entry."""

    def __init__(self, file: IO[bytes], exif: bytes):
        orders: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
        self.file, self.order = file, orders[exif[:2]]
        self.entries: dict[int, bytes] = {}
        (at,) = struct.unpack_from(self.order + "I", exif, 4)
        (count,) = struct.unpack_from(self.order + "H", exif, at)
        for start in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, numbers = struct.unpack_from(self.order + "HHI", exif, start)
            if RESOLUTION.get(tag, (kind, numbers)) != (kind, numbers):
                continue  # damaged: readers that expect a number would reject the file
            if tag in DESCRIPTIVE or tag in (EXIF_IFD, GPS_IFD):
                self.entries[tag] = exif[start : start + 12]
        file.write(exif)

    def place(self, data: bytes) -> int:
        """Writes data at the next even offset, and returns the offset."""
        if self.file.tell() % 2:
            self.file.write(b"\0")
        at = self.file.tell()
        if at + len(data) >= LIMIT:
            raise OverflowError("a TIFF file holds at most 4 GB")
        self.file.write(data)
        return at

    def add(self, tag: int, kind: int, *values: int) -> None:
        count = len(values) // (2 if kind == RATIONAL else 1)
        self._entry(tag, kind, count, struct.pack(self.order + LETTERS[kind] * len(values), *values))

    def add_bytes(self, tag: int, kind: int, data: bytes) -> None:
        self._entry(tag, kind, len(data), data)

    def _entry(self, tag: int, kind: int, count: int, data: bytes) -> None:
        if len(data) > 4:
            data = struct.pack(self.order + "I", self.place(data))
        self.entries[tag] = struct.pack(self.order + "HHI", tag, kind, count) + data.ljust(4, b"\0")

    def finish(self) -> None:
        body = b"".join(entry for _, entry in sorted(self.entries.items()))
        start = self.place(struct.pack(self.order + "H", len(self.entries)) + body + bytes(4))
        self.file.seek(4)
        self.file.write(struct.pack(self.order + "I", start))
