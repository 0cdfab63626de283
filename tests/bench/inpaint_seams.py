"""How visible the seams of a fill are: what steps more across a seam than beside it.

A seam is the border of a hole, or of a piece that was copied in one go. Pictures are uint8 `[H,W,3]`, masks bool `[H,W]`, True =
filled, fields int32 `[H,W,2]`: the (row, column) that each filled pixel was copied from.

A *step* is the difference of two neighbouring pixels after a Gaussian of 1 px, the root mean square of its channels, divided by
what that Gaussian leaves of an ideal step: a sharp step of n grey levels measures n, noise much less.

    excess of an edge = its step - the mean step of the four edges 3 and 4 px away from it, before and behind
    seam              = the sum of the excesses over the seam's edges / the number of edges of the hole's border

The excess has a sign and averages to zero wherever an edge is nothing special, as in the truth. Divided by the length of the
hole's border, a figure of n says: as bad as a step of n grey levels all around the hole.
"""

from dataclasses import dataclass
from math import erf

import cv2
import numpy as np

SIGMA = 1.0  # pixels
LEFT_OF_STEP = erf(0.5 / (SIGMA * 2**0.5))  # of an ideal step, between the two pixels beside it
BESIDE = (3, 4)  # pixels: edges so far away do not feel a step any more
MARGIN = 40  # pixels around the hole's box: further away nothing counts
PEAK = 17  # pixels: a fill may step as much as the truth does anywhere in this window
VISIBLE = 2.0  # grey levels
LEAST_SMOOTH = 0.1  # of the hole's edges: where fewer lie on smooth ground, figures of smooth ground mean nothing


@dataclass(frozen=True)
class Edges:
    """A value for each pair of neighbouring pixels."""

    down: np.ndarray  # [H-1,W]: between a pixel and the one below it
    across: np.ndarray  # [H,W-1]: between a pixel and the one to its right


def steps(picture: np.ndarray) -> Edges:
    """float32, in grey levels."""
    blurred = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), SIGMA)
    down, across = (np.sqrt(np.mean(np.diff(blurred, axis=axis) ** 2, axis=2)) / LEFT_OF_STEP for axis in (0, 1))
    return Edges(down, across)


def between(first: np.ndarray, second: np.ndarray) -> Edges:
    """bool: edges of which one pixel is in `first` and the other in `second`."""
    down = (first[1:] & second[:-1]) | (first[:-1] & second[1:])
    return Edges(down, (first[:, 1:] & second[:, :-1]) | (first[:, :-1] & second[:, 1:]))


def inside(region: np.ndarray) -> Edges:
    """bool: edges of which both pixels are in the region."""
    return Edges(region[1:] & region[:-1], region[:, 1:] & region[:, :-1])


def piece_borders(mask: np.ndarray, field: np.ndarray) -> Edges:
    """bool: edges in the hole whose two pixels were not copied side by side."""
    offset = field - np.stack(np.indices(mask.shape), axis=2)
    moved = Edges((offset[1:] != offset[:-1]).any(2), (offset[:, 1:] != offset[:, :-1]).any(2))
    hole = inside(mask)
    return Edges(moved.down & hole.down, moved.across & hole.across)


def excess(edges: Edges) -> Edges:
    """float32, of every edge: how much more it steps than the parallel edges beside it."""
    return Edges(*(values - beside(values, axis) for axis, values in enumerate((edges.down, edges.across))))


def beside(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean of what lies BESIDE each value along an axis, what is nearest where that is outside."""
    places = np.arange(values.shape[axis])
    moves = [move for distance in BESIDE for move in (-distance, distance)]
    neighbours = [np.take(values, (places + move).clip(0, len(places) - 1), axis) for move in moves]
    return np.mean(neighbours, axis=0)


def total(value: Edges, where: Edges) -> float:
    return float(value.down[where.down].sum(dtype=np.float64) + value.across[where.across].sum(dtype=np.float64))


def count(where: Edges) -> int:
    return int(where.down.sum()) + int(where.across.sum())


def both(first: Edges, second: Edges) -> Edges:
    return Edges(first.down & second.down, first.across & second.across)


def either(first: Edges, second: Edges) -> Edges:
    return Edges(first.down | second.down, first.across | second.across)


def hard(filled: Edges, true: Edges) -> Edges:
    """bool: edges that visibly step more than the edges beside them and than the truth does anywhere near."""
    above, window = excess(filled), np.ones((PEAK, PEAK), np.uint8)
    down, across = (
        (e > VISIBLE) & (f > cv2.dilate(t, window) + VISIBLE)
        for e, f, t in ((above.down, filled.down, true.down), (above.across, filled.across, true.across))
    )
    return Edges(down, across)


def seams(
    filled: np.ndarray, truth: np.ndarray, mask: np.ndarray, smooth: np.ndarray, field: np.ndarray | None = None
) -> dict[str, float]:
    """The seams of a fill.

    Args:
        smooth: bool `[H,W]`, the truth's `inpaint_ground.smooth_places`.
        field: where each pixel was copied from; None for a method that does not say.

    Returns:
        seam_border: of the hole's border, in grey levels all around the hole.
        seam_pieces: of the borders of copied pieces, likewise; nan without a field.
        seam_smooth: of both where the ground is smooth, divided by the share of the hole's edges that lie there.
        hard_steps: the share in % of the hole's edges on smooth ground that step visibly more than those beside them and than
            anything near in the truth, on a seam or not: needs no field. These two are nan where hardly any ground is smooth.
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = tuple(slice(max(0, x[0] - MARGIN), x[-1] + 1 + MARGIN) for x in (rows, columns))
    own = np.ascontiguousarray(mask[box])
    filled_steps, true = steps(filled[box]), steps(truth[box])
    above, border = excess(filled_steps), between(own, ~own)
    around, pieces = count(border), None
    if field is not None:
        pieces = piece_borders(own, field[box] - np.array([box[0].start, box[1].start]))
    # Well inside smooth ground: what an edge is compared with lies there too.
    even = inside(cv2.erode(smooth[box].astype(np.uint8), np.ones((2 * BESIDE[-1] + 1,) * 2, np.uint8)).astype(bool))
    hole = either(inside(own), border)
    share = count(both(hole, even)) / count(hole)
    found_smooth = {"seam_smooth": float("nan"), "hard_steps": float("nan")}
    if share >= LEAST_SMOOTH:
        seam = border if pieces is None else either(border, pieces)
        steep = count(both(hard(filled_steps, true), both(hole, even)))
        found_smooth = {
            "seam_smooth": total(above, both(seam, even)) / (around * share),
            "hard_steps": 100 * steep / count(both(hole, even)),
        }
    return {
        "seam_border": total(above, border) / around,
        "seam_pieces": float("nan") if pieces is None else total(above, pieces) / around,
        **found_smooth,
    }
