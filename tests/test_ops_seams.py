"""The places of seams: the cost falls to where no pixel alone can lower it, and what lies at the hole's edge counts."""

import numpy as np
import pytest

from psal_cli import ops

pytestmark = pytest.mark.native

PATCH, DOUBT, LENGTH = 7, 0.1, 0.02
MOVES = (-1, 0), (1, 0), (0, -1), (0, 1)
MOST = 0.5


def problem(seed=0, height=26, width=30, hole=(6, 18, 9, 23), channels=3):
    """A random picture with a hole, and a field of patches that come from a few places: what `place_seams` takes."""
    rng = np.random.default_rng(seed)
    pixels = rng.random((height, width, channels), np.float32)
    top, bottom, left, right = (hole[0] - 3, hole[1] + 3, hole[2] - 3, hole[3] + 3)
    unknown = np.zeros((bottom - top, right - left), bool)
    unknown[3:-3, 3:-3] = True
    barred = np.zeros((height, width), bool)
    barred[top:bottom, left:right] = unknown
    nnf = np.full((2, *unknown.shape), -1, np.int32)
    inner = [(row, column) for row, column in np.ndindex(height, width) if 3 <= row < height - 3 and 3 <= column < width - 3]
    known = [(row, column) for row, column in inner if not barred[row - 3 : row + 4, column - 3 : column + 4].any()]
    for row, column in np.ndindex(unknown.shape):
        onward = (nnf[0, row, column - 1], nnf[1, row, column - 1] + 1)
        nnf[:, row, column] = onward if onward in known and rng.random() < 0.7 else known[rng.integers(len(known))]
    weight = rng.random(unknown.shape, np.float32)
    places = np.argwhere(unknown)
    origin = nnf[:, places[:, 0], places[:, 1]].T.astype(np.int32)
    field = {"nnf": nnf, "weight": weight, "origin": origin}
    return {"pixels": pixels, "barred": barred, "unknown": unknown, "corner": (top, left)} | field


def place(given, sweeps=50, doubt=DOUBT, length=LENGTH):
    return ops.place_seams(**given, patch_size=PATCH, doubt=doubt, length=length, sweeps=sweeps)


def pastes(given, row, column):
    """{source: weight} of the patches over a pixel of the box."""
    out = {}
    for down in range(-3, 4):
        for right in range(-3, 4):
            r, c = row + down, column + right
            if 0 <= r < given["unknown"].shape[0] and 0 <= c < given["unknown"].shape[1] and given["nnf"][0, r, c] >= 0:
                source = given["nnf"][0, r, c] - down, given["nnf"][1, r, c] - right
                if usable(given, source):
                    out[source] = out.get(source, 0) + float(given["weight"][r, c])
    return out


def usable(given, at):
    return all(0 <= i < side for i, side in zip(at, given["barred"].shape, strict=True)) and not given["barred"][at]


def difference(given, first, second):
    if not usable(given, first) or not usable(given, second):
        return MOST
    return min(MOST, float(np.linalg.norm(given["pixels"][first].astype(float) - given["pixels"][second])))


def cost_of(given, sources, at, source):
    """What a pixel costs with that source: its own share, and all seams around it. sources: {pixel: source}."""
    weights = pastes(given, *at)
    cost = DOUBT * (1 - weights.get(source, 0) / sum(weights.values()))
    for down, right in MOVES:
        there, onward = (at[0] + down, at[1] + right), (source[0] + down, source[1] + right)
        if there in sources:
            other = sources[there]
            if other != onward:
                cost += LENGTH + difference(given, source, (other[0] - down, other[1] - right)) + difference(given, onward, other)
        else:
            known = there[0] + given["corner"][0], there[1] + given["corner"][1]
            if usable(given, known):
                cost += 2 * difference(given, onward, known)
    return cost


def by_pixel(given, origin):
    return {tuple(map(int, at)): tuple(map(int, s)) for at, s in zip(np.argwhere(given["unknown"]), origin, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_in_the_end_no_pixel_alone_can_lower_the_cost(seed):
    given = problem(seed)
    sources = by_pixel(given, place(given))
    for at, source in sources.items():
        least = min(cost_of(given, sources, at, other) for other in pastes(given, *at))
        assert cost_of(given, sources, at, source) <= least + 1e-4


def test_one_sweep_changes_pixels_for_the_better_only():
    given = problem()
    before, after = by_pixel(given, given["origin"]), by_pixel(given, place(given, sweeps=1))
    assert before != after

    def total(sources):
        return sum(cost_of(given, sources, at, source) for at, source in sources.items())

    assert total(after) < 0.9 * total(before)
    assert by_pixel(given, place(given, sweeps=0)) == before


def test_a_piece_that_goes_on_from_the_edge_of_the_hole_wins():
    """Half of the patches paste the picture shifted by its period, which fits everywhere, the others come from anywhere."""
    rng = np.random.default_rng(0)
    pixels = np.tile(rng.random((40, 10, 3), np.float32), (1, 4, 1))
    unknown = np.zeros((16, 16), bool)
    unknown[3:-3, 3:-3] = True
    barred = np.zeros((40, 40), bool)
    barred[12:28, 2:18] = unknown
    rows, columns = np.indices(unknown.shape) + np.array([12, 2])[:, None, None]
    right = np.stack([rows, columns + 20])
    wrong = np.stack([rng.integers(3, 37, unknown.shape), rng.integers(24, 37, unknown.shape)])
    nnf = np.where(rng.random(unknown.shape) < 0.5, right, wrong).astype(np.int32)
    places = np.argwhere(unknown)
    origin = nnf[:, places[:, 0], places[:, 1]].T
    given = {"pixels": pixels, "barred": barred, "unknown": unknown, "nnf": nnf, "weight": np.ones(unknown.shape, np.float32)}
    placed = place({**given, "origin": origin, "corner": (12, 2)})
    fitting = right[:, places[:, 0], places[:, 1]].T
    assert (origin == fitting).all(1).mean() < 0.6
    assert (placed == fitting).all(1).mean() > 0.9


def test_any_number_of_threads_and_any_layout_give_the_same(threads):
    given = problem(height=60, width=70, hole=(8, 50, 9, 60))
    threads(1)
    alone = place(given)
    threads(4)
    assert np.array_equal(place(given), alone)
    planes = np.ascontiguousarray(given["pixels"].transpose(2, 0, 1)).transpose(1, 2, 0)
    assert np.array_equal(place({**given, "pixels": planes}), alone)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"pixels": np.zeros((26, 30, 3))}, "float64"),
        ({"pixels": np.zeros((26, 30, 3), np.uint8)}, "expected float32"),
        ({"nnf": np.zeros((2, 3, 3), np.int32)}, "nnf is int32"),
        ({"weight": np.zeros((18, 20))}, "weight is float64"),
        ({"origin": np.full((168, 2), 99, np.int32)}, "outside a picture"),
        ({"corner": (20, 20)}, "is not inside a picture"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        place({**problem(), **change})
    with pytest.raises(ValueError, match="out of range"):
        place(problem(), sweeps=128)
