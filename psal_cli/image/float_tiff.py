"""Reads floating-point TIFF files.

Pillow opens only grey ones, but decodes the bytes of all: the directory is rewritten as that of an 8-bit grey picture that is as
many times wider as a pixel has bytes. Predictor and orientation are undone here.
"""

import logging
import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Literal

import numpy as np
from PIL import Image, TiffImagePlugin

from psal_cli.errors import InputError
from psal_cli.image.decoding import BITS, EXTRA_SAMPLES, PHOTOMETRIC, PLANAR, SAMPLE_FORMAT, SAMPLES, UPRIGHT
from psal_cli.image.header import Header
from psal_cli.image.losses import left_behind
from psal_cli.image.metadata import read_metadata
from psal_cli.image.picture import Picture
from psal_cli.strips import rows_within, strips

log = logging.getLogger(__name__)

FLOAT = 3  # of the sample formats
WIDTH, HEIGHT, ORIENTATION, PREDICTOR = 256, 257, 274, 317
STRIPS, STRIP_LENGTHS = 273, 279
TILE_WIDTH, TILES = 322, 324
NONE, HORIZONTAL, FLOATING = 1, 2, 3  # predictors
SHORT, LONG, LONG8 = 3, 4, 16
TYPE_SIZES = {
    1: 1,
    2: 1,
    SHORT: 2,
    LONG: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
}  # bytes; other types have 1
NOT_COPIED = {WIDTH, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANAR, PREDICTOR, TILE_WIDTH, EXTRA_SAMPLES, SAMPLE_FORMAT}
GREY, RGB = 1, 2
ASSOCIATED, UNASSOCIATED = 1, 2  # of the extra samples
DTYPES = {16: "f2", 32: "f4", 64: "f8"}
CLASSIC = 42  # of the header; 43 is BigTIFF
BAND = 1 << 22  # values processed at a time
LIMIT = 1 << 32  # bytes that offsets of the new directory can address


@dataclass(frozen=True)
class FloatTiff:
    """The first directory of a floating-point file: width, height as stored; colour channels; bits of a value."""

    width: int
    height: int
    channels: int
    samples: int
    bits: int
    extra: int | None
    predictor: int
    orientation: int
    tile: int | None
    directory: TiffImagePlugin.ImageFileDirectory_v2

    @property
    def alpha(self) -> bool:
        return self.extra in (ASSOCIATED, UNASSOCIATED)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), upright."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)

    @property
    def header(self) -> Header:
        """The header of its picture."""
        return Header("TIFF", *self.size, self.channels, 32, self.alpha)

    @property
    def order(self) -> Literal["<", ">"]:
        return "<" if self.directory.prefix == b"II" else ">"


def float_tiff(file: IO[bytes]) -> FloatTiff | None:
    """Inspects a TIFF file; None if it has integers, or floats of an unsupported kind (colour space, planes, bits)."""
    file.seek(0)
    try:
        head = file.read(8)
        head += file.read(8) if CLASSIC not in struct.unpack("<H" if head[:2] == b"II" else ">H", head[2:4]) else b""
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
        bits = set(tags[BITS])
        samples, formats = int(tags.get(SAMPLES, 1)), set(tags.get(SAMPLE_FORMAT, (1,)))
        colours, extra = tags[PHOTOMETRIC], tags.get(EXTRA_SAMPLES, ())
        channels = {GREY: 1, RGB: 3}.get(colours, 0)
        layout = FloatTiff(
            width=int(tags[WIDTH]),
            height=int(tags[HEIGHT]),
            channels=channels,
            samples=samples,
            bits=min(bits),
            extra=int(extra[0]) if extra and samples == channels + 1 else None,
            predictor=int(tags.get(PREDICTOR, NONE)),
            orientation=orientation if (orientation := tags.get(ORIENTATION, 1)) in UPRIGHT else 1,
            tile=int(tags[TILE_WIDTH]) if TILE_WIDTH in tags else None,
            directory=tags,
        )
    except Exception:  # a damaged directory, which Pillow reports as well
        return None
    planes = tags.get(PLANAR, 1) != 1 and samples > 1
    fits = channels and channels <= samples <= channels + len(extra) and len(bits) == 1 and layout.bits in DTYPES
    known = formats == {FLOAT} and layout.predictor in (NONE, HORIZONTAL, FLOATING) and layout.width > 0 and layout.height > 0
    return layout if fits and known and not planes else None


def picture(tiff: FloatTiff, file: IO[bytes], path: Path) -> Picture:
    """The picture of a file; losses are logged. Raises InputError for NaN and infinity."""
    if tiff.samples > tiff.channels + tiff.alpha:
        log.warning("%s has a channel beside its colours that it does not explain: it is not kept", path)
    with opened(tiff, file) as image:
        if others := left_behind(image, file):
            log.warning("%s: its %s not kept", path, " and ".join(others) + (" is" if len(others) == 1 else " are"))
        pixels, alpha = arrays(tiff, image, path)
        return Picture(pixels, alpha, read_metadata(image, tiff.orientation, tiff.size, str(path)), "TIFF", True)


