"""Spreads colours that a user painted on a picture, up to its edges."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from psal_cli.errors import InvalidValueError
from psal_cli.image.arrays import Layers, within_white
from psal_cli.image.cielab import coloured, lab
from psal_cli.verbs.colorize.coarse_to_fine import ChromaEstimate

REACH = 0.3  # of the longer side: how far colours spread if no edge stops them
EDGE = 0.04  # of lightness / 100: a step this large lets a third through
ROUNDS = 3  # of smoothing along rows and columns
SMALL = 0.003  # share of a uniform area that strokes must cover to override the references there
OTHER = 0.2  # of chroma / 100: colours this far apart contradict each other

Floats = npt.NDArray[np.float32]


class Hints(NamedTuple):
    """chroma: float32 [h, w, 2], a* and b* divided by 100; weight: float32 [h, w], the share of each pixel that is painted."""

    chroma: Floats
    weight: Floats


def check_size(hints: tuple[int, ...], size: tuple[int, int]) -> None:
    """Raises InvalidValueError unless hints of this (height, width) have that of the picture."""
    if hints != size:
        raise InvalidValueError("hints", f"{hints[1]}x{hints[0]}", f"{size[1]}x{size[0]}, the size of the picture")


def check(hints: Layers, size: tuple[int, int]) -> None:
    """Raises InvalidValueError unless the hints are strokes of colour on a transparent layer of (height, width) `size`."""
    check_size(hints.pixels.shape[:2], size)
    if hints.visible is None or hints.visible.all():
        raise InvalidValueError("hints", "opaque", "strokes of colour on transparency")
    if not hints.visible.any():
        raise InvalidValueError("hints", "wholly transparent", "strokes of colour on transparency")


def hinted(estimate: ChromaEstimate, strokes: Layers, certainty: Floats) -> tuple[ChromaEstimate, float]:
    """Adds the painted colours to an estimate; also returns the share of the painted pixels that contradict it.

    strokes: as `check` allows. certainty: see `spread`.
    """
    hints = hints_of(_three(strokes.pixels), _area(strokes), estimate.light.shape)
    chroma, share = spread(hints, estimate.light, estimate.chroma, certainty)
    painted = hints.weight > 0
    apart = np.linalg.norm((hints.chroma - estimate.chroma)[painted], axis=1) > OTHER
    confidence = None if estimate.confidence is None else np.maximum(estimate.confidence, share)
    return replace(estimate, chroma=chroma, confidence=confidence), float(apart.mean())


def held(result: np.ndarray, pixels: np.ndarray, strokes: Layers, strength: float) -> None:
    """Sets the painted pixels of a result [H, W, 3] to the painted colours, with the luminance of the picture [H, W, C], in
    place."""
    row, column = _area(strokes).nonzero()
    chroma = lab(_three(strokes.pixels[row, column][None]))[..., 1:] * np.float32(strength)
    result[row, column] = coloured(pixels[row, column][None], chroma)[0]


def _area(strokes: Layers) -> npt.NDArray[np.bool_]:
    """The painted pixels; all of an opaque picture, which `check` refuses."""
    return np.ones(strokes.pixels.shape[:2], bool) if strokes.visible is None else strokes.visible


def _three(pixels: np.ndarray) -> np.ndarray:
    """[H, W, 1 or 3] -> [H, W, 3]; floats clipped to [0, 1]."""
    return within_white(pixels.repeat(3, 2) if pixels.shape[2] == 1 else pixels)


def hints_of(pixels: np.ndarray, visible: npt.NDArray[np.bool_], size: tuple[int, int]) -> Hints:
    """Resizes strokes. A pixel gets the mean of the colours painted inside it, so that thin strokes survive.

    Args:
        pixels: uint8, uint16 or float32 [H, W, 3], as sRGB. visible: bool [H, W], the painted pixels.
        size: (h, w).
    """
    height, width = pixels.shape[:2]
    row, column = visible.nonzero()
    at = (row * size[0] // height) * size[1] + column * size[1] // width
    painted = lab(pixels[row, column][None])[0]
    count = np.bincount(at, minlength=size[0] * size[1])
    sums = [np.bincount(at, painted[:, channel], len(count)) for channel in (1, 2)]
    chroma = np.stack(sums, 1) / np.maximum(count, 1)[:, None]
    share = (count * (size[0] * size[1] / (height * width))).clip(0, 1)
    return Hints(chroma.reshape(*size, 2).astype(np.float32), share.reshape(size).astype(np.float32))


def spread(hints: Hints, light: Floats, chroma: Floats, certainty: Floats) -> tuple[Floats, Floats]:
    """Colours for a whole picture from strokes and from an estimate without them.

    The strokes are smoothed along rows and columns in turn, less across steps of lightness (fast global smoothing, Min et al.
    2014); so is the certainty of the estimate. The strokes win wherever more arrives from them.

    Args:
        light: float32 [h, w], the lightness / 100 of the picture. chroma: float32 [h, w, 2], the estimate without strokes.
        certainty: float32 [h, w], the weight of the estimate, 0 to 1; 0 everywhere uses the strokes alone.

    Returns:
        chroma float32 [h, w, 2], and float32 [h, w], the share of the strokes in it.
    """
    weight = hints.weight[..., None]
    arrived = smoothed(np.concatenate([hints.chroma * weight, weight, certainty[..., None]], 2), light)
    total = arrived[..., 2]
    painted = arrived[..., :2] / np.maximum(total, np.finfo(np.float64).tiny)[..., None]
    share = total / np.maximum(total + SMALL * arrived[..., 3], np.finfo(np.float64).tiny)
    share = np.maximum(share, hints.weight)
    painted = np.where(weight > 0, weight * hints.chroma + (1 - weight) * painted, painted)
    mixed = share[..., None] * painted + (1 - share[..., None]) * chroma
    return mixed.astype(np.float32), share.astype(np.float32)


def smoothed(values: npt.NDArray[np.floating], light: Floats) -> npt.NDArray[np.float64]:
    """float64 [h, w, C]: values [h, w, C] smoothed over the picture, less across steps of lightness. Their sum is preserved."""
    strength = (REACH * max(light.shape)) ** 2
    down, right = (np.exp(-np.abs(np.diff(light.astype(np.float64), axis=axis)) / EDGE) for axis in (0, 1))
    out = values.astype(np.float64)
    for number in range(1, ROUNDS + 1):
        share = 1.5 * 4.0 ** (ROUNDS - number) / (4.0**ROUNDS - 1)  # decreases with each round, against streaks
        out = _along(out, down * strength * share)
        out = _along(out.transpose(1, 0, 2), (right * strength * share).T).transpose(1, 0, 2)
    return out


def _along(values: npt.NDArray[np.float64], bonds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Minimises sum (u - values)^2 + sum bonds (step of u)^2 along the first axis.

    values: [n, m, C]; bonds: [n - 1, m]. A tridiagonal system, solved by elimination for all m at once.
    """
    count, width = values.shape[:2]
    before, after = (np.zeros((count, width)) for _ in range(2))
    before[1:], after[:-1] = bonds, bonds
    ratio, out = np.empty((count, width)), np.empty_like(values)
    ratio_before, sums_before = np.zeros(width), np.zeros(values.shape[1:])
    for row in range(count):
        pivot = 1 + before[row] * (1 - ratio_before) + after[row]
        ratio_before = ratio[row] = after[row] / pivot
        sums_before = out[row] = (values[row] + before[row][:, None] * sums_before) / pivot[:, None]
    for row in range(count - 2, -1, -1):
        out[row] += ratio[row][:, None] * out[row + 1]
    return out
