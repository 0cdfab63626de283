"""Super-resolution: a residual trunk with PSAL inside, trained together."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.networks.pasting import OVERLAP, PATCH, Pasting
from psal_cli.networks.upscaling import ResidualBlock, enlarged, reduced
from psal_cli.strips import Strip, strips

RATIO = 2  # of the scales of the attention
MATCHED = 16  # channels of queries and keys
PASTED = 4  # channels of pasted features, besides the three of the picture
BLOCK_REACH = 2  # pixels: receptive field of a block

StripFeatures = Callable[[Strip], Tensor]  # a strip -> the pasted features, [B, C, h, W]


class ResidualPSAL(nn.Module):
    """RGB in [0, 1] -> RGB `scale` times larger: bicubic interpolation plus a residual.

    The trunk works at the resolution of the input: a convolution, residual blocks without normalisation (EDSR, Lim et al. 2017),
    and a convolution to 3 * scale^2 channels with pixel shuffle. The features of four depths are merged before it.

    After the first blocks, the k most similar patches of the picture reduced by two are found for each 3x3 patch of features
    (cross-scale PSAL, as in CSNLN, Mei et al. 2020). At their positions, the picture and its features are pasted at full
    resolution, so that a pixel sees detail of half its size; the later blocks get this in addition to their own features.
    """

    def __init__(
        self,
        scale: int,
        features: int = 64,
        blocks: int = 10,
        before: int = 3,
        *,
        cross: bool = True,
        attention: str = "psal",
        k: int = 8,
        iterations: int = 4,
        kept: torch.dtype = torch.float32,
    ):
        """Args:
            scale: at least 2. features: channels of the trunk. blocks: of the trunk; before: those before the attention.
            cross: False leaves the attention out. attention: "psal" or "full". k, iterations: of PSAL.
            kept: the dtype of whole-picture maps in inference.

        Raises ValueError for a scale below 2, or if no blocks are left after the attention.
        """
        super().__init__()
        if scale < 2:
            raise ValueError(f"scale is {scale}, expected at least 2")
        if not 1 <= before < blocks:
            raise ValueError(f"before is {before}, expected 1 to {blocks - 1}")
        self.scale, self.before, self.ratio = scale, before, RATIO
        self.halo = BLOCK_REACH * blocks + 5
        self.head = nn.Conv2d(3, features, 3, padding=1)
        self.body = nn.ModuleList(ResidualBlock(features) for _ in range(blocks))
        self.last = nn.Conv2d(features, features, 3, padding=1)
        self.merge = nn.Conv2d(4 * features, features, 1)
        self.tail = nn.Conv2d(features, 3 * scale**2, 3, padding=1)
        self.cross = CrossScale(features, attention, k, iterations, kept) if cross else None

    def forward(self, image: Tensor, rows: int | None = None) -> Tensor:
        """[B, 3, H, W] -> [B, 3, scale * H, scale * W], the same for any `rows` except for rounding: see `parts`."""
        return torch.cat(list(self.parts(image, rows)), 2)

    def parts(self, image: Tensor, rows: int | None) -> Iterator[Tensor]:
        """Yields the rows of the result from top to bottom, for `rows` rows of [B, 3, H, W] at a time; None: all at once.

        Only the maps that the attention needs are held for the whole picture.
        """
        height, width = image.shape[2:]
        pasted = self._pasted(image, rows) if self.cross else None
        for part in strips(height, rows, self.halo):
            near = part.seen(image)
            first, second, x = self._begun(near)
            if self.cross and pasted:
                x = x + self.cross(x, pasted(Strip(part.first, part.last, part.first, part.last))[..., :width])
            for block in self.body[self.before : -1]:
                x = block(x)
            last = self.last(self.body[-1](x))
            added = self.tail(self.merge(torch.cat([first, last, second, x], 1)))
            yield part.kept(enlarged(near, self.scale) + F.pixel_shuffle(added, self.scale), self.scale)

    def _begun(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The features after the first convolution, after the first block, and before the attention."""
        first = self.head(image - 0.5)
        second = x = self.body[0](first)
        for block in self.body[1 : self.before]:
            x = block(x)
        return first, second, x

    def _pasted(self, image: Tensor, rows: int | None) -> StripFeatures:
        """A function from a strip to the features pasted there."""
        assert self.cross is not None
        width = image.shape[3]
        padded = F.pad(image, (0, -width % RATIO, 0, -image.shape[2] % RATIO), mode="replicate")
        small = reduced(padded, RATIO)
        reach = BLOCK_REACH * self.before + 1
        queries, values, keys = [], [], []
        for part in strips(padded.shape[2], rows and rows * RATIO, RATIO * reach):
            near = part.seen(padded)
            x = self._begun(near)[2]
            queries.append(self.cross.query(part.kept(x)))
            values.append(self.cross.value(part.kept(x), part.kept(near)))
        for part in strips(small.shape[2], rows, reach):
            keys.append(self.cross.key(part.kept(self._begun(part.seen(small))[2])))
        return self.cross.pasted(*(torch.cat(x, 2) for x in (queries, keys, values)))


class CrossScale(nn.Module):
    """Cross-scale PSAL, and its input to the trunk."""

    def __init__(self, features: int, attention: str, k: int, iterations: int, kept: torch.dtype):
        super().__init__()
        self.to_query = nn.Conv2d(features, MATCHED, 1)
        self.to_key = nn.Conv2d(features, MATCHED, 1)
        self.to_value = nn.Conv2d(features, PASTED, 1)
        self.pasting = Pasting(attention, k, iterations)
        pasted = (3 + PASTED) * RATIO**2
        self.mix = nn.Conv2d(features + pasted + 2, features, 1)
        self.out = nn.Conv2d(features, features, 3, padding=1)
        self.kept = kept

    def query(self, x: Tensor) -> Tensor:
        return self._held(self.to_query(x))

    def key(self, x: Tensor) -> Tensor:
        return self._held(self.to_key(x))

    def value(self, x: Tensor, image: Tensor) -> Tensor:
        """Features and picture at full resolution at the positions of the keys, and their mean square."""
        value = F.pixel_unshuffle(torch.cat([self.to_value(x), image - 0.5], 1).float(), RATIO)
        return self._held(torch.cat([value, value.square().mean(1, keepdim=True)], 1))

    def pasted(self, query: Tensor, key: Tensor, value: Tensor) -> StripFeatures:
        """A function from a strip to the values pasted by the k nearest keys, their agreement, and the similarity of the
        nearest."""
        with torch.autocast(query.device.type, enabled=False):
            rows, nearest = self.pasting(query, key, value)

        def pasted_rows(part: Strip) -> Tensor:
            pasted = rows(part.first, part.last) * (OVERLAP / PATCH**2)
            mean, square = pasted[:, :-1], pasted[:, -1:]
            agreement = mean.square().mean(1, keepdim=True) / (square + 1e-3)
            return torch.cat([mean, agreement, nearest(part.first, part.last)], 1)

        return pasted_rows

    def forward(self, x: Tensor, pasted: Tensor) -> Tensor:
        """The residual for the features x, [B, C, h, W]."""
        added: Tensor = self.out(F.silu(self.mix(torch.cat([x, pasted.to(x.dtype)], 1))))
        return added

    def _held(self, x: Tensor) -> Tensor:
        return x.float() if torch.is_grad_enabled() else x.to(self.kept)
