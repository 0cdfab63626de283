"""The shapes of the bench's holes: strokes, rectangles, blobs and silhouettes of real objects, all of a given width."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

KINDS = ("strokes", "rectangles", "blobs", "objects")
LEAST_FILLED = 0.15  # of its bounding box: a silhouette with less is a wire or the rest of something hidden
LEAST_SIDE = 40  # pixels of a silhouette: a smaller one has no shape left once enlarged


@dataclass(frozen=True)
class Silhouette:
    name: str
    shape: np.ndarray  # bool [h,w], tight: an object touches all four sides


def tight(mask: np.ndarray) -> np.ndarray:
    """The bounding box of a mask's largest connected piece, holding that piece alone."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    left, top, width, height = stats[largest, :4]
    return labels[top : top + height, left : left + width] == largest


def silhouettes_in(folder: Path) -> list[Silhouette]:
    """One silhouette of each subfolder (its first picture that shows an object), or of each file of a flat folder.

    The files are PNGs in which everything but black is the object, as in DAVIS's Annotations/480p.

    Raises:
        FileNotFoundError: no such file in the folder.
    """
    files = sorted(folder.rglob("*.png"))
    silhouettes: dict[str, Silhouette] = {}
    for path in files:
        name = path.stem if path.parent == folder else path.parent.name
        if name in silhouettes:
            continue
        with Image.open(path) as picture:
            mask = np.asarray(picture.convert("RGB")).any(axis=2)
        if mask.any():
            shape = tight(mask)
            if min(shape.shape) >= LEAST_SIDE and shape.mean() >= LEAST_FILLED:
                silhouettes[name] = Silhouette(name, shape)
    if not silhouettes:
        raise FileNotFoundError(f"{folder}: no PNG there with an object of {LEAST_SIDE} pixels or more on black")
    return list(silhouettes.values())


def strokes(rng: np.random.Generator, size: int) -> np.ndarray:
    """A free-form brush: one wandering round-capped line."""
    turns = rng.normal(0, 0.8, rng.integers(4, 12)).cumsum() + rng.uniform(0, 2 * np.pi)
    lengths = rng.uniform(0.5, 1.5, (len(turns), 1))
    points = np.concatenate([np.zeros((1, 2)), (lengths * np.stack([np.cos(turns), np.sin(turns)], 1)).cumsum(0)])
    points -= points.min(0)
    thickness = max(6, round(size * rng.uniform(0.08, 0.22)))
    points = np.rint(points * (size - thickness) / points.max() + thickness).astype(np.int32)
    canvas = np.zeros((size + 2 * thickness,) * 2, np.uint8)
    cv2.polylines(canvas, [points], False, 1, thickness)
    return tight(canvas)


def rectangles(rng: np.random.Generator, size: int) -> np.ndarray:
    """An upright rectangle, its sides at most 1 : 2.2."""
    short = round(size * np.exp(rng.uniform(-0.8, 0)))
    return np.ones((size, short) if rng.integers(2) else (short, size), bool)


def blobs(rng: np.random.Generator, size: int) -> np.ndarray:
    """A round shape with bays and capes: a circle whose radius varies with its first six harmonics."""
    angles = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    radius = np.ones_like(angles)
    for harmonic in range(1, 7):
        radius += rng.normal(0, 0.35 / harmonic) * np.cos(harmonic * angles + rng.uniform(0, 2 * np.pi))
    radius = np.maximum(radius, 0.25)
    points = np.stack([radius * np.cos(angles), radius * np.sin(angles)], 1)
    points -= points.min(0)
    points *= (size - 1) / points.max()
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    return tight(canvas)


def objects(rng: np.random.Generator, size: int, silhouette: Silhouette) -> np.ndarray:
    """A silhouette resized, mirrored half of the time."""
    shape = silhouette.shape[:, ::-1] if rng.integers(2) else silhouette.shape
    scale = size / max(shape.shape)
    sides = [max(1, round(side * scale)) for side in shape.shape[::-1]]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return tight(cv2.resize(shape.astype(np.float32), sides, interpolation=interpolation) > 0.5)


def draw_shape(rng: np.random.Generator, kind: str, size: int, silhouette: Silhouette | None = None) -> np.ndarray:
    """A shape of the kind, bool `[h,w]`, its longer side about `size` pixels; a silhouette for the kind "objects" only."""
    if silhouette is not None:
        return objects(rng, size, silhouette)
    return {"strokes": strokes, "rectangles": rectangles, "blobs": blobs}[kind](rng, size)
