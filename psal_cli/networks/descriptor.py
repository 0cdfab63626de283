"""Descriptors of places in a grey picture, by which `psal colorize` finds where to take colours from."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCALES = (2, 4, 8, 16, 32, 64)  # pixels
MAPS = 4  # of each scale, see `maps`
HIDDEN = 64
CHANNELS = 32
CONTRAST = 0.05  # of lightness: the contrast at which a local one counts half


class DescriptorNetwork(nn.Module):
    """Lightness [B, 1, H, W] in [0, 1] -> [B, 32, H, W]: places that should share colours have descriptors that are close.

    At each of six scales a 3x3 convolution looks at four maps: lightness, lightness less that around it over the local
    contrast, and the mean absolute differences to the right and down, which tell textures apart that are too fine for the
    scale. What the scales see is added up at each pixel, and two layers make a descriptor of it. 23,000 parameters.
    """

    def __init__(self):
        super().__init__()
        self.scales = nn.ModuleList(nn.Conv2d(MAPS, HIDDEN, 3) for _ in SCALES)
        self.mix = nn.Sequential(
            nn.LeakyReLU(0.1), nn.Conv2d(HIDDEN, HIDDEN, 1), nn.LeakyReLU(0.1), nn.Conv2d(HIDDEN, CHANNELS, 1)
        )

    def forward(self, lightness: Tensor) -> Tensor:
        height, width = lightness.shape[2:]
        total = lightness.new_zeros((len(lightness), HIDDEN, height, width))
        for scale, seen in zip(SCALES, self.seen(lightness), strict=True):
            fine = F.interpolate(seen, scale_factor=scale, mode="bilinear", align_corners=False)
            total += fine[:, :, :height, :width]
        return self.mix(total)

    def seen(self, lightness: Tensor) -> list[Tensor]:
        """What the convolution of each scale s makes of its maps: [B, HIDDEN, ceil(H / s), ceil(W / s)]."""
        return [
            conv(F.pad(maps, (1, 1, 1, 1), "replicate")) for conv, maps in zip(self.scales, scale_maps(lightness), strict=True)
        ]

    def at(self, seen: list[Tensor], row: Tensor, column: Tensor) -> Tensor:
        """[n, CHANNELS]: the descriptors of some pixels, int64 [n] each, from what `seen` returns for a batch of one."""
        total = 0
        for scale, x in zip(SCALES, seen, strict=True):
            height, width = x.shape[2:]
            place = torch.stack([(column + 0.5) / (scale * width), (row + 0.5) / (scale * height)], 1) * 2 - 1
            total = total + F.grid_sample(x, place[None, None], padding_mode="border", align_corners=False)
        return self.mix(total)[0, :, 0].T


def scale_maps(lightness: Tensor) -> list[Tensor]:
    """Of each scale s float [B, 4, ceil(H / s), ceil(W / s)]: means over s x s pixels, each map of about unit size."""
    right = F.pad(lightness.diff(dim=3).abs(), (0, 1, 0, 0), "replicate")
    down = F.pad(lightness.diff(dim=2).abs(), (0, 0, 0, 1), "replicate")
    finest = torch.cat([lightness, lightness.square(), right, down], 1)
    means = [F.avg_pool2d(finest, scale, ceil_mode=True) for scale in SCALES]
    out = []
    for mean in means:
        around = F.avg_pool2d(F.pad(mean[:, :2], (2, 2, 2, 2), "replicate"), 5, stride=1)
        contrast = (around[:, 1:] - around[:, :1].square()).clamp_min(0).sqrt()
        local = (mean[:, :1] - around[:, :1]) / (contrast + CONTRAST)
        out.append(torch.cat([(mean[:, :1] - 0.5) * 4, local, mean[:, 2:] * 20], 1))
    return out
