"""The sizes at which colours are searched."""

import cv2
import numpy as np

from psal_cli.image.arrays import within_white
from psal_cli.verbs.colorize.options import COARSE, LARGEST

MAGNIFIED = 4  # times, at most: in a picture of a few pixels the scales see nothing


def levels(size: tuple[int, int], longest: int) -> list[int]:
    """The scale of each level relative to the coarse one; the colours of a level suffice for a picture up to twice as large."""
    if max(size) <= 2 * COARSE:
        return [1]
    return list(dict.fromkeys([1, max(min(LARGEST, longest // COARSE, max(size) // COARSE), 1)]))


def coarse_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a picture at the coarse level."""
    scale = min(COARSE / max(size), MAGNIFIED)  # small pictures are enlarged: similar things must have similar sizes
    height, width = (max(round(side * scale), 1) for side in size)
    return height, width


def resized_picture(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes pixels [H, W, C] to (height, width), clipped to their range."""
    return within_white(resized(within_white(pixels), size))  # the cubic kernel overshoots; OpenCV clips integers itself


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[H, W, C] at (height, width)."""
    if picture.shape[:2] == size:
        return picture
    how = cv2.INTER_AREA if size[0] <= picture.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(picture, size[::-1], interpolation=how).reshape(*size, picture.shape[2])
