"""The parts of a hole: which pixels belong together, and the box of each on the picture."""

from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

Plane = TypeVar("Plane", np.ndarray, Tensor)
Region = npt.NDArray[np.bool_]

Box = tuple[int, int, int, int]  # top, bottom, left, right


def crop(x: Plane, box: Box) -> Plane:
    """[..., H, W] -> [..., h, w], a view."""
    return x[..., box[0] : box[1], box[2] : box[3]]


def area(box: Box) -> int:
    return (box[1] - box[0]) * (box[3] - box[2])


def grown(box: Box, by: int, size: tuple[int, int]) -> Box:
    """The box with a margin on all sides, clipped to the picture of `size` (height, width)."""
    top, bottom, left, right = box
    return max(top - by, 0), min(bottom + by, size[0]), max(left - by, 0), min(right + by, size[1])


def part_boxes(hole: Region, patch_size: int) -> list[Box]:
    """Disjoint boxes around all patches that touch a hole, bool [H, W], with a margin for those patches."""
    radius = patch_size // 2
    whole = grown(bounds(hole), radius, hole.shape)
    queries = touched(crop(hole, whole), patch_size).view(np.uint8)
    labels = np.empty(queries.shape, np.int32)
    _, _, stats, _ = cv2.connectedComponentsWithStats(queries, labels, connectivity=8)
    top, left = whole[0], whole[2]
    boxes = [
        (top + y - radius, top + y + h + radius, left + x - radius, left + x + w + radius) for x, y, w, h, _ in stats[1:].tolist()
    ]
    return [grown(box, 0, hole.shape) for box in merged(boxes)]


def windows(size: tuple[int, int], boxes: list[Box], reach: int | None) -> list[Box]:
    """The windows that extend the boxes by `reach` in a picture of `size` (height, width), merged if they overlap; None: the
    whole picture."""
    if reach is None:
        return [(0, size[0], 0, size[1])]
    return merged([grown(box, reach, size) for box in boxes])


def merged(boxes: list[Box]) -> list[Box]:
    """Merges overlapping boxes until none overlap."""
    out = np.empty((len(boxes), 4), int)
    count = 0
    for box in boxes:
        while True:
            others = out[:count]
            over = (others[:, 0] < box[1]) & (box[0] < others[:, 1]) & (others[:, 2] < box[3]) & (box[2] < others[:, 3])
            if not over.any():
                break
            group = np.vstack([others[over], box])
            box = (group[:, 0].min(), group[:, 1].max(), group[:, 2].min(), group[:, 3].max())
            rest = others[~over]
            count = len(rest)
            out[:count] = rest
        out[count], count = box, count + 1
    return [tuple(box) for box in out[:count].tolist()]


def inner_radius(hole: Region) -> float:
    """The distance of the hole's innermost pixel to its edge."""
    return float(depth(crop(hole, bounds(hole))).max())


# OpenCV crashes if it cannot allocate its result, so here and elsewhere it gets an output array.
def touched(hole: Region, patch_size: int) -> Region:
    """bool [H, W]: the centres of the patches that touch a hole, bool [H, W]."""
    out = np.empty(hole.shape, np.uint8)
    cv2.dilate(hole.astype(np.uint8), np.ones((patch_size, patch_size), np.uint8), out)
    return out.view(np.bool_)


def depth(hole: Region) -> npt.NDArray[np.float32]:
    """float32 [H, W]: the distance of each pixel of a hole, bool [H, W], to its edge, including the border of the picture; 0
    outside."""
    inside = np.pad(hole.astype(np.uint8), 1)
    out = np.empty(inside.shape, np.float32)
    cv2.distanceTransform(inside, cv2.DIST_L2, 3, out)
    return out[1:-1, 1:-1]


def bounds(hole: Region) -> Box:
    """The smallest box around a hole, bool [H, W] and not empty."""
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
