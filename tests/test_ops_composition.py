"""Composition in the gradient domain: the oracle's fill, seams that go, edges that stay, and what it never looks at."""

import numpy as np
import pytest
import torch

from psal_cli import ops, reference

pytestmark = pytest.mark.native

# height, width, channels, box of the unknown pixels (top, bottom, left, right), share of it that is unknown, dtype
CASES = [
    (30, 40, 3, (5, 25, 8, 30), 0.9, np.uint8),
    (30, 40, 1, (0, 20, 0, 40), 1.0, np.float32),  # a hole that touches three borders
    (20, 20, 3, (0, 12, 3, 20), 0.4, np.uint16),  # single pixels, strips and corners
]
CALM = 0.05  # contrast of a picture whose sources are smooth


def pieces(height, width, channels, box, share, dtype, contrast=0.3):
    """A random picture with a ramp, and a hole filled by runs of pixels from random places: (pixels, barred, unknown, origin)."""
    rng = np.random.default_rng(height)
    pixels = contrast * rng.random((height, width, channels)) + np.linspace(0, 0.7, width)[:, None]
    pixels = pixels.astype(np.float32) if dtype == np.float32 else (pixels * np.iinfo(dtype).max).astype(dtype)
    top, bottom, left, right = box
    unknown = rng.random((bottom - top, right - left)) < share
    barred = np.zeros((height, width), bool)
    barred[top:bottom, left:right] = unknown
    known, places = np.argwhere(~barred), np.argwhere(unknown)
    origin = known[rng.integers(0, len(known), len(places))].astype(np.int32)
    for i in range(1, len(places)):
        onward = origin[i - 1] + places[i] - places[i - 1]
        if rng.random() < 0.8 and (onward >= 0).all() and (onward < (height, width)).all() and not barred[tuple(onward)]:
            origin[i] = onward
    return pixels, barred, unknown, origin


