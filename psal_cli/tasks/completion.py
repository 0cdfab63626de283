"""Completion by patches: fills holes so that every patch that touches one looks like a patch outside.

Alternates search and weighted voting (see `synthesis`) from coarse to fine, with the texture features and the onion-peel
start of Newson et al. 2017 ("Non-local patch-based image inpainting", IPOL). Between levels the field is
upsampled, not the picture, and the last vote is a copy: the result is made of the source's own pixels.

Where something is known of what is in the hole, as what a network draws there, the coarse levels compare that too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli import ops
from psal_cli.tasks.parts import Box, crop, depth, inner_radius, part_boxes, touched
from psal_cli.tasks.pyramid import TEXTURES, Pyramid, halve_mask, upsample_field
from psal_cli.tasks.synthesis import Estimate, Key, put, third_quartile

COARSEST_RADIUS = 4  # the widest hole's inner radius at the coarsest level, in pixels: a hole one or two patches wide
# At most, the same where a network draws what is expected. It learnt to fill wider holes, but finer levels would follow its
# picture's blur where it is unsure, and take patches of a colour in between.
DRAWN_RADIUS = 12
NARROW = 8  # a hole with a smaller inner radius, a wire or a scratch, needs no drawing: its edges say what belongs there
COARSEST_SIDE = 32  # smaller than this a picture has too few patches left to tell one thing from another
CONFIDENCE = 0.4  # a patch whose centre lies one pixel deeper in the hole counts e^0.4 times less (Wexler et al. 2007)
SHARPNESS = 2.0  # of a vote: patches at the usual distance, the third quartile, count e^2 times less than perfect ones
EXACT = 1 << 14  # pixels of a coarsest level that is searched exactly


@dataclass
class Hole(Estimate):
    """A part of the hole at one level, on its own crop of the picture. Its queries are the patches that touch unknown pixels."""

    box: Box = field(kw_only=True)
    distance: Tensor = field(kw_only=True)  # float32 [h, w], pixels to the hole's edge, 0 outside

    def logits(self) -> Tensor:
        """Close matches and outer patches count more."""
        cost = -self.similarity
        usual = max(third_quartile(self.at_queries(cost)), 1e-6)
        cost.div_(usual).mul_(-SHARPNESS).sub_(CONFIDENCE * self.distance)
        return cost.masked_fill_(self.nnf[:, :, 0] < 0, -torch.inf)


def complete(
    pixels: np.ndarray,
    hole: np.ndarray,
    source: np.ndarray | None,
    patch_size: int,
    iterations: int | None,
    seed: int,
    progress: Callable[[int, int, str], None] | None = None,
    draw: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> list[tuple[Box, Tensor]]:
    """Finds where each pixel of the hole is copied from.

    Args:
        pixels: [H, W, C], uint8, uint16 or float32. hole: bool [H, W]. source: bool [H, W], what may be copied from, or None.
        draw: what is expected in the hole, see `Pyramid.guide`; None: nothing.

    Returns:
        for each part of the hole its box and origin, int32 [n, 2], the (row, column) for its n pixels in raster order.

    Raises ValueError when nothing is left to copy from.
    """
    holes, keys = _masks(hole, source, patch_size)
    pyramid = Pyramid(pixels, holes)
    if draw is not None and (level := drawn_level(inner_radius(hole), len(holes))) is not None:
        pyramid.guide(level, draw)
    coarser, parts = [], []
    for number in reversed(range(len(holes))):
        height, width = holes[number].shape
        if progress:
            progress(len(holes) - number, len(holes), f"{width}x{height}")
        rounds = iterations or min(8, 2**number)  # fewer where the field is fine already: each vote costs some texture
        parts = [_hole(holes[number], box, patch_size) for box in part_boxes(holes[number], patch_size)]
        key = Key(pyramid.features(number, energy=not coarser), pixels.shape[2] + TEXTURES, *keys.pop())
        if not coarser:
            for one in parts:
                _peel(one, key, patch_size, seed)
            key.features = None
            key.features = pyramid.features(number)
        for one in parts:
            if coarser:
                parent = next(c for c in coarser if _contains(c.box, one.box))
                _inherit(one, parent, key, patch_size)
            one.alternate(key, patch_size, rounds, seed)
            one.features = None
        coarser = parts
        del key
        pyramid.drop(number)
    return [(one.box, _origin(one, patch_size)) for one in parts]


def levels_of(radius: float) -> int:
    """How many levels a hole of this inner radius wants: until it is narrow."""
    return 1 + max(0, int(np.ceil(np.log2(max(radius, 1) / COARSEST_RADIUS))))


def drawn_level(radius: float, levels: int) -> int | None:
    """The level at which a network draws what is expected in a hole: the finest where it is narrow enough; None for one that is
    narrow from the start."""
    if radius <= NARROW:
        return None
    return min(max(1, int(np.ceil(np.log2(radius / DRAWN_RADIUS)))), levels - 1)


def _masks(hole: np.ndarray, source: np.ndarray | None, patch_size: int) -> tuple[list[np.ndarray], list[tuple]]:
    """Of each level, finest first: the hole, and the valid keys (`Key.valid` and `Key.rows`).

    Levels until the widest hole is narrow, as long as enough of the picture is left to copy from.
    Raises ValueError when nothing is.
    """
    levels = levels_of(inner_radius(hole))
    barred = hole if source is None else hole | ~source
    if min(hole.shape) < patch_size or not (key := _keys(barred, patch_size))[1][0, -1]:
        raise ValueError(f"nothing is left to copy from: no patch of {patch_size}x{patch_size} lies whole outside the mask")
    holes, keys = [hole], [key]
    while len(holes) < levels:
        hole, barred = halve_mask(hole), halve_mask(barred)
        if min(hole.shape) < max(COARSEST_SIDE, 2 * patch_size):
            break
        key = _keys(barred, patch_size)
        if key[1][0, -1] < 4 * patch_size**2:
            break
        holes.append(hole)
        keys.append(key)
    return holes, keys


def _keys(barred: np.ndarray, patch_size: int) -> tuple[Tensor, Tensor]:
    valid = ops.valid_keys(torch.from_numpy(~barred)[None], patch_size)
    return valid, ops.keys_by_row(valid)


def _hole(hole: np.ndarray, box: Box, patch_size: int) -> Hole:
    """A part of the hole of a level, with the patches that touch it."""
    unknown = np.ascontiguousarray(crop(hole, box))
    queries, distance = touched(unknown, patch_size)[None], depth(unknown).copy()
    unknown, queries, distance = (torch.from_numpy(x) for x in (unknown, queries, distance))
    return Hole(unknown, queries, box=box, distance=distance)


def _contains(coarse: Box, fine: Box) -> bool:
    row, column = (fine[0] + fine[1]) // 4, (fine[2] + fine[3]) // 4
    return coarse[0] <= row < coarse[1] and coarse[2] <= column < coarse[3]


def _start(one: Hole, features: Tensor) -> None:
    one.features = crop(features, one.box).clone(memory_format=torch.channels_last)


def _inherit(one: Hole, parent: Hole, key: Key, patch_size: int) -> None:
    """Starts a level from the field of the coarser one, and pastes the estimate from it."""
    size = key.features.shape[2:]
    one.match(*upsample_field(parent.nnf, parent.similarity, one.box, parent.box, size, patch_size // 2))
    _start(one, key.features)
    one.vote(key, patch_size)


def _peel(one: Hole, key: Key, patch_size: int, seed: int) -> None:
    """First estimate, layer by layer from the edge, comparing only what is known of each patch.

    The distance over the known pixels of a patch is a dot product: sum m (q - k)^2 = const - <[2 m q, -m], [k, |k|^2]>; what is
    expected is known everywhere, m = 1.
    """
    schedule = "exact" if key.valid.numel() <= EXACT else "scan"
    energies = 1 if key.features.shape[1] == key.channels + 1 else 2
    _start(one, key.features[:, :-energies])
    expected = one.features[:, key.channels :]
    unknown = one.unknown.clone()
    while unknown.any():
        known = (~unknown).float()[None, None]
        ring = unknown & (F.max_pool2d(known, 3, 1, 1)[0, 0] > 0)
        query = [2 * known * one.features[:, : key.channels], 2 * expected, -known, -torch.ones_like(known)]
        nnf, _ = ops.search_valid(
            torch.cat(query[: 2 + energies], 1), key.features, patch_size, 1, 8, "dot", ring[None], key.valid, None, schedule,
            seed, key.rows,
        )  # fmt: skip
        pasted = ops.aggregate(key.features, nnf, torch.ones_like(nnf[:, :, 0], dtype=torch.float32))
        put(one.features[:, : key.channels], pasted[:, : key.channels], ring)
        unknown &= ~ring


def _origin(one: Hole, patch_size: int) -> Tensor:
    """int32 [n, 2]: for each unknown pixel the one that a patch over it pastes there, unmixed.

    Of the patches over it the outermost has its say, as it knows most, of equals the nearest: the one with the closest match
    would be the smoothest.
    """
    radius = patch_size // 2
    height, width = one.unknown.shape
    nearness = (-one.distance).masked_fill_(one.nnf[0, 0, 0] < 0, -torch.inf)
    nearness = F.pad(nearness, (radius,) * 4, value=-torch.inf)
    best, choice = torch.full((height, width), -torch.inf), torch.zeros((height, width), dtype=torch.int16)
    moves = sorted(product(range(-radius, radius + 1), repeat=2), key=lambda move: move[0] ** 2 + move[1] ** 2)
    for number, (down, right) in enumerate(moves):
        top, left = radius + down, radius + right
        value = nearness[top : top + height, left : left + width]
        choice.masked_fill_(value > best, number)
        torch.maximum(best, value, out=best)
    move = torch.tensor(moves, dtype=torch.int32)[choice[one.unknown].int()]
    row, column = (one.unknown.nonzero() + move).unbind(1)
    return one.nnf[0, 0, :, row, column].T - move
