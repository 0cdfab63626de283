"""A critic distinguishes patches of photographs from drawn ones, for the networks of `psal inpaint` and `psal upscale`."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Critic(nn.Module):
    """Spectrally normalised convolutions of stride 2 whose every output judges a patch (Yu et al. 2019, section 3.4)."""

    def __init__(self, width: int = 32):
        super().__init__()
        sizes = (4, width, 2 * width, 4 * width, 4 * width)
        self.layers = nn.Sequential(
            *(spectral_norm(nn.Conv2d(i, o, 5, 2, 2)) for i, o in pairwise(sizes)),
            spectral_norm(nn.Conv2d(sizes[-1], 1, 3, 1, 1)),
        )

    def forward(self, image: Tensor, given: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] and [B, 1, H, W] -> [B, 1, H / 16, W / 16], larger for photographs.

        given: what the drawing network was given: the hole, or the enlarged lightness.
        """
        x = torch.cat([image, given], 1)
        *layers, last = self.layers
        for layer in layers:
            x = F.leaky_relu(layer(x), 0.2)
        return last(x)

    def loss(self, image: Tensor, drawn: Tensor, given: Tensor) -> Tensor:
        """The hinge loss of the critic itself."""
        true, false = self(torch.cat([image, drawn]), torch.cat([given, given])).chunk(2)
        return F.relu(1 - true).mean() + F.relu(1 + false).mean()
