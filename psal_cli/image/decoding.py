"""Converts decoded files to arrays: upright, 8 or 16 bits, alpha separate, in bands of rows.

Pillow opens 16-bit colour as 8-bit. Its decoders can be told which byte of each value to return, so the file is decoded twice,
for the high and the low bytes. OpenCV reads 16 bits at once, but neither grey with alpha nor planes, and it prints its warnings.
"""

import ctypes
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from psal_cli.strips import rows_within, strips

# Pillow's mode -> (mode of the colours, has alpha); palettes, transparency keys and CMYK are handled by name.
MODES = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "RGB": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "RGBA": "RGBA", "RGBa": "RGBA"}
PALETTES = ("P", "PA")
DEEP_GREY = ("I;16", "I;16L", "I;16B")
BAND = 1 << 20  # pixels
SIGNED = 2  # of a TIFF's sample formats
ASSOCIATED = 1  # of a TIFF's extra samples: premultiplied alpha
BITS, PHOTOMETRIC, SAMPLES, PLANAR, EXTRA_SAMPLES, SAMPLE_FORMAT = 258, 262, 277, 284, 338, 339
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # a view of the upright array in stored orientation
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@cache
def prepare_pillow() -> None:
    """Changes Pillow's process-wide settings for psal's reader: before the first file, never on import."""
    Image.MAX_IMAGE_PIXELS = None  # `reading` has its own limit; Pillow's refuses legitimate panoramas (179 megapixels)
    # Bytes of a decompressed profile or text in a PNG file: Pillow's limits refuse pictures with large profiles.
    PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = 1 << 25, 1 << 26
    # Warnings of Pillow and libtiff about files: what matters is also raised. Set once for all, since threads read in parallel.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    with suppress(AttributeError, OSError):  # if libtiff is not a separate library (Windows), it prints
        for handler in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            getattr(ctypes.CDLL(Image.core.__file__), handler)(None)
    # 16-bit TIFF files that Pillow does not know: grey with alpha is read as four 8-bit channels.
    for order, grey in ((b"II", "I;16"), (b"MM", "I;16B")):
        TiffImagePlugin.OPEN_INFO.setdefault((order, 0, (1,), 1, (16,), ()), (grey, grey))
        for extra in (0, 1, 2):
            TiffImagePlugin.OPEN_INFO.setdefault((order, 1, (1,), 1, (16, 16), (extra,)), ("RGBA", "RGBA"))


class Layout(NamedTuple):
    """How the pixels of an opened file become arrays.

    channels: colour channels, 1 or 3; bits: of the arrays, 8 or 16; raw: Pillow's name of the layout in the file. For 16 bits:
        pairs: grey with alpha, which Pillow returns as four bytes; inverted: white is zero; divided: colours are premultiplied;
        key: the transparent colour.
    """

    channels: int
    alpha: bool
    bits: int
    raw: str = ""
    pairs: bool = False
    inverted: bool = False
    divided: bool = False
    key: int | tuple[int, ...] | None = None


def layout_of(image: Image.Image) -> Layout | None:
    """The layout of an image that is opened but not loaded; None if psal does not read it, see `refusal`."""
    raw, tags = _raw(image), image.tag_v2 if image.format == "TIFF" else {}
    bits, extra = _bits(image), tags.get(EXTRA_SAMPLES, ())
    pairs = bits == 16 and (raw == "LA;16B" or (image.format == "TIFF" and raw == "RGBA"))
    if refusal(image):
        return None
    if pairs:
        return Layout(1, 0 not in extra, bits, raw, True, divided=ASSOCIATED in extra)
    if image.mode in (*PALETTES, "CMYK"):
        return Layout(3, image.has_transparency_data, 8)
    if bits < 16:
        return Layout(len(MODES[image.mode].removesuffix("A")), image.has_transparency_data, 8)
    channels = 1 if image.mode in DEEP_GREY else 3
    key = image.info.get("transparency")
    alpha = image.mode == "RGBA" or key is not None
    return Layout(channels, alpha, bits, raw, False, tags.get(PHOTOMETRIC) == 0, ASSOCIATED in extra, key)


def refusal(image: Image.Image) -> str | None:
    """Why psal does not read an opened image, None if it does."""
    bits, tags = _bits(image), image.tag_v2 if image.format == "TIFF" else {}
    if image.mode == "F":
        return "has floating-point numbers"
    if SIGNED in tags.get(SAMPLE_FORMAT, ()):
        return f"has signed numbers of {bits} bits"
    if image.mode == "I" or bits not in (1, 2, 4, 8, 16):
        return f"has numbers of {bits} bits"
    if bits == 16 and tags.get(PLANAR) == 2 and tags.get(SAMPLES, 1) > 1:
        return "has 16 bits with each colour in a plane of its own"
    if bits == 16 and image.mode == "CMYK":
        return "is CMYK with 16 bits"
    if image.mode not in (*MODES, *PALETTES, *DEEP_GREY, "CMYK"):
        return f"has the colour mode {image.mode}"
    return None


