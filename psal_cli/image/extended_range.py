"""Floats beyond black and white: where patches are compared, and colours mixed, large values are compressed.

A lamp may be a thousand times as bright as white. In a sum of squared differences it would outweigh all else of its patch, and
its share in a mean would be white by itself. Above 1 the logarithm counts, as it does for the eye; below 0 the same mirrored.
"""

import numpy as np


def compressed(pixels: np.ndarray) -> np.ndarray:
    """Pixels with what is above 1 as 1 + log(x), and what is below 0 as -log(1 - x); without a copy where nothing is.

    Args:
        pixels: uint8, uint16 or float32, any shape, finite.

    Example:
        >>> compressed(np.array([0.25, 1.0, 1000.0], np.float32)).round(2).tolist()
        [0.25, 1.0, 7.91]
    """
    if not is_extended(pixels):
        return pixels
    out = pixels.copy()
    np.log(pixels, out=out, where=pixels > 1)
    np.add(out, 1, out=out, where=pixels > 1)
    below = pixels < 0
    out[below] = -np.log1p(-pixels[below])
    return out


def expanded(values: np.ndarray) -> np.ndarray:
    """The opposite of `compressed`, to rounding; without a copy where nothing is beyond black and white."""
    if not is_extended(values):
        return values
    out = values.copy()
    above, below = values > 1, values < 0
    out[above] = np.exp(values[above] - 1)
    out[below] = -np.expm1(-values[below])
    return out


def is_extended(pixels: np.ndarray) -> bool:
    """Whether any are floats below 0 or above 1."""
    return pixels.dtype.kind == "f" and pixels.size > 0 and bool(pixels.min() < 0 or pixels.max() > 1)


def limits(pixels: np.ndarray) -> tuple[float, float]:
    """What a mix of some pixels is clipped to, white = 1: black and white, or how far the pixels go beyond."""
    if not is_extended(pixels):
        return 0.0, 1.0
    return min(float(pixels.min()), 0.0), max(float(pixels.max()), 1.0)
