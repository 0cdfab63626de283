"""Costs of the steps of a completion, for progress and time estimates: nanoseconds of one CPU core, measured.
`tests/bench/bench_time.py` compares the estimates with measurements.
"""

from typing import NamedTuple

import numpy as np

from psal_cli.patchmatch.pyramid import PLACES, TEXTURES, Guide, guided_windows
from psal_cli.patchmatch.regions import Region, area, bounds, crop, touched

PYRAMID = 40.0  # a pixel of the picture: levels, valid keys, texture
FEATURES = 50.0, 12.0  # a pixel of a level: of the finest ones, computed from the picture, and of the others
SEARCH = 9.0  # a query, pixel of a patch and feature: one search
VOTE = 400.0  # a pixel of the hole
EXACT = 0.2  # a pair of a query and a key, pixel of a patch and feature: the first estimate, searched exactly
SCANNED = 4.0  # rounds of search that it takes otherwise
SEARCHED_EXACTLY = 1 << 14  # the most pixels of the coarsest level for an exact search


class Workload(NamedTuple):
    """Costs of a completion. start: before the first level; first: the first estimate, part of the coarsest level; levels: of
    each, 0 the finest; query: a search and a vote for each query, per level."""

    start: float
    first: float
    levels: list[float]
    query: list[float]

    @property
    def total(self) -> float:
        return self.start + sum(self.levels)


def workload(
    holes: list[Region],
    guide: Guide | type[Guide] | None,
    level: int,
    iterations: int | None,
    patch_size: int,
    channels: int,
) -> Workload:
    """The workload of completing a picture. holes: bool [H, W] of each level; guide: computes features from that level on, or
    None; channels: colour channels of the picture; other arguments: see `InpaintOptions`."""
    levels, query = [], []
    for number, hole in enumerate(holes):
        features = channels + TEXTURES
        if guide is not None and number >= level:
            features += TEXTURES + PLACES + guide.features
        query.append(SEARCH * patch_size**2 * features + VOTE)
        queries = int(np.count_nonzero(touched(crop(hole, bounds(hole)), patch_size)))
        levels.append(FEATURES[number > 0] * hole.size + query[-1] * queries * rounds_of(number, iterations))
    exact = EXACT * patch_size**2 * features * queries * (hole.size - queries)
    first = exact if hole.size <= SEARCHED_EXACTLY else SCANNED * query[-1] * queries
    levels[-1] += first
    look = 0.0 if guide is None else guide.cost * sum(map(area, guided_windows(holes[level], guide.reach)))
    return Workload(PYRAMID * holes[0].size + look, first, levels, query)


def rounds_of(level: int, iterations: int | None) -> int:
    """Rounds of search and vote at a level, 0 the finest. Fine levels get fewer, because each round costs some texture."""
    return iterations or min(8, 2**level)
