"""Margins by which the canvas of a picture grows. Importing this loads neither torch nor OpenCV."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from psal_cli.errors import InvalidValueError

LONGEST = 65535  # pixels: the longest side that the engine can index
Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Margins:
    """Pixels added at each side of a picture.

    Raises:
        InvalidValueError: a negative number.

    Example:
        >>> Margins(right=100).applied((600, 800))
        (600, 900)
        >>> Margins.to_aspect((600, 800), Fraction(16, 9))
        Margins(top=0, right=134, bottom=0, left=133)
    """

    top: int = 0
    right: int = 0
    bottom: int = 0
    left: int = 0

    def __post_init__(self) -> None:
        if min(self.top, self.right, self.bottom, self.left) < 0:
            given = f"{self.top}, {self.right}, {self.bottom}, {self.left}"
            raise InvalidValueError("margins", given, "four numbers of pixels, none below 0")

    @staticmethod
    def to_size(size: Size, wanted: Size) -> "Margins":
        """The margins from `size` to `wanted`, both (height, width), with the picture in the middle.

        Raises:
            InvalidValueError: the picture is larger.
        """
        if wanted[0] < size[0] or wanted[1] < size[1]:
            expected = f"at least the size of the picture, {size[1]}x{size[0]}"
            raise InvalidValueError("margins", f"{wanted[1]}x{wanted[0]}", expected)
        down, across = wanted[0] - size[0], wanted[1] - size[1]
        return Margins(down // 2, across - across // 2, down - down // 2, across // 2)

    @staticmethod
    def to_aspect(size: Size, aspect: Fraction) -> "Margins":
        """The margins to the smallest canvas with this aspect ratio, width : height, that holds a picture of `size`."""
        height, width = size
        return Margins.to_size(size, (max(height, round(width / aspect)), max(width, round(height * aspect))))

    def applied(self, size: Size) -> Size:
        """The size (height, width) of the canvas for a picture of `size`.

        Raises:
            InvalidValueError: a canvas larger than the engine can index.
        """
        height, width = size[0] + self.top + self.bottom, size[1] + self.left + self.right
        if max(height, width) > LONGEST:
            raise InvalidValueError("margins", f"for a canvas of {width}x{height}", f"sides of at most {LONGEST} pixels")
        return height, width

    def around(self, array: np.ndarray, value: float | None = None) -> np.ndarray:
        """Pads an array [H, W, ...] to the canvas with `value`, by default with the pixels of its border."""
        self.applied((array.shape[0], array.shape[1]))
        widths = [(self.top, self.bottom), (self.left, self.right), *[(0, 0)] * (array.ndim - 2)]
        if not any(map(any, widths)):
            return array
        return np.pad(array, widths, "edge") if value is None else np.pad(array, widths, constant_values=value)
