"""A part of a hole at one level of the pyramid: its field, and its estimate from matched patches."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli import ops
from psal_cli.patchmatch.pyramid import TEXTURES
from psal_cli.patchmatch.regions import Box, Region, crop, depth, touched
from psal_cli.patchmatch.synthesis import Estimate, Key, put, third_quartile

CONFIDENCE = 0.4  # a patch whose centre lies one pixel deeper in the hole counts e^0.4 times less (Wexler et al. 2007)
SHARPNESS = 3.0  # of a vote: patches at the third quartile of the distances count e^3 times less than perfect ones
# Parameters of an intermediate composition: copies keep more of their colours than in the last one, so that the search finds and
# repairs seams; differences over more than a few pixels are left to the coarser levels.
FIDELITY, STEPS, TOLERANCE = 0.03, 60, 1e-3
# Costs of placing seams, for colours with white = 1: of a pixel that no patch over it would paste there, and of each seam.
DOUBT, LENGTH, SWEEPS = 0.1, 0.02, 5


@dataclass
class Hole(Estimate):
    """A part of the hole at one level, on its own crop of the picture. Queries are the patches that touch unknown pixels."""

    box: Box = field(kw_only=True)
    distance: Tensor = field(kw_only=True)  # float32 [h, w], distance to the hole's edge in pixels, 0 outside
    barred: Region | None = field(kw_only=True)  # bool [H, W] of the level, what may not be copied; None at levels that vote

    @staticmethod
    def of(hole: Region, box: Box, patch_size: int, barred: Region | None = None) -> "Hole":
        """The part of a level's hole, bool [H, W], inside a box, with the patches that touch it."""
        unknown = np.ascontiguousarray(crop(hole, box))
        queries, distance = touched(unknown, patch_size)[None], depth(unknown).copy()
        return Hole(
            torch.from_numpy(unknown),
            torch.from_numpy(queries),
            box=box,
            distance=torch.from_numpy(distance),
            barred=barred,
        )

    def move(self, corner: tuple[int, int]) -> None:
        """Moves the part and its matches from a level cropped at this (row, column) to the whole level."""
        (top, bottom, left, right), (row, column) = self.box, corner
        self.box = top + row, bottom + row, left + column, right + column
        matched = self.nnf[:, :, :1] >= 0
        self.nnf = torch.where(matched, self.nnf + torch.tensor(corner, dtype=torch.int32)[:, None, None], self.nnf)

    def logits(self) -> Tensor:
        """Logits of the vote: close matches and outer patches count more."""
        cost = -self.similarity
        usual = max(float(third_quartile(self.at_queries(cost))), 1e-6)
        cost.div_(usual).mul_(-SHARPNESS).sub_(CONFIDENCE * self.distance)
        return cost.masked_fill_(self.nnf[:, :, 0] < 0, -torch.inf)

    def origins(self, key: Key, patch_size: int) -> Tensor | None:
        """int32 [n, 2]: at levels that copy (`barred`), the one pixel that each unknown one is copied from.

        First what the outermost patch pastes there; then the seams between copies are moved to where the copies agree.
        """
        if self.barred is None:
            return None
        colours = key.features[0, : key.channels - TEXTURES].permute(1, 2, 0).numpy()
        weight = torch.exp(-CONFIDENCE * self.distance).numpy()
        origin, corner = self.outermost(patch_size).numpy(), (self.box[0], self.box[2])
        placed = ops.place_seams(
            colours, self.barred, self.unknown.numpy(), self.nnf[0, 0].numpy(), weight, origin, corner, patch_size,
            DOUBT, LENGTH, SWEEPS,
        )  # fmt: skip
        return torch.from_numpy(placed)

    def copied(self, key: Key, origins: Tensor | None) -> bool:
        """At levels that copy, one copy per pixel with the seams removed: a mean would blur the texture of fine levels."""
        if self.barred is None or origins is None:
            return False
        origin, unknown = origins.numpy(), self.unknown.numpy()
        source = key.features[0].permute(1, 2, 0).numpy()
        estimate = self.features[0].permute(1, 2, 0).numpy()
        copies, colours = source[origin[:, 0], origin[:, 1]], key.channels - TEXTURES
        corner = self.box[0], self.box[2]
        composed = ops.compose(source[..., :colours], self.barred, unknown, origin, corner, FIDELITY, STEPS, TOLERANCE)
        copies[:, :colours] = composed.clip(0, 1)
        estimate[unknown, : key.channels] = copies[:, : key.channels]
        return True

    def outermost(self, patch_size: int) -> Tensor:
        """int32 [n, 2]: the pixel that the outermost patch over each unknown one pastes there.

        The outermost patch holds most known pixels; among equals, the nearest one counts. (Taking the patch with the closest
        match would prefer smooth ones.)
        """
        radius = patch_size // 2
        height, width = self.unknown.shape
        nearness = (-self.distance).masked_fill_(self.nnf[0, 0, 0] < 0, -torch.inf)
        nearness = F.pad(nearness, (radius,) * 4, value=-torch.inf)
        best, choice = torch.full((height, width), -torch.inf), torch.zeros((height, width), dtype=torch.int16)
        moves = sorted(product(range(-radius, radius + 1), repeat=2), key=lambda move: move[0] ** 2 + move[1] ** 2)
        for number, (down, right) in enumerate(moves):
            top, left = radius + down, radius + right
            value = nearness[top : top + height, left : left + width]
            choice.masked_fill_(value > best, number)
            torch.maximum(best, value, out=best)
        move = torch.tensor(moves, dtype=torch.int32)[choice[self.unknown].int()]
        row, column = (self.unknown.nonzero() + move).unbind(1)
        return self.nnf[0, 0, :, row, column].T - move


def peel(part: Hole, key: Key, patch_size: int, schedule: str, seed: int, peeled: Callable[[int], None] | None = None) -> None:
    """Makes the first estimate, layer by layer from the edge, comparing only the known pixels of each patch. peeled: called with
    the number of pixels of each finished layer.

    The distance over the known pixels of a patch is a dot product: sum m (q - k)^2 = const - <[2 m q, -m], [k, |k|^2]>; features
    of the guide are known everywhere, m = 1.
    """
    energies = 1 if key.features.shape[1] == key.channels + 1 else 2
    start(part, key.features[:, :-energies])
    expected = part.features[:, key.channels :]
    unknown = part.unknown.clone()
    while unknown.any():
        known = (~unknown).float()[None, None]
        ring = unknown & (F.max_pool2d(known, 3, 1, 1)[0, 0] > 0)
        query = [2 * known * part.features[:, : key.channels], 2 * expected, -known, -torch.ones_like(known)]
        compared = torch.cat(query[: 2 + energies], 1)
        nnf, _ = ops.search(compared, key.features, patch_size, 1, 8, "dot", ring[None], key.valid, None, schedule, seed)
        pasted = ops.aggregate(key.features, nnf, torch.ones_like(nnf[:, :, 0], dtype=torch.float32))
        put(part.features[:, : key.channels], pasted[:, : key.channels], ring)
        unknown &= ~ring
        if peeled:
            peeled(int(ring.sum()))


def start(part: Hole, features: Tensor) -> None:
    """Sets a part's estimate to the features of its level."""
    part.features = crop(features, part.box).clone(memory_format=torch.channels_last)
