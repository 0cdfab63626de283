"""Predicts a distribution over chroma for each pixel of a grey picture, without a reference."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.networks.unet import UNet, pointwise

WIDTHS = (16, 24, 32, 48, 80, 128)  # channels at each scale
FINEST = 2  # the scale of the result: a quarter of the picture's size
STEP = 0.1  # of chroma / 100: spacing of the grid of colours
REACH = 7  # steps from grey to the most saturated colours
COLOURS = (2 * REACH + 1) ** 2


class ColourGuessNetwork(UNet):
    """Lightness -> p(a*, b* | grey) over a grid of colours (Zhang et al. 2016), 0.7 million parameters.

    It learns that skies are blue or white and never green; if several colours are likely, it predicts all of them instead of
    their mean. The buffer `weight` holds how much each colour counted in training, with mean 1 over pixels: rare ones count more,
    so the predicted probabilities are proportional to the true ones times these weights.
    """

    weight: Tensor

    def __init__(self) -> None:
        super().__init__(3, WIDTHS, FINEST)
        self.out = nn.Conv2d(WIDTHS[FINEST], COLOURS, 1)
        self.register_buffer("weight", torch.ones(COLOURS))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):  # as for the embedding: torch's default initial weights are too small
                nn.init.kaiming_normal_(part.weight, 0.1)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, lightness: Tensor) -> Tensor:
        """[B, 1, H, W], L* / 100 -> logits [B, COLOURS, h, w], h = ceil(ceil(H / 2) / 2) and w likewise."""
        right = F.pad(lightness[..., 1:] - lightness[..., :-1], (0, 1, 0, 0))
        down = F.pad(lightness[..., 1:, :] - lightness[..., :-1, :], (0, 0, 0, 1))
        return pointwise(self.out, self.seen(torch.cat([lightness * 2 - 1, right * 6, down * 6], 1)))


def colours() -> Tensor:
    """float32 [COLOURS, 2], a* and b* / 100 of the grid."""
    steps = (torch.arange(2 * REACH + 1) - REACH) * STEP
    return torch.cartesian_prod(steps, steps)


def shares(chroma: Tensor) -> Tensor:
    """[B, 2, h, w], a* and b* / 100 -> [B, COLOURS, h, w]: the share of each colour of the grid; they sum to 1.

    Bilinear: the mean of the grid with these shares is the chroma, unless that lies outside the grid.
    """
    at = (chroma / STEP).clamp(-REACH, REACH) + REACH
    steps = torch.arange(2 * REACH + 1, device=chroma.device)[:, None, None]
    first, second = ((1 - (axis[:, None] - steps).abs()).clamp_min(0) for axis in at.unbind(1))
    return (first[:, :, None] * second[:, None]).flatten(1, 2)
