"""Pairs of frames of one video: what is rebuilt or coloured, and what it is made from."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from psal_cli.errors import InvalidValueError
from psal_cli.image import READABLE, read_picture
from psal_cli.image.fitting import plain

BUNDLED = Path(__file__).parent / "pair"
FEATURES = 16  # channels of `pair_features`


class Pair(NamedTuple):
    """uint8 [H, W, 3] each; distance: frames from the target to the reference, None where it is not known."""

    sequence: str
    distance: int | None
    target: np.ndarray
    reference: np.ndarray


def pairs(
    folder: Path | None = None, size: tuple[int, int] | None = None, distances: tuple[int, ...] = (1, 3, 5, 10)
) -> Iterator[Pair]:
    """All pairs of a folder, None: the one that ships; resized to (width, height), bicubic, where a size is given.

    A folder holds query.* and key.*, one pair, or a folder for each sequence, with numbered frames: the target is the middle
    one, or, where names have signs (-10 ... +10), +00; the references are so many frames before and after it, of those that
    are there.

    Raises:
        InvalidValueError: no pair there. InputError: a file that is not a picture.
    """
    folder = folder or BUNDLED
    if not folder.is_dir():
        raise InvalidValueError("pairs", f"{folder}, no folder", "one with query.png and key.png, or with folders of frames")
    files = _pictures(folder)
    if {"query", "key"} <= set(files):
        yield Pair(folder.name, None, frame(files["query"], size), frame(files["key"], size))
        return
    count = 0
    for sequence in sorted(path for path in folder.iterdir() if path.is_dir()):
        frames = _numbered(sequence)
        for distance in sorted({sign * n for n in distances for sign in (-1, 1)}):
            if 0 in frames and distance in frames:
                count += 1
                yield Pair(sequence.name, distance, frame(frames[0], size), frame(frames[distance], size))
    if not count:
        asked = ", ".join(map(str, distances))
        wanted = f"query.png and key.png in it, or folders of frames that are {asked} apart"
        raise InvalidValueError("pairs", f"{folder}, which has no such frames", wanted)


def pair_features(folder: Path | None, height: int, width: int) -> tuple[Tensor, Tensor]:
    """(query, key), float32 [1, 16, height, width] each: the features that the engine is measured on.

    The first pair of a folder, None: the one that ships; resized (bicubic, antialiased, clamped to [0, 1]), replicate-padded and
    convolved with one seeded random 3x3 bank of filters.
    """
    pair = next(pairs(folder))
    bank = torch.randn(FEATURES, 3, 3, 3, generator=torch.Generator().manual_seed(0)) / 27**0.5

    def features(pixels: np.ndarray) -> Tensor:
        frame = F.interpolate(tensor(pixels), (height, width), mode="bicubic", antialias=True).clamp(0, 1)
        return F.conv2d(F.pad(frame, (1, 1, 1, 1), mode="replicate"), bank).contiguous()

    return features(pair.target), features(pair.reference)


def _numbered(folder: Path) -> dict[int, Path]:
    """Frames by their distance to the target."""
    frames = {name: path for name, path in _pictures(folder).items() if re.fullmatch(r"[+-]?\d+", name)}
    if not any(name[0] in "+-" for name in frames):
        numbers = sorted(map(int, frames))
        middle = numbers[len(numbers) // 2] if numbers else 0
        return {int(name) - middle: path for name, path in frames.items()}
    return {int(name): path for name, path in frames.items()}


def _pictures(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in READABLE}


def frame(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """uint8 [H, W, 3], as sRGB. Raises InputError for what is not a picture."""
    picture = read_picture(path)
    pixels = plain(picture.pixels, picture.metadata.icc)
    pixels = pixels.repeat(3, 2) if pixels.shape[2] == 1 else pixels
    return np.asarray(Image.fromarray(pixels).resize(size)) if size else pixels


def tensor(pixels: np.ndarray) -> torch.Tensor:
    """uint8 [H, W, 3] -> float32 [1, 3, H, W] in [0, 1]."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
