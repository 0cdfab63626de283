"""Costs of the steps of colorize, for progress and time estimates: nanoseconds of one CPU core, measured.
`tests/bench/bench_time.py` compares the estimates with measurements.
"""

MATCH = 2500.0, 1500.0  # a pixel of the picture or of the references: searches of the coarse level, and of a finer one
JUDGE = 2200.0  # a pixel of the picture: cues, and the network that judges the matches
PRIOR = 120e6  # the colour prior: once, at the size of the coarse level
GUESSES = 180e6  # guesses on picture and references: likewise
GUESS = 250e6  # a guess, at its own size: once, with loading its network; 70e6 without
APPLY = 165.0  # a pixel of the result
SEMANTIC = 4000.0  # a pixel of both at the coarse level: semantic features, and searching by them
PAPER = {"full": 20000.0, "full_dot": 20000.0, "local": 30000.0}  # a pixel of both: the paper's network, by its layer
PAPER_PSAL, PAPER_ROUND = 1000.0, 90.0  # with PSAL: without its search, and for each of its rounds


def match_cost(query: int, key: int, fine: bool) -> float:
    """The cost of matching. query, key: pixels of the picture and of the references side by side; fine: at a level after the
    coarse one."""
    return MATCH[fine] * (query + key)


def level_cost(query: int, key: int, fine: bool, semantic: bool = False) -> float:
    """The cost of a level. semantic: whether semantic features are used, which they are at the coarse level only."""
    seeing = SEMANTIC * (query + key) * (semantic and not fine)
    return match_cost(query, key, fine) + JUDGE * query + (PRIOR + GUESSES) * (not fine) + seeing


def paper_cost(query: int, key: int, attention: str, iterations: int) -> float:
    return PAPER.get(attention, PAPER_PSAL + PAPER_ROUND * iterations) * (query + key)
