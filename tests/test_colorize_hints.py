"""Painted colours: where they hold, how far they spread, and against what they win."""

import numpy as np
import pytest

import psal_cli
from psal_cli.errors import InvalidValueError
from psal_cli.image.cielab import lab
from psal_cli.verbs.colorize.hints import Hints, hints_of, smoothed, spread

SIZE = (60, 90)
RED, BLUE = (0.5, 0.3), (0.1, -0.5)


def halves(left=0.3, right=0.7):
    """Lightness of a picture with an edge down its middle."""
    light = np.full(SIZE, left, np.float32)
    light[:, SIZE[1] // 2 :] = right
    return light


def stroke(*places):
    """Hints of 6x6 pixels: (row, column, chroma) each."""
    chroma, weight = np.zeros((*SIZE, 2), np.float32), np.zeros(SIZE, np.float32)
    for row, column, colour in places:
        part = np.s_[row : row + 6, column : column + 6]
        chroma[part], weight[part] = colour, 1
    return Hints(chroma, weight)


def nothing():
    return np.zeros((*SIZE, 2), np.float32), np.zeros(SIZE, np.float32)


def test_a_stroke_on_either_side_of_an_edge_colours_its_side():
    chroma, _ = spread(stroke((5, 5, RED), (50, 80, BLUE)), halves(), *nothing())
    assert np.abs(chroma[:, :40] - RED).max() < 0.05 and np.abs(chroma[:, 50:] - BLUE).max() < 0.05


def test_without_an_edge_the_nearer_stroke_counts_more():
    chroma, _ = spread(stroke((27, 5, RED), (27, 80, BLUE)), halves(0.5, 0.5), *nothing())
    between = chroma[30, 11:80, 1]
    assert (np.diff(between) < 1e-6).all() and between[9] > 0.1 > between[59]


def test_one_stroke_alone_colours_the_whole_picture():
    chroma, share = spread(stroke((5, 5, RED)), halves(), *nothing())
    np.testing.assert_allclose(chroma, np.broadcast_to(RED, (*SIZE, 2)), atol=1e-4)
    assert share.min() == pytest.approx(1)


def test_hints_win_over_references_up_to_the_edge():
    found = np.broadcast_to(np.float32(BLUE), (*SIZE, 2))
    chroma, share = spread(stroke((20, 20, RED)), halves(), found, np.ones(SIZE, np.float32))
    assert np.abs(chroma[20:26, 20:26] - RED).max() < 1e-3 and share[20:26, 20:26].min() == 1
    assert share[:, :40].min() > 0.5 > 0.1 > share[:, 50:].max()
    assert np.abs(chroma[:, 50:] - BLUE).max() < 0.1


def test_smoothing_keeps_sums_and_what_is_even():
    values = np.random.default_rng(0).random((*SIZE, 2))
    light = np.random.default_rng(1).random(SIZE).astype(np.float32)
    np.testing.assert_allclose(smoothed(values, light).sum((0, 1)), values.sum((0, 1)), rtol=1e-9)
    np.testing.assert_allclose(smoothed(np.ones((*SIZE, 1)), light), 1, rtol=1e-9)


def test_thin_strokes_survive_at_a_smaller_size():
    pixels, visible = np.zeros((300, 400, 3), np.uint8), np.zeros((300, 400), bool)
    pixels[100, 50:350], visible[100, 50:350] = (255, 0, 0), True
    hints = hints_of(pixels, visible, (30, 40))
    painted = hints.weight > 0
    assert painted[10, 5:35].all() and painted.sum() == 30 and np.allclose(hints.weight[painted], 0.1)
    np.testing.assert_allclose(hints.chroma[painted], np.broadcast_to(lab(pixels[100:101, 50:51])[0, 0, 1:], (30, 2)), atol=1e-6)


def painted(colour, box, size=SIZE):
    hints = np.zeros((*size, 4), np.uint8)
    hints[box] = (*colour, 255)
    return hints


@pytest.fixture
def frames(pair, quick_colours):
    """A frame without colours, uint8 [64, 96], and another one with them."""
    first, second = ((x[0, :, :64, :96] * 255).round().byte().permute(1, 2, 0).numpy() for x in pair(128))
    return first[..., 1], second


@pytest.mark.parametrize("engine", ["psal", "paper"])
def test_painted_pixels_have_the_painted_colour(engine, frames):
    picture, reference = frames
    hints = painted((60, 90, 200), np.s_[8:14, 20:40], picture.shape)
    result = psal_cli.colorize(picture, [reference], hints=hints, engine=engine, seed=1)
    chroma = lab(result.image)[8:14, 20:40, 1:]
    hue = np.arctan2(chroma[..., 1], chroma[..., 0])
    right = lab(np.uint8([[[60, 90, 200]]]))[0, 0, 1:]
    assert np.abs(hue - np.arctan2(right[1], right[0])).max() < 0.1
    assert result.overruled is not None


def test_hints_alone_need_no_reference_and_leave_no_field(frames):
    picture, _ = frames
    result = psal_cli.colorize(picture, hints=painted((200, 40, 40), np.s_[4:10, 4:10], picture.shape))
    assert result.image.shape == (*picture.shape, 3) and result.field is None and result.overruled == 0
    assert lab(result.image)[..., 1].mean() > 0.02


@pytest.mark.parametrize(
    ("hints", "message"),
    [
        (np.zeros((5, 6, 4), np.uint8), "hints is 6x5, expected 90x60, the size of the picture"),
        (np.zeros((*SIZE, 3), np.uint8), "hints is opaque, expected strokes of colour on transparency"),
        (np.full((*SIZE, 4), 255, np.uint8), "hints is opaque"),
        (np.zeros((*SIZE, 4), np.uint8), "hints is wholly transparent"),
    ],
)
def test_what_is_no_hints_is_refused(hints, message):
    with pytest.raises(InvalidValueError, match=message):
        psal_cli.colorize(np.zeros(SIZE, np.uint8), hints=hints)