def _raw(image: Image.Image) -> str:
    args = image.tile[0].args if image.tile else ""
    return args if isinstance(args, str) else str(args[0])


def _bits(image: Image.Image) -> int:
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(BITS, (1,))))
    return 16 if image.mode in DEEP_GREY or _raw(image).endswith(";16B") else 8


def load(image: Image.Image, layout: Layout) -> None:
    """Decodes an opened image; for 16-bit colour, the high bytes."""
    if _raw(image) in ("L;2", "L;4") and isinstance(key := image.info.get("transparency"), int):
        image.info["transparency"] = key * (0xFF // (2 ** int(_raw(image)[-1]) - 1))  # Pillow widens the pixels, not the key
    if layout.pairs:
        _set_raw(image, "RGBA")
    elif layout.bits == 16 and layout.channels == 3:
        _set_raw(image, _raw_bytes(layout.raw, high=True))
    image.load()


def _set_raw(image: Image.Image, raw: str) -> None:
    image.tile = [tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:])) for tile in image.tile]


def _raw_bytes(raw: str, high: bool) -> str:
    """Pillow's raw mode for the high (or low) bytes of `raw`, e.g. "RGB;16B"; N is native byte order."""
    own = "L" if sys.byteorder == "little" else "B"
    order = raw[-1].replace("N", own)
    stem = raw[:-1].replace("a", "A")  # premultiplied: Pillow's division has 8 bits, ours is below
    return stem + (order if high else "LB"[order == "L"])


def arrays(
    image: Image.Image, file: IO[bytes], layout: Layout, orientation: int, inks: Callable[[Image.Image], Image.Image]
) -> tuple[np.ndarray, np.ndarray | None]:
    """(pixels [H, W, C], alpha [H, W] or None) of a loaded image, upright, uint8 or uint16.

    file: of the image; inks: converts a band of CMYK to RGB.
    """
    channels = layout.channels
    width, height = image.size if orientation < 5 else image.size[::-1]
    pixels = np.empty((height, width, channels), np.uint16 if layout.bits == 16 else np.uint8)
    alpha = np.empty((height, width), pixels.dtype) if layout.alpha else None
    lying, lying_alpha = UPRIGHT[orientation](pixels), None if alpha is None else UPRIGHT[orientation](alpha)
    for rows, band in _deep_bands(image, file, layout) if layout.bits == 16 else _bands(image, layout, inks):
        lying[rows] = band[..., :channels]
        if lying_alpha is not None:
            lying_alpha[rows] = band[..., channels]
    return pixels, alpha


def _crops(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    width, height = image.size
    for part in strips(height, rows_within(BAND, width)):
        yield part.rows, image.crop((0, part.top, width, part.bottom))


def _bands(image: Image.Image, layout: Layout, inks: Callable[[Image.Image], Image.Image]) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields rows and uint8 [N, W, C]."""
    mode = {1: "L", 3: "RGB"}[layout.channels] + "A" * layout.alpha
    for rows, crop in _crops(image):
        if image.mode == "CMYK":
            crop = inks(crop)
        band = np.asarray(crop if crop.mode == mode else crop.convert(mode))
        yield rows, band if band.ndim == 3 else band[..., None]


def _deep_bands(image: Image.Image, file: IO[bytes], layout: Layout) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields rows and uint16 [N, W, C]."""
    for rows, band in _numbers(image, file, layout):
        if layout.inverted:
            band = ~band
        if layout.divided:
            band = _divided(band)
        if layout.key is not None:
            band = np.dstack([band, np.where((band == layout.key).all(2), np.uint16(0), np.uint16(65535))])
        yield rows, band


def _numbers(image: Image.Image, file: IO[bytes], layout: Layout) -> Iterator[tuple[slice, np.ndarray]]:
    if layout.pairs:
        order = "=" if image.format == "TIFF" and image.use_load_libtiff else "<" if _little(image) else ">"
        for rows, crop in _crops(image):
            yield rows, np.asarray(crop).view(order + "u2").astype(np.uint16)
    elif layout.channels == 1:
        for rows, crop in _crops(image):
            yield rows, np.asarray(crop).astype(np.uint16)[..., None]
    else:
        file.seek(0)
        low = Image.open(file, formats=[str(image.format)])
        _set_raw(low, _raw_bytes(layout.raw, high=False))
        low.load()
        for (rows, crop), (_, below) in zip(_crops(image), _crops(low), strict=True):
            yield rows, np.asarray(crop).astype(np.uint16) << 8 | np.asarray(below)


def _little(image: Image.Image) -> bool:
    return image.format == "TIFF" and bool(image.tag_v2.prefix == b"II")


def _divided(band: np.ndarray) -> np.ndarray:
    """Divides premultiplied colours by alpha, the last channel; black where alpha is zero."""
    alpha = np.maximum(band[..., -1:], 1).astype(np.uint32)
    out = np.minimum((band.astype(np.uint32) * 65535 + alpha // 2) // alpha, 65535).astype(np.uint16)  # fits 32 bits
    out[..., -1:] = band[..., -1:]
    return np.asarray(out)
