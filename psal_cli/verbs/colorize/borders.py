"""Finds the borders of scans: paper or film around a photograph, which is neither colorized nor used as a reference."""

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from psal_cli.image.cielab import lightness
from psal_cli.verbs.colorize.coarse_to_fine import ChromaEstimate
from psal_cli.verbs.colorize.sizes import coarse_size, resized_picture

WHITE, BLACK = 0.85, 0.12  # of lightness / 100: paper is lighter, film darker
EVEN = 0.04  # of lightness / 100: a border stays this close to its median,
MOST = 0.97  # except for this share of it: scratches, dust
LEAST, WIDEST = 0.01, 0.2  # of the shorter side: how wide a border may be
ALIKE = 0.08  # of lightness / 100: how much the four sides may differ


def inside(light: npt.NDArray[np.float32]) -> tuple[slice, slice]:
    """The rows and columns of the photograph in a scan, float32 [h, w] in [0, 1]; all of them if there is no border.

    Only a uniform frame of paper or film on all four sides is a border; a white sky or a black corner is not.
    """
    whole = slice(0, light.shape[0]), slice(0, light.shape[1])
    least, widest = LEAST * min(light.shape), int(WIDEST * min(light.shape))
    sides = (light, light[::-1], light.T, light.T[::-1])
    levels = [float(np.median(side[0])) for side in sides]
    if np.ptp(levels) > ALIKE or not (min(levels) > WHITE or max(levels) < BLACK):
        return whole
    level = float(np.median(levels))
    top, bottom, left, right = (_depth(side, level, widest) for side in sides)
    if min(top, bottom, left, right) < max(least, 1) or max(top, bottom, left, right) >= widest:
        return whole
    return slice(top, light.shape[0] - bottom), slice(left, light.shape[1] - right)


def photograph(pixels: np.ndarray) -> npt.NDArray[np.bool_] | None:
    """bool [H, W], the photograph inside a scan [H, W, 1 or 3], whole pixels only; None if there is no border."""
    small = lightness(resized_picture(pixels, coarse_size(pixels.shape[:2])))
    part = inside(small)
    marked = np.zeros(small.shape, np.uint8)
    marked[part] = 255
    if marked.all():
        return None
    large = cv2.resize(marked, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(large == 255)


def emptied(estimate: ChromaEstimate) -> ChromaEstimate:
    """Removes the colours of the border from an estimate and makes it certain there."""
    outside = np.ones(estimate.light.shape, bool)
    outside[inside(estimate.light)] = False
    if not outside.any():
        return estimate
    confidence = None if estimate.confidence is None else np.where(outside, np.float32(1), estimate.confidence)
    return replace(estimate, chroma=np.where(outside[..., None], np.float32(0), estimate.chroma), confidence=confidence)


def _depth(side: npt.NDArray[np.float32], level: float, widest: int) -> int:
    """How many rows, from the first one, belong to a border of this lightness."""
    even = (np.abs(side[: widest + 1] - level) < EVEN).mean(1) > MOST
    return len(even) if even.all() else int(np.argmin(even))
