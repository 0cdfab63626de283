"""The features that the engine is measured on: two video frames through one random bank of filters.

The same rule as the figures of the project's design page: both frames resized to height x width (bicubic, antialiased,
clamped to [0, 1]), replicate-padded, and convolved with one seeded random 3x3 bank of 16 filters.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT.parent / "shared" / "data" / "eval" / "pair", ROOT / "tests" / "data" / "pair")
CHANNELS = 16


def pair_folder() -> Path:
    """The first folder that holds query.png and key.png. Raises FileNotFoundError naming those looked in."""
    for folder in FOLDERS:
        if (folder / "query.png").exists() and (folder / "key.png").exists():
            return folder
    raise FileNotFoundError(f"no query.png and key.png in {' or '.join(str(f) for f in FOLDERS)}: name their folder with --pair")


def pair_features(folder: Path, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(query, key): float32 [1, 16, height, width] each, contiguous."""
    bank = torch.randn(CHANNELS, 3, 3, 3, generator=torch.Generator().manual_seed(0)) / np.sqrt(27)

    def features(name: str) -> np.ndarray:
        pixels = np.asarray(Image.open(folder / f"{name}.png").convert("RGB")).astype(np.float32) / 255
        frame = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        frame = F.interpolate(frame, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
        return F.conv2d(F.pad(frame, (1, 1, 1, 1), mode="replicate"), bank).contiguous().numpy()

    return features("query"), features("key")
