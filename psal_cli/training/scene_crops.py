"""Crops of photographs and everyday scenes, for the networks of `psal colorize`."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from psal_cli.training.photographs import EVERY, files_of, read, scenes_of

SCALE = 0.6, 1.6  # factors by which crops are enlarged
FAR = 1 << 40  # the numbers of the held-out crops
MEASURED = (  # numbers of the scenes of tests/bench/colour_pairs.toml
    3, 17, 24, 51, 62, 67, 69, 71, 75, 87, 105, 131, 136, 142, 145, 156, 171, 178, 201, 219, 256, 277, 326, 347, 354, 359, 381,
    402, 409, 417, 421, 426, 448, 464, 492, 494, 503, 514, 521, 548, 564, 616, 623, 701, 722, 860, 943, 945, 1054, 1109,
)  # fmt: skip


def split(data: Path) -> tuple[list[Path], list[Path]]:
    """The photographs and scenes for training, and one in twelve that is held out. The scenes of the benchmark are excluded.

    Raises FileNotFoundError if the folder has no pictures.
    """
    measured = {f"{number:04}" for number in MEASURED}
    files = [*files_of(data), *(path for path in scenes_of(data) if path.stem not in measured)]
    if not files:
        raise FileNotFoundError(f"{data} has neither photos/ nor scenes/ with .webp pictures")
    return [path for number, path in enumerate(files) if number % EVERY] or files, files[::EVERY]


class SceneCrops:
    """Numbered crops: the same files, seed and number give the same one. See `split` for the files."""

    def __init__(self, data: Path, side: int, seed: int, scale: tuple[float, float] = SCALE):
        """side: of the crops; scale: the range of factors by which they are enlarged.

        Raises FileNotFoundError if the folder has no pictures.
        """
        self.side, self.seed, self.scale, (self.training, self.held_out) = side, seed, scale, split(data)

    def crop(self, number: int) -> npt.NDArray[np.uint8]:
        """[side, side, 3], RGB. Numbers from FAR on are crops of held-out pictures, the same for every seed."""
        held_out = number >= FAR
        random = np.random.default_rng([0 if held_out else self.seed, number])
        files = self.held_out if held_out else self.training
        picture = read(files[number % len(files) if held_out else random.integers(len(files))])
        cut = min(round(self.side / random.uniform(*self.scale)), *picture.shape[:2])
        top, left = (int(random.integers(size - cut + 1)) for size in picture.shape[:2])
        part = np.ascontiguousarray(picture[top : top + cut, left : left + cut, :][:, :: random.choice([-1, 1])])
        return np.asarray(cv2.resize(part, (self.side, self.side), interpolation=cv2.INTER_AREA), np.uint8)
