"""Floats outside [0, 1]: their range is compressed for comparing patches and mixing colours.

A lamp may be a thousand times brighter than white. It would dominate the sum of squared differences of its patch, and any mean.
Above 1 the logarithm is used, as the eye does; below 0 its mirror image.
"""

import numpy as np


def compressed(pixels: np.ndarray) -> np.ndarray:
    """Maps values x above 1 to 1 + log(x) and below 0 to -log(1 - x); returns the input if there are none.

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
    """The inverse of `compressed`, except for rounding; returns the input if all values are in [0, 1]."""
    if not is_extended(values):
        return values
    out = values.copy()
    above, below = values > 1, values < 0
    out[above] = np.exp(values[above] - 1)
    out[below] = -np.expm1(-values[below])
    return out


def is_extended(pixels: np.ndarray) -> bool:
    """Whether there are floats below 0 or above 1."""
    return pixels.dtype.kind == "f" and pixels.size > 0 and bool(pixels.min() < 0 or pixels.max() > 1)


def limits(pixels: np.ndarray) -> tuple[float, float]:
    """The range that a mix of pixels is clipped to, white = 1: [0, 1], extended to the range of the pixels."""
    if not is_extended(pixels):
        return 0.0, 1.0
    return min(float(pixels.min()), 0.0), max(float(pixels.max()), 1.0)
