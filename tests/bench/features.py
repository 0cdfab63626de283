"""The features that the engine is measured on: two video frames through one random bank of filters.

The same rule as the figures of the project's design page: both frames resized to height x width (bicubic, antialiased,
clamped to [0, 1]), replicate-padded, and convolved with one seeded random 3x3 bank of 16 filters.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from psal_cli.benchmarks.pairs import pairs

CHANNELS = 16


def pair_features(folder: Path | None, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(query, key): float32 [1, 16, height, width] each, contiguous; of a folder of pairs, None: the one that ships."""
    pair = next(pairs(folder))
    bank = torch.randn(CHANNELS, 3, 3, 3, generator=torch.Generator().manual_seed(0)) / np.sqrt(27)

    def features(pixels: np.ndarray) -> np.ndarray:
        frame = torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]
        frame = F.interpolate(frame, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
        return F.conv2d(F.pad(frame, (1, 1, 1, 1), mode="replicate"), bank).contiguous().numpy()

    return features(pair.target), features(pair.reference)