def as_float(pixels):
    return pixels / np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else pixels.astype(np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("fidelity", [0.001, 0.03])
@pytest.mark.parametrize("case", [*CASES, (*CASES[0], CALM)])
def test_the_fill_is_the_oracles(case, fidelity):
    pixels, barred, unknown, origin = pieces(*case)
    corner = case[3][0], case[3][2]
    tensors = (torch.from_numpy(x) for x in (as_float(pixels), barred, unknown, origin))
    expected = reference.compose(*tensors, corner, fidelity).numpy()
    actual = ops.compose(pixels, barred, unknown, origin, corner, fidelity, 50, 1e-6)
    assert np.abs(actual - expected).max() < 1e-5


def test_the_solver_needs_few_steps_for_a_large_hole():
    """Each step of multigrid takes away most of what is left, however wide it is spread."""
    side = 400
    pixels = np.linspace(0, 1, side, dtype=np.float32)[:, None].repeat(side, 1)[..., None]
    unknown = np.zeros((side, side), bool)
    unknown[8:-8, 8:-8] = True
    origin = np.zeros((np.count_nonzero(unknown), 2), np.int32)
    origin[:, 1] = np.nonzero(unknown)[1]  # all from the first row: every step down is a seam
    exact, early = (ops.compose(pixels, unknown, unknown, origin, (0, 0), 0.001, steps, 1e-7) for steps in (100, 8))
    assert np.abs(early - exact).max() < 1e-3 * np.abs(exact).max()


def test_the_fill_is_the_same_for_any_number_of_threads_and_any_layout(threads):
    case = (200, 240, 3, (10, 190, 20, 220), 0.95, np.uint8)
    pixels, barred, unknown, origin = pieces(*case)
    planar = np.ascontiguousarray(pixels.transpose(2, 0, 1)).transpose(1, 2, 0)
    fills = []
    for count, picture in ((1, pixels), (2, pixels), (4, planar)):
        threads(count)
        fills.append(ops.compose(picture, barred, unknown, origin, (10, 20), 0.001, 50, 1e-4))
    assert all(np.array_equal(fill, fills[0]) for fill in fills)


@pytest.mark.parametrize("step", [0.01, 0.05, 0.2])
def test_a_difference_of_light_at_the_holes_edge_goes(step):
    """A hole in the light half of a picture is filled from the half that is darker by `step`."""
    pixels = np.full((40, 40, 3), 0.95, np.float32)
    pixels[20:] -= step
    unknown = np.zeros((40, 40), bool)
    unknown[4:14, 5:35] = True
    origin = np.argwhere(unknown).astype(np.int32) + np.int32([22, 0])
    fill = ops.compose(pixels, unknown, unknown, origin, (0, 0), 0.001, 200, 1e-5)
    assert np.abs(fill[:30] - 0.95).max() < 0.02 * step  # the hole's first row


def test_between_two_sources_the_step_is_one_that_a_source_has():
    """The left half comes from plain ground, the right half from ground that is lighter: no edge is left between them."""
    pixels = np.full((20, 80, 1), 0.4, np.float32)
    pixels[:, 40:] = 0.6
    unknown = np.zeros((20, 80), bool)
    unknown[4:16, 30:50] = True
    pixels[4:16, 30:50] = 0
    row, column = np.nonzero(unknown)
    origin = np.stack([row, np.where(column < 40, column - 22, column + 22)], 1).astype(np.int32)
    fill = ops.compose(pixels, unknown, unknown, origin, (0, 0), 0.001, 200, 1e-5).reshape(12, 20)
    assert np.abs(np.diff(fill, axis=1)).max() < 0.1  # of 0.2 between the copies, and beside the hole


@pytest.mark.parametrize(("texture", "largest"), [(0.0, 0.1), (0.3, 0.4)])
def test_a_large_step_between_two_pieces_goes_where_both_are_smooth(texture, largest):
    """Half of the hole is copied from dark ground, half from light ground."""
    rng = np.random.default_rng(0)
    pixels = np.full((20, 80, 1), 0.1, np.float32)
    pixels[:, 40:] = 0.7
    pixels += texture * rng.random(pixels.shape, np.float32)
    unknown = np.zeros((20, 80), bool)
    unknown[4:16, 30:50] = True
    row, column = np.nonzero(unknown)
    origin = np.stack([row, np.where(column < 40, column - 22, column + 22)], 1).astype(np.int32)
    fill = ops.compose(pixels, unknown, unknown, origin, (0, 0), 0.001, 200, 1e-5).reshape(12, 20)
    step = np.abs(fill[:, 10:].mean(0)[0] - fill[:, :10].mean(0)[-1])
    assert step < largest if texture == 0 else step > largest


def test_what_may_not_be_copied_is_not_looked_at():
    pixels, barred, unknown, origin = pieces(*CASES[0])
    hidden = np.zeros_like(barred)
    hidden[5:25, 8:30] = unknown
    beyond = barred.copy()
    beyond[:, 35:] = True  # a source mask
    origin = np.where(beyond[origin[:, 0], origin[:, 1], None], np.int32([2, 2]), origin)
    other = np.where(beyond[..., None], np.uint8(250), pixels)
    first, second = (ops.compose(x, beyond, unknown, origin, (5, 8), 0.001, 50, 1e-6) for x in (pixels, other))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": np.zeros((30, 40, 5), np.float32)}, r"pixels are float32 \[30, 40, 5\], expected .* \[H, W, 1 to 4\]"),
        ({"pixels": np.zeros((30, 40, 3))}, "pixels are float64"),
        ({"barred": np.zeros((30, 39), bool)}, r"barred is bool \[30, 39\], expected bool \[30, 40\]"),
        ({"unknown": np.zeros((20, 22), np.uint8)}, r"unknown is uint8 \[20, 22\], expected bool"),
        ({"corner": (11, 8)}, r"a box of \[20, 22\] at \[11, 8\] is not inside a picture of \[30, 40\]"),
        ({"origin": np.zeros((7, 2), np.int32)}, r"origin is int32 \[7, 2\], expected int32 \[\d+, 2\]"),
        ({"fidelity": 0.0}, "fidelity is 0.0, expected a number above 0"),
    ],
)
def test_refusals_name_the_value(change, message):
    pixels, barred, unknown, origin = pieces(*CASES[0])
    arguments = {"pixels": pixels, "barred": barred, "unknown": unknown, "origin": origin, "corner": (5, 8), "fidelity": 0.001}
    with pytest.raises(ValueError, match=message):
        ops.compose(**{**arguments, **change}, steps=10, tolerance=1e-4)


def test_an_origin_outside_the_picture_is_refused():
    pixels, barred, unknown, origin = pieces(*CASES[0])
    origin[3] = -1, 4
    with pytest.raises(ValueError, match=r"origin leads outside a picture of \[30, 40\]"):
        ops.compose(pixels, barred, unknown, origin, (5, 8), 0.001, 10, 1e-4)
