"""Pairs of pictures of the same scene: two frames of a clip, a photograph and its warped and relit copy, or two parts of one."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from psal_cli.training.photographs import EVERY, decoded, files_of, read

FARTHEST = 4  # stored frames between the two of a pair; clips store every 3rd to 20th frame
HELD_OUT = ("aot_1007", "asl_help", "bedroom", "dog")  # clips kept for validation
PHOTO_SHARE = 0.25  # of the pairs
PART = 0.5, 0.6  # of a photograph's width: width of two parts with similar scenes
CROP = 0.4, 0.8  # of a photograph's width: width of a crop


class Pair(NamedTuple):
    """target and reference: float32 [H, W, 3], RGB in [0, 1]."""

    target: np.ndarray
    reference: np.ndarray


class Pairs:
    """Numbered pairs: the same folder, seed and number give the same pair, in any order."""

    def __init__(self, data: Path, size: tuple[int, int] = (256, 256), seed: int = 0):
        """data: a folder with video/<clip>/*.webp and photos/*.webp. size: (H, W) of the pairs; frames are resized to it.

        Raises FileNotFoundError if the folder has no clips.
        """
        self.size, self.seed = size, seed
        clips = {clip.name: sorted(clip.glob("*.webp")) for clip in sorted((data / "video").iterdir()) if clip.is_dir()}
        if not any(clips.values()):
            raise FileNotFoundError(f"{data}/video has no clips: expected folders of .webp frames")
        self.clips = {name: [read(frame, size) for frame in frames] for name, frames in clips.items()}
        self.files = files_of(data)
        self.photos = [read(photo) for photo in self.files]
        self.training = [name for name in self.clips if name not in HELD_OUT]
        frames = np.array([len(self.clips[name]) for name in self.training], float)
        self.chances = np.sqrt(frames) / np.sqrt(frames).sum()  # between a clip's share of the frames and an equal share

    def pair(self, number: int) -> Pair:
        """A training pair."""
        random = np.random.default_rng([self.seed, number])
        if self.photos and random.random() < PHOTO_SHARE:
            return self._of_photo(random)
        return self._of_clip(random.choice(self.training, p=self.chances), random)

    def stranger(self, number: int) -> Pair | None:
        """A pair of two clips filmed in the same place, where much of the target is not in the reference."""
        random = np.random.default_rng([self.seed, number, 2])
        clips = [name for name in self.training if name.startswith("asl_")]
        if len(clips) < 2:
            return None
        frames = [self.clips[name] for name in random.choice(clips, 2, replace=False)]
        return Pair(*(floats(clip[random.integers(len(clip))]) for clip in frames))

    def parts(self, number: int, held_out: bool = False) -> Pair:
        """The left and right of a photograph, one of them relit: similar scenes with hardly any object in common."""
        random = np.random.default_rng([self.seed, number, 3])
        photo, (height, width) = self._photo(random, held_out), self.size
        share = min(random.uniform(*PART), photo.shape[0] / photo.shape[1] * width / height)
        wide = int(share * photo.shape[1])
        high = min(int(wide * height / width), photo.shape[0])
        top = int(random.uniform(0, 1) * (photo.shape[0] - high))
        sides = [photo[top : top + high, left : left + wide] for left in (0, photo.shape[1] - wide)]
        pair = [floats(cv2.resize(side, (width, height), interpolation=cv2.INTER_AREA)) for side in sides]
        target, reference = pair if random.random() < 0.5 else pair[::-1]
        return Pair(target, relit(reference, random))

    def crops(self, number: int) -> Pair:
        """Two random crops of a photograph, of different sizes: they may overlap or have nothing in common."""
        random = np.random.default_rng([self.seed, number, 6])
        photo, (height, width) = self._photo(random), self.size
        parts = []
        for _ in range(2):
            wide = int(min(random.uniform(*CROP) * photo.shape[1], photo.shape[0] / height * width))
            high = int(wide * height / width)
            top, left = (random.integers(size - side + 1) for size, side in zip(photo.shape, (high, wide), strict=False))
            parts.append(cv2.resize(photo[top : top + high, left : left + wide], (width, height), interpolation=cv2.INTER_AREA))
        return Pair(floats(parts[0]), relit(floats(parts[1]), random))

    def mixed(self, number: int, kind: float, parts: float, crops: float, strangers: float) -> Pair:
        """A training pair of a kind chosen by `kind` in [0, 1): each kind has its share, the rest is `pair`."""
        if kind < parts:
            return self.parts(number)
        if kind < parts + crops:
            return self.crops(number)
        return (self.stranger(number) if kind < parts + crops + strangers else None) or self.pair(number)

    def validation(self, count: int) -> list[Pair]:
        """Pairs of held-out clips, the same for every seed."""
        names = [name for name in HELD_OUT if name in self.clips]
        return [self._of_clip(names[i % len(names)], np.random.default_rng([1 << 20, i])) for i in range(count)]

    def _photo(self, random: np.random.Generator, held_out: bool = False) -> np.ndarray:
        """A photograph at its stored size, uint8 [H, W, 3]."""
        files = [file for i, file in enumerate(self.files) if (i % EVERY == 0) == held_out]
        return decoded(files[random.integers(len(files))])

    def _of_clip(self, name: str, random: np.random.Generator) -> Pair:
        frames = self.clips[name]
        first = random.integers(len(frames))
        near = [i for i in range(first - FARTHEST, first + FARTHEST + 1) if 0 <= i < len(frames) and i != first]
        second = random.choice(near)
        flip = slice(None, None, -1 if random.random() < 0.5 else 1)
        return Pair(*(floats(frames[i][:, flip]) for i in (first, second)))

    def _of_photo(self, random: np.random.Generator) -> Pair:
        photo = self.photos[random.integers(len(self.photos))]
        target, reference = (_warped(photo, self.size, random) for _ in range(2))
        return Pair(target, relit(reference, random))


def floats(picture: np.ndarray) -> np.ndarray:
    """uint8 to float32 in [0, 1]."""
    return picture.astype(np.float32) / 255


def _warped(photo: np.ndarray, size: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """A crop from a simulated other viewpoint: rotated, scaled, sheared and bent a little."""
    height, width = size
    angle, scale, shear = random.normal(0, 0.06), np.exp(random.normal(0, 0.1)), random.normal(0, 0.05, 2)
    turn = (
        scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ (np.eye(2) + np.diag(shear)[::-1])
    )
    free = np.maximum(np.array(photo.shape[:2]) - np.array(size), 0)
    middle = np.array(photo.shape[:2]) / 2 + random.uniform(-0.25, 0.25, 2) * free  # two crops of a photograph overlap well
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bend = cv2.resize(random.normal(0, 3, (4, 4, 2)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    dy, dx = y - height / 2, x - width / 2
    rows = turn[0, 0] * dy + turn[0, 1] * dx + middle[0] + bend[..., 0]
    columns = turn[1, 0] * dy + turn[1, 1] * dx + middle[1] + bend[..., 1]
    place = columns.astype(np.float32), rows.astype(np.float32)
    return floats(cv2.remap(photo, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))


def relit(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Changes exposure and contrast and adds a soft shade; hue is kept."""
    gain, gamma = np.exp(random.normal(0, 0.08)), np.exp(random.normal(0, 0.08))
    shade = np.exp(random.normal(0, 0.06, (3, 3)).astype(np.float32))
    shade = cv2.resize(shade, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(gain * shade * picture**gamma, 0, 1).astype(np.float32)
