"""Fuses the chroma of matches: weights them by reliability, and replaces unreliable ones."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.networks.unet import UNet

WIDTHS = (16, 24, 32, 48, 64)  # channels at each scale
CUES = 19
GRIDS = (4, 8, 16, 32, 64)  # pixels: cells of the bilateral grids
SHADES = 8  # levels of lightness along their third axis
CANDIDATES = 4 + len(GRIDS) + 1


class FusionNetwork(UNet):
    """Cues of matches (psal_cli.verbs.colorize.matching.cues) -> chroma and its expected error.

    A small U-Net predicts from the cues how reliable each match is. With these weights, matches are averaged in bilateral grids,
    over nearby pixels of similar lightness (Chen et al. 2007), at five sizes. Then it mixes the match itself, the vote of its
    neighbours, the colour prior, the guess, the grids and the mean of all. So every colour is a mean of colours of the reference
    and of the guess, and rejected matches are filled up to the edges of lightness.
    """

    def __init__(self) -> None:
        super().__init__(CUES, WIDTHS)
        self.believe = nn.Conv2d(WIDTHS[0], 1, 1)
        self.mix = nn.Conv2d(WIDTHS[0] + len(GRIDS), CANDIDATES, 1)
        self.error = nn.Conv2d(WIDTHS[0] + len(GRIDS), 1, 1)

    def forward(self, cues: Tensor) -> tuple[Tensor, Tensor]:
        """Returns chroma [B, 2, H, W], a* and b* divided by 100, and its expected mean absolute error, [B, 1, H, W].

        cues: [B, 19, H, W].
        """
        x = self.seen(cues)
        belief = _each(self.believe, x).double().sigmoid().float() + 1e-4
        match, vote, likely, guess = cues[:, 1:3], cues[:, 3:5], cues[:, 5:7], cues[:, 12:14]
        shades = _tents(cues[:, :1])
        weighted = torch.cat([belief * match, belief], 1)
        filled, weights = zip(*(_grid(weighted, shades, cell) for cell in GRIDS), strict=True)
        total = weighted.sum((2, 3), keepdim=True, dtype=torch.float64)  # float32 would depend on the number of threads
        mean = (total[:, :2] / total[:, 2:]).to(match).expand_as(match)
        x = torch.cat([x, *weights], 1)
        candidates = torch.stack([match, vote, likely, guess, *filled, mean], 1)  # [B, CANDIDATES, 2, H, W]
        chroma = (_each(self.mix, x).double().softmax(1).float()[:, :, None] * candidates).sum(1)
        return chroma, F.softplus(_each(self.error, x).double()).float() * 0.1


def _each(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution whose rounding does not depend on the number of threads: with few outputs oneDNN splits its sums among
    them."""
    pad = 16 - layer.out_channels
    bias = None if layer.bias is None else F.pad(layer.bias, (0, pad))
    return F.conv2d(x, F.pad(layer.weight, (0, 0, 0, 0, 0, 0, 0, pad)), bias)[:, : layer.out_channels]


def _tents(lightness: Tensor) -> Tensor:
    """[B, 1, H, W] -> [B, SHADES, H, W]: the share of each shade in each pixel; they sum to 1."""
    shade = torch.arange(SHADES, device=lightness.device, dtype=lightness.dtype)[:, None, None]
    return (1 - (lightness * (SHADES - 1) - shade).abs()).clamp_min(0)


def _grid(weighted: Tensor, shades: Tensor, cell: int) -> tuple[Tensor, Tensor]:
    """The mean chroma [B, 2, H, W] around each pixel among those of similar lightness, and its total weight, [B, 1, H, W].

    weighted: [B, 3, H, W], chroma times weight, and the weight; shades: [B, SHADES, H, W].
    """
    height, width = weighted.shape[2:]
    each = [F.avg_pool2d(weighted * shades[:, shade : shade + 1], cell, ceil_mode=True) for shade in range(SHADES)]
    pooled = torch.stack(each, 2)  # [B, 3, SHADES, h, w]
    pooled = F.avg_pool3d(F.pad(pooled, (1, 1, 1, 1, 1, 1), "replicate"), 3, stride=1)
    # Many channels, channels-last: otherwise torch's interpolation rounds differently with the number of threads.
    coarse = pooled.flatten(1, 2).contiguous(memory_format=torch.channels_last)
    fine = F.interpolate(coarse, scale_factor=cell, mode="bilinear", align_corners=False)[:, :, :height, :width]
    total = fine.new_zeros(())
    for shade in range(SHADES):
        total = total + fine[:, shade::SHADES] * shades[:, shade : shade + 1]
    return total[:, :2] / total[:, 2:].clamp_min(1e-8), total[:, 2:]
