"""The figures of the inpainting benchmark mean what its table says they mean."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest


def load_metrics():
    spec = importlib.util.spec_from_file_location("metrics", Path(__file__).parent / "bench" / "metrics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


metrics = load_metrics()


@pytest.fixture
def picture():
    """A textured picture, uint8 [96,128,3], the same statistics everywhere."""
    noise = np.random.default_rng(0).standard_normal((96, 128, 3))
    return np.clip(128 + 120 * cv2.GaussianBlur(noise, (0, 0), 1.5), 0, 255).astype(np.uint8)


@pytest.fixture
def mask():
    """A hole of 36x50 pixels."""
    out = np.zeros((96, 128), bool)
    out[30:66, 40:90] = True
    return out


def filled_with(picture, mask, other):
    return np.where(mask[..., None], other, picture)


def test_the_truth_scores_as_perfect(picture, mask):
    scores = metrics.measure(picture, picture, mask)
    assert scores["psnr"] == 100
    assert scores["ssim"] == pytest.approx(1)
    assert scores["gradient_truth"] == 1
    assert scores["gradient_ring"] == pytest.approx(1, abs=0.1)  # one texture inside and around
    assert scores["wasserstein"] == 0


def test_psnr_counts_the_hole_only(picture, mask):
    off = np.clip(picture.astype(int) + 10, 0, 255).astype(np.uint8)
    assert metrics.psnr(filled_with(picture, mask, off), picture, mask) == pytest.approx(20 * np.log10(255 / 10), abs=0.05)
    assert metrics.psnr(filled_with(picture, ~mask, off), picture, mask) == 100


def test_ssim_is_the_published_one(picture):
    """The mean of the map is what scikit-image computes with Wang et al.'s settings."""
    other = cv2.GaussianBlur(picture, (0, 0), 2)
    structural_similarity = pytest.importorskip("skimage.metrics", reason="scikit-image not installed").structural_similarity
    a, b = metrics.luminance(picture), metrics.luminance(other)
    expected = structural_similarity(
        a.astype(float), b.astype(float), data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )[1]
    np.testing.assert_allclose(metrics.ssim_map(a, b)[8:-8, 8:-8], expected[8:-8, 8:-8], atol=1e-4)


def test_a_worse_fill_has_a_lower_ssim_in_the_hole(picture, mask):
    rng = np.random.default_rng(1)
    noisy = [np.clip(picture + rng.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8) for sigma in (10, 40)]
    better, worse = (metrics.measure(filled_with(picture, mask, other), picture, mask) for other in noisy)
    assert 1 > better["ssim"] > worse["ssim"]


def test_blur_lowers_the_gradient_ratio_and_noise_raises_it(picture, mask):
    blurred = filled_with(picture, mask, cv2.GaussianBlur(picture, (0, 0), 3))
    noise = np.random.default_rng(2).integers(0, 256, picture.shape, np.uint8)
    for figure in ("gradient_ring", "gradient_truth"):
        assert metrics.measure(blurred, picture, mask)[figure] < 0.2
        assert metrics.measure(filled_with(picture, mask, noise), picture, mask)[figure] > 2


def test_the_step_at_the_edge_of_a_hole_is_not_texture(mask):
    """A flat fill in a flat picture of another grey has no gradient of its own."""
    flat = np.full((96, 128, 3), 60, np.uint8)
    filled = filled_with(flat, mask, np.full_like(flat, 200))
    assert metrics.gradient_energy(metrics.luminance(filled), mask) == 0
    assert metrics.measure(filled, flat, mask)["gradient_ring"] == 1


def test_gradient_energy_of_a_ramp():
    """Five grey levels a column and none a row: half of the squared differences are 25."""
    ramp = np.tile(np.arange(41, dtype=np.float32) * 5 / 255, (41, 1))
    assert metrics.gradient_energy(ramp, np.ones((41, 41), bool)) * 255**2 == pytest.approx(12.5)


def test_ring_lies_outside_the_hole_and_no_further_than_its_width(mask):
    ring = metrics.ring_around(mask, 5)
    assert not (ring & mask).any()
    assert ring[48, 90:95].all() and not ring[48, 95:].any()
    assert ring[25:30, 60].all() and not ring[:25, 60].any()


def test_patches_lie_wholly_in_their_region(mask):
    image = np.where(mask[..., None], np.uint8(9), np.zeros((96, 128, 3), np.uint8))
    patches = metrics.patches_in(image, mask)
    assert patches.shape == ((36 - 6) * (50 - 6), 147)
    assert (patches == 9).all()
    assert not metrics.patches_in(image, ~mask).any()


def test_wasserstein_of_one_set_with_itself_is_zero_and_with_a_shifted_one_the_shift():
    points = np.random.default_rng(3).normal(100, 30, (1500, 147)).astype(np.float32)
    shift = np.random.default_rng(4).normal(0, 20, 147).astype(np.float32)
    assert metrics.sliced_wasserstein(points, points[::-1]) == 0
    assert metrics.sliced_wasserstein(points, points + 7) == pytest.approx(7, rel=1e-3)
    assert metrics.sliced_wasserstein(points, points + shift) == pytest.approx(np.sqrt(np.mean(shift**2)), rel=1e-3)


def test_wasserstein_prefers_the_texture_over_its_blur(picture, mask):
    elsewhere = filled_with(picture, mask, picture[::-1, ::-1])  # other pixels of one texture
    blurred = filled_with(picture, mask, cv2.GaussianBlur(picture, (0, 0), 3))
    near, far = (metrics.measure(fill, picture, mask)["wasserstein"] for fill in (elsewhere, blurred))
    assert near < 0.5 * far


def test_quantiles_are_those_of_numpy():
    values = np.random.default_rng(5).normal(100, 30, (3, 777)).astype(np.float32)
    expected = np.quantile(values, (np.arange(metrics.QUANTILES) + 0.5) / metrics.QUANTILES, axis=1).T
    np.testing.assert_allclose(metrics.quantiles(values), expected, atol=1e-4)


def test_too_few_patches_are_no_distribution():
    assert np.isnan(metrics.sliced_wasserstein(np.zeros((3, 147), np.float32), np.zeros((500, 147), np.float32)))
