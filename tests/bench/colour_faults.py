"""What is counted in colours that were found: speckles, stray and lost edges, wrong hues, colourfulness."""

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


def wrong_hue(truth: np.ndarray, chroma: np.ndarray) -> float:
    """Share of pixels whose hue is more than 40 degrees from the true one, both of a chroma above 10 units; 0 where nothing is.

    truth, chroma: float32 [H, W, 2], a* and b* / 100.
    """
    coloured = (np.linalg.norm(truth, axis=2) > 0.1) & (np.linalg.norm(chroma, axis=2) > 0.1)
    apart = np.angle(_complex(truth) * _complex(chroma).conj(), deg=True)
    return float((coloured & (np.abs(apart) > 40)).mean())


def lost_edges(truth: np.ndarray, chroma: np.ndarray) -> float:
    """Share of the true edges of colour, changes of more than 15 units over 8 pixels, of which less than half is there: colour
    has bled over them. 0 where there are none."""
    lost, edges = 0, 0
    for axis in (0, 1):
        true, found = (_step(x, axis) for x in (truth, chroma))
        edge = np.linalg.norm(true, axis=2) > 0.15
        kept = (true * found).sum(2) / np.maximum((true * true).sum(2), 1e-6)
        lost, edges = lost + (edge & (kept < 0.5)).sum(), edges + edge.sum()
    return float(lost / edges) if edges else 0.0


def colourfulness(pixels: np.ndarray) -> float:
    """Of uint8 [H, W, 3], by Hasler and Suesstrunk 2003: 0 for grey, about 100 for garish."""
    red, green, blue = np.moveaxis(pixels.astype(np.float64), 2, 0)
    first, second = red - green, (red + green) / 2 - blue
    return float(np.hypot(first.std(), second.std()) + 0.3 * np.hypot(first.mean(), second.mean()))


def _step(x: np.ndarray, axis: int) -> np.ndarray:
    """The change over 8 pixels along an axis."""
    length = x.shape[axis]
    return np.take(x, range(8, length), axis) - np.take(x, range(length - 8), axis)


def _complex(chroma: np.ndarray) -> np.ndarray:
    return chroma[..., 0] + 1j * chroma[..., 1]
