"""Divides a picture for a network: into pieces that see everything they depend on, or that overlap and are blended."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from psal_cli.strips import Strip, strip

if TYPE_CHECKING:
    from psal_cli.foreign.traits import Traits

OVERLAP = 64  # pixels: the widest blend between neighbouring pieces
SHARE = 4  # the blend as a share of a piece's side, at most
GRID = 16  # pixels: size of common windows; blended pieces start on this grid
LEAST = 96  # pixels: side of the smallest blended pieces
CORE = 16  # pixels: the least that is kept of a piece if the reach is bounded


@dataclass(frozen=True)
class Tiling:
    """The rows and columns of the pieces, and whether they overlap and are blended (then pieces are kept in full)."""

    rows: tuple[Strip, ...]
    columns: tuple[Strip, ...]
    blended: bool = False

    @property
    def looked(self) -> int:
        """Pixels of the largest piece."""
        return max(x.last - x.first for x in self.rows) * max(x.last - x.first for x in self.columns)

    @property
    def total(self) -> int:
        """Pixels of all pieces."""
        return sum(x.last - x.first for x in self.rows) * sum(x.last - x.first for x in self.columns)

    @property
    def whole(self) -> bool:
        return len(self.rows) == len(self.columns) == 1


def tiling(height: int, width: int, largest: int, traits: "Traits", fixed: tuple[int, int] | None = None) -> Tiling:
    """The cheapest division of a picture into pieces of at most `largest` pixels, or of the fixed size (height, width).

    Pieces have a minimum size, so a network with a long reach may exceed `largest`.
    """
    if fixed:
        return _of_fixed_size(height, width, traits, fixed)
    if height * width <= largest:
        return Tiling((strip(0, height, height, 0),), (strip(0, width, width, 0),))
    if traits.reach is None:
        side = max(math.isqrt(largest), LEAST)
        across = min(width, max(side, largest // height)) if height < side else min(width, side)
        down = min(height, max(side, largest // across))
        return Tiling(_spread(height, down, _overlap(down), GRID), _spread(width, across, _overlap(across), GRID), True)
    return _exact(height, width, largest, traits.reach, traits.period)


def _exact(height: int, width: int, largest: int, reach: int, period: int) -> Tiling:
    best, least = None, math.inf
    core = _multiple(CORE, period)
    for count in range(1, max(width // core, 1) + 1):
        across = min(_multiple(-(-width // count), period), width)
        seen = min(across + 2 * reach, width)
        room = largest // seen
        down = height if room >= height else (room - 2 * reach) // period * period
        if down < core and count < width // core:
            continue
        down = min(max(down, core), height)
        tiling = Tiling(_cut(height, down, reach), _cut(width, across, reach))
        if tiling.looked > largest and count < width // core:
            continue
        if tiling.total < least:
            best, least = tiling, tiling.total
        elif tiling.total > 2 * least:
            break
    assert best is not None
    return best


def _of_fixed_size(height: int, width: int, traits: "Traits", fixed: tuple[int, int]) -> Tiling:
    """Evenly spaced pieces, cut to what the reach leaves of them, if it leaves anything."""
    if height <= fixed[0] and width <= fixed[1]:
        return Tiling((strip(0, height, height, 0),), (strip(0, width, width, 0),))
    bounded = traits.reach is not None and traits.period == 1 and 2 * traits.reach + CORE <= min(fixed)
    if not bounded:
        return Tiling(_spread(height, fixed[0], _overlap(fixed[0])), _spread(width, fixed[1], _overlap(fixed[1])), True)
    around = 2 * (traits.reach or 0)
    return Tiling(_cut_between(_spread(height, fixed[0], around)), _cut_between(_spread(width, fixed[1], around)))


def _cut(side: int, core: int, reach: int) -> tuple[Strip, ...]:
    return tuple(strip(start, min(start + core, side), side, reach) for start in range(0, side, core))


def _cut_between(spans: Sequence[Strip]) -> tuple[Strip, ...]:
    """Cuts overlapping pieces in the middle of their overlap."""
    ends = [(before.last + after.first) // 2 for before, after in pairwise(spans)]
    tops, bottoms = [0, *ends], [*ends, spans[-1].last]
    return tuple(Strip(top, bottom, x.first, x.last) for top, bottom, x in zip(tops, bottoms, spans, strict=True))


def _spread(side: int, length: int, overlap: int, grid: int = 1) -> tuple[Strip, ...]:
    """Evenly spaced pieces of `length` that overlap by at least about `overlap`, kept in full. With a grid they start on it, and
    the last one is longer as necessary.
    """
    if side <= length:
        return (strip(0, side, side, 0),)
    count = -(-(side - overlap) // (length - overlap))
    starts = [round(number * (side - length) / (count - 1)) // grid * grid for number in range(count)]
    ends = [*(start + length for start in starts[:-1]), side]
    return tuple(Strip(start, end, start, end) for start, end in zip(starts, ends, strict=True))


def _overlap(length: int) -> int:
    return min(OVERLAP, length // SHARE)


def ramps(spans: Sequence[Strip], scale: int, like: Tensor) -> list[Tensor]:
    """The weights of each piece along one axis of the result, [length * scale]: one, with a raised cosine towards its
    neighbours."""
    weights = []
    for number, span in enumerate(spans):
        at = span.first + (torch.arange((span.last - span.first) * scale, device=like.device) + 0.5) / scale
        weight = torch.ones_like(at)
        if number:
            weight = weight * _rise(at, spans[number - 1], span)
        if number + 1 < len(spans):
            weight = weight * (1 - _rise(at, span, spans[number + 1]))
        weights.append(weight.to(like.dtype))
    return weights


def _rise(at: Tensor, before: Strip, after: Strip) -> Tensor:
    """A ramp from 0 to 1 in the middle of an overlap."""
    width = min(before.last - after.first, _overlap(min(before.last - before.first, after.last - after.first)))
    start = (before.last + after.first - width) / 2
    return (1 - torch.cos(math.pi * ((at - start) / max(width, 1)).clamp(0, 1))) / 2


def _multiple(number: int, of: int) -> int:
    return -(-number // of) * of
