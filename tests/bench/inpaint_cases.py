"""The holes that bench_inpaint.py fills: seeded, the same for every method, fixed by their names.

A case is named by its picture, its kind of mask and a number. The name of the picture alone decides whether it is for choosing
(tuning constants, comparing variants) or for reporting, so no picture serves both.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from inpaint_ground import ground_of, smooth_places
from inpaint_masks import KINDS, Silhouette, draw_shape
from PIL import Image

PARTS = ("choose", "report")
SALT = "67"  # of the hash that splits the pictures: with this one each folder and each kind of mask is split about 1 : 2
EVERY = 12  # of photos and scenes every twelfth file, in sorted order, is kept out of training
COUNTS = {"scenes": 144, "photos": 62, "eval/B100": 84, "eval/highres": 24}  # cases of each folder, over both parts
WINDOW = (1536, 2048)  # rows and columns at most: of larger pictures a window is used, so that a run takes minutes
LEAST_WIDTH, MOST_WIDTH = 48, 400  # of a hole: its longer side in pixels
MOST_SHARE = 0.45  # of the picture's shorter side
LEAST_SOURCE = 0.4  # the share of 15x15 patches that a hole must leave whole: every method needs something to copy
LEAST_CONTRAST = 2.0  # grey levels: a hole whose content varies less tells nothing
PLACES = 40  # that are tried for a hole
NEAR = 64  # pixels around a hole that decide on its ground


@dataclass(frozen=True)
class Case:
    name: str
    part: str  # "choose" or "report"
    kind: str  # of mask
    ground: str  # "smooth", "structured" or "textured"
    folder: str  # of the picture
    truth: np.ndarray  # uint8 [H,W,3] RGB
    mask: np.ndarray  # bool [H,W], True = fill

    @property
    def image(self) -> np.ndarray:
        """What a method is given: the picture with its hole blacked out, so that nothing is gained by peeking."""
        return np.where(self.mask[..., None], np.uint8(0), self.truth)

    @property
    def fingerprint(self) -> str:
        """Changes with any pixel of the picture or the mask."""
        return f"{zlib.crc32(self.mask.tobytes(), zlib.crc32(np.ascontiguousarray(self.truth).tobytes())):08x}"


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def part_of(picture: str) -> str:
    """The part that a picture belongs to, by its name (`<folder>-<stem>`): about a third are for choosing."""
    return PARTS[0] if zlib.crc32(f"{SALT} {picture}".encode()) % 3 == 0 else PARTS[1]


def pictures(data: Path, folder: str) -> list[Path]:
    """The pictures of a folder that nothing was trained on.

    Raises:
        FileNotFoundError: there are none.
    """
    paths = sorted(path for path in (data / folder).glob("*") if path.suffix in (".jpg", ".webp", ".png"))
    if not paths:
        raise FileNotFoundError(f"{data / folder}: no pictures there; name the folder of photos, scenes and eval with --data")
    return paths[::EVERY] if folder in ("photos", "scenes") else paths


def window_of(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """A window of at most WINDOW pixels, anywhere in the picture."""
    height, width = (min(side, most) for side, most in zip(picture.shape, WINDOW, strict=False))
    top, left = (int(rng.integers(side - size + 1)) for side, size in zip(picture.shape, (height, width), strict=False))
    return np.ascontiguousarray(picture[top : top + height, left : left + width])


def usable(truth: np.ndarray, mask: np.ndarray) -> bool:
    """Whether enough is left to copy from, and what is hidden is worth a figure."""
    source = cv2.erode((~mask).astype(np.uint8), np.ones((15, 15), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return source.mean() >= LEAST_SOURCE and truth[mask].std(axis=0).mean() >= LEAST_CONTRAST


def place(rng: np.random.Generator, truth: np.ndarray, shape: np.ndarray, on_smooth: bool) -> tuple[np.ndarray, str]:
    """The shape as a mask somewhere in the picture, bool `[H,W]`, and its ground: smooth if that is asked for and found,
    else not smooth if that is found.

    Raises:
        RuntimeError: no usable place.
    """
    smooth = smooth_places(truth)
    fallback = None
    for _ in range(PLACES):
        top, left = (int(rng.integers(side - size + 1)) for side, size in zip(smooth.shape, shape.shape, strict=True))
        mask = np.zeros(smooth.shape, bool)
        mask[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
        if not usable(truth, mask):
            continue
        near = tuple(
            slice(max(0, start - NEAR), start + size + NEAR) for start, size in zip((top, left), shape.shape, strict=True)
        )
        ground = ground_of(np.ascontiguousarray(truth[near]), np.ascontiguousarray(mask[near]), smooth[near])
        if (ground == "smooth") == on_smooth:
            return mask, ground
        fallback = fallback or (mask, ground)
    if fallback is None:
        raise RuntimeError(f"no usable hole of {shape.shape} in {PLACES} places of a picture of {smooth.shape}")
    return fallback


def draw_case(path: Path, folder: str, number: int, seed: int, silhouettes: list[Silhouette]) -> Case:
    """Case `number` of a folder, in a picture."""
    kind = KINDS[number % len(KINDS)]
    short = folder.split("/")[-1]
    picture = f"{short}-{path.stem.split('_')[0]}"
    name = f"{picture}-{kind}-{number}"
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    silhouette = None
    if kind == "objects":
        silhouette = silhouettes[rng.integers(len(silhouettes))]
        name += f"-{silhouette.name}"
    truth = window_of(rng, read(path))
    widest = min(MOST_WIDTH, MOST_SHARE * min(truth.shape[:2]))
    size = round(np.exp(rng.uniform(np.log(LEAST_WIDTH), np.log(widest))))
    shape = draw_shape(rng, kind, size, silhouette)
    # Every other hole goes where the picture is smooth, if it is anywhere: left to chance too few would lie there.
    mask, ground = place(rng, truth, shape, on_smooth=number // len(KINDS) % 2 == 0)
    return Case(name, part_of(picture), kind, ground, short, truth, mask)


def cases(
    data: Path, parts: tuple[str, ...], silhouettes: list[Silhouette], seed: int = 0, folder: str | None = None
) -> Iterator[Case]:
    """The cases of the parts, folder by folder.

    Args:
        data: holds `photos`, `scenes`, `eval/B100` and `eval/highres`.
        parts: of PARTS.
        silhouettes: for the kind "objects".
        folder: of COUNTS, to take cases from it alone; the same as with the others.

    Raises:
        FileNotFoundError: a folder has no pictures.
    """
    for name in COUNTS if folder is None else (folder,):
        paths = pictures(data, name)
        order = np.random.default_rng(seed).permutation(len(paths))
        for number in range(COUNTS[name]):
            path = paths[order[number % len(paths)]]
            if part_of(f"{name.split('/')[-1]}-{path.stem.split('_')[0]}") in parts:
                yield draw_case(path, name, number, seed, silhouettes)
