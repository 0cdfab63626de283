"""How good a filled hole is: closeness to the truth (PSNR, SSIM, patches) and likeness to what surrounds it (gradients).

Pictures are uint8 `[H,W,3]` RGB arrays, masks are bool `[H,W]` arrays, True = filled. Nothing here needs more than numpy and
OpenCV, so that the same figures come out wherever psal is installed.
"""

import functools

import cv2
import numpy as np

RING_WIDTH = 20  # pixels: what "the surroundings" of a hole are
PATCH_SIZE = 7
MAX_PATCHES = 4096
QUANTILES = 256
MIN_PATCHES = 100  # fewer say nothing about a distribution


def luminance(image: np.ndarray) -> np.ndarray:
    """uint8 RGB `[H,W,3]` -> float32 luminance `[H,W]` in [0,1] (Rec. 601)."""
    return image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255


def ring_around(mask: np.ndarray, width: int = RING_WIDTH) -> np.ndarray:
    """The pixels outside the mask and at most `width` pixels away from it, bool `[H,W]`."""
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (distance > 0) & (distance <= width)


def psnr(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over the masked pixels of two uint8 pictures; 100 where they are equal."""
    error = (image[mask].astype(np.float64) - truth[mask]) / 255
    return float(-10 * np.log10(max(np.mean(error**2), 1e-10)))


def ssim_map(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Per-pixel SSIM of two luminance pictures `[H,W]` in [0,1] (Wang et al. 2004: Gaussian 11x11, sigma 1.5), float `[H,W]`."""

    def smooth(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)

    # In double: the variances below are small differences of large squares.
    x, y = image.astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = smooth(x), smooth(y)
    var_x = smooth(x * x) - mean_x**2
    var_y = smooth(y * y) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))


def gradient_energy(lum: np.ndarray, region: np.ndarray) -> float:
    """Mean squared difference between neighbouring pixels of luminance `[H,W]` that both lie in the region `[H,W]`."""
    across = np.diff(lum, axis=1)[region[:, 1:] & region[:, :-1]]
    down = np.diff(lum, axis=0)[region[1:] & region[:-1]]
    return float(np.mean(np.concatenate([across, down]).astype(np.float64) ** 2))


def gradient_ratio(energy: float, reference: float) -> float:
    """energy / reference, both with one grey level of slack: a flat fill beside a flat reference has the ratio 1."""
    slack = (1 / 255) ** 2
    return (energy + slack) / (reference + slack)


def patches_in(image: np.ndarray, region: np.ndarray, seed: int = 0) -> np.ndarray:
    """The 7x7 patches of an RGB picture that lie wholly in the region: float32 `[N,147]` in grey levels, at most MAX_PATCHES.

    The choice depends on the region and the seed only, so two fills of one hole are compared at the same places.
    """
    centres = cv2.erode(
        region.astype(np.uint8), np.ones((PATCH_SIZE, PATCH_SIZE), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    rows, cols = np.nonzero(centres)
    if len(rows) > MAX_PATCHES:
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), MAX_PATCHES, replace=False))
        rows, cols = rows[chosen], cols[chosen]
    windows = np.lib.stride_tricks.sliding_window_view(image, (PATCH_SIZE, PATCH_SIZE), axis=(0, 1))
    half = PATCH_SIZE // 2
    return windows[rows - half, cols - half].reshape(len(rows), -1).astype(np.float32)


@functools.cache
def random_basis(size: int, seed: int) -> np.ndarray:
    """A random orthonormal basis, float64 `[size,size]`, a direction a column."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


def quantiles(values: np.ndarray) -> np.ndarray:
    """QUANTILES of each row of float32 `[D,N]`, evenly spaced, linear between two values as np.quantile has them: `[D,Q]`."""
    ordered = np.sort(values, axis=1)
    at = (np.arange(QUANTILES) + 0.5) / QUANTILES * (values.shape[1] - 1)
    below = at.astype(int)
    share = (at - below).astype(np.float32)
    return ordered[:, below] * (1 - share) + ordered[:, np.minimum(below + 1, values.shape[1] - 1)] * share


def sliced_wasserstein(a: np.ndarray, b: np.ndarray, seed: int = 0) -> float:
    """Sliced 2-Wasserstein distance between two sets of vectors `[N,D]` and `[M,D]`; nan when a set has too few of them.

    The directions are a random orthonormal basis, one direction a dimension, and the squares are averaged: a set and the same
    set shifted by a vector are exactly the root mean square of that vector apart, in the units of the input.
    """
    if min(len(a), len(b)) < MIN_PATCHES:
        return float("nan")
    basis = random_basis(a.shape[1], seed)
    # Rounded from float64: a BLAS rounds a row of a product by where it stands, and equal vectors must fall on one point.
    a, b = (quantiles(np.ascontiguousarray((x @ basis).T, np.float32)) for x in (a, b))
    return float(np.sqrt(np.mean((a - b).astype(np.float64) ** 2)))


def measure(filled: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """The figures of one fill that need nothing but its pixels; the two pictures agree outside the mask."""
    ring = ring_around(mask)
    lum, true_lum = luminance(filled), luminance(truth)
    energy = gradient_energy(lum, mask)
    return {
        "psnr": psnr(filled, truth, mask),
        "ssim": float(ssim_map(lum, true_lum)[mask].mean()),
        "gradient_ring": gradient_ratio(energy, gradient_energy(lum, ring)),
        "gradient_truth": gradient_ratio(energy, gradient_energy(true_lum, mask)),
        "wasserstein": sliced_wasserstein(patches_in(filled, mask), patches_in(truth, mask)),
    }
