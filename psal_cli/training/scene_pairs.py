"""Pairs of pictures from photographs and everyday scenes: two scenes that look alike, or two parts of one picture.

Which scenes look alike is told by the mean features of EfficientNet-Lite0 on their grey versions, so this module needs
`pip install 'psal[semantic]'`.
"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from psal_cli.image.cielab import lightness
from psal_cli.training.pairs import CROP, PART, Pair, floats, relit
from psal_cli.training.photographs import read
from psal_cli.training.scene_crops import split
from psal_cli.verbs.colorize.semantics import raw

LONG_SIDE = 320, 448  # pixels of a picture's long side
SEEN = 320  # the long side at which scenes are compared
NEIGHBOURS = 6  # of a scene in training; held-out scenes are paired with the nearest one


class ScenePairs:
    """Numbered pairs: the same files, seed and number give the same one. The sizes of the two pictures differ."""

    def __init__(self, data: Path, seed: int, cache: Path):
        """data: a folder with photos/ and scenes/. cache: a folder for the table of neighbours, which takes minutes to compute.

        Raises:
            FileNotFoundError: the folder has no pictures.
            InputError: the packages of EfficientNet-Lite0 are not installed.
        """
        self.seed, (self.training, self.held_out) = seed, split(data)
        cache.mkdir(parents=True, exist_ok=True)
        self.near = [_neighbours(files, cache) for files in (self.training, self.held_out)]

    def alike(self, number: int, held_out: bool = False) -> Pair:
        """Two different scenes with similar contents."""
        random = np.random.default_rng([self.seed, number, 11])
        files, near = (self.held_out if held_out else self.training), self.near[held_out]
        first = random.integers(len(files))
        second = near[first][0 if held_out else random.integers(near.shape[1])]
        return Pair(*(_resized(read(files[index]), random) for index in (first, second)))

    def parts(self, number: int, held_out: bool = False) -> Pair:
        """The left and right of a picture or, in half of the pairs for training, two random crops; the reference is relit."""
        random = np.random.default_rng([self.seed, number, 12])
        files = self.held_out if held_out else self.training
        picture = read(files[random.integers(len(files))])
        height, width = picture.shape[:2]
        if held_out or random.random() < 0.5:
            wide = int(random.uniform(*PART) * width)
            sides = [picture[:, :wide], picture[:, width - wide :]][:: random.choice([-1, 1])]
        else:
            sides = []
            for scale in random.uniform(*CROP, 2):
                size = int(scale * height), int(scale * width)
                top, left = (random.integers(whole - side + 1) for whole, side in zip((height, width), size, strict=True))
                sides.append(picture[top : top + size[0], left : left + size[1]])
        target, reference = (_resized(side, random) for side in sides)
        return Pair(target, relit(reference, random))


def _resized(picture: npt.NDArray[np.uint8], random: np.random.Generator) -> npt.NDArray[np.float32]:
    """At a random size, in half of the cases mirrored."""
    scale = random.uniform(*LONG_SIDE) / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return floats(np.ascontiguousarray(small[:, :: random.choice([-1, 1])]))


def _neighbours(files: list[Path], cache: Path) -> npt.NDArray[np.int64]:
    """[len(files), up to NEIGHBOURS]: the indices of the most similar other files, the nearest first."""
    path = cache / f"scene_features_{len(files)}_{files[0].stem}.npy"
    if not path.exists():
        np.save(path, np.stack([_mean_features(file) for file in files]))
    features = np.load(path)
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    features /= np.linalg.norm(features, axis=1, keepdims=True).clip(1e-6)
    likeness = features @ features.T
    np.fill_diagonal(likeness, -2)
    return np.asarray(np.argsort(-likeness, 1)[:, : min(NEIGHBOURS, len(files) - 1)], np.int64)


def _mean_features(file: Path) -> npt.NDArray[np.float32]:
    """The mean over the picture of the two coarser stages."""
    picture = read(file)
    scale = SEEN / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    stages = raw(lightness(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)[..., None]))
    return torch.cat([stage.mean((2, 3))[0] for stage in stages[1:]]).numpy()