def opened(tiff: FloatTiff, file: IO[bytes]) -> Image.Image:
    """An image of the file's bytes as grey values, with the file's metadata."""
    file.seek(0)
    content = BytesIO()
    copyfileobj(file, content)
    if content.tell() >= LIMIT - (1 << 20):
        raise InputError("a TIFF file of floating-point numbers is read up to 4 GB: reduce it, or save it with 16 bits")
    each = tiff.samples * tiff.bits // 8
    across = tiff.width if tiff.tile is None else -(-tiff.width // tiff.tile) * tiff.tile
    tags = tiff.directory
    entries = {tag: (tags.tagtype[tag], bytes(tags._tagdata[tag])) for tag in tags._tagdata if tag not in NOT_COPIED}
    for tag, value in ((WIDTH, across * each), (BITS, 8), (PHOTOMETRIC, GREY), (SAMPLES, 1), (PLANAR, 1)):
        entries[tag] = (LONG, struct.pack(tiff.order + "I", value))
    if tiff.tile is not None:
        entries[TILE_WIDTH] = (LONG, struct.pack(tiff.order + "I", tiff.tile * each))
    _add_directory(content, entries, tiff.order)
    image = Image.open(content, formats=["TIFF"])
    image.load()
    return image


def _add_directory(out: BytesIO, entries: dict[int, tuple[int, bytes]], order: Literal["<", ">"]) -> None:
    """Gives a file a new first directory (tag -> type and bytes); all offsets stay valid."""
    out.write(bytes(out.tell() % 2))
    body = b""
    for tag, (kind, data) in sorted(entries.items()):
        if kind == LONG8:  # of BigTIFF
            numbers = struct.unpack(f"{order}{len(data) // 8}Q", data)
            kind, data = LONG, struct.pack(f"{order}{len(numbers)}I", *numbers)
        count = len(data) // TYPE_SIZES.get(kind, 1)
        if len(data) > 4:
            place = out.tell()
            out.write(data + bytes(len(data) % 2))
            data = struct.pack(order + "I", place)
        body += struct.pack(order + "HHI", tag, kind, count) + data.ljust(4, b"\0")
    start = out.tell()
    out.write(struct.pack(order + "H", len(entries)) + body + bytes(4))
    out.seek(0)
    out.write((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start))


def arrays(tiff: FloatTiff, image: Image.Image, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """(pixels [H, W, C], alpha [H, W] or None), float32, upright, of an image of `opened`.

    Raises InputError for NaN and infinity.
    """
    width, height = tiff.size
    pixels = np.empty((height, width, tiff.channels), np.float32)
    alpha = np.empty((height, width), np.float32) if tiff.alpha else None
    lying, lying_alpha = UPRIGHT[tiff.orientation](pixels), None if alpha is None else UPRIGHT[tiff.orientation](alpha)
    for part in strips(tiff.height, rows_within(BAND, image.size[0])):
        rows = np.asarray(image.crop((0, part.top, image.size[0], part.bottom)))
        with np.errstate(over="ignore", invalid="ignore"):
            band = _numbers(tiff, rows)[:, : tiff.width].astype(np.float32)
        if not np.isfinite(band).all():
            raise InputError(f"{path} contains NaN or infinity: replace them, or save it as a 16-bit TIFF or PNG")
        colours, share = band[..., : tiff.channels], band[..., tiff.channels :][..., :1]
        if tiff.extra == ASSOCIATED:
            colours = np.divide(colours, share, out=np.zeros_like(colours), where=share > 0)
        lying[part.rows] = colours
        if lying_alpha is not None:
            lying_alpha[part.rows] = share[..., 0].clip(0, 1)
    return pixels, alpha


def _numbers(tiff: FloatTiff, rows: np.ndarray) -> np.ndarray:
    """Values [N, W, samples] from rows of bytes [N, W * samples * bytes per value], with the predictor undone tile by tile."""
    across, size = tiff.tile or tiff.width, tiff.bits // 8
    length = across * tiff.samples
    if tiff.predictor == FLOATING:
        blocks = rows.reshape(len(rows), -1, across * size, tiff.samples)
        blocks = np.add.accumulate(blocks, 2, dtype=np.uint8).reshape(len(rows), -1, size, length)
        numbers = np.ascontiguousarray(blocks.swapaxes(2, 3)).view(f">{DTYPES[tiff.bits]}")
    elif tiff.predictor == HORIZONTAL:
        integers = np.ascontiguousarray(rows).view(f"{tiff.order}u{size}")
        blocks = integers.reshape(len(rows), -1, across, tiff.samples)
        numbers = np.add.accumulate(blocks.astype(f"=u{size}"), 2, dtype=f"=u{size}").view(f"={DTYPES[tiff.bits]}")
    else:
        numbers = np.ascontiguousarray(rows).view(f"{tiff.order}{DTYPES[tiff.bits]}")
    return numbers.reshape(len(rows), -1, tiff.samples)
