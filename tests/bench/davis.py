"""The evaluation pairs of colorization: ten sequences of DAVIS-2016 val, each a target and eight references around it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT.parent / "shared/data/eval/DAVIS"
SEQUENCES, REFERENCES = 10, 8


class Pair(NamedTuple):
    """uint8 [H, W, 3] each; distance: frames from the target to the reference, -10 to 10."""

    sequence: str
    distance: int
    target: np.ndarray
    reference: np.ndarray


def pairs(folder: Path = FOLDER, size: tuple[int, int] | None = None) -> Iterator[Pair]:
    """All of them, resized to (width, height) where a size is given. Raises FileNotFoundError where some are missing."""
    found = 0
    for sequence in sorted(folder.iterdir()):
        target = frame(sequence / "+00.jpg", size)
        for path in sorted(sequence.glob("*.jpg"), key=lambda path: int(path.stem)):
            if path.stem != "+00":
                found += 1
                yield Pair(sequence.name, int(path.stem), target, frame(path, size))
    if found != SEQUENCES * REFERENCES:
        raise FileNotFoundError(f"{folder} has {found} pairs, expected {SEQUENCES * REFERENCES}: see --data")


def frame(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    picture = Image.open(path).convert("RGB")
    return np.asarray(picture.resize(size) if size else picture)
