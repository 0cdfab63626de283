"""The inpainting network of Yu et al. 2018, "Generative image inpainting with contextual attention", sections 3 and 4.

Names and shapes are those of the PyTorch port daa233/generative-inpainting-pytorch, whose checkpoints load unchanged: 84 tensors,
3,601,542 parameters at width 32.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.attention import ContextualAttention
from psal_cli.patchmatch.diffusion import diffused

FILLS = ("zeros", "diffused")
MULTIPLE = 8  # sides inside are multiples of it
REACH = 160  # pixels: radius of the receptive field without attention
CONTEXT_REACH = 16  # the same for the attended features


class InpaintingNetwork(nn.Module):
    """A coarse generator, then a fine one that refines its result with attention to the rest of the picture."""

    def __init__(self, width: int = 32, attention: nn.Module | None = None, *, fill: str = "zeros", residual: bool = False):
        """Args:
            width: channels of the first convolution.
            attention: called with features [B, 4 * width, H / 4, W / 4] and the mask [B, 1, H, W]; default
                `ContextualAttention()`.
            fill: the content of the hole in the input: zeros (grey), as published, or colours diffused from around it.
            residual: each generator predicts a difference to its input instead of the picture.

        Raises ValueError for an unknown fill.
        """
        super().__init__()
        if fill not in FILLS:
            raise ValueError(f"fill is {fill!r}, expected one of {', '.join(FILLS)}")
        self.fill, self.residual = fill, residual
        self.coarse_generator = CoarseGenerator(width)
        self.fine_generator = FineGenerator(width, attention or ContextualAttention())

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the outputs of the coarse and the fine generator for the whole picture: [B, 3, H, W] in [-1, 1].

        Only their content of the hole is useful, see `composed`.

        Args:
            image: [B, 3, H, W] in [-1, 1], of any size; values in the hole are ignored.
            mask: float [B, 1, H, W], 1 = hole, 0 = known.

        Raises:
            ValueError: as the attention raises.
        """
        height, width = image.shape[2:]
        image, mask = padded(image), padded(mask)
        filled = self.filled(image, mask)
        first = self.coarse(filled, mask)
        second = self.fine(composed(filled, first, mask), mask)
        return first[..., :height, :width], second[..., :height, :width]

    def filled(self, image: Tensor, mask: Tensor) -> Tensor:
        """The picture with its hole filled by `fill`."""
        known = image * (1 - mask)
        return known if self.fill == "zeros" else diffused(known, mask)

    def coarse(self, filled: Tensor, mask: Tensor) -> Tensor:
        """The output of the coarse generator for a filled picture whose sides are multiples of 8."""
        return self._drawn(self.coarse_generator(_input(filled, mask)), filled)

    def fine(self, composite: Tensor, mask: Tensor) -> Tensor:
        """The output of the fine generator for that of the coarse one."""
        attended = self.fine_generator.contextul_attention(self.context(composite, mask), mask)
        return self.refined(composite, mask, attended)

    def context(self, composite: Tensor, mask: Tensor) -> Tensor:
        """[B, 4 * width, H / 4, W / 4]: the attended features."""
        return self.fine_generator.context(_input(composite, mask))

    def refined(self, composite: Tensor, mask: Tensor, attended: Tensor) -> Tensor:
        """As `fine`, given the result of attention."""
        generator = self.fine_generator
        return self._drawn(generator.merged(generator.seen(_input(composite, mask)), attended), composite)

    def _drawn(self, out: Tensor, image: Tensor) -> Tensor:
        return (out + image if self.residual else out).clamp(-1, 1)


def padded(x: Tensor) -> Tensor:
    """Pads [B, C, H, W] to multiples of 8 by repeating the last row and column."""
    return F.pad(x, (0, -x.shape[3] % MULTIPLE, 0, -x.shape[2] % MULTIPLE), mode="replicate")


def composed(image: Tensor, drawn: Tensor, mask: Tensor) -> Tensor:
    """The picture outside the hole, bit for bit, and the drawing inside it."""
    return torch.where(mask > 0, drawn, image)


def _input(image: Tensor, mask: Tensor) -> Tensor:
    return torch.cat([image, torch.ones_like(mask), mask], 1)


