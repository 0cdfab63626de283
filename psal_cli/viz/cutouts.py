"""The part of a picture around a hole."""

from dataclasses import replace

import numpy as np

from psal_cli.image import Picture
from psal_cli.patchmatch.regions import Box, Region, bounds, crop, grown

MARGIN = 0.5  # margin relative to the longer side of the hole
LEAST = 32  # the least margin in pixels


def around(hole: Region) -> Box:
    """The box around a hole, bool [H, W], with a margin of its surroundings; the whole picture if the hole is empty."""
    height, width = hole.shape
    if not hole.any():
        return 0, height, 0, width
    top, bottom, left, right = bounds(hole)
    return grown((top, bottom, left, right), max(LEAST, int(MARGIN * max(bottom - top, right - left))), (height, width))


def cut_out(picture: Picture, box: Box) -> Picture:
    """A copy of a part of a picture, so that the rest can be freed."""
    top, bottom, left, right = box
    alpha = None if picture.alpha is None else crop(picture.alpha, box).copy()
    return replace(picture, pixels=np.ascontiguousarray(picture.pixels[top:bottom, left:right]).copy(), alpha=alpha)
