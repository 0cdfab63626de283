"""A picture in memory, and its pixels as tensors and back."""

from dataclasses import dataclass, field, replace

import numpy as np

from psal_cli.image.metadata import Metadata


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

    def tensor(self):
        """float32 [1, C, H, W] in [0, 1], a copy."""
        import torch

        height, width, channels = self.pixels.shape
        out = torch.empty(1, channels, height, width)
        out[0].copy_(torch.from_numpy(self.pixels).permute(2, 0, 1))
        return out.div_(self.white)

    def replaced(self, image, mask: np.ndarray, soft: np.ndarray | None = None) -> "Picture":
        """This picture with the pixels inside `mask` taken from `image`, rounded; all others stay bit for bit.

        image: float tensor [1, C, H, W] in [0, 1]; mask: bool [H, W]; soft: float32 [H, W] in [0, 1], how much of `image`
        a pixel inside the mask takes (default all). Costs time and memory by the size of the mask, beside one copy.
        """
        import torch

        height, width, channels = self.pixels.shape
        if tuple(image.shape) != (1, channels, height, width) or mask.shape != (height, width):
            expected = f"[1, {channels}, {height}, {width}]"
            raise ValueError(f"image has shape {list(image.shape)} and mask {list(mask.shape)}, expected {expected}")
        inside = np.flatnonzero(mask)
        values = image[0].reshape(channels, -1)[:, torch.from_numpy(inside).to(image.device)].T.cpu().numpy() * self.white
        pixels = self.pixels.copy()
        flat = pixels.reshape(-1, channels)
        if soft is not None:
            share = soft.reshape(-1)[inside, None]
            values = share * values + (1 - share) * flat[inside]
        flat[inside] = np.rint(values).clip(0, self.white).astype(pixels.dtype)
        return replace(self, pixels=pixels)
