"""Super-resolution with residual blocks at the input's resolution, and cross-scale attention to their residual error."""

from collections.abc import Callable, Iterator
from typing import TypedDict, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.networks.pasting import OVERLAP, PATCH, Pasting
from psal_cli.ops import inverse_norm
from psal_cli.strips import Strip, strips

RATIOS = {2: 2, 3: 3, 4: 2}  # scale -> ratio of the scales of the attention
MATCHED = 32  # the most channels of queries and keys
UNIT = 25.0  # pasted values are in tens of grey levels, 1 / 25 of white
DOUBT, MOST = 100.0, 8.0  # of `_across`: weight of the prior (values of the size of the error), and the largest factor

StripFeatures = Callable[[Strip], tuple[Tensor, ...]]  # a strip -> pasted values, and the evidence for them


class PastingOptions(TypedDict, total=False):
    """The arguments of `Pasting`."""

    attention: str
    k: int
    iterations: int
    seed: int


class BranchOptions(PastingOptions, total=False):
    """As `PastingOptions`, with `kept`, the dtype of whole-picture maps in inference."""

    kept: torch.dtype


class UpscalingNetwork(nn.Module):
    """RGB in [0, 1] -> RGB `scale` times larger: bicubic interpolation plus a residual.

    The trunk is a convolution, residual blocks without normalisation (EDSR, Lim et al. 2017), and a convolution to 3 * scale^2
    channels with pixel shuffle, all at the resolution of the input.

    The cross-scale attention follows CSNLN (Mei et al. 2020) with other values. The trunk also enlarges the picture reduced by
    two (x3: by three), where its error is known. For each 3x3 patch of features, similar patches of the reduced picture are
    found, and the trunk's error there is pasted, twice (three times) as large. A few convolutions decide how much of it to add.
    They are trained on pictures in general; a factor for this picture is fitted on the reduced one first, whose truth is known.
    """

    def __init__(
        self,
        scale: int,
        features: int = 64,
        blocks: int = 16,
        before: int = 4,
        *,
        cross: bool = True,
        **attention: Unpack[BranchOptions],
    ):
        """Args:
            before: blocks after which features are compared.
            cross: False leaves the attention out. attention: arguments of `Pasting`, and `kept`, the dtype of whole-picture maps
                in inference.

        Raises ValueError for a scale other than 2, 3, 4.
        """
        super().__init__()
        if scale not in RATIOS:
            raise ValueError(f"scale is {scale}, expected one of {', '.join(map(str, RATIOS))}")
        self.scale, self.before, self.ratio = scale, before, RATIOS[scale]
        self.halo = 2 * blocks + 6  # the most rows around a strip that its result depends on
        self.head = nn.Conv2d(3, features, 3, padding=1)
        self.body = nn.ModuleList(ResidualBlock(features) for _ in range(blocks))
        self.last = nn.Conv2d(features, features, 3, padding=1)
        self.tail = nn.Conv2d(features, 3 * scale**2, 3, padding=1)
        self.cross = Branch(features, RATIOS[scale], **attention) if cross else None

    def forward(self, image: Tensor, rows: int | None = None) -> Tensor:
        """[B, 3, H, W] -> [B, 3, scale * H, scale * W], the same for any `rows` except for rounding: see `parts`."""
        return torch.cat(list(self.parts(image, rows)), 2)

    def parts(self, image: Tensor, rows: int | None) -> Iterator[Tensor]:
        """Yields the rows of the result from top to bottom, for `rows` rows of [B, 3, H, W] at a time; None: all at once.

        Only the maps that the attention needs are held for the whole picture.
        """
        height, width = image.shape[2:]
        cross, across = self.cross, None
        factor: Tensor | float = 1
        if cross:  # only the attention needs padding: the convolutions were trained with real borders
            multiple = cross.ratio**2
            padded = F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
            across, factor = self._across(cross, padded, rows, tried=not self.training)
        for part in strips(height, rows, self.halo):
            near = part.seen(image)
            x = self._features(near, self._begun(near))
            added = F.pixel_shuffle(self.tail(x), self.scale)
            if cross and across:
                pasted = (features[..., :width] for features in across(part))
                added = added + enlarged(factor * cross(x, *pasted), self.scale // cross.ratio)
            yield part.kept(enlarged(near, self.scale) + added, self.scale)

    def _across(
        self, cross: "Branch", image: Tensor, rows: int | None, tried: bool
    ) -> tuple[Callable[[Strip], tuple[Tensor, ...]], Tensor | float]:
        """A function from a strip to the pasted values, and the factor of their contribution, [B, 1, 1, 1].

        tried: fit the factor on the reduced picture, whose truth is known, by least squares with a prior at one; otherwise it is
            one.
        """
        ratio = cross.ratio
        small = reduced(image, ratio)
        trial = self._across(cross, small, rows and rows * ratio, tried=False)[0] if tried else None
        keys, values, sums = [], [], torch.zeros(3, len(image), device=image.device)
        for part in strips(small.shape[2], rows and rows * ratio, self.halo):
            near = part.seen(small)
            begun = self._begun(near)
            x = self._features(near, begun)
            drawn = enlarged(near, self.scale) + F.pixel_shuffle(self.tail(x), self.scale)
            drawn = part.kept(reduced(drawn, self.scale // ratio), ratio)
            lacking = image[:, :, part.top * ratio : part.bottom * ratio] - drawn
            keys.append(cross.key(part.kept(begun)))
            values.append(cross.value(lacking))
            if trial:
                added = part.kept(cross(x, *trial(part)), ratio).float()
                pairs = (added, lacking), (added, added), (lacking, lacking)
                sums = sums + torch.stack([(left * right).sum((1, 2, 3)) for left, right in pairs])
        del trial
        seen = strips(image.shape[2], rows, 2 * self.before + 1)
        queries = [cross.query(part.kept(self._begun(part.seen(image)))) for part in seen]
        across = cross.across(*(torch.cat(x, 2) for x in (queries, keys, values)))
        if not tried:
            return across, 1.0
        met, own, error = sums
        prior = DOUBT * error / image[0].numel() + 1e-12
        return across, ((met + prior) / (own + prior)).clamp(0, MOST)[:, None, None, None]

    def _begun(self, image: Tensor) -> Tensor:
        x = self.head(image - 0.5)
        for block in self.body[: self.before]:
            x = block(x)
        return x

    def _features(self, image: Tensor, x: Tensor) -> Tensor:
        for block in self.body[self.before :]:
            x = block(x)
        return self.head(image - 0.5) + self.last(x)


class Branch(nn.Module):
    """The cross-scale attention, and the convolutions that filter its result."""

    def __init__(self, features: int, ratio: int, *, kept: torch.dtype = torch.float32, **attention: Unpack[PastingOptions]):
        super().__init__()
        pasted = 3 * ratio**2
        self.conv_match_1, self.conv_match_2 = (nn.Conv2d(features, min(MATCHED, features), 1) for _ in range(2))
        self.pasting = Pasting(**attention)
        self.first = nn.Conv2d(features + 3, features, 3, padding=1)
        self.second = nn.Conv2d(features, pasted, 3, padding=1)
        self.ratio, self.rounded_to = ratio, kept

    def query(self, x: Tensor) -> Tensor:
        return self._held(self.conv_match_1(x))

    def key(self, x: Tensor) -> Tensor:
        return self._held(self.conv_match_2(x))

    def value(self, lacking: Tensor) -> Tensor:
        """The trunk's error, [B, 3, ratio * h, ratio * w] -> the same in tens of grey levels, and its mean square."""
        value = F.pixel_unshuffle(lacking * UNIT, self.ratio)
        return self._held(torch.cat([value, value.square().mean(1, keepdim=True)], 1))

    def _held(self, x: Tensor) -> Tensor:
        return x if torch.is_grad_enabled() else x.to(self.rounded_to)

    def across(self, query: Tensor, key: Tensor, value: Tensor) -> StripFeatures:
        """A function from a strip to the pasted values, [B, 3 * ratio^2, h, W], and the evidence for them, [B, 3, h, W]: the
        agreement of the pasted patches, 0 to 1, the cosine of query and nearest key, and the logarithm of the pasted energy."""
        rows, similarity = self.pasting(query, key, value)
        length = inverse_norm(query, PATCH)

        def pasted_rows(part: Strip) -> tuple[Tensor, ...]:
            pasted = rows(part.first, part.last) / (9 / OVERLAP)
            pasted, square = pasted[:, :-1], pasted[:, -1:]
            agreement = pasted.square().mean(1, keepdim=True) / (square + 1e-3)
            cosine = similarity(part.first, part.last) * part.seen(length)
            return pasted, torch.cat([agreement, cosine, (square + 1e-3).log() / 4], 1)

        return pasted_rows

    def forward(self, x: Tensor, pasted: Tensor, evidence: Tensor) -> Tensor:
        """The correction, [B, 3, ratio * h, ratio * W], of the enlargement at that size.

        x: the features before the last convolution, [B, C, h, W]. pasted, evidence: from `across`.
        """
        true = self.second(F.relu(self.first(torch.cat([x, evidence], 1)), inplace=True)).sigmoid()  # from 0 to 1
        return F.pixel_shuffle(true * pasted, self.ratio) / UNIT


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input."""

    def __init__(self, features: int):
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu(self.first(x), inplace=True)).add_(x)


def enlarged(image: Tensor, scale: int) -> Tensor:
    """[B, C, H, W] -> [B, C, scale * H, scale * W] with the cubic kernel of a = -1/2 (Keys 1981)."""
    if scale == 1:
        return image
    size = image.shape[2] * scale, image.shape[3] * scale
    return F.interpolate(image, size, mode="bicubic", antialias=True)  # without antialiasing, torch uses a = -3/4


def reduced(image: Tensor, factor: int) -> Tensor:
    """[B, C, H, W], sides multiples of the factor -> [B, C, H / factor, W / factor] by the same kernel, antialiased."""
    if factor == 1:
        return image
    size = image.shape[2] // factor, image.shape[3] // factor
    return F.interpolate(image, size, mode="bicubic", antialias=True)
