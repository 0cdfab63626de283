"""Colours carried from one frame of a film to the next, against flicker."""

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from psal_cli.image.cielab import lab
from psal_cli.verbs.colorize.coarse_to_fine import ChromaEstimate, resized_picture

CARRIED = 0.8  # share of the frame before where the same thing is seen in both
ASTRAY = 1.0  # pixels: a flow there and back that ends so far away counts by 1 / e
UNLIKE = 0.06  # of lightness / 100: a place that has changed so much counts by 1 / e
WINDOW = 15  # pixels, over which the flow is even

Floats = npt.NDArray[np.float32]


def carried(found: ChromaEstimate, previous: np.ndarray, strength: float = 1.0) -> ChromaEstimate:
    """What was found for a frame, mixed with the colours of the frame before where that shows the same.

    Optical flow (Farneback 2003) says where each place was. It is believed where the flow back returns and the lightness is
    the same.

    Args:
        previous: the frame before in colour, uint8, uint16 or float32 [H, W, 3], as sRGB, of any size.
        strength: that its colours have been given, and that those of this frame will be; with 0 nothing is carried.
    """
    if strength == 0:
        return found
    before = lab(resized_picture(previous, found.light.shape))
    light = np.ascontiguousarray(before[..., 0])
    chroma = np.ascontiguousarray(before[..., 1:] / np.float32(strength), np.float32)
    back = flow(found.light, light)
    there = sampled(flow(light, found.light), back)
    astray = np.linalg.norm(back + there, axis=2)
    unlike = np.abs(sampled(light, back) - found.light)
    share = CARRIED * np.exp(-((astray / ASTRAY) ** 2) - (unlike / UNLIKE) ** 2)
    mixed = share[..., None] * sampled(chroma, back) + (1 - share[..., None]) * found.chroma
    confidence = None if found.confidence is None else np.maximum(found.confidence, share)
    return replace(found, chroma=mixed.astype(np.float32), confidence=confidence)


def flow(light: Floats, other: Floats) -> Floats:
    """float32 [h, w, 2], columns and rows from each place of a picture to the same place in another of its size.

    light, other: float32 [h, w] in [0, 1].
    """
    first, second = (np.rint(x.clip(0, 1) * 255).astype(np.uint8) for x in (light, other))
    levels = max(int(np.log2(max(min(light.shape) // 16, 1))), 0)
    out = np.zeros((*light.shape, 2), np.float32)
    return np.asarray(cv2.calcOpticalFlowFarneback(first, second, out, 0.5, levels + 1, WINDOW, 3, 5, 1.1, 0), np.float32)


def sampled(values: Floats, offsets: Floats) -> Floats:
    """Values [h, w] or [h, w, C] at places that lie by `offsets` [h, w, 2], columns and rows, from each; bilinear."""
    row, column = np.indices(offsets.shape[:2], np.float32)
    places = column + offsets[..., 0], row + offsets[..., 1]
    return np.asarray(cv2.remap(values, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
