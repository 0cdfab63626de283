"""What is counted in colours that were found: speckles, and edges where the light has none."""

import cv2
import numpy as np


def speckles(chroma: np.ndarray) -> float:
    """Share of pixels whose chroma is more than 10 units of Lab away from the median of the 5x5 pixels around them."""
    median = np.stack([cv2.medianBlur(np.ascontiguousarray(chroma[..., i], np.float32), 5) for i in (0, 1)], 2)
    return float((np.linalg.norm(chroma - median, axis=2) > 0.1).mean())


def stray_edges(light: np.ndarray, chroma: np.ndarray) -> float:
    """Share of pixels where chroma changes by more than 10 units over 4 pixels and L* by less than 3 over the 9x9 around: what
    has run over an edge, or ended before it."""
    steps = [np.linalg.norm(np.roll(chroma, 2, axis) - np.roll(chroma, -2, axis), axis=2) for axis in (0, 1)]
    box = np.ones((9, 9), np.uint8)
    even = cv2.dilate(light, box) - cv2.erode(light, box) < 0.03
    inside = np.s_[2:-2, 2:-2]
    return float(((np.maximum(*steps) > 0.1) & even)[inside].mean())
