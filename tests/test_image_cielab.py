"""Lightness and chroma: what is taken apart goes together again, and the light of a picture stays whatever its colours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from psal_cli.image.cielab import coloured, lab, lightness, luminance

DEPTHS = {np.uint8: 0.26, np.uint16: 0.0015}  # of L*: what rounding three channels may do to it


def pixels(dtype, channels):
    return arrays(dtype, (6, 7, channels))


@pytest.mark.parametrize("dtype", DEPTHS)
def test_a_picture_comes_back_from_its_lightness_and_chroma(dtype):
    picture = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (200, 300, 3), dtype, endpoint=True)
    apart = lab(picture)
    assert np.abs(coloured(picture, apart[..., 1:]).astype(int) - picture).max() <= (dtype == np.uint16)
    np.testing.assert_allclose(lightness(picture), apart[..., 0], atol=1e-6)


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [  # L*, a*, b* of sRGB's corners, D65
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((119, 119, 119), (50.03, 0, 0)),
    ],
)
def test_lab_is_cielab(rgb, expected):
    np.testing.assert_allclose(lab(np.array([[rgb]], np.uint8))[0, 0] * 100, expected, atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DEPTHS)
@pytest.mark.parametrize("channels", [1, 3])
@settings(deadline=None)
@given(data=st.data())
def test_any_colours_keep_the_luminance(data, dtype, channels):
    picture = data.draw(pixels(dtype, channels))
    chroma = data.draw(arrays(np.float32, (6, 7, 2), elements=st.floats(-2, 2, width=32)))
    result = coloured(picture, chroma)
    assert result.dtype == dtype and result.shape == (6, 7, 3)
    assert np.abs(lightness(result) - lightness(picture)).max() * 100 < DEPTHS[dtype]


def test_without_chroma_grey_stays_the_same_grey():
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)  # all that there are
    result = coloured(picture, np.zeros((16, 16, 2), np.float32))
    assert (result == picture).all()


def test_colours_out_of_reach_become_paler_not_another_hue():
    grey = np.full((1, 1, 1), 200, np.uint8)
    wanted = np.array([[[0.9, 0.6]]], np.float32)
    a, b = lab(coloured(grey, wanted))[0, 0, 1:]
    assert 0.05 < np.hypot(a, b) < 0.8 * np.hypot(0.9, 0.6)
    assert a > 0 and b > 0


def test_luminance_is_linear_light():
    assert luminance(np.full((1, 1, 1), 188, np.uint8))[0, 0] == pytest.approx(0.503, abs=0.002)
    assert luminance(np.array([[[0, 255, 0]]], np.uint8))[0, 0] == pytest.approx(0.7152)
