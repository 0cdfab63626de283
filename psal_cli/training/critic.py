"""The critic of the inpainting network: distinguishes patches of photographs from drawn ones."""

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

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] and [B, 1, H, W], 1 = hole -> [B, 1, H / 16, W / 16], larger for photographs."""
        x = torch.cat([image, mask], 1)
        *layers, last = self.layers
        for layer in layers:
            x = F.leaky_relu(layer(x), 0.2)
        return last(x)

    def loss(self, image: Tensor, drawn: Tensor, mask: Tensor) -> Tensor:
        """The hinge loss of the critic itself."""
        true, false = self(torch.cat([image, drawn]), torch.cat([mask, mask])).chunk(2)
        return F.relu(1 - true).mean() + F.relu(1 + false).mean()
