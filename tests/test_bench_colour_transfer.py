"""The transfers of colour that `psal colorize` is measured against do what their papers say."""

import numpy as np
import pytest


@pytest.fixture
def transfers(load):
    return load("colour_transfer")


def test_statistics_of_a_grey_picture_leave_only_the_mean(transfers):
    reference = np.random.default_rng(0).random((20, 30, 3), np.float32)
    chroma = transfers.reinhard(np.zeros((7, 9), np.float32), reference)
    assert chroma.shape == (7, 9, 2)
    np.testing.assert_allclose(chroma[3, 4], reference[..., 1:].mean((0, 1)), rtol=1e-5)


def test_each_pixel_takes_the_chroma_of_its_luminance(transfers):
    """A reference whose chroma is a function of its luminance; the target has the same histogram in another order."""
    light = np.linspace(0, 1, 200 * 100, dtype=np.float32).reshape(200, 100)
    reference = np.dstack([light, light - 0.5, 0.5 - light])
    chroma = transfers.welsh(light[::-1], reference)
    np.testing.assert_allclose(chroma[..., 0], light[::-1] - 0.5, atol=0.06)
    brighter = transfers.welsh(light[::-1], reference * np.array([0.5, 1, 1], np.float32))  # the histogram is matched first
    np.testing.assert_allclose(brighter[..., 0], light[::-1] - 0.5, atol=0.06)


def test_texture_counts_half(transfers):
    """Two halves of equal mean luminance, one flat and one rough, of different colours."""
    light = np.full((100, 200), 0.5, np.float32)
    light[:, 100:] += np.where(np.indices((100, 100)).sum(0) % 2, 0.2, -0.2)
    reference = np.dstack([light, np.where(np.arange(200) < 100, -0.3, 0.3)[None].repeat(100, 0), np.zeros_like(light)])
    chroma = transfers.welsh(light, reference.astype(np.float32))
    assert chroma[:, 10:90, 0].mean() < -0.25 and chroma[:, 110:190, 0].mean() > 0.25
