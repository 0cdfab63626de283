"""A picture in memory, and its pixels as tensors and back."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from psal_cli.image.metadata import Metadata

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Picture:
    """A picture as it is looked at: upright.

    pixels: uint8 or uint16 [H, W, C], C = 1 (grey) or 3 (red, green, blue, not multiplied by alpha); alpha: None or the
    same dtype [H, W].
    format: of the file it came from, as Pillow names it; lossless: whether that format keeps pixels exactly.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)
    format: str = "PNG"
    lossless: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def white(self) -> int:
        """The largest value of a pixel: 255 or 65535."""
        return int(np.iinfo(self.pixels.dtype).max)

    def tensor(self) -> "Tensor":
        """uint8 or uint16 [1, C, H, W], white = 255 or 65535: the pixels themselves, no copy."""
        import torch

        return torch.from_numpy(self.pixels).permute(2, 0, 1)[None]

    def replaced(self, values: np.ndarray, mask: np.ndarray, soft: np.ndarray | None = None) -> "Picture":
        """This picture with the n pixels inside `mask` in raster order set to `values`, rounded; all others bit for bit.

        values: float32 [n, C] in [0, 1]; mask: bool [H, W]; soft: float32 [H, W] in [0, 1], how much of its value a pixel
        inside the mask takes (default all). Costs time and memory by the size of the mask, beside one copy.
        """
        inside = np.flatnonzero(mask)
        channels = self.pixels.shape[2]
        if mask.shape != self.pixels.shape[:2] or values.shape != (len(inside), channels):
            expected = f"a mask of {list(self.pixels.shape[:2])} and values [{len(inside)}, {channels}]"
            raise ValueError(f"mask has shape {list(mask.shape)} and values {list(values.shape)}, expected {expected}")
        values = values * self.white
        pixels = self.pixels.copy()
        flat = pixels.reshape(-1, channels)
        if soft is not None:
            share = soft.reshape(-1)[inside, None]
            values = share * values + (1 - share) * flat[inside]
        flat[inside] = np.rint(values).clip(0, self.white).astype(pixels.dtype)
        return replace(self, pixels=pixels)
