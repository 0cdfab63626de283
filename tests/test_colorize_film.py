"""Colours carried from frame to frame: they move with what they belong to, and give way where something new is seen."""

import cv2
import numpy as np
import pytest

import psal_cli
from psal_cli.errors import InvalidValueError
from psal_cli.image.cielab import coloured, lab, lightness
from psal_cli.verbs.colorize.coarse_to_fine import ChromaEstimate
from psal_cli.verbs.colorize.film import carried, flow, sampled

SIZE = (80, 120)


def texture(seed, blur=3.0):
    """Lightness of blobs, float32 [H, W] in [0.1, 0.9]."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal((SIZE[0], SIZE[1] + 20)), (0, 0), blur)
    return (0.5 + 0.4 * noise / np.abs(noise).max()).astype(np.float32)


def picture(light, chroma):
    """uint8 [H, W, 3] of a lightness and one chroma."""
    grey = np.rint(255 * light[..., None]).astype(np.uint8)
    return coloured(grey, np.broadcast_to(np.float32(chroma), (*light.shape, 2)))


def found(frame, chroma):
    light = lightness(frame)
    return ChromaEstimate(
        np.broadcast_to(np.float32(chroma), (*light.shape, 2)), light, np.full(light.shape, 0.1, np.float32), None
    )


def test_flow_follows_a_shift_of_a_few_pixels():
    light = texture(0)
    moved = flow(light[:, 4:-16], light[:, :-20])  # what is here was four pixels to the right
    inside = np.s_[10:-10, 10:-10]
    np.testing.assert_allclose(np.median(moved[inside], (0, 1)), (4, 0), atol=0.2)
    np.testing.assert_allclose(sampled(light[:, :-20], moved)[inside], light[:, 4:-16][inside], atol=0.05)


def test_colours_of_what_has_moved_are_carried_most():
    light = texture(0)
    before = picture(light[:, :-20], (0.1, 0.1))
    frame = picture(light[:, 4:-16], (0, 0))
    estimate = carried(found(frame, (-0.1, 0.1)), before)
    inside = np.s_[15:-15, 15:-25]
    assert estimate.chroma[inside][..., 0].mean() == pytest.approx(0.06, abs=0.02)  # four fifths of it
    assert np.median(estimate.confidence[inside]) > 0.6


def test_colours_are_carried_through_a_zoom():
    """The flow differs from place to place, so the way back has to be looked up where the way there leads."""
    large = cv2.resize(texture(0, 2.0), (420, 240), interpolation=cv2.INTER_CUBIC)
    views = []
    for zoom in (1.0, 1.12):
        turned = cv2.getRotationMatrix2D((210, 120), 0, zoom)
        views.append(cv2.warpAffine(large, turned, (420, 240), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))
    estimate = carried(found(picture(views[1], (0, 0)), (-0.1, 0.1)), picture(views[0], (0.1, 0.1)))
    sides = np.r_[80:120, 280:320]
    assert np.median(estimate.confidence[60:-60, sides]) > 0.5


def test_the_strength_of_the_frame_before_does_not_count_twice():
    light = texture(0)[:, :-20]
    frame = picture(light, (0, 0))
    whole = carried(found(frame, (0.1, 0.1)), picture(light, (0.1, 0.1)))
    half = carried(found(frame, (0.1, 0.1)), picture(light, (0.05, 0.05)), 0.5)
    np.testing.assert_allclose(half.chroma.mean((0, 1)), whole.chroma.mean((0, 1)), atol=0.01)
    assert np.array_equal(carried(found(frame, (0.1, 0.1)), picture(light, (0, 0)), 0.0).chroma, found(frame, (0.1, 0.1)).chroma)


def test_another_scene_carries_nothing():
    frame = picture(texture(1)[:, :-20], (0, 0))
    estimate = carried(found(frame, (-0.1, 0.1)), picture(texture(2)[:, :-20], (0.1, 0.1)))
    assert estimate.chroma[..., 0].mean() < -0.07


@pytest.fixture
def frames(pair, quick_colours):
    """Two frames uint8 [64, 96, 3] of a video."""
    return [(x[0, :, :64, :96] * 255).round().byte().permute(1, 2, 0).numpy() for x in pair(128)]


def test_the_frame_before_pulls_the_next_one_to_its_colours(frames):
    frame, reference = frames
    grey = frame[..., 1]
    alone = psal_cli.colorize(grey, [reference])
    tinted = coloured(grey[..., None], lab(alone.image)[..., 1:] + np.float32([0.15, 0]))
    after = psal_cli.colorize(grey, [reference], previous=tinted)
    shift = (lab(after.image) - lab(alone.image))[..., 1]
    assert 0.05 < np.median(shift) < 0.15


def test_a_frame_of_another_size_is_refused(frames):
    frame, reference = frames
    with pytest.raises(InvalidValueError, match=r"previous is an array of shape \[63, 96, 3\], expected \[64, 96, 3\]"):
        psal_cli.colorize(frame, [reference], previous=frame[1:])
