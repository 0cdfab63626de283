"""What a place in a grey picture is part of: an embedding in which places of alike colours lie near each other."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 24, 32, 48, 64, 96)  # channels at each scale, each half the size of the one before
COARSEST = 2  # the scale of the result: a quarter of the picture's size
CHANNELS = 24


class EmbeddingNetwork(nn.Module):
    """Lightness -> features; softmax of minus their squared distances says how much a place has to tell of another's colours.

    A U-Net that looks at 32 times reduced maps and comes back up to a quarter of the picture's size. No normalization: what
    a place is does not depend on the rest of the picture.
    """

    def __init__(self):
        super().__init__()
        before = (3, *WIDTHS[:-1])
        self.down = nn.ModuleList(_pair(i, o) for i, o in zip(before, WIDTHS, strict=True))
        wide, narrow = WIDTHS[COARSEST + 1 :], WIDTHS[COARSEST:-1]
        self.up = nn.ModuleList(_pair(i + o, o) for i, o in zip(wide, narrow, strict=True))
        self.out = nn.Conv2d(WIDTHS[COARSEST], CHANNELS, 1)
        self.sharpness = nn.Parameter(torch.tensor(1.5))  # the logarithm of the largest norm
        for part in self.modules():
            if isinstance(part, nn.Conv2d):  # torch's own initial weights are so small that all places come out alike
                nn.init.kaiming_normal_(part.weight, 0.1)
                nn.init.zeros_(part.bias)

    def forward(self, lightness: Tensor) -> Tensor:
        """[B, 1, H, W], L* / 100 -> [B, CHANNELS, h, w], h = ceil(ceil(H / 2) / 2) and w likewise."""
        right = F.pad(lightness[..., 1:] - lightness[..., :-1], (0, 1, 0, 0))
        down = F.pad(lightness[..., 1:, :] - lightness[..., :-1, :], (0, 0, 0, 1))
        x = torch.cat([lightness * 2 - 1, right * 6, down * 6], 1).contiguous(memory_format=torch.channels_last)
        kept = []
        for number, pair in enumerate(self.down):
            x = pair(half(x) if number else x)
            kept.append(x)
        for pair, skip in zip(reversed(self.up), reversed(kept[COARSEST:-1]), strict=True):
            x = pair(torch.cat([F.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=False), skip], 1))
        x = self.out(x)
        return x * (self.sharpness.exp() / (1 + (x * x).sum(1, keepdim=True)).sqrt())


def half(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, ceil(H / 2), ceil(W / 2)], means of 2x2."""
    return F.avg_pool2d(x, 2, ceil_mode=True)


def _pair(before: int, after: int) -> nn.Sequential:
    convolutions = (nn.Conv2d(inputs, after, 3, padding=1) for inputs in (before, after))
    return nn.Sequential(*(part for one in convolutions for part in (one, nn.LeakyReLU(0.1, inplace=True))))
