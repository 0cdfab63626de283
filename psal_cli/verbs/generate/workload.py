"""Costs of the steps of generate, for progress and time estimates: nanoseconds of one CPU core, measured.
`tests/bench/bench_time.py` compares the estimates with measurements.
"""

from psal_cli.patchmatch.pyramid import TEXTURES
from psal_cli.verbs.generate.transport import SAMPLE

FEATURES = 40.0  # a pixel of the reference
SEARCH = 1.6  # a pixel of the sample, pixel of a patch and feature: one search
COHERENCE = 400.0  # a pixel: the same, with coherence
VOTE = 9.0  # a pixel and pixel of a patch: one vote
ASCENT = 1.9  # a pair of patches that are compared: one step of ascent
MOVE = 0.03, 2.0  # a pair of patches: for each of their features, and once
SETTLING = 2, 2  # rounds until the finest level settles (1 to 7), and how many more for each coarser one


def settling(level: int, iterations: int) -> int:
    """The expected rounds of a level, 0 the finest."""
    return min(SETTLING[0] + SETTLING[1] * level, iterations)


def round_cost(queries: int, patch_size: int, channels: int, coherence: bool) -> float:
    """The cost of a search and a vote. queries: pixels of the sample; channels: of the pictures, with alpha."""
    each = (SEARCH * (channels + TEXTURES) + VOTE) * patch_size**2
    return (each + COHERENCE * coherence) * queries


def transport_cost(queries: int, keys: int, steps: int, patch_size: int, channels: int) -> float:
    """The cost of a round of transport. queries, keys: patches of the sample and of the reference; steps: of ascent."""
    numbers = (channels + TEXTURES) * patch_size**2
    return ASCENT * steps * min(queries, SAMPLE) * keys + (MOVE[0] * numbers + MOVE[1]) * queries * keys
