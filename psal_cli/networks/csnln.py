"""Super-resolution by cross-scale attention: CSNLN (Mei et al. 2020).

"Image super-resolution with cross-scale non-local attention and exhaustive self-exemplars mining". Names and shapes are those of
the authors' code, whose checkpoints load unchanged: 51 tensors for x2 and x3, 84 for x4, with 128 features and 12 steps.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.attention import FullAttention, LocalAttention
from psal_cli.networks.pasting import FLOOR, Pasting, Rows
from psal_cli.strips import Strip, strips

MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K
KERNELS = {2: (6, 2, 2), 3: (9, 3, 3), 4: (8, 4, 2)}  # ratio -> kernel size, stride, padding of its layers
HALO = 12  # the most rows around a strip that its result depends on
WINDOW = 49  # window of local in-scale attention


class CSNLN(nn.Module):
    """RGB in [0, 1] -> RGB `scale` times larger.

    A recurrent cell computes features at the high resolution in `depth` steps with shared weights; the picture is a convolution
    of all of them. x4 has two stages of x2 within each step.
    """

    def __init__(
        self,
        scale: int,
        features: int = 128,
        depth: int = 12,
        *,
        attention: str = "psal",
        in_scale: str = "local",
        k: int = 8,
        iterations: int = 5,
        seed: int = 0,
        white: float = 1.0,
    ):
        """attention: across scales, "psal" or "full"; in_scale: "local" or "full". k, iterations, seed: of PSAL. white: the value
        of white in training.

        Raises ValueError for other values, and for a scale other than 2, 3, 4.
        """
        super().__init__()
        if scale not in KERNELS:
            raise ValueError(f"scale is {scale}, expected one of {', '.join(map(str, KERNELS))}")
        self.scale, self.features, self.depth, self.halo, self.white = scale, features, depth, HALO, white
        self.ratio = 2 if scale == 4 else scale  # of the scales of the attention
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(1)
        self.head = nn.Sequential(*(_activated(nn.Conv2d(before, features, 3, padding=1)) for before in (3, features)))
        self.SEM = RecurrentProjection(features, scale, Pasting(attention, k, iterations, seed), in_scale)
        self.tail = nn.Sequential(nn.Conv2d(features * depth, 3, 3, padding=1))

    def forward(self, image: Tensor, rows: int | None = None) -> Tensor:
        """[B, 3, H, W] -> [B, 3, scale * H, scale * W].

        rows: of the input per strip, so that no whole map of the high resolution is ever held (for x4, those of twice the
            resolution are); None: all at once.
        """
        height, width = image.shape[2:]
        factor = self.SEM.ratio
        x = F.pad(image, (0, -width % factor, 0, -height % factor), mode="replicate")
        x = self.head(self.sub_mean(x * self.white))
        out = image.new_zeros(())
        for step in range(self.depth):
            drawn, following = [], []
            for part, high, low in self.SEM(x, rows):
                drawn.append(part.kept(self._drawn(high, step), self.scale))
                following.append(low)
            out, x = out + torch.cat(drawn, 2), torch.cat(following, 2)
        out = self.add_mean(out + self.tail[0].get_parameter("bias")[:, None, None]) / self.white
        return out[:, :, : height * self.scale, : width * self.scale]

    def parts(self, image: Tensor, rows: int | None) -> Iterator[Tensor]:
        """Yields the result in one piece, as all steps add to it."""
        yield self(image, rows)

    def _drawn(self, high: Tensor, step: int) -> Tensor:
        """The last convolution's output for the features of one step, so that those of all steps never exist at once."""
        weight = self.tail[0].get_parameter("weight")[:, step * high.shape[1] : (step + 1) * high.shape[1]]
        return F.conv2d(high, weight, padding=1)


class MeanShift(nn.Conv2d):
    """Adds or subtracts the mean colour; not trained, but in checkpoints."""

    def __init__(self, sign: int):
        super().__init__(3, 3, 1)
        self.weight.data = torch.eye(3)[:, :, None, None]
        self.bias = nn.Parameter(sign * torch.tensor(MEAN))
        self.requires_grad_(False)


class RecurrentProjection(nn.Module):
    """The cell: enlarges its features by attention, and corrects them by the error of reducing them again."""

    def __init__(self, features: int, scale: int, pasting: Pasting, in_scale: str):
        super().__init__()
        twice = scale == 4
        self.ratio = 2 if twice else scale
        self.multi_source_projection = Projection(features, self.ratio, pasting, in_scale)
        self.down_sample_1 = _reducing(features, self.ratio)
        if not twice:
            self.down_sample_2 = _reducing(features, self.ratio)
        self.error_encode = _enlarging(features, self.ratio)
        self.post_conv = _activated(nn.Conv2d(features, features, 3, padding=1))
        if twice:
            self.multi_source_projection_2 = Projection(features, self.ratio, pasting, in_scale)
            self.down_sample_3 = _reducing(features, scale)
            self.down_sample_4 = _reducing(features, scale)
            self.error_encode_2 = _enlarging(features, scale)
        self.twice = twice

    def forward(self, x: Tensor, rows: int | None = None) -> Iterator[tuple[Strip, Tensor, Tensor]]:
        """Yields, for strips of x [B, C, H, W], the features at the high resolution including the halo, and the number of rows
        after the strip."""
        stage = self._corrected(self.multi_source_projection, x, x, self.down_sample_1, self.error_encode, rows)
        if self.twice:
            half = torch.cat([part.kept(high, self.ratio) for part, high in stage], 2)
            stage = self._corrected(self.multi_source_projection_2, half, x, self.down_sample_3, self.error_encode_2, rows)
        reduce = self.down_sample_4 if self.twice else self.down_sample_2
        for part, high in stage:
            yield part, high, part.kept(self.post_conv(reduce(high)))

    @staticmethod
    def _corrected(
        project: "Projection", source: Tensor, x: Tensor, reduce: nn.Module, enlarge: nn.Module, rows: int | None
    ) -> Iterator[tuple[Strip, Tensor]]:
        projected, ratio = project.rows_of(source), source.shape[2] // x.shape[2]
        for part in strips(x.shape[2], rows, HALO):
            high = projected(part.first * ratio, part.last * ratio)
            yield part, high + enlarge(part.seen(x) - reduce(high))


