"""An embedding of the pixels of a grey picture in which pixels of similar colours are close."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.attention import full_attention
from psal_cli.networks.unet import UNet, pointwise

WIDTHS = (16, 24, 32, 48, 64, 96)  # channels at each scale
FINEST = 2  # the scale of the result: a quarter of the picture's size
CHANNELS = 24


class EmbeddingNetwork(UNet):
    """Lightness -> features; the softmax of minus their squared distances weights the colours of other pixels.

    A U-Net down to 32 times reduced maps and back up to a quarter of the picture's size.
    """

    def __init__(self) -> None:
        super().__init__(3, WIDTHS, FINEST)
        self.out = nn.Conv2d(WIDTHS[FINEST], CHANNELS, 1)
        self.sharpness = nn.Parameter(torch.tensor(1.5))  # logarithm of the largest norm
        for part in self.modules():
            if isinstance(part, nn.Conv2d):  # torch's default initial weights are so small that all features would be alike
                nn.init.kaiming_normal_(part.weight, 0.1)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, lightness: Tensor) -> Tensor:
        """[B, 1, H, W], L* / 100 -> [B, CHANNELS, h, w], h = ceil(ceil(H / 2) / 2) and w likewise."""
        right = F.pad(lightness[..., 1:] - lightness[..., :-1], (0, 1, 0, 0))
        down = F.pad(lightness[..., 1:, :] - lightness[..., :-1, :], (0, 0, 0, 1))
        x = pointwise(self.out, self.seen(torch.cat([lightness * 2 - 1, right * 6, down * 6], 1)))
        return x * (self.sharpness.exp() / (1 + (x * x).sum(1, keepdim=True)).sqrt())

    def attended(
        self,
        target: Tensor,
        references: list[tuple[Tensor, Tensor, Tensor]],
        query_mask: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """`attended` for the features of pictures.

        target: lightness [1, 1, H, W]. references: of each, (lightness [1, 1, Hr, Wr], values [1, Cv, hr, wr], valid pixels bool
        [1, hr, wr]).
        """
        lights, values, valid = zip(*references, strict=True)
        return attended(self(target), [self(light) for light in lights], list(values), list(valid), query_mask, temperature)


def attended(
    query: Tensor,
    keys: list[Tensor],
    values: list[Tensor],
    valid: list[Tensor],
    query_mask: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """[1, Cv, h, w]: the mean of the references' values for each pixel of a target, weighted by softmax(-squared distance /
    temperature).

    Args:
        query: features of the target, [1, C, h, w].
        keys, values, valid: of each reference, [1, C, hr, wr], [1, Cv, hr, wr] and bool [1, hr, wr].
        query_mask: bool [1, h, w], the pixels of the target to compute; the others are zero.
    """
    places = torch.cat([key.flatten(2) for key in keys], 2)
    pasted, counts = torch.cat([x.flatten(2) for x in values], 2), torch.cat([x.flatten(1) for x in valid], 1)
    key, value, mask = (x[..., None, :] for x in (places, pasted, counts))  # in one row: neighbourhoods no longer matter
    return full_attention(query, key, value, 1, temperature=temperature, query_mask=query_mask, key_mask=mask)
