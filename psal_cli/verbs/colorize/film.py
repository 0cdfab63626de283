"""Carries colours from one frame of a film to the next, against flicker."""

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from psal_cli.image.cielab import lab
from psal_cli.verbs.colorize.coarse_to_fine import ChromaEstimate
from psal_cli.verbs.colorize.sizes import resized_picture

CARRIED = 0.8  # weight of the previous frame where both show the same
ASTRAY = 1.0  # pixels: a forward-backward error this large counts 1 / e
UNLIKE = 0.06  # of lightness / 100: a pixel that changed this much counts 1 / e
WINDOW = 15  # pixels, over which the flow is smoothed

Floats = npt.NDArray[np.float32]


def carried(estimate: ChromaEstimate, previous: np.ndarray, strength: float = 1.0) -> ChromaEstimate:
    """Mixes the estimate for a frame with the colours of the previous frame, where both show the same.

    Optical flow (Farneback 2003) tells where each pixel was. It is trusted where the backward flow returns to the pixel and the
    lightness agrees.

    Args:
        previous: the previous frame in colour, uint8, uint16 or float32 [H, W, 3], as sRGB, of any size.
        strength: of the colours, that of the previous frame and of this one; with 0 nothing is carried.
    """
    if strength == 0:
        return estimate
    before = lab(resized_picture(previous, estimate.light.shape))
    light = np.ascontiguousarray(before[..., 0])
    chroma = np.ascontiguousarray(before[..., 1:] / np.float32(strength), np.float32)
    back = flow(estimate.light, light)
    there = sampled(flow(light, estimate.light), back)
    astray = np.linalg.norm(back + there, axis=2)
    unlike = np.abs(sampled(light, back) - estimate.light)
    share = CARRIED * np.exp(-((astray / ASTRAY) ** 2) - (unlike / UNLIKE) ** 2)
    mixed = share[..., None] * sampled(chroma, back) + (1 - share[..., None]) * estimate.chroma
    confidence = None if estimate.confidence is None else np.maximum(estimate.confidence, share)
    return replace(estimate, chroma=mixed.astype(np.float32), confidence=confidence)


def flow(light: Floats, other: Floats) -> Floats:
    """float32 [h, w, 2], (columns, rows) from each pixel of a picture to the same point in another picture of its size.

    light, other: float32 [h, w] in [0, 1].
    """
    first, second = (np.rint(x.clip(0, 1) * 255).astype(np.uint8) for x in (light, other))
    levels = max(int(np.log2(max(min(light.shape) // 16, 1))), 0)
    out = np.zeros((*light.shape, 2), np.float32)
    return np.asarray(cv2.calcOpticalFlowFarneback(first, second, out, 0.5, levels + 1, WINDOW, 3, 5, 1.1, 0), np.float32)


def sampled(values: Floats, offsets: Floats) -> Floats:
    """Samples values [h, w] or [h, w, C] bilinearly, displaced by `offsets` [h, w, 2], (columns, rows)."""
    row, column = np.indices(offsets.shape[:2], np.float32)
    places = column + offsets[..., 0], row + offsets[..., 1]
    return np.asarray(cv2.remap(values, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
