"""Rectangles and polygons: which pixels are inside, what is cut off, what is refused."""

import numpy as np
import pytest

from psal_cli.errors import InvalidValueError
from psal_cli.image import Box, Polygon, shapes_region

SIZE = (40, 30)  # width, height


def inside(corners, size=SIZE):
    """The pixels whose centres are inside by the winding of each edge around each centre, slowly and obviously."""
    out = np.zeros((size[1], size[0]), bool)
    for row, column in np.ndindex(*out.shape):
        x, y, within = column + 0.5, row + 0.5, False
        for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                within = not within
        out[row, column] = within
    return out


def test_a_box_is_its_own_pixels():
    expected = np.zeros(SIZE[::-1], bool)
    expected[5:15, 20:28] = True
    assert np.array_equal(shapes_region([Box(20, 5, 8, 10)], SIZE), expected)
    assert np.array_equal(shapes_region([Polygon(((20, 5), (28, 5), (28, 15), (20, 15)))], SIZE), expected)


def test_a_centre_decides():
    assert np.argwhere(shapes_region([Box(2.4, 3.6, 2.2, 1)], SIZE)).tolist() == [[4, 2], [4, 3], [4, 4]]
    assert np.argwhere(shapes_region([Box(2.6, 3.4, 1.8, 1)], SIZE)).tolist() == [[3, 3]]


@pytest.mark.parametrize("number", range(12))
def test_polygons_hold_the_pixels_whose_centres_are_inside(number):
    random = np.random.default_rng(number)
    corners = random.uniform(-10, 50, (3 + number % 5, 2))  # some cross themselves, most reach outside
    assert np.array_equal(shapes_region([Polygon(tuple(map(tuple, corners)))], SIZE), inside(corners.tolist()))


def test_triangles_that_share_their_edges_share_no_pixel_and_leave_none_out():
    corners = [(0, 0), (40, 0), (40, 30), (0, 30)]
    for middle in [(17.3, 11.9), (20, 15), (20.5, 15.5)]:
        parts = [shapes_region([Polygon((a, b, middle))], SIZE) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
        assert (np.sum(parts, 0) == 1).all()


def test_what_lies_outside_is_cut_off():
    assert np.array_equal(shapes_region([Box(-1e8, 28, 2e8, 1e8)], SIZE), inside([(-1, 28), (41, 28), (41, 31), (-1, 31)]))
    assert shapes_region([Polygon(((-1e9, -1e9), (1e9, -1e9), (0, 1e9)))], SIZE).all()


def test_several_shapes_are_one_region():
    both = shapes_region([Box(0, 0, 5, 5), Box(3, 3, 5, 5)], SIZE)
    assert np.array_equal(both, shapes_region([Box(0, 0, 5, 5)], SIZE) | shapes_region([Box(3, 3, 5, 5)], SIZE))
    assert not shapes_region([], SIZE).any()


@pytest.mark.parametrize(
    "shape",
    [
        Box(40, 0, 5, 5),
        Box(0, -9, 9, 9),
        Box(0, 0, 0.4, 9),
        Polygon(((1, 1), (9, 9), (5, 5))),
        Polygon(((-9, 0), (0, 9), (-9, 9))),
    ],
)
def test_a_shape_without_a_pixel_is_refused_with_what_was_given(shape):
    with pytest.raises(InvalidValueError) as refused:
        shapes_region([Box(0, 0, 5, 5), shape], SIZE)
    assert str(shape) in str(refused.value) and "40x30" in str(refused.value)
    assert refused.value.what == type(shape).__name__.lower()


@pytest.mark.parametrize(
    "numbers", [(0, 0, 0, 5), (0, 0, 5, -1), (0, 0, float("nan"), 5), (float("inf"), 0, 5, 5), (2e9, 0, 5, 5)]
)
def test_boxes_that_are_none(numbers):
    with pytest.raises(InvalidValueError, match="box is"):
        Box(*numbers)


@pytest.mark.parametrize("corners", [(), ((1, 2), (3, 4)), ((1, 2), (3, 4), (float("nan"), 5))])
def test_polygons_that_are_none(corners):
    with pytest.raises(InvalidValueError, match="polygon is"):
        Polygon(corners)