class Block(nn.Module):
    """A zero-padded convolution and its activation."""

    def __init__(self, before: int, after: int, size: int = 3, stride: int = 1, dilation: int = 1, activation: str = "elu"):
        super().__init__()
        self.conv = nn.Conv2d(before, after, size, stride, dilation * (size - 1) // 2, dilation)
        activations: dict[str, Callable[[Tensor], Tensor]] = {"elu": elu, "relu": F.relu, "none": lambda x: x}
        self.activation = activations[activation]

    def forward(self, x: Tensor) -> Tensor:
        dilation, phased = self.conv.dilation[0], not (x.is_cuda or torch.is_grad_enabled())
        return self.activation(_phased(self.conv, x, dilation) if dilation > 2 and phased else self.conv(x))


def _phased(conv: nn.Conv2d, x: Tensor, dilation: int) -> Tensor:
    """A dilated 3x3 convolution, computed as plain ones on subsampled grids: oneDNN splits the sums of wide dilations among
    threads, so that rounding would depend on their number."""
    batch, channels, height, width = x.shape
    x = F.pad(x, (0, -width % dilation, 0, -height % dilation))
    h, w = x.shape[2] // dilation, x.shape[3] // dilation
    grids = x.view(batch, channels, h, dilation, w, dilation).permute(0, 3, 5, 2, 4, 1).reshape(-1, h, w, channels)
    grids = F.conv2d(grids.permute(0, 3, 1, 2), conv.weight, conv.bias, padding=1).permute(0, 2, 3, 1)
    out = grids.reshape(batch, dilation, dilation, h, w, -1).permute(0, 5, 3, 1, 4, 2).reshape(batch, -1, *x.shape[2:])
    return out[..., :height, :width]


def elu(x: Tensor) -> Tensor:
    """elu in place of F.elu, whose rounding depends on how threads share the work. Without gradient, x is overwritten."""
    if torch.is_grad_enabled():
        return F.elu(x)
    below = x.clamp_max(0).expm1_()
    return x.clamp_min_(0).add_(below)


class Convolutions(nn.Module):
    """The first convolutions of both generators, whatever their width."""

    conv1: Block
    conv2_downsample: Block
    conv3: Block
    conv4_downsample: Block
    conv5: Block
    conv6: Block

    def seen(self, x: Tensor) -> Tensor:
        """[B, 5, H, W] -> [B, 4 c, H / 4, W / 4]; H and W multiples of 4."""
        x = self.conv4_downsample(self.conv3(self.conv2_downsample(self.conv1(x))))
        x = self.conv6(self.conv5(x))
        for number in range(7, 11):
            x = getattr(self, f"conv{number}_atrous")(x)
        return x


class CoarseGenerator(Convolutions):
    def __init__(self, c: int):
        super().__init__()
        self.conv1 = Block(5, c, 5)
        self.conv2_downsample = Block(c, 2 * c, 3, 2)
        self.conv3 = Block(2 * c, 2 * c)
        self.conv4_downsample = Block(2 * c, 4 * c, 3, 2)
        self.conv5 = Block(4 * c, 4 * c)
        self.conv6 = Block(4 * c, 4 * c)
        for number, dilation in zip(range(7, 11), (2, 4, 8, 16), strict=True):
            setattr(self, f"conv{number}_atrous", Block(4 * c, 4 * c, dilation=dilation))
        self.conv11 = Block(4 * c, 4 * c)
        self.conv12 = Block(4 * c, 4 * c)
        self.conv13 = Block(4 * c, 2 * c)
        self.conv14 = Block(2 * c, 2 * c)
        self.conv15 = Block(2 * c, c)
        self.conv16 = Block(c, c // 2)
        self.conv17 = Block(c // 2, 3, activation="none")

    def forward(self, x: Tensor) -> Tensor:
        """[B, 5, H, W] -> [B, 3, H, W]; H and W multiples of 4."""
        x = twice(self.conv12(self.conv11(self.seen(x))))
        x = twice(self.conv14(self.conv13(x)))
        return self.conv17(self.conv16(self.conv15(x)))


class FineGenerator(Convolutions):
    def __init__(self, c: int, attention: nn.Module):
        super().__init__()
        self.conv1 = Block(5, c, 5)
        self.conv2_downsample = Block(c, c, 3, 2)
        self.conv3 = Block(c, 2 * c)
        self.conv4_downsample = Block(2 * c, 2 * c, 3, 2)
        self.conv5 = Block(2 * c, 4 * c)
        self.conv6 = Block(4 * c, 4 * c)
        for number, dilation in zip(range(7, 11), (2, 4, 8, 16), strict=True):
            setattr(self, f"conv{number}_atrous", Block(4 * c, 4 * c, dilation=dilation))
        self.pmconv1 = Block(5, c, 5)
        self.pmconv2_downsample = Block(c, c, 3, 2)
        self.pmconv3 = Block(c, 2 * c)
        self.pmconv4_downsample = Block(2 * c, 4 * c, 3, 2)
        self.pmconv5 = Block(4 * c, 4 * c)
        self.pmconv6 = Block(4 * c, 4 * c, activation="relu")
        self.contextul_attention = attention  # the port's spelling
        self.pmconv9 = Block(4 * c, 4 * c)
        self.pmconv10 = Block(4 * c, 4 * c)
        self.allconv11 = Block(8 * c, 4 * c)
        self.allconv12 = Block(4 * c, 4 * c)
        self.allconv13 = Block(4 * c, 2 * c)
        self.allconv14 = Block(2 * c, 2 * c)
        self.allconv15 = Block(2 * c, c)
        self.allconv16 = Block(c, c // 2)
        self.allconv17 = Block(c // 2, 3, activation="none")

    def context(self, x: Tensor) -> Tensor:
        """The attention branch up to the attention: [B, 5, H, W] -> [B, 4 c, H / 4, W / 4]."""
        x = self.pmconv4_downsample(self.pmconv3(self.pmconv2_downsample(self.pmconv1(x))))
        return self.pmconv6(self.pmconv5(x))

    def merged(self, seen: Tensor, attended: Tensor) -> Tensor:
        """Merges both branches: [B, 4 c, H / 4, W / 4] each -> [B, 3, H, W]."""
        x = torch.cat([seen, self.pmconv10(self.pmconv9(attended))], 1)
        x = twice(self.allconv12(self.allconv11(x)))
        x = twice(self.allconv14(self.allconv13(x)))
        return self.allconv17(self.allconv16(self.allconv15(x)))


def twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
