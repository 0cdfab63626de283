"""What the steps of a sample cost, for its progress and for estimates of time: nanoseconds of one CPU core, measured.

`tests/bench/bench_time.py` compares what follows from them with what is measured.
"""

from psal_cli.patchmatch.pyramid import TEXTURES
from psal_cli.verbs.generate.transport import SAMPLE

FEATURES = 40.0  # a pixel of the reference
SEARCH = 1.6  # a pixel of the sample, pixel of a patch and feature: one search
COHERENCE = 400.0  # a pixel: the same, with coherence
VOTE = 9.0  # a pixel and pixel of a patch: one vote
ASCENT = 1.9  # a pair of patches that are compared: one step of ascent
MOVE = 0.03, 2.0  # a pair of patches: for each of their numbers, and once
SETTLING = 2, 2  # rounds in which the finest level settles, 1 to 7; so many more for each coarser one


def settling(level: int, iterations: int) -> int:
    """Rounds that a level takes, 0 the finest."""
    return min(SETTLING[0] + SETTLING[1] * level, iterations)


def round_cost(queries: int, patch_size: int, channels: int, coherence: bool) -> float:
    """A search and a vote. queries: pixels of the sample; channels: of the pictures, with alpha."""
    each = (SEARCH * (channels + TEXTURES) + VOTE) * patch_size**2
    return (each + COHERENCE * coherence) * queries


def transport_cost(queries: int, keys: int, steps: int, patch_size: int, channels: int) -> float:
    """A round of transport. queries, keys: patches of the sample and of the reference; steps: of ascent."""
    numbers = (channels + TEXTURES) * patch_size**2
    return ASCENT * steps * min(queries, SAMPLE) * keys + (MOVE[0] * numbers + MOVE[1]) * queries * keys
