"""Chooses the model for a picture: "clean" if it was only reduced in size, "photo" if it is compressed, noisy or sharpened.

At the thresholds the two shipped models are level, in PSNR of x4 enlargements of 20 training photographs degraded in 19 ways.
"""

import cv2
import numpy as np

from psal_cli.image.arrays import Pixels, white_of

WINDOW, MOST = 256, 36  # pixels; how much of a large picture is analysed
BLOCK = 8  # pixels: side of the blocks of JPEG, and of those in which noise is measured
NOISE = 2.0  # of 255: what noise of 4 leaves in the quietest blocks; above it the clean model amplifies noise
BLOCKINESS = 1.15  # that of JPEG quality 85 to 90
SHARPNESS = -0.16  # below it, edges overshoot
QUALITY = 90  # of a JPEG file: up to it, artefacts cost the clean model more than smoothing costs the photo model
QUIETEST = 2  # percent of the blocks, those with the least detail


def model_for(pixels: Pixels, lossless: bool = True, quality: int | None = None) -> str:
    """The name of the model that suits a picture.

    Args:
        pixels: [H, W, C], uint8, uint16 or float32 in [0, 1].
        lossless: whether its file format is lossless. quality: of a JPEG file, 1 to 100, None for others.

    Returns "clean" or "photo".
    """
    if (quality is None and not lossless) or (quality is not None and quality <= QUALITY):
        return "photo"
    grey = _windows(pixels)
    degraded = noise(grey) > NOISE or blockiness(grey) > BLOCKINESS or correlation(grey) < SHARPNESS
    return "photo" if degraded else "clean"


def noise(grey: np.ndarray) -> float:
    """The contrast of the finest diagonal detail in the quietest blocks of [N, h, w] windows, white = 255."""
    detail = (grey[:, :-1, :-1] - grey[:, 1:, :-1] - grey[:, :-1, 1:] + grey[:, 1:, 1:]) / 2
    count, height, width = detail.shape
    height, width = height // BLOCK, width // BLOCK
    if not height or not width:
        return 0
    blocks = detail[:, : height * BLOCK, : width * BLOCK].reshape(count, height, BLOCK, width, BLOCK)
    return float(np.percentile(np.sqrt((blocks**2).mean((2, 4))), QUIETEST))


def blockiness(grey: np.ndarray) -> float:
    """How much larger steps between columns are at the borders of JPEG blocks than elsewhere."""
    steps = np.abs(np.diff(grey, axis=2))
    excess = np.abs(steps[:, :, 1:-1] - (steps[:, :, :-2] + steps[:, :, 2:]) / 2)
    if excess.shape[2] < BLOCK:
        return 1
    means = [float(excess[:, :, first::BLOCK].mean()) for first in range(BLOCK)]
    border = means.pop(BLOCK - 2)
    return border / max(float(np.mean(means)), 0.1)


def correlation(grey: np.ndarray) -> float:
    """The correlation of consecutive steps from pixel to pixel, negative for noise and sharpening."""
    product, square = 0.0, 1.0  # a flat picture has no steps
    for windows in (grey, grey.transpose(0, 2, 1)):
        steps = np.diff(windows, axis=2)
        product += float((steps[:, :, 1:] * steps[:, :, :-1]).sum())
        square += float((steps[:, :, 1:] ** 2 + steps[:, :, :-1] ** 2).sum()) / 2
    return product / square


def _windows(pixels: Pixels) -> np.ndarray:
    """float32 [N, h, w], white = 255: evenly spread windows of the grey picture, aligned to the blocks of JPEG."""
    height, width = min(pixels.shape[0], WINDOW), min(pixels.shape[1], WINDOW)
    rows, columns = (_starts(side, part) for side, part in ((pixels.shape[0], height), (pixels.shape[1], width)))
    parts = (pixels[top : top + height, left : left + width] for top in rows for left in columns)
    channels = pixels.shape[2]
    weights = (0.299, 0.587, 0.114) if channels == 3 else (1.0,)
    matrix = np.array([weights], np.float32) * (255 / white_of(pixels.dtype))
    return np.stack([cv2.transform(np.asarray(part, np.float32), matrix).reshape(height, width) for part in parts])


def _starts(side: int, part: int) -> list[int]:
    count = min(int(MOST**0.5), -(-side // part))
    return [int(start) // BLOCK * BLOCK for start in np.linspace(0, side - part, count)]
