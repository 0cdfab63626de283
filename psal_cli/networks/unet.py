"""The U-Net inside the networks of `psal colorize`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALL, NARROW = 400, 8  # pixels of a map, and of its shorter side, up to which oneDNN splits sums among threads
SMALL_POINTWISE = 4096  # pixels: the same for a 1x1 convolution


class UNet(nn.Module):
    """Pairs of 3x3 convolutions down to 2^(n-1) times reduced maps, and up again (Ronneberger et al. 2015).

    No normalization, so that features do not depend on distant parts of the picture.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...], finest: int = 0) -> None:
        """widths: channels at each scale, each half the size of the one before. finest: the scale of the result."""
        super().__init__()
        self.finest = finest
        self.down = nn.ModuleList(_pair(i, o) for i, o in zip((inputs, *widths[:-1]), widths, strict=True))
        self.up = nn.ModuleList(_pair(i + o, o) for i, o in zip(widths[finest + 1 :], widths[finest:-1], strict=True))

    def seen(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, widths[finest], h, w], sides halved `finest` times, rounded up."""
        x, kept = x.contiguous(memory_format=torch.channels_last), []
        for number, pair in enumerate(self.down):
            x = _through(pair, half(x) if number else x)
            kept.append(x)
        for pair, skip in zip(reversed(self.up), reversed(kept[self.finest : -1]), strict=True):
            x = _through(pair, torch.cat([F.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=False), skip], 1))
        return x


def half(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, ceil(H / 2), ceil(W / 2)], means of 2x2."""
    return F.avg_pool2d(x, 2, ceil_mode=True)


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution whose rounding does not depend on the number of threads, see `_through`."""
    large = torch.is_grad_enabled() or x.shape[2] * x.shape[3] >= SMALL_POINTWISE
    return conv(x) if large else _in_float64(conv, x)


def _through(pair: nn.Module, x: Tensor) -> Tensor:
    """Runs small maps in float64: oneDNN splits their sums among threads, and float32 would round differently with each number of
    them. Training does not need this, and float64 would more than double its time."""
    if torch.is_grad_enabled() or (x.shape[2] * x.shape[3] >= SMALL and min(x.shape[2:]) >= NARROW):
        return pair(x)
    for part in pair.children():
        x = _in_float64(part, x) if isinstance(part, nn.Conv2d) else part(x)
    return x


def _in_float64(conv: nn.Conv2d, x: Tensor) -> Tensor:
    bias = None if conv.bias is None else conv.bias.double()
    return F.conv2d(x.double(), conv.weight.double(), bias, padding=conv.kernel_size[0] // 2).float()


def _pair(before: int, after: int) -> nn.Sequential:
    convolutions = (nn.Conv2d(inputs, after, 3, padding=1) for inputs in (before, after))
    return nn.Sequential(*(part for convolution in convolutions for part in (convolution, nn.LeakyReLU(0.1, inplace=True))))
