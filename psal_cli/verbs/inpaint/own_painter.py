"""The user's painters: networks in files, or Python functions, that fill a picture given a mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from psal_cli.errors import InputError, InvalidValueError
from psal_cli.foreign import folder
from psal_cli.foreign.painters import NATIVE, ForeignPainter, load_painter
from psal_cli.patchmatch.pyramid import Floats
from psal_cli.patchmatch.regions import Box, Region, grown, merged, part_boxes
from psal_cli.verbs.inpaint.options import InpaintOptions

if TYPE_CHECKING:
    from psal_cli.verbs.inpaint.options import Paint


class OwnPainter:
    """Draws with a user's function, see `Paint`, on the surroundings of each part of a hole.

    Each part is shown with its surroundings, at full size if it fits, else reduced; the drawing is then enlarged again.
    """

    device = "cpu"

    def __init__(self, paint: Paint, size: int = NATIVE):
        """size: the most pixels of the longer side that the function sees."""
        self.paint, self.size = paint, size

    def __call__(self, known: Floats, hole: Region) -> Floats:
        """See `psal_cli.verbs.inpaint.painter.Draw`.

        Raises:
            InvalidValueError: the function returns anything but a picture of the size that it received.
        """
        colours = np.repeat(known, 3, 2) if known.shape[2] == 1 else known
        drawn = np.zeros((*hole.shape, 3), np.float32)
        for top, bottom, left, right in views(hole, self.size):
            part = np.s_[top:bottom, left:right]
            drawn[part] = self._drawn(colours[part], hole[part])
        inside: Floats = drawn[hole]
        return inside if known.shape[2] == 3 else inside.mean(1, dtype=np.float32, keepdims=True)

    def _drawn(self, colours: Floats, hole: Region) -> Floats:
        height, width = hole.shape
        scale = min(self.size / max(height, width), 1)
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        small: Floats = (
            colours.copy() if scale == 1 else np.asarray(cv2.resize(colours, size, interpolation=cv2.INTER_AREA), np.float32)
        )
        gap = hole if scale == 1 else cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        small[gap] = 0
        made: Floats = np.asarray(self.paint(small, gap), np.float32)
        if made.shape != small.shape or not np.isfinite(made).all():
            raise InvalidValueError("painter", f"one that draws {list(made.shape)}", f"finite numbers of {list(small.shape)}")
        made = made.clip(0, 1)
        if scale == 1:
            return made
        enlarged: Floats = cv2.resize(made, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        return enlarged


def views(hole: Region, size: int) -> list[Box]:
    """The views of a picture around the parts of its hole, bool [H, W], each at least of the painter's native size."""
    boxes = []
    for box in part_boxes(hole, 1):
        longest = max(box[1] - box[0], box[3] - box[2])
        boxes.append(grown(box, max(longest // 2, (size - longest) // 2), hole.shape))
    return merged(boxes)


def own_painter(options: InpaintOptions) -> OwnPainter:
    """The painter that the options name.

    Raises:
        InputError: a file that cannot be read, or a size that its network does not accept.
    """
    assert options.painter is not None
    if callable(options.painter):
        return OwnPainter(options.painter, options.painter_size or NATIVE)
    painter = load_painter(Path(folder.find(options.painter)))
    if painter.sizes.fixed is None:
        return OwnPainter(_on_arrays(painter), options.painter_size or NATIVE)
    side = min(painter.sizes.fixed)
    if options.painter_size not in (None, side):
        raise InputError(f"{options.painter} takes pictures of {side} pixels only: leave the size of the painter out")
    return OwnPainter(_on_arrays(painter), side)


def _on_arrays(painter: ForeignPainter) -> Paint:
    def paint(image: Floats, hole: Region) -> Floats:
        picture = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        mask = torch.from_numpy(hole.astype(np.float32))[None, None]
        drawn: Floats = painter(picture, mask)[0].permute(1, 2, 0).numpy()
        return drawn

    return paint
