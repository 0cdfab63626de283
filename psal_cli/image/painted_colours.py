"""Strokes of colour as a picture: the hints of `psal_cli.colorize`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from psal_cli.image.painting import painted
from psal_cli.image.strokes import Brush, Clear, Outline, Stroke

LAYER = "hint"


def painted_colours(strokes: Sequence[Stroke], size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
    """The colours that strokes paint, uint8 [H, W, 4] in sRGB, transparent elsewhere; None if they paint none.

    Args:
        strokes: in the order they were painted: a later one covers those before. Those of other layers do not count.
        size: (width, height) of the picture.

    Example:
        >>> dot = Brush("hint", ((1.0, 1.0, 0.75),), colour=(200, 30, 30))
        >>> painted_colours([dot], (3, 2))[..., 3]
        array([[255, 255,   0],
               [255, 255,   0]], dtype=uint8)
    """
    own = [stroke for stroke in strokes if stroke.layer == LAYER]
    cleared = [number for number, stroke in enumerate(own) if isinstance(stroke, Clear)]
    out = np.zeros((size[1], size[0], 4), np.uint8)
    for stroke in own[cleared[-1] + 1 :] if cleared else own:
        if isinstance(stroke, Brush | Outline):
            part = painted((replace(stroke, erase=False),), LAYER, size)
            height, width = part.marked.shape
            inside = out[part.top : part.top + height, part.left : part.left + width]
            inside[part.marked] = 0 if stroke.colour is None else (*stroke.colour, 255)
    return out if out[..., 3].any() else None
