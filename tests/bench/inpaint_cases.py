"""The holes that bench_inpaint.py fills: seeded pictures and masks, the same for every method and every number of cases."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from metrics import coherence, luminance, ring_around
from PIL import Image

KINDS = ("strokes", "rectangles", "blobs")
HALVES = ("structured", "textured")
CROP_SIZE = 512
CROPS_OF_NINE = (2, 3, 7)  # of nine cases running, these are crops of high-resolution photographs: one a kind of mask
MIN_AREA, MAX_AREA = 0.05, 0.15
MIN_SOURCE = 0.4  # the share of 15x15 patches that must be left untouched: every method needs something to copy
ATTEMPTS = 500


@dataclass(frozen=True)
class Case:
    name: str
    kind: str
    truth: np.ndarray  # uint8 [H,W,3] RGB
    mask: np.ndarray  # bool [H,W], True = fill
    half: str  # of all cases: whether the gradients in and around the hole agree more or less than in the others


def strokes(rng: np.random.Generator, height: int, width: int, area: float) -> np.ndarray:
    """A free-form brush: wandering round-capped lines until the area is reached."""
    side = min(height, width)
    canvas = np.zeros((height, width), np.uint8)
    while canvas.mean() < area:
        point = rng.uniform((0, 0), (width, height))
        angle = rng.uniform(0, 2 * np.pi)
        thickness = int(rng.uniform(0.035, 0.07) * side)
        for _ in range(rng.integers(3, 8)):
            angle += rng.normal(0, 0.7)
            end = point + rng.uniform(0.06, 0.16) * side * np.array([np.cos(angle), np.sin(angle)])
            cv2.line(canvas, point.astype(int).tolist(), end.astype(int).tolist(), 1, thickness)
            point = end
            if canvas.mean() >= area:
                break
    return canvas.astype(bool)


def rectangles(rng: np.random.Generator, height: int, width: int, area: float) -> np.ndarray:
    """One to three upright rectangles that share the area, anywhere inside the picture."""
    mask = np.zeros((height, width), bool)
    for share in rng.dirichlet(np.full(rng.integers(1, 4), 4.0)):
        pixels, aspect = share * area * height * width, np.exp(rng.uniform(-0.7, 0.7))
        rows, cols = int(np.sqrt(pixels * aspect)), int(np.sqrt(pixels / aspect))
        row, col = rng.integers(0, max(1, height - rows)), rng.integers(0, max(1, width - cols))
        mask[row : row + rows, col : col + cols] = True
    return mask


def blobs(rng: np.random.Generator, height: int, width: int, area: float) -> np.ndarray:
    """The peaks of smooth noise; crumbs are dropped."""
    sigma = rng.uniform(0.06, 0.12) * min(height, width)
    noise = cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), sigma)
    peaks = (noise > np.quantile(noise, 1 - area)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(peaks)
    large = stats[:, cv2.CC_STAT_AREA] >= 200
    large[0] = False  # the background
    return large[labels]


def usable(mask: np.ndarray) -> bool:
    """Whether the area is in range, whole 7x7 patches fit into the hole and enough 15x15 patches are left outside it."""
    inside = cv2.erode(mask.astype(np.uint8), np.ones((7, 7), np.uint8))
    source = cv2.erode((~mask).astype(np.uint8), np.ones((15, 15), np.uint8))
    return MIN_AREA <= mask.mean() <= MAX_AREA and int(inside.sum()) >= 500 and source.mean() >= MIN_SOURCE


def draw_mask(rng: np.random.Generator, kind: str, height: int, width: int) -> np.ndarray:
    """A mask of the kind, bool `[height,width]`, between 5 and 15 % of the area."""
    draw = {"strokes": strokes, "rectangles": rectangles, "blobs": blobs}[kind]
    for _ in range(ATTEMPTS):
        mask = draw(rng, height, width, rng.uniform(MIN_AREA, MAX_AREA))
        if usable(mask):
            return mask
    raise RuntimeError(f"no usable mask of kind {kind} in {ATTEMPTS} attempts at {height}x{width}")


def has_content(crop: np.ndarray) -> bool:
    """Whether 45 % of the crop's 32x32 blocks hold detail: a standard deviation above 2 grey levels after high-pass filtering."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = grey - cv2.GaussianBlur(grey, (0, 0), 4)
    blocks = detail.reshape(grey.shape[0] // 32, 32, grey.shape[1] // 32, 32)
    return float((blocks.std(axis=(1, 3)) > 2).mean()) >= 0.45


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def draw_crop(rng: np.random.Generator, picture: np.ndarray) -> tuple[int, int, np.ndarray]:
    """A crop with content from a photograph, with its first row and column."""
    for _ in range(ATTEMPTS):
        row, col = (int(rng.integers(size - CROP_SIZE + 1)) for size in picture.shape[:2])
        crop = picture[row : row + CROP_SIZE, col : col + CROP_SIZE]
        if has_content(crop):
            return row, col, np.ascontiguousarray(crop)
    raise RuntimeError(f"no crop with content in {ATTEMPTS} attempts")


def cases(data: Path, count: int, seed: int) -> list[Case]:
    """`count` cases from the folders B100 and highres of `data`; case i depends on `seed` and i only, but for its half.

    Raises FileNotFoundError when a folder has no pictures.
    """
    small, large = (sorted((data / folder).glob("*.jpg")) for folder in ("B100", "highres"))
    for folder, found in (("B100", small), ("highres", large)):
        if not found:
            raise FileNotFoundError(f"{data / folder}: no pictures there; name the evaluation data with --data")
    order = np.random.default_rng(seed).permutation(len(small))
    photographs: dict[Path, np.ndarray] = {}  # read once, a crop is cheap then
    found = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        if index % 9 in CROPS_OF_NINE:
            path = large[rng.integers(len(large))]
            if path not in photographs:
                photographs[path] = read(path)
            row, col, truth = draw_crop(rng, photographs[path])
            name = f"{path.stem.split('_')[0].lower()}-{row}-{col}"
        else:
            path = small[order[index % len(small)]]
            name, truth = path.stem, read(path)
        kind = KINDS[index % 3]
        mask = draw_mask(rng, kind, *truth.shape[:2])
        found.append((coherence(luminance(truth), mask | ring_around(mask)), f"{index:02d}-{name}-{kind}", kind, truth, mask))
    middle = np.median([coherent for coherent, *_ in found])
    return [Case(*facts, HALVES[int(coherent < middle)]) for coherent, *facts in found]
