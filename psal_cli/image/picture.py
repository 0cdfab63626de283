"""A picture in memory, and its pixels as the library takes them and back."""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from psal_cli.image.arrays import joined, split, white_of
from psal_cli.image.gain_map import filled
from psal_cli.image.metadata import Metadata


@dataclass(frozen=True)
class Picture:
    """A picture as it is looked at: upright.

    pixels: uint8, uint16 or float32 [H, W, C], C = 1 (grey) or 3 (red, green, blue, not multiplied by alpha); alpha: None or the
    same dtype [H, W].
    format: of the file it came from, as Pillow names it; lossless: whether that format keeps pixels exactly.
    quality: of a JPEG file, 1 to 100, by its quantization tables; None of others.
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
        """The picture as the library takes it, see `psal_cli.image.arrays`: with alpha a copy, else the pixels themselves."""
        return joined(self.pixels, self.alpha)

    def with_array(self, array: np.ndarray) -> "Picture":
        """This picture with the pixels, and the alpha, of an array as the library returns it. Views, no copies."""
        return replace(self, **split(array)._asdict())

    def filled_inside(self, hole: npt.NDArray[np.bool_]) -> "Picture":
        """This picture, which only inside `hole`, bool [H, W], differs from the file it came from: its gain map is filled there.

        A damaged gain map is left as it was, and the writer says that it is not kept.
        """
        if self.metadata.gain_map is None:
            return self
        try:
            gain_map = filled(self.metadata.gain_map, hole)
        except (OSError, ValueError):
            return self
        return replace(self, metadata=replace(self.metadata, gain_map=gain_map))
