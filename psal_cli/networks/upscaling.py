"""Super-resolution with residual blocks at the picture's own resolution, and cross-scale attention among them."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.networks.csnln import CrossScaleAttention
from psal_cli.networks.strips import strips

RATIOS = {2: 2, 3: 3, 4: 2}  # scale -> that between the scales of the attention
MATCHED, VALUES = 32, 16  # channels of queries and keys, and of values


class UpscalingNetwork(nn.Module):
    """RGB in [0, 1] -> RGB so many times larger: the bicubic enlargement, and what the network adds to it.

    A convolution, residual blocks without normalisation (EDSR, Lim et al. 2017), and a convolution to 3 * scale^2 channels that
    are shuffled to pixels. Between two of the blocks the cross-scale attention of CSNLN (Mei et al. 2020), whose result is kept
    at the picture's own resolution, with the pixels that lie in one of them as its channels. So all of it works there.
    """

    def __init__(
        self, scale: int, features: int = 64, blocks: int = 16, before: int = 4, *, cross: bool = True, **attention: object
    ):
        """before: blocks before the attention. cross: False leaves it out. attention: arguments of `CrossScaleAttention`.

        Raises ValueError for a scale other than 2, 3, 4.
        """
        super().__init__()
        if scale not in RATIOS:
            raise ValueError(f"scale is {scale}, expected one of {', '.join(map(str, RATIOS))}")
        self.scale, self.before = scale, before
        self.halo = 2 * blocks + 4  # rows around a strip on which what is made of it depends, at most
        self.head = nn.Conv2d(3, features, 3, padding=1)
        self.body = nn.ModuleList(ResidualBlock(features) for _ in range(blocks))
        self.cross = Branch(features, RATIOS[scale], attention) if cross else None
        self.last = nn.Conv2d(features, features, 3, padding=1)
        self.tail = nn.Conv2d(features, 3 * scale**2, 3, padding=1)

    def forward(self, image: Tensor, rows: int | None = None) -> Tensor:
        """[B, 3, H, W] -> [B, 3, scale * H, scale * W], to rounding the same for any `rows`: see `parts`."""
        return torch.cat(list(self.parts(image, rows)), 2)

    def parts(self, image: Tensor, rows: int | None) -> Iterator[Tensor]:
        """Yields the rows of the result from the top down, made from so many of [B, 3, H, W] at a time, None: of all.

        Only what the attention needs is ever held of the whole picture.
        """
        height, width = image.shape[2:]
        multiple = self.cross.ratio if self.cross else 1
        plain, image = image, F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        whole = self._begun(image) if not rows or rows >= image.shape[2] else None
        if self.cross:
            across = self.cross.up_attention.rows_of(self._first_pass(image, rows) if whole is None else [whole])
        for part in strips(image.shape[2], rows, self.halo):
            near = part.seen(image)
            x = self._begun(near) if whole is None else whole
            if self.cross:
                x = self.cross(x, across(part.first, part.last))
            added = part.kept(self._ended(near, x), self.scale)
            found = part.kept(enlarged(part.seen(plain), self.scale), self.scale)
            yield found + added[:, :, : found.shape[2], : found.shape[3]]

    def _first_pass(self, image: Tensor, rows: int) -> Iterator[Tensor]:
        """The features before the attention, which are made once more for what comes after it: so they are never whole."""
        rows += -rows % self.cross.ratio
        for part in strips(image.shape[2], rows, 2 * self.before + 1):
            yield part.kept(self._begun(part.seen(image)))

    def _begun(self, image: Tensor) -> Tensor:
        x = self.head(image - 0.5)
        for block in self.body[: self.before]:
            x = block(x)
        return x

    def _ended(self, image: Tensor, x: Tensor) -> Tensor:
        for block in self.body[self.before :]:
            x = block(x)
        return F.pixel_shuffle(self.tail(self.head(image - 0.5) + self.last(x)), self.scale)


class Branch(nn.Module):
    """What the attention adds to the features: by how much what it pastes differs from what they say themselves."""

    def __init__(self, features: int, ratio: int, attention: dict):
        super().__init__()
        pasted = VALUES * ratio**2
        self.ratio = ratio
        self.up_attention = CrossScaleAttention(features, ratio, matched=MATCHED, values=VALUES, **attention)
        self.within = nn.Conv2d(features, pasted, 1)
        self.first = nn.Conv2d(features + pasted, features, 1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor, pasted: Tensor) -> Tensor:
        """[B, C, H, W], and what `up_attention` pastes there -> [B, C, H, W]."""
        gap = pasted - self.within(x)
        return self.second(F.relu(self.first(torch.cat([x, gap], 1)), inplace=True)).add_(x)


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input."""

    def __init__(self, features: int):
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu(self.first(x), inplace=True)).add_(x)


def enlarged(image: Tensor, scale: int) -> Tensor:
    """[B, C, H, W] -> [B, C, scale * H, scale * W] by the cubic kernel of a = -1/2 (Keys 1981)."""
    size = image.shape[2] * scale, image.shape[3] * scale
    return F.interpolate(image, size, mode="bicubic", antialias=True)  # without antialias torch's a is -3/4
