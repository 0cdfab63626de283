"""All figures of one fill."""

import functools
import hashlib
from pathlib import Path

import numpy as np
from inpaint_features import load_distance
from inpaint_ground import smooth_places
from inpaint_methods import Fill
from inpaint_seams import seams
from metrics import measure

BENCH = Path(__file__).parent
MEASURES = ("metrics.py", "inpaint_seams.py", "inpaint_features.py", "inpaint_ground.py", "inpaint_figures.py")
FURTHEST = 96  # pixels around a hole: no figure but the feature distance of a large hole looks further


@functools.cache
def measures_version() -> str:
    """Changes with the code that measures."""
    return hashlib.sha256(b"".join((BENCH / name).read_bytes() for name in MEASURES)).hexdigest()[:12]


def window_of(mask: np.ndarray) -> tuple[slice, slice]:
    """What of a picture the figures look at: the hole's box and FURTHEST pixels around it, more around large holes."""
    spans = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    grown = max(FURTHEST, max(int(span[-1] - span[0]) for span in spans) // 4)
    rows, columns = (slice(max(0, int(span[0]) - grown), int(span[-1]) + 1 + grown) for span in spans)
    return rows, columns


def figures(fill: Fill, truth: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """All figures of one fill; outside the mask the truth's pixels are put back first. A feature distance that cannot be
    measured, its packages not being installed, is nan."""
    window = window_of(mask)
    true, hole = np.ascontiguousarray(truth[window]), np.ascontiguousarray(mask[window])
    filled = np.where(hole[..., None], fill.picture[window], true)
    field = None if fill.field is None else fill.field[window] - np.array([side.start for side in window])
    try:
        feature = load_distance()(filled, true, hole)
    except ImportError:
        feature = float("nan")
    return {**measure(filled, true, hole), "feature": feature, **seams(filled, true, hole, smooth_places(true), field)}
