"""What `psal colorize` is measured against: two transfers of colour that look at no more than statistics and single pixels."""

import cv2
import numpy as np

SWATCHES = (10, 20)  # rows and columns of the grid of samples, as in Welsh et al.: about 200


def reinhard(grey: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Reinhard et al. 2001, in Lab: mean and deviation of chroma become the reference's. What is grey has no deviation to
    scale, so every pixel gets the mean.

    grey: float32 [H, W], L* / 100; reference: float32 [h, w, 3], Lab / 100. Returns chroma float32 [H, W, 2].
    """
    return np.broadcast_to(reference[..., 1:].mean((0, 1)), (*grey.shape, 2))


def welsh(grey: np.ndarray, reference: np.ndarray, seed: int = 0) -> np.ndarray:
    """Welsh et al. 2002: each pixel takes the chroma of the sample, of a jittered grid, that is most alike in luminance,
    after its histogram was shifted and scaled to that of the target, and in its deviation over 5x5 pixels, half and half."""
    light = reference[..., 0]
    light = (light - light.mean()) * (grey.std() / max(light.std(), 1e-4)) + grey.mean()
    random = np.random.default_rng(seed)
    cells = np.stack(np.mgrid[: SWATCHES[0], : SWATCHES[1]], 2) + random.random((*SWATCHES, 2))
    row, column = (cells.reshape(-1, 2) * light.shape / SWATCHES).astype(int).T
    samples = np.stack([light[row, column], _deviation(light)[row, column]], 1)
    pixels = np.stack([grey, _deviation(grey)], 2)
    nearest, least = np.zeros(grey.shape, int), np.full(grey.shape, np.inf, np.float32)
    for number, sample in enumerate(samples):
        apart = np.abs(pixels - sample.astype(np.float32)).sum(2)
        closer = apart < least
        nearest[closer], least[closer] = number, apart[closer]
    return reference[row, column, 1:][nearest]


def _deviation(light: np.ndarray) -> np.ndarray:
    light = np.ascontiguousarray(light, np.float32)
    mean = cv2.boxFilter(light, -1, (5, 5))
    return np.sqrt(np.maximum(cv2.boxFilter(light * light, -1, (5, 5)) - mean * mean, 0))
