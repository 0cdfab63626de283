"""The network that guides `psal inpaint`: expected colours in a hole, their uncertainty, and features for matching."""

import torch
from torch import Tensor, nn

from psal_cli.networks.unet import UNet
from psal_cli.patchmatch.diffusion import diffused

WIDTHS = (32, 64, 96, 128, 160)
FEATURES = 16  # channels of the features
RADIUS = 8.0  # bound of their norm, which would otherwise grow without limit
SCALES = -5.0, 1.0  # range of the logarithm of the Laplace scale, for white = 1


class CopyingNetwork(UNet):
    """A picture with a hole -> expected colours with their scale, and features to match, at each known or hidden pixel.

    The features are trained so that a hidden pixel is close to known pixels whose content would fit there: softmax(-4 d^2) over
    them, with d the distance between patches of features, is the probability of copying from each, and the expected error of the
    copy is minimised. Since this is an expectation of errors, not the error of an expectation, blur does not pay.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, features: int = FEATURES):
        super().__init__(4, widths)
        self.features = features
        self.expected = nn.Conv2d(widths[0], 4, 1)
        self.matched = nn.Conv2d(widths[0], features, 1)
        nn.init.normal_(self.expected.weight, std=1e-3)
        assert self.expected.bias is not None
        self.expected.bias.data = torch.tensor([0.0, 0, 0, -2])

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Args:
            image: float32 [B, 3, H, W] in [0, 1]; values in the hole are ignored. mask: float32 [B, 1, H, W], 1 = hole.

        Returns:
            Expected colours [B, 3, H, W], meaningless outside the hole; the logarithm of the scale of their Laplace distribution,
            [B, 1, H, W]; features [B, F, H, W].
        """
        filled = diffused(image * (1 - mask), mask)
        x = self.seen(torch.cat([filled - 0.5, mask], 1))
        predicted: Tensor = self.expected(x)
        matched: Tensor = self.matched(x).float()
        matched = matched * (1 + matched.square().sum(1, keepdim=True) / RADIUS**2).rsqrt()
        return filled + predicted[:, :3].float(), predicted[:, 3:].float().clamp(*SCALES), matched
