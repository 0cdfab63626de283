"""Strokes: what they mark, exact to the pixel, and the files that hold them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psal_cli.errors import InputError, InvalidValueError
from psal_cli.image.painted_colours import painted_colours
from psal_cli.image.painting import painted, rectangles, region
from psal_cli.image.shapes import Polygon, shapes_region
from psal_cli.image.strokes import Brush, Clear, Fill, Grow, Outline, Strokes, encoded, parsed, read_strokes, record_of

SIZE = (48, 36)  # width, height
Y, X = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5


def near(points):
    """The pixels whose centres lie inside any of very many discs between the points, slowly and obviously."""
    out = np.zeros(SIZE[::-1], bool)
    for (x0, y0, r0), (x1, y1, r1) in zip(points, [*points[1:], points[-1]], strict=True):
        for share in np.linspace(0, 1, 2001):
            x, y, radius = x0 + share * (x1 - x0), y0 + share * (y1 - y0), r0 + share * (r1 - r0)
            out |= (X - x) ** 2 + (Y - y) ** 2 <= radius**2
    return out


@pytest.mark.slow
@pytest.mark.parametrize("number", range(6))
def test_a_brush_marks_the_pixels_whose_centres_its_discs_cover(number):
    random = np.random.default_rng(number)
    points = np.stack([random.uniform(-9, 57, 3), random.uniform(-9, 45, 3), random.uniform(0.4, 9, 3)], 1)
    points = tuple(map(tuple, points.tolist()))
    found = region([Brush("mask", points)], "mask", SIZE)
    assert found.any() and np.array_equal(found, near(points))


def test_a_dot_is_a_disc():
    assert np.array_equal(region([Brush("mask", ((20.0, 15.0, 6.5),))], "mask", SIZE), (X - 20) ** 2 + (Y - 15) ** 2 <= 6.5**2)


def test_an_outline_is_a_polygon():
    corners = ((3.0, 4.0), (40.5, 9.0), (20.0, 44.0), (-8.0, 20.0))
    assert np.array_equal(region([Outline("mask", corners)], "mask", SIZE), shapes_region([Polygon(corners)], SIZE))


def box(left, top, width, height, **more):
    right, bottom = left + width, top + height
    return Outline("mask", ((left, top), (right, top), (right, bottom), (left, bottom)), **more)


def test_strokes_count_in_their_order():
    strokes = [box(5, 5, 20, 20), box(10, 10, 5, 5, erase=True), Brush("mask", ((12.0, 12.0, 1.0),)), box(0, 0, 9, 9, erase=True)]
    expected = shapes_region([Polygon(strokes[0].corners)], SIZE)
    expected[10:15, 10:15] = False
    expected |= (X - 12) ** 2 + (Y - 12) ** 2 <= 1
    expected[:9, :9] = False
    assert np.array_equal(region(strokes, "mask", SIZE), expected)
    assert not region(strokes, "source", SIZE).any()


def test_clear_forgets_what_was_before():
    strokes = [box(5, 5, 20, 20), Clear("source"), Clear("mask"), box(1, 1, 2, 2)]
    assert np.argwhere(region(strokes, "mask", SIZE)).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_fill_marks_what_is_enclosed():
    ring = [box(5, 5, 20, 20), box(8, 8, 14, 14, erase=True)]
    whole = region([box(5, 5, 20, 20)], "mask", SIZE)
    assert np.array_equal(region([*ring, Fill("mask")], "mask", SIZE), whole)
    open_ring = [*ring, box(4, 10, 6, 2, erase=True)]
    assert np.array_equal(region([*open_ring, Fill("mask")], "mask", SIZE), region(open_ring, "mask", SIZE))


@pytest.mark.parametrize("pixels", [1, 3, 7])
def test_growing_takes_all_that_is_so_near(pixels):
    start = [box(14, 12, 6, 5), box(30, 20, 1, 1)]
    before = region(start, "mask", SIZE)
    rows, columns = np.nonzero(before)
    expected = ((X[..., None] - 0.5 - columns) ** 2 + (Y[..., None] - 0.5 - rows) ** 2 <= pixels**2).any(2)
    assert np.array_equal(region([*start, Grow("mask", pixels)], "mask", SIZE), expected)


def test_shrinking_leaves_what_is_far_inside_and_what_the_edge_of_the_picture_cuts():
    inner = region([box(10, 10, 20, 15), Grow("mask", -3)], "mask", SIZE)
    assert np.array_equal(inner, region([box(13, 13, 14, 9)], "mask", SIZE))
    cut = region([box(-5, -5, 20, 20), Grow("mask", -3)], "mask", SIZE)  # the picture may go on like that
    assert cut[0, 0] and cut[:12, :12].all() and not cut[12:].any()


NUMBER = st.integers(-640, 2240).map(lambda number: number / 32)
BRUSHES = st.builds(
    Brush,
    st.just("mask"),
    st.lists(st.tuples(NUMBER, NUMBER, st.integers(1, 320).map(lambda n: n / 32)), min_size=1, max_size=4).map(tuple),
    st.booleans(),
)
OUTLINES = st.builds(
    Outline, st.just("mask"), st.lists(st.tuples(NUMBER, NUMBER), min_size=3, max_size=5).map(tuple), st.booleans()
)
OTHERS = st.sampled_from([Fill("mask"), Grow("mask", 2), Grow("mask", -2), Clear("mask")])
LISTS = st.lists(BRUSHES | OUTLINES | OTHERS, max_size=6)


@settings(max_examples=60, deadline=None)
@given(LISTS)
def test_what_is_marked_is_told_as_rectangles(strokes):
    part = painted(strokes, "mask", SIZE)
    found = np.zeros(SIZE[::-1], int)
    numbers = rectangles(part)
    for left, top, width, height in zip(*(numbers[at::4] for at in range(4)), strict=True):
        found[top : top + height, left : left + width] += 1
    assert np.array_equal(found, region(strokes, "mask", SIZE).astype(int))


@settings(max_examples=60, deadline=None)
@given(LISTS)
def test_strokes_survive_their_file(tmp_path_factory, strokes):
    path = tmp_path_factory.mktemp("strokes") / "a.json"
    whole = Strokes(SIZE, tuple(strokes), {"seed": 3})
    path.write_bytes(encoded(whole))
    assert read_strokes(path, SIZE) == whole


def test_a_part_is_as_large_as_what_is_painted(monkeypatch):
    part = painted([Brush("mask", ((5000.0, 4000.0, 20.0),))], "mask", (12_000, 9000))
    assert part.marked.size < 50**2 and part.marked.any()


BRUSH = {"tool": "brush", "layer": "mask", "points": [1, 2, 3]}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"tool": "hammer"}, "tool"),
        ({"layer": "sky"}, "layer"),
        ({"erase": 1}, "erase"),
        ({"points": [1, 2]}, "points"),
        ({"points": []}, "points"),
        ({"points": [1, 2, 3] * 5001}, "points"),
        ({"points": [1, float("nan"), 3]}, "points"),
        ({"points": [1, True, 3]}, "points"),
        ({"points": [1, "2", 3]}, "points"),
        ({"points": [1e9, 2, 3]}, "points"),
        ({"points": [10**400, 2, 3]}, "points"),
        ({"points": [1, 2, 0]}, "radius"),
        ({"points": [1, 2, 2001]}, "radius"),
        ({"tool": "outline", "points": [1, 2, 3, 4]}, "points"),
        ({"tool": "grow", "pixels": 0}, "pixels"),
        ({"tool": "grow", "pixels": 1.5}, "pixels"),
        ({"tool": "grow", "pixels": 1001}, "pixels"),
        ({"layer": "hint"}, "colour"),
        ({"layer": "hint", "colour": "red"}, "colour"),
        ({"layer": "hint", "colour": "#FF0000"}, "colour"),
        ({"layer": "hint", "colour": [255, 0, 0]}, "colour"),
        ({"layer": "hint", "tool": "fill"}, "tool"),
        ({"layer": "hint", "tool": "grow", "pixels": 2}, "tool"),
    ],
    ids=str,
)
def test_a_record_that_is_no_stroke_is_refused(change, what):
    with pytest.raises(InvalidValueError) as refused:
        parsed(BRUSH | change)
    assert refused.value.what == what


def test_a_record_holds_all_of_a_stroke():
    for stroke in (
        Brush("source", ((1.5, 2.0, 3.0),), True),
        Outline("mask", ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0))),
        Grow("mask", -4),
        Brush("hint", ((1.5, 2.0, 3.0),), colour=(255, 0, 10)),
        Outline("hint", ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0)), colour=(1, 2, 3)),
        Brush("hint", ((1.5, 2.0, 3.0),), True),
        Clear("hint"),
    ):
        assert parsed(json.loads(json.dumps(record_of(stroke)))) == stroke


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG", "no strokes"),
        (b'{"strokes": []}', "no strokes"),
        (b'{"format": "psal strokes 1"}', "damaged"),
        (b'{"format": "psal strokes 1", "width": 48, "height": 36, "strokes": [{}]}', "damaged: layer"),
        (b'{"format": "psal strokes 1", "width": 36, "height": 48, "strokes": []}', "36x48, this one is 48x36"),
    ],
)
def test_a_file_that_holds_none_for_this_picture_is_refused(tmp_path, content, said):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_strokes(tmp_path / "a.json", SIZE)


RED, BLUE = (200, 30, 30), (20, 40, 220)


def test_colours_cover_each_other_in_their_order_and_an_eraser_takes_them_away():
    first, second = Brush("hint", ((12.0, 12.0, 8.0),), colour=RED), Brush("hint", ((18.0, 12.0, 8.0),), colour=BLUE)
    erased = Brush("hint", ((24.0, 12.0, 4.0),), erase=True)
    left, right, gone = near(first.points), near(second.points), near(erased.points)
    found = painted_colours([first, Brush("mask", ((30.0, 30.0, 5.0),)), second, erased], SIZE)
    assert np.array_equal(found[..., 3] == 255, (left | right) & ~gone) and set(np.unique(found[..., 3])) == {0, 255}
    assert (found[left & ~right, :3] == RED).all() and (found[right & ~gone, :3] == BLUE).all()


def test_there_are_no_colours_where_all_are_cleared_or_outside():
    dot = Brush("hint", ((12.0, 12.0, 8.0),), colour=RED)
    assert painted_colours([dot, Clear("hint")], SIZE) is None
    assert painted_colours([Brush("hint", ((-50.0, 12.0, 8.0),), colour=RED)], SIZE) is None
    assert painted_colours([Brush("mask", ((12.0, 12.0, 8.0),))], SIZE) is None
    assert painted_colours([dot, Clear("hint"), dot], SIZE)[12, 12].tolist() == [*RED, 255]
