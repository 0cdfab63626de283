"""Reads mask files: which pixels to fill, dilated and feathered."""

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
LUMA = (19595, 38470, 7471)  # weights of red, green, blue / 65536: ITU-R 601, as Pillow rounds it
BAND = 1 << 20  # pixels
GREY_SHARE = 0.1  # with a larger share of grey pixels, a picture is probably not a mask


class Mask(NamedTuple):
    """hole: bool [H, W], True = fill; soft: None or float32 [H, W] in [0, 1], the opacity of the fill."""

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

    path: None for shapes or strokes alone; layer: see `read_region`. invert: black = fill. shapes, strokes of layer "mask" and
        marked (bool [H, W]) are added to the hole.
    dilate: pixels by which the hole grows (Euclidean distance).
    feather: further pixels by which the hole grows, over which the fill fades into the original. Only these pixels outside the
    mask change. An empty mask gives an empty hole. Raises InputError as `read_region` and `shapes_region` do, and if nothing is
    left outside the mask.
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
    """The region that a mask file (`read_region`; inverted with `invert`) or any of some shapes (`shapes_region`) marks in a
    picture of `size` (width, height): bool [H, W]. path: None for shapes alone."""
    marked = shapes_region(shapes, size)  # first: their errors need no file
    if path is not None:
        read = read_region(path, size, max_pixels, layer)
        marked |= ~read if invert else read
    return marked


def read_region(path: str | Path, size: tuple[int, int], max_pixels: int = MAX_PIXELS, layer: str | None = None) -> np.ndarray:
    """Reads a black-and-white picture of `size` (width, height) as bool [H, W], True where it is white (128 of 255 or more).

    layer: the name of a layer of a PSD or TIFF file (see `mask_layers`); None takes the only mask of a PSD file. The orientation
    tag is applied. Transparent pixels are black. If all opaque pixels have the same colour, the file is taken for a painted
    layer, and opaque pixels count as white. Raises InputError if there is no such file, or it is not a picture, has another size
    (checked before decoding) or an unsupported colour mode.
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
    """The header of a mask file, as `read_header`; also for PSD files."""
    return psd_header(path) or read_header(path, max_pixels, profiles=False)


def check_mask_size(width: int, height: int, size: tuple[int, int], path: Path) -> None:
    """Raises InputError if a mask of width and height does not fit a picture of `size` (width, height)."""
    if (width, height) != tuple(size):
        turned = " (turned by 90 degrees it would fit)" if (height, width) == tuple(size) else ""
        raise InputError(f"{path} is {width}x{height}, the picture is {size[0]}x{size[1]}{turned}: give a mask of the same size")


def _values(pixels: np.ndarray, alpha: np.ndarray | None, path: Path, quiet: bool) -> np.ndarray:
    """uint8 [H, W], 255 = white. quiet: log nothing about alpha, which layers are expected to have."""
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
    """Whether all opaque pixels have the same colour, or there are none."""
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
    """Converts to uint8: the high bytes of uint16, floats rounded."""
    if values.dtype.kind == "f":
        return to_depth(values, np.uint8)
    return values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)


def _light(pixels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, C] -> [H, W]."""
    return pixels[..., 0] if pixels.shape[2] == 1 else (pixels @ np.array(LUMA, np.uint32) + 0x8000) >> 16


def feathered(hole: np.ndarray, dilate: int, feather: int) -> Mask:
    """Dilates and feathers a hole, bool [H, W] and not empty, as described in `read_mask`."""
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
    soft[box] = np.where(distance <= reach, fade * fade * (3 - 2 * fade), 0)  # smoothstep: no visible start or end
    return Mask(grown, soft)
