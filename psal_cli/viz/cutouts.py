"""The part of a picture around a hole."""

from dataclasses import replace

import numpy as np

from psal_cli.image import Picture
from psal_cli.patchmatch.regions import Box, Region, bounds, crop, grown

MARGIN = 0.5  # of the longer side of the hole
LEAST = 32  # pixels of margin


def around(hole: Region) -> Box:
    """The box around a hole, bool [H, W], with a margin that shows what it lies in; the whole picture where there is none."""
    height, width = hole.shape
    if not hole.any():
        return 0, height, 0, width
    top, bottom, left, right = bounds(hole)
    return grown((top, bottom, left, right), max(LEAST, int(MARGIN * max(bottom - top, right - left))), (height, width))


def cut_out(picture: Picture, box: Box) -> Picture:
    """A part of a picture, as a copy, so that the rest need not stay in memory."""
    top, bottom, left, right = box
    alpha = None if picture.alpha is None else crop(picture.alpha, box).copy()
    return replace(picture, pixels=np.ascontiguousarray(picture.pixels[top:bottom, left:right]).copy(), alpha=alpha)
