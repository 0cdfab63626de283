"""The network that guides `psal inpaint`: what is expected in a hole, how sure that is, and features to find it elsewhere."""

import torch
from torch import Tensor, nn

from psal_cli.networks.unet import UNet
from psal_cli.patchmatch.diffusion import diffused

WIDTHS = (32, 64, 96, 128, 160)
FEATURES = 16  # channels of the features that are matched
RADIUS = 8.0  # features are shorter: else choices that are always certain make them grow without end
SCALES = -5.0, 1.0  # the range of the logarithm of the Laplace scale, of white = 1


class CopyingNetwork(UNet):
    """A picture with a hole -> at each pixel, known or hidden, expected colours with their scale, and features to match.

    The features are trained so that a hidden place is like those known places whose content would fit there: softmax(-4 d^2) over
    them, with d the distance of the patches of features, is the probability to copy from each, and the expected error of the copy
    is minimised. It is an expectation of errors, not the error of an expectation, so blur does not pay.
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
            image: float32 [B, 3, H, W] in [0, 1]; what is in the hole does not count. mask: float32 [B, 1, H, W], 1 = hole.

        Returns:
            Expected colours [B, 3, H, W], of which those outside the hole mean nothing; the logarithm of the scale of their
            Laplace distribution, [B, 1, H, W]; features [B, F, H, W].
        """
        filled = diffused(image * (1 - mask), mask)
        x = self.seen(torch.cat([filled - 0.5, mask], 1))
        predicted: Tensor = self.expected(x)
        matched: Tensor = self.matched(x).float()
        matched = matched * (1 + matched.square().sum(1, keepdim=True) / RADIUS**2).rsqrt()
        return filled + predicted[:, :3].float(), predicted[:, 3:].float().clamp(*SCALES), matched
