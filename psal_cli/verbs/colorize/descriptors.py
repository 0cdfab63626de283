"""Descriptors of a grey picture at six scales, which `psal colorize` matches with its references."""

from functools import cache

import cv2
import numpy as np

from psal_cli import weights
from psal_cli.strips import rows_within, strips

SCALES = (2, 4, 8, 16, 32, 64)  # pixels: of lightness
TEXTURE_SCALES = (2, 4, 8, 16, 32)  # of its absolute differences down and right
CONTRAST_SCALES = (2, 4, 8)  # of its deviation from the local mean, over the local standard deviation
TEXTURE, CONTRAST = 6.0, 0.4  # their weights beside lightness
FLAT = 0.05  # of lightness: the deviation that counts half, so that noise in flat areas is not contrast
TAPS = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))  # of each map: at the pixel and one scale away from it
MEASURES = len(TAPS) * (len(SCALES) + 2 * len(TEXTURE_SCALES) + len(CONTRAST_SCALES))
CHANNELS = 48  # after projection: they keep 99.5 % of the variance
STRIP = 1 << 16  # pixels whose measures are held at a time


def measures(lightness: np.ndarray) -> "Measures":
    """The raw measures of a picture float32 [H, W] in [0, 1]."""
    lightness = np.ascontiguousarray(lightness)
    maps = [(_blurred(lightness, 0.5 * s), s) for s in SCALES]
    for down, right in ((0, 1), (1, 0)):
        steps = np.abs(cv2.Sobel(lightness, -1, right, down)) * np.float32(TEXTURE / 4)
        maps += [(_blurred(steps, 0.5 * s), s) for s in TEXTURE_SCALES]
    maps += [(_blurred(_contrast(lightness, 2 * s), 0.5 * s) * np.float32(CONTRAST), s) for s in CONTRAST_SCALES]
    return Measures(maps, lightness.shape)


class Measures:
    """Computes the measures of all pixels, a strip of rows at a time: they are many times larger than the picture."""

    def __init__(self, maps: list[tuple[np.ndarray, int]], size: tuple[int, int]):
        self.size = size
        self.maps = [(cv2.copyMakeBorder(x, s, s, s, s, cv2.BORDER_REFLECT_101), s) for x, s in maps]

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """float32 [MEASURES, (bottom - top) * W]."""
        width = self.size[1]
        taps = [
            x[s + top + down * s : s + bottom + down * s, s + right * s : s + right * s + width]
            for x, s in self.maps
            for down, right in TAPS
        ]
        return np.stack(taps).reshape(MEASURES, -1)


def describe(lightness: np.ndarray, out: np.ndarray) -> None:
    """Fills float32 [H, W, C], C at most CHANNELS, for a picture float32 [H, W] in [0, 1]: each pixel's measures, projected."""
    bands, (height, width) = measures(lightness), lightness.shape
    directions = projection()[:, : out.shape[2]]
    for top, bottom, *_ in strips(height, rows_within(STRIP, width)):
        out[top:bottom] = (bands.rows(top, bottom).T @ directions).reshape(bottom - top, width, -1)


@cache
def projection() -> np.ndarray:
    """float32 [MEASURES, CHANNELS]: principal directions of the measures of photographs, the strongest first."""
    return np.asarray(weights.shipped("colorize-descriptor")["projection"].numpy())


def _blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(x, (0, 0), sigma)


def _contrast(lightness: np.ndarray, sigma: float) -> np.ndarray:
    mean = _blurred(lightness, sigma)
    variance = _blurred(lightness * lightness, sigma) - mean * mean
    return np.asarray((lightness - mean) / (np.sqrt(np.maximum(variance, 0)) + np.float32(FLAT)))
