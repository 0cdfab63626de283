"""Completion by patches: fills holes so that every patch that touches a hole looks like a patch outside.

Search and weighted voting alternate (see `synthesis`) from coarse to fine, with the texture features and the onion-peel
initialisation of Newson et al. 2017 ("Non-local patch-based image inpainting", IPOL). Between levels the field is upsampled, not
the picture. The finest levels do not vote: each pixel is copied from one source, and the copies are joined in the gradient domain
(`ops.compose`). The result is the source of each pixel.

If there is a guide, the coarse levels also compare its description of the hole.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from psal_cli import ops
from psal_cli.errors import InvalidValueError
from psal_cli.patchmatch.pyramid import TEXTURES, Guide, Pyramid, guided_windows, halve_mask, halved_box, upsample_field
from psal_cli.patchmatch.regions import Box, Region, crop, inner_radius, part_boxes
from psal_cli.patchmatch.synthesis import Key
from psal_cli.verbs.hooks import Meter, Progress
from psal_cli.verbs.inpaint.hole import Hole, peel, start
from psal_cli.verbs.inpaint.texture import weigh
from psal_cli.verbs.inpaint.workload import FEATURES, SEARCHED_EXACTLY, rounds_of, workload

COARSEST_RADIUS = 4  # inner radius of the widest hole at the coarsest level, in pixels: one or two patches wide
NARROW = 8  # holes with a smaller inner radius (wires, scratches) need no guide: their edges suffice
COARSEST_SIDE = 32  # pixels: smaller levels have too few distinct patches
COPYING = 3  # how many of the finest levels copy; the coarser ones vote


class NothingToCopyError(InvalidValueError):
    """There is no whole patch to copy from.

    Attributes:
        patch_size: side of the patches.
        reach: pixels around the hole that were searched; None for the whole picture.
    """

    def __init__(self, patch_size: int, reach: int | None = None):
        where = "outside of it" if reach is None else f"in the {reach} pixels around it"
        super().__init__("mask", "too large", f"a whole patch of {patch_size}x{patch_size} pixels {where}, to copy from")
        self.patch_size, self.reach = patch_size, reach


def complete(
    pixels: np.ndarray,
    hole: Region,
    barred: Region,
    patch_size: int,
    iterations: int | None,
    seed: int,
    progress: Progress | None = None,
    guide: Guide | None = None,
) -> list[tuple[Box, Tensor]]:
    """Finds where each pixel of the hole is copied from.

    Args:
        pixels: [H, W, C], uint8, uint16 or float32. hole: bool [H, W]. barred: bool [H, W], what may not be copied from,
            including the hole.
        guide: describes the hole beyond the colours around it; None for no guide.
        progress: called after each search, and more often.

    Returns:
        for each part of the hole its box and origins, int32 [n, 2], the (row, column) for its n pixels in raster order.

    Raises NothingToCopyError.
    """
    levels = Levels.of(hole, barred, patch_size)
    holes = levels.holes
    cut, box = len(holes), (0, 0, 0, 0)
    if guide is not None and (level := guided_level(inner_radius(hole), len(holes), guide.radius)) is not None:
        box = _guided_box(holes, level, guide.reach)
        cut = level if levels.cut(level, box, guide.reach, patch_size) else cut
    work = workload(holes, guide if cut < len(holes) else None, cut, iterations, patch_size, pixels.shape[2])
    meter = Meter(progress, work.total)
    meter.begin(work.start, f"{hole.shape[1]}x{hole.shape[0]}")
    pyramid = Pyramid(pixels, holes)
    weigh(pyramid)
    if guide is not None and cut < len(holes):
        pyramid.keep(cut, box)
        pyramid.guide(cut, guide)
    coarser: list[Hole] = []
    parts: list[Hole] = []
    for number in reversed(range(len(holes))):
        height, width = holes[number].shape
        meter.begin(work.levels[number], f"level {len(holes) - number} of {len(holes)}, {width}x{height}")
        if number == cut - 1:
            for part in coarser:
                part.move((box[0], box[2]))
        rounds = rounds_of(number, iterations)
        copied = levels.barred[number] if coarser and number < COPYING else None
        parts = [Hole.of(holes[number], box, patch_size, copied) for box in part_boxes(holes[number], patch_size)]
        key = Key(pyramid.features(number, energy=not coarser), pixels.shape[2] + TEXTURES, levels.keys.pop())
        if not coarser:
            peeled = partial(_spend_layer, meter, work.first / np.count_nonzero(holes[number]))
            for part in parts:
                peel(part, key, patch_size, "exact" if holes[number].size <= SEARCHED_EXACTLY else "scan", seed, peeled)
            del key.features  # before allocating the next ones
            key.features = pyramid.features(number)
        meter.spend(FEATURES[number > 0] * holes[number].size)
        for part in parts:
            spent = partial(meter.spend, work.query[number] * np.count_nonzero(part.queries.numpy()))
            if coarser:
                _inherit(part, next(c for c in coarser if _contains(c.box, part.box)), key, patch_size)
            part.alternate(key, patch_size, rounds, seed, searched=spent)
            del part.features
        coarser = parts
        if number:
            del key
            pyramid.drop(number)
    return [(part.box, part.outermost(patch_size) if (o := part.origins(key, patch_size)) is None else o) for part in parts]


def _spend_layer(meter: Meter, each: float, pixels: int) -> None:
    meter.spend(each * pixels)


def levels_of(radius: float) -> int:
    """The number of levels after which a hole of this inner radius is narrow."""
    return 1 + max(0, int(np.ceil(np.log2(max(radius, 1) / COARSEST_RADIUS))))


def guided_level(radius: float, levels: int, most: float) -> int | None:
    """The level at which the guide describes a hole: the finest below full resolution at which its inner radius, there `radius`,
    is at most `most` pixels; None for a hole that is narrow at full resolution."""
    if radius <= NARROW:
        return None
    return min(max(1, int(np.ceil(np.log2(radius / most)))), levels - 1)


def _guided_box(holes: list[Region], level: int, reach: int) -> Box:
    """The box of a level that the guide describes, grown to whole pixels of the coarsest level; the whole of the finest level,
    which is never cropped."""
    if level == 0:
        return 0, holes[0].shape[0], 0, holes[0].shape[1]
    boxes = np.array(guided_windows(holes[level], reach))
    step = 2 ** (len(holes) - 1 - level)
    height, width = holes[level].shape
    top, left = (boxes[:, [0, 2]].min(0) // step * step).tolist()
    bottom, right = (-(-boxes[:, [1, 3]].max(0) // step) * step).tolist()
    return top, min(bottom, height), left, min(right, width)


@dataclass
class Levels:
    """The levels of the pyramid, finest first: the hole and the barred pixels, both bool [H, W], and the valid keys."""

    holes: list[Region]
    barred: list[Region]
    keys: list[ops.ValidKeys]

    @staticmethod
    def of(hole: Region, barred: Region, patch_size: int) -> "Levels":
        """Adds levels until the widest hole is narrow, as long as enough of the picture is left to copy from.

        Raises NothingToCopyError if nothing is.
        """
        count = levels_of(inner_radius(hole))
        if min(hole.shape) < patch_size or not (key := _keys(barred, patch_size)).rows[0, -1]:
            raise NothingToCopyError(patch_size)
        levels = Levels([hole], [barred], [key])
        while len(levels.holes) < count:
            hole, barred = halve_mask(hole), halve_mask(barred)
            if min(hole.shape) < max(COARSEST_SIDE, 2 * patch_size):
                break
            key = _keys(barred, patch_size)
            if not _enough(key, patch_size):
                break
            levels.holes.append(hole)
            levels.barred.append(barred)
            levels.keys.append(key)
        return levels

    def cut(self, level: int, box: Box, reach: int, patch_size: int) -> bool:
        """Crops a level and the coarser ones, except their holes, to a box, and bars pixels further than `reach` from its hole.
        Returns False, and changes nothing, if that would leave too little to copy from."""
        other = np.ones(self.holes[level].shape, bool)
        for window in guided_windows(self.holes[level], reach):
            crop(other, window)[:] = False
        barred, keys = [], []
        for number in range(level, len(self.keys)):
            barred.append(np.ascontiguousarray(crop(self.barred[number], box)))
            keys.append(_keys(barred[-1] | crop(other, box), patch_size))
            if not _enough(keys[-1], patch_size):
                return False
            other, box = halve_mask(other), halved_box(box)
        self.barred[level:], self.keys[level:] = barred, keys
        return True


def _enough(key: ops.ValidKeys, patch_size: int) -> bool:
    return int(key.rows[0, -1]) >= 4 * patch_size**2


def _keys(barred: Region, patch_size: int) -> ops.ValidKeys:
    return ops.ValidKeys.of(torch.from_numpy(~barred)[None], patch_size)


def _contains(coarse: Box, fine: Box) -> bool:
    row, column = (fine[0] + fine[1]) // 4, (fine[2] + fine[3]) // 4
    return coarse[0] <= row < coarse[1] and coarse[2] <= column < coarse[3]


def _inherit(part: Hole, parent: Hole, key: Key, patch_size: int) -> None:
    """Initialises a level with the field of the coarser one."""
    size = key.features.shape[2], key.features.shape[3]
    part.match(*upsample_field(parent.nnf, parent.similarity, part.box, parent.box, size, patch_size // 2))
    start(part, key.features)
