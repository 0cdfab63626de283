"""A picture in memory, and its conversion to and from the library's arrays."""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from psal_cli.image.arrays import joined, split, white_of
from psal_cli.image.gain_map import filled
from psal_cli.image.metadata import Metadata


@dataclass(frozen=True)
class Picture:
    """A picture, upright.

    pixels: uint8, uint16 or float32 [H, W, C], C = 1 (grey) or 3 (RGB, not premultiplied); alpha: None or the same dtype [H, W].
    format: Pillow's name of the format of its file; lossless: whether that format keeps pixels exactly.
    quality: of a JPEG file, 1 to 100, from its quantization tables; None for others.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)
    format: str = "PNG"
    lossless: bool = True
    quality: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def white(self) -> int:
        """The value of white: 255, 65535 or 1."""
        return white_of(self.pixels.dtype)

    def array(self) -> np.ndarray:
        """The picture as an array for the library, see `psal_cli.image.arrays`: a copy with alpha, else the pixels themselves."""
        return joined(self.pixels, self.alpha)

    def with_array(self, array: np.ndarray) -> "Picture":
        """This picture with the pixels and alpha of an array that the library returned. Views, not copies."""
        return replace(self, **split(array)._asdict())

    def filled_inside(self, hole: npt.NDArray[np.bool_]) -> "Picture":
        """This picture with its gain map filled inside `hole`, bool [H, W], the only place where it differs from its file.

        A damaged gain map is not changed; the writer then reports that it is dropped.
        """
        if self.metadata.gain_map is None:
            return self
        try:
            gain_map = filled(self.metadata.gain_map, hole)
        except (OSError, ValueError):
            return self
        return replace(self, metadata=replace(self.metadata, gain_map=gain_map))
