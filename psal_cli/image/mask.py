"""Mask files: which pixels to fill, grown and feathered."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from psal_cli.errors import Cure, InputError
from psal_cli.image.arrays import to_depth
from psal_cli.image.header import Header
from psal_cli.image.mask_layers import psd_header, read_layer
from psal_cli.image.painting import region
from psal_cli.image.reading import MAX_PIXELS, read_header, read_plain
from psal_cli.image.shapes import Shape, shapes_region
from psal_cli.image.strokes import Stroke
from psal_cli.storage import as_path
from psal_cli.strips import rows_within, strips

log = logging.getLogger(__name__)

HALF = 128
LUMA = (19595, 38470, 7471)  # of red, green, blue, of 65536 together: ITU-R 601, as Pillow rounds it
BAND = 1 << 20  # pixels
GREY_SHARE = 0.1  # with more pixels than that between black and white, a mask is probably not one


class Mask(NamedTuple):
    """hole: bool [H, W], True = fill; soft: None or float32 [H, W] in [0, 1], how much of the fill each pixel takes."""

    hole: np.ndarray
    soft: np.ndarray | None


def read_mask(
    path: str | Path | None,
    size: tuple[int, int],
    invert: bool = False,
    dilate: int = 0,
    feather: int = 0,
    max_pixels: int = MAX_PIXELS,
    shapes: Sequence[Shape] = (),
    strokes: Sequence[Stroke] = (),
    layer: str | None = None,
    marked: np.ndarray | None = None,
) -> Mask:
    """Reads a mask for a picture of `size` (width, height): white = fill, see `read_region`.

    path: None where there are shapes or strokes only; layer: see `read_region`. invert: black = fill. shapes, strokes of layer
    "mask", marked (bool [H, W]): are filled too.
    dilate: the hole grows by so many pixels all around (Euclidean distance).
    feather: the hole grows by so many pixels more, over which the fill fades into the original. These pixels are the only
    ones outside the mask that change.
    An empty mask is an empty hole. Raises InputError: what `read_region` and `shapes_region` raise; nothing left outside it.
    """
    hole = marked_region(path, size, max_pixels, shapes, invert, layer)
    if marked is not None:
        hole |= marked
    if strokes:
        hole |= region(strokes, "mask", size)
    soft = None
    if hole.any() and (dilate or feather):
        hole, soft = feathered(hole, dilate, feather)
    if hole.all():
        grown = ", dilated and feathered," if dilate or feather else ""
        nothing = "the whole picture, nothing is left to fill from"
        if path is None:
            what = "strokes" if strokes else "shapes" if shapes else "outlines"
            raise InputError(f"the {what}{grown} cover {nothing}: give smaller ones")
        raise InputError(f"{path}{grown} covers {nothing}", Cure.INVERT)
    return Mask(hole, soft)


def marked_region(
    path: str | Path | None,
    size: tuple[int, int],
    max_pixels: int = MAX_PIXELS,
    shapes: Sequence[Shape] = (),
    invert: bool = False,
    layer: str | None = None,
) -> np.ndarray:
    """What a mask file (`read_region`, with `invert` its opposite) or one of some shapes (`shapes_region`) marks of a picture of
    `size` (width, height): bool [H, W]. path: None for shapes alone."""
    marked = shapes_region(shapes, size)  # first: what is wrong with them needs no file to be read
    if path is not None:
        read = read_region(path, size, max_pixels, layer)
        marked |= ~read if invert else read
    return marked


def read_region(path: str | Path, size: tuple[int, int], max_pixels: int = MAX_PIXELS, layer: str | None = None) -> np.ndarray:
    """Reads a black-and-white picture of `size` (width, height) as bool [H, W], True where it is white (128 of 255 or more).

    layer: the name of a layer of a PSD or TIFF file (see `mask_layers`); of a PSD file without one, the only mask in it.
    The orientation tag is applied. Where it has transparency, what is not painted is black; when all that is painted has
    one colour, whichever, it is a layer painted over the picture, and the opaque pixels count as white.
    Raises InputError: no such file, no picture, another size (checked before decoding), a colour mode that is not a mask.
    """
    path = as_path(path)
    header = mask_header(path, max_pixels)
    check_mask_size(header.width, header.height, size, path)
    layered = layer is not None or header.format == "PSD"
    pixels, alpha = read_layer(path, layer, size, max_pixels) if layered else read_plain(path, max_pixels)
    values = _values(pixels, alpha, path, quiet=layered)
    check_mask_size(values.shape[1], values.shape[0], size, path)
    grey = np.count_nonzero((values > 32) & (values < 224)) / values.size
    if grey > GREY_SHARE:
        log.warning("%s is not black and white, %.0f %% of it is grey: taken as white from half on", path, 100 * grey)
    return values >= HALF


def mask_header(path: Path, max_pixels: int = MAX_PIXELS) -> Header:
    """What the file of a mask says, as `read_header`; of PSD files too."""
    return psd_header(path) or read_header(path, max_pixels, profiles=False)


def check_mask_size(width: int, height: int, size: tuple[int, int], path: Path) -> None:
    """Raises InputError when a mask of width and height is none for a picture of `size` (width, height)."""
    if (width, height) != tuple(size):
        turned = " (turned by 90 degrees it would fit)" if (height, width) == tuple(size) else ""
        raise InputError(f"{path} is {width}x{height}, the picture is {size[0]}x{size[1]}{turned}: give a mask of the same size")


def _values(pixels: np.ndarray, alpha: np.ndarray | None, path: Path, quiet: bool) -> np.ndarray:
    """uint8 [H, W], 255 = white. quiet: nothing is said of alpha, which layers are expected to have."""
    varies = alpha is not None and alpha.min() < alpha.max()
    layer = alpha is not None and _is_layer(pixels, alpha, varies)
    if layer and varies and not quiet:
        log.warning("%s is read from its alpha channel: opaque = white", path)
    out = np.empty(pixels.shape[:2], np.uint8)
    height, width = pixels.shape[:2]
    for rows in (part.rows for part in strips(height, rows_within(BAND, width))):
        out[rows] = _high(alpha[rows]) if layer and alpha is not None else _light(_high(pixels[rows]))
        if varies and not layer and alpha is not None:
            out[rows] = out[rows].astype(np.uint16) * _high(alpha[rows]) // 255
    return out


def _is_layer(pixels: np.ndarray, alpha: np.ndarray, varies: bool) -> bool:
    """Whether all that is opaque has one colour, or nothing is."""
    if not varies:
        return bool(_high(alpha[:1, :1]) < HALF)
    colour = None
    for rows in (part.rows for part in strips(len(alpha), rows_within(BAND, alpha.shape[1]))):
        painted = _high(pixels[rows])[_high(alpha[rows]) >= HALF]
        if len(painted):
            colour = painted[0] if colour is None else colour
            if (painted != colour).any():
                return False
    return True


def _high(values: np.ndarray) -> np.ndarray:
    """uint8: the high bytes of uint16, floats rounded."""
    if values.dtype.kind == "f":
        return to_depth(values, np.uint8)
    return values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)


def _light(pixels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, C] -> [H, W]."""
    return pixels[..., 0] if pixels.shape[2] == 1 else (pixels @ np.array(LUMA, np.uint32) + 0x8000) >> 16


def feathered(hole: np.ndarray, dilate: int, feather: int) -> Mask:
    """A hole, bool [H, W] and not empty, dilated and feathered as `read_mask` says."""
    import cv2

    reach = dilate + feather
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    box = np.s_[max(rows[0] - reach, 0) : rows[-1] + reach + 1, max(columns[0] - reach, 0) : columns[-1] + reach + 1]
    distance = cv2.distanceTransform((~hole[box]).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    grown = np.zeros_like(hole)
    grown[box] = distance <= reach
    if not feather:
        return Mask(grown, None)
    soft = np.zeros(hole.shape, np.float32)
    fade = np.clip((reach + 1 - distance) / (feather + 1), 0, 1)
    soft[box] = np.where(distance <= reach, fade * fade * (3 - 2 * fade), 0)  # smoothstep: no visible start nor end
    return Mask(grown, soft)
