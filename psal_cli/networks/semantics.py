"""A small network that predicts the features of a large one for a grey picture."""

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (24, 32, 48, 80, 112)  # channels at strides 2, 4, 8, 16 and 32
BLOCKS = (0, 1, 2, 3, 3)  # residual blocks at each
TOLD = 2  # the first scale whose features are returned
CHANNELS = 24  # channels of each returned scale


class SemanticNetwork(nn.Module):
    """Grey -> features at strides 8, 16 and 32, trained to equal those of EfficientNet-Lite0 in
    psal_cli.verbs.colorize.semantics.

    Residual blocks of two 3x3 convolutions, without normalization: 1.2 million parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(i, o, 3, 2, 1) for i, o in zip((1, *WIDTHS[:-1]), WIDTHS, strict=True))
        self.blocks = nn.ModuleList(nn.Sequential(*(Block(w) for _ in range(n))) for w, n in zip(WIDTHS, BLOCKS, strict=True))
        self.heads = nn.ModuleList(nn.Conv2d(width, CHANNELS, 1) for width in WIDTHS[TOLD:])

    def forward(self, grey: Tensor) -> list[Tensor]:
        """[B, 1, H, W], sRGB grey in [0, 1] -> [B, CHANNELS, ceil(H / stride), ceil(W / stride)] each."""
        x, out = (grey - 0.5) * 4, []
        for scale, (down, blocks) in enumerate(zip(self.down, self.blocks, strict=True)):
            x = blocks(F.leaky_relu(down(x), 0.1))
            if scale >= TOLD:
                out.append(self.heads[scale - TOLD](x))
        return out


class Block(nn.Module):
    """x plus two 3x3 convolutions of it; initially the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape."""
        out: Tensor = F.leaky_relu(x + self.second(F.leaky_relu(self.first(x), 0.1)), 0.1)
        return out
