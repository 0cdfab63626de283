"""Rasterizes rectangles and polygons exactly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from psal_cli.errors import InvalidValueError

Region = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
Corner = tuple[float, float]
FARTHEST = 1e9  # pixels


@dataclass(frozen=True)
class Polygon:
    """A polygon on a picture. If it crosses itself, areas enclosed twice are outside (the even-odd rule).

    Attributes:
        corners: three or more (x, y), in pixels from the upper left corner of the picture: the pixel in column 2 and row 1
            extends from (2, 1) to (3, 2), and its centre is at (2.5, 1.5). Fractions and positions outside the picture are
            allowed.

    Raises:
        InvalidValueError: fewer than three corners, or one that is more than 1e9 pixels away.
    """

    corners: tuple[Corner, ...]

    def __post_init__(self) -> None:
        if len(self.corners) < 3:
            raise InvalidValueError("polygon", repr(str(self)), f"at least 3 corners, not {len(self.corners)}")
        _check_near("polygon", self)

    def __str__(self) -> str:
        return " ".join(f"{x:.12g},{y:.12g}" for x, y in self.corners)


@dataclass(frozen=True)
class Box:
    """A rectangle on a picture: left, top, width and height in pixels.

    Raises:
        InvalidValueError: a width or height that is not above 0, or a number beyond 1e9.
    """

    left: float
    top: float
    width: float
    height: float

    def __post_init__(self) -> None:
        if not (self.width > 0 and self.height > 0):
            raise InvalidValueError("box", repr(str(self)), "a width and a height above 0")
        _check_near("box", self)

    def __str__(self) -> str:
        return ",".join(f"{x:.12g}" for x in (self.left, self.top, self.width, self.height))

    @property
    def corners(self) -> tuple[Corner, ...]:
        right, bottom = self.left + self.width, self.top + self.height
        return (self.left, self.top), (right, self.top), (right, bottom), (self.left, bottom)


Shape = Box | Polygon


def shapes_region(shapes: Sequence[Shape], size: tuple[int, int]) -> Region:
    """The union of shapes, the pixels whose centres lie inside any of them: bool [H, W].

    A centre on a left or upper edge is inside, one on a right or lower edge is outside, so shapes that share an edge share no
    pixel. Shapes are clipped to the picture. (OpenCV and Pillow also fill the pixels that an outline touches.)

    Args:
        shapes: any number of them.
        size: (width, height) of the picture.

    Raises:
        InvalidValueError: a shape that contains no pixel centre.

    Example:
        >>> shapes_region([Box(1, 0, 2, 1), Polygon(((0, 0), (3, 3), (0, 3)))], (4, 3)).astype(int)
        array([[0, 1, 1, 0],
               [1, 0, 0, 0],
               [1, 1, 0, 0]])
    """
    out = np.zeros((size[1], size[0]), bool)
    for shape in shapes:
        if (filled := inside(shape.corners, size)) is not None:
            top, left, within = filled
            out[top : top + within.shape[0], left : left + within.shape[1]] |= within
        else:
            kind = "box" if isinstance(shape, Box) else "polygon"
            expected = f"a shape with a pixel of the picture in it, which is {size[0]}x{size[1]}"
            raise InvalidValueError(kind, repr(str(shape)), expected)
    return out


def _check_near(kind: str, shape: Shape) -> None:
    if not all(abs(place) <= FARTHEST for corner in shape.corners for place in corner):  # also refuses NaN
        raise InvalidValueError(kind, repr(str(shape)), f"numbers from {-FARTHEST:g} to {FARTHEST:g}")


def inside(corners: Sequence[Corner], size: tuple[int, int]) -> tuple[int, int, Region] | None:
    """The pixels inside a polygon in a picture of `size` (width, height): top and left of its bounding box, and bool [h, w] of
    it. None if it contains no pixel centre."""
    width, height = size
    top, left = (max(_first(min(c[axis] for c in corners)), 0) for axis in (1, 0))
    bottom, right = (min(_first(max(c[axis] for c in corners)), side) for axis, side in ((1, height), (0, width)))
    if top >= bottom or left >= right:
        return None
    within = np.zeros((bottom - top, right - left), bool)
    for rows, columns in _crossings(corners, top, bottom):
        start = np.maximum(columns - left, 0)
        seen = start < right - left
        within[rows[seen] - top, start[seen]] ^= True  # at most once per row and edge
    np.logical_xor.accumulate(within, 1, out=within)
    return (top, left, within) if within.any() else None


def _crossings(corners: Sequence[Corner], top: int, bottom: int) -> Iterator[tuple[Indices, Indices]]:
    """For each edge the rows, from top to bottom, whose centres it crosses, and the first column right of it in each."""
    for edge in pairwise([*corners, corners[0]]):
        (x, y), (end, below) = sorted(edge, key=lambda corner: corner[1])  # so that both directions cross at the same place
        rows = np.arange(max(_first(y), top), min(_first(below), bottom))
        if len(rows):
            yield rows, np.ceil(x + (rows + 0.5 - y) * (end - x) / (below - y) - 0.5).astype(np.int64)


def _first(place: float) -> int:
    """The first row or column whose centre is at this position or after it."""
    return int(np.ceil(place - 0.5))
