"""Training data of `psal inpaint`: crops of photographs and synthetic scenes, each with a hole."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from psal_cli.training import synthetic
from psal_cli.training.cache import cached
from psal_cli.training.holes import hole
from psal_cli.training.photographs import EVERY, SIDE, files_of, read, scenes_of

SYNTHETIC = 0.4  # share of the training crops
FAR = 1 << 40  # the numbers of the held-out crops


class Crops:
    """Numbered crops with a hole: the same files, seed and number give the same one."""

    def __init__(self, data: Path, side: int, seed: int, *, cache: Path | None = None, synthetic: float = SYNTHETIC):
        """Args:
            data: the folder with photos/ and scenes/; one file in twelve of each is held out.
            side: of the crops. cache: a folder for the reduced photographs.
            synthetic: share of synthetic scenes among the training crops.

        Raises FileNotFoundError if the folder has no photographs.
        """
        files = [files_of(data), scenes_of(data)]
        if not files[0]:
            raise FileNotFoundError(f"{data}/photos has no photographs: expected .webp")
        everything = [path for group in files for path in group]
        pictures = cached(cache, "inpainting", everything, SIDE, lambda: [torch.from_numpy(read(path)) for path in everything])
        held_out = {path for group in files for path in group[::EVERY]}
        self.held_out = [picture for path, picture in zip(everything, pictures, strict=True) if path in held_out]
        self.training = [picture for path, picture in zip(everything, pictures, strict=True) if path not in held_out]
        self.side, self.seed, self.synthetic = side, seed, synthetic

    def crop(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [side, side, 3] and bool [side, side], True = hole. Numbers from FAR on are crops of held-out photographs."""
        held_out = number >= FAR
        random = np.random.default_rng([0 if held_out else self.seed, number])  # all runs have the same validation crops
        if not held_out and random.uniform() < self.synthetic:
            picture = synthetic.scene(random, self.side, lambda: self._photograph(random, self.training))
        else:
            picture = self._photograph(random, self.held_out if held_out else self.training)
        return picture[:, :: random.choice([-1, 1])], hole(random, self.side)

    def batch(self, first: int, count: int) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, side, side] in [0, 1], and holes, float32 [B, 1, side, side], 1 = hole."""
        pictures, holes = zip(*(self.crop(first + i) for i in range(count)), strict=True)
        images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
        return images, torch.from_numpy(np.stack(holes).astype(np.float32))[:, None]

    def _photograph(self, random: np.random.Generator, photos: list[Tensor]) -> np.ndarray:
        """A crop of a photograph, at full size or larger and reduced."""
        photo = photos[random.integers(len(photos))].numpy()
        largest = min(photo.shape[:2])
        cut = min(int(self.side * (largest / self.side) ** random.uniform()), largest)
        top, left = (int(random.integers(size - cut + 1)) for size in photo.shape[:2])
        return cv2.resize(photo[top : top + cut, left : left + cut], (self.side, self.side), interpolation=cv2.INTER_AREA)