class Projection(nn.Module):
    """Mutual-projected fusion of in-scale and cross-scale features."""

    def __init__(self, features: int, ratio: int, pasting: Pasting, in_scale: str):
        super().__init__()
        self.up_attention = CrossScaleAttention(features, ratio, pasting)
        self.down_attention = InScaleAttention(features, in_scale)
        self.upsample = _enlarging(features, ratio)
        self.encoder = Encoder(features)
        self.ratio = ratio

    def rows_of(self, x: Tensor) -> Rows:
        """A function from rows of x, [B, C, H, W], to rows of [B, C, ratio * H, ratio * W], which are inexact near the cut
        edges."""
        within, across = self.down_attention(x), self.up_attention.rows_of(x)

        def rows(first: int, last: int) -> Tensor:
            plain = self.upsample(within[:, :, first:last])
            return plain + self.encoder(F.pixel_shuffle(across(first, last), self.ratio) - plain)

        return rows


class Encoder(nn.Module):
    """A residual block."""

    def __init__(self, features: int):
        super().__init__()
        first, second = (nn.Conv2d(features, features, 3, padding=1) for _ in range(2))
        self.body = nn.Sequential(first, nn.PReLU(), second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class InScaleAttention(nn.Module):
    """Attention of each pixel's features to those of all others, or to a window around it."""

    def __init__(self, features: int, attention: str = "local"):
        """attention: "local" or "full". Raises ValueError for any other."""
        super().__init__()
        layers = {"local": LocalAttention(1, WINDOW, similarity="dot"), "full": FullAttention(1, similarity="dot")}
        if attention not in layers:
            raise ValueError(f"in_scale is {attention!r}, expected one of {', '.join(layers)}")
        self.conv_match1 = _activated(nn.Conv2d(features, features // 2, 1))
        self.conv_match2 = _activated(nn.Conv2d(features, features // 2, 1))
        self.conv_assembly = _activated(nn.Conv2d(features, features, 1))
        self.attention = layers[attention]

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same shape. Always in float32, also under autocast: the layers support nothing else."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            return self.attention(self.conv_match1(x), self.conv_match2(x), self.conv_assembly(x))


class CrossScaleAttention(nn.Module):
    """Attention of 3x3 patches to those of the reduced map; the corresponding larger patches of the map itself are pasted."""

    def __init__(self, features: int, ratio: int, pasting: Pasting):
        """ratio: between the scales."""
        super().__init__()
        self.conv_match_1 = _activated(nn.Conv2d(features, features // 2, 1))
        self.conv_match_2 = _activated(nn.Conv2d(features, features // 2, 1))
        self.conv_assembly = _activated(nn.Conv2d(features, features, 1))
        self.register_buffer("escape_NaN", torch.tensor([FLOOR]))  # the authors' spelling
        self.ratio, self.pasting = ratio, pasting

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W], sides multiples of the ratio -> [B, C, ratio * H, ratio * W]."""
        return F.pixel_shuffle(self.rows_of(x)(0, x.shape[2]), self.ratio)

    def rows_of(self, x: Tensor) -> Rows:
        """A function from rows of x, [B, C, H, W], to rows of the result, [B, C * ratio^2, rows, W], with the ratio^2 pixels of
        each pixel of x as channels. Raises ValueError for sides that are not multiples of the ratio.
        """
        if x.shape[2] % self.ratio or x.shape[3] % self.ratio:
            raise ValueError(f"the map is {x.shape[3]}x{x.shape[2]}, expected sides that are multiples of {self.ratio}")
        reduced = F.interpolate(x, scale_factor=1 / self.ratio, mode="bilinear", align_corners=False)
        value = F.pixel_unshuffle(self.conv_assembly(x), self.ratio)
        return self.pasting(self.conv_match_1(x), self.conv_match_2(reduced), value)[0]


def _activated(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.PReLU())


def _enlarging(features: int, ratio: int) -> nn.Sequential:
    size, stride, padding = KERNELS[ratio]
    return _activated(nn.ConvTranspose2d(features, features, size, stride, padding))


def _reducing(features: int, ratio: int) -> nn.Sequential:
    size, stride, padding = KERNELS[ratio]
    return _activated(nn.Conv2d(features, features, size, stride, padding))
