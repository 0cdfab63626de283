"""How visible the seams of a fill are: what steps more across a seam than beside it.

A seam is the border of a hole, or of a piece that was copied in one go. Pictures are uint8 `[H,W,3]`, masks bool `[H,W]`, True =
filled, fields int32 `[H,W,2]`: the (row, column) that each filled pixel was copied from.

A *step* is the difference of two neighbouring pixels after a Gaussian of 1 px, the root mean square of its channels, divided by
what that Gaussian leaves of an ideal step: a sharp step of n grey levels measures n, noise much less.

    excess of an edge = its step - the mean step of the edges of its direction near it that lie on no seam
    seam              = the sum of the excesses over the seam's edges / the edges of the hole's border

The excess has a sign and averages to zero where a seam means nothing, as in the truth. Divided by the length of the hole's border,
a figure of n says: as bad as a step of n grey levels all around the hole.
"""

from dataclasses import dataclass
from math import erf

import cv2
import numpy as np

SIGMA = 1.0  # pixels
LEFT_OF_STEP = erf(0.5 / (SIGMA * 2**0.5))  # of an ideal step, between the two pixels beside it
REACH = 3  # pixels: edges nearer than this to a seam feel it and are not compared with
NEAR = 8.0  # pixels, of a Gaussian: the edges that a seam is compared with
MARGIN = 40  # pixels around the hole's box: further away nothing counts
PEAK = 17  # pixels: a fill may step as much as the truth does anywhere in this window
LEAST_SMOOTH = 0.05  # of the hole's edges: where fewer lie on smooth ground, figures of smooth ground mean nothing


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


def usual_steps(found: np.ndarray, true: np.ndarray, seam: np.ndarray) -> np.ndarray:
    """The mean step near each edge of those on no seam; of the truth where a fill has none such, seams being everywhere."""
    free = cv2.dilate(seam.astype(np.uint8), np.ones((2 * REACH + 1,) * 2, np.uint8)) == 0
    count, sum_, truth = (cv2.GaussianBlur(x.astype(np.float32), (0, 0), NEAR) for x in (free, found * free, true))
    return (sum_ + 1e-3 * truth) / (count + 1e-3)


def excess(found: Edges, true: Edges, seam: Edges) -> Edges:
    """float32, of every edge: how much more it steps than is usual near it."""
    down, across = (
        f - usual_steps(f, t, s) for f, t, s in ((found.down, true.down, seam.down), (found.across, true.across, seam.across))
    )
    return Edges(down, across)


def total(value: Edges, where: Edges) -> float:
    return float(value.down[where.down].sum(dtype=np.float64) + value.across[where.across].sum(dtype=np.float64))


def count(where: Edges) -> int:
    return int(where.down.sum()) + int(where.across.sum())


def both(first: Edges, second: Edges) -> Edges:
    return Edges(first.down & second.down, first.across & second.across)


def either(first: Edges, second: Edges) -> Edges:
    return Edges(first.down | second.down, first.across | second.across)


def false_steps(found: Edges, true: Edges) -> Edges:
    """float32: how far each edge steps beyond anything that the truth does near it."""
    window = np.ones((PEAK, PEAK), np.uint8)
    down, across = (np.maximum(f - cv2.dilate(t, window), 0) for f, t in ((found.down, true.down), (found.across, true.across)))
    return Edges(down, across)


def seams(
    filled: np.ndarray, truth: np.ndarray, mask: np.ndarray, smooth: np.ndarray, field: np.ndarray | None = None
) -> dict[str, float]:
    """The seams of a fill, each in grey levels all around the hole.

    Args:
        smooth: bool `[H,W]`, the truth's `inpaint_ground.smooth_places`.
        field: where each pixel was copied from; None for a method that does not say.

    Returns:
        seam_border: of the hole's border. seam_pieces: of the borders of copied pieces; nan without a field.
        seam_smooth: of both, on smooth ground only. false_steps: on smooth ground what steps more than the truth does anywhere
        near, on a seam or not: for methods without a field too. The last two are nan where no ground is smooth, and are
        divided by the smooth share of the border's edges that the hole's edges suggest.
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = tuple(slice(max(0, x[0] - MARGIN), x[-1] + 1 + MARGIN) for x in (rows, columns))
    own = np.ascontiguousarray(mask[box])
    found, true = steps(filled[box]), steps(truth[box])
    border = between(own, ~own)
    pieces = None
    if field is not None:
        shifted = field[box] - np.array([box[0].start, box[1].start])
        pieces = piece_borders(own, shifted)
    seam = border if pieces is None else either(border, pieces)
    above, around = excess(found, true, seam), count(border)
    hole, even = either(inside(own), border), inside(smooth[box])
    share = count(both(hole, even)) / count(hole)
    lies_smooth = share >= LEAST_SMOOTH
    return {
        "seam_border": total(above, border) / around,
        "seam_pieces": float("nan") if pieces is None else total(above, pieces) / around,
        "seam_smooth": total(above, both(seam, even)) / (around * share) if lies_smooth else float("nan"),
        "false_steps": total(false_steps(found, true), both(hole, even)) / (around * share) if lies_smooth else float("nan"),
    }
