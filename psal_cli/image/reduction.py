"""Reduces pictures to any size."""

import numpy as np

from psal_cli.strips import rows_within, strips

BAND = 1 << 22  # values processed at a time
CUBIC = -0.5  # Keys 1981
REACH = 2.0  # radius of the kernel, in pixels of the result


def reduced_to(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Reduces pixels [H, W, C] to size (width, height) with an antialiased cubic kernel.

    uint8, uint16 or float32; the result has the same dtype. A side of unchanged length is not filtered.

    Raises ValueError if a side would grow.
    """
    width, height = size
    if width > pixels.shape[1] or height > pixels.shape[0]:
        raise ValueError(f"size is {width}x{height}, expected at most {pixels.shape[1]}x{pixels.shape[0]}")
    down, across = _kernel(pixels.shape[0], height), _kernel(pixels.shape[1], width)
    out = np.empty((height, width, pixels.shape[2]), pixels.dtype)
    rows = rows_within(BAND, max(pixels.shape[1] * pixels.shape[2] * (1 + pixels.shape[0] // height), 1))
    for part in strips(height, rows):
        band = _applied(pixels, down, part.rows)
        band = _applied(band.swapaxes(0, 1), across, slice(0, width)).swapaxes(0, 1)
        if pixels.dtype.kind == "u":
            band = np.rint(band).clip(0, np.iinfo(pixels.dtype).max)
        out[part.rows] = band
    return out


def _kernel(before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """(positions, weights), [after, taps] each: the input pixels, and their weights, of each output pixel."""
    if before == after:
        return np.arange(after)[:, None], np.ones((after, 1), np.float32)
    step = before / after
    centres = (np.arange(after) + 0.5) * step - 0.5
    first = np.floor(centres - REACH * step).astype(np.int64) + 1
    places = first[:, None] + np.arange(int(np.ceil(2 * REACH * step)))
    x = np.abs(places - centres[:, None]) / step
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x**2 + 1
    far = ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC
    weights = np.where(x < 1, near, np.where(x < 2, far, 0)) * ((places >= 0) & (places < before))
    weights /= weights.sum(1, keepdims=True)
    return places.clip(0, before - 1), weights.astype(np.float32)


def _applied(pixels: np.ndarray, kernel: tuple[np.ndarray, np.ndarray], rows: slice) -> np.ndarray:
    """float32: output rows of a kernel along the first axis."""
    places, weights = (x[rows] for x in kernel)
    out = np.zeros((len(places), *pixels.shape[1:]), np.float32)
    for place, weight in zip(places.T, weights.T, strict=True):
        out += pixels[place] * weight.reshape(-1, *[1] * (pixels.ndim - 1))
    return out
