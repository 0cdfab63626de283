"""Attention that fills the hole of a feature map from the rest of it: what a network for inpainting plugs in."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.ops.search import valid_keys

NORMALISATIONS = ("sum", "maximum")
FLOOR = 1e-4  # of the norm of a key


class HoleAttention(nn.Module):
    """A layer of psal_cli.attention, with its `patch_size`: its queries are the places of the hole, its keys the patches outside.

    Places outside the hole keep their features, and cost nothing: they would find themselves. So do all of an image with fewer
    keys than the layer needs. No parameters.
    """

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """[B, C, h, w], the features with those in the hole attended to.

        Args:
            features: [B, C, h, w]. mask: float [B, 1, s * h, s * w], 1 = hole; a feature any of whose s x s pixels is in it is
                in it too.

        Raises:
            ValueError: what the layer refuses.
        """
        hole, patch_size = covered(mask, features), int(getattr(self.layer, "patch_size"))  # noqa: B009  # torch types it as a module
        if min(features.shape[2:]) < patch_size:
            return features
        keys = valid_keys(~hole, patch_size).flatten(1).sum(1)
        few = (keys < int(getattr(self.layer, "k", 1)))[:, None, None]
        if few.all():
            return features
        attended = self.layer(features, features, features, query_mask=hole & ~few, key_mask=~hole | few)
        return torch.where((hole & ~few)[:, None], attended, features)


def covered(mask: Tensor, features: Tensor) -> Tensor:
    """bool [B, h, w]: the features [B, C, h, w] that see any of a mask [B, 1, s * h, s * w] in the pixels that they stand for."""
    return F.max_pool2d(mask, mask.shape[2] // features.shape[2])[:, 0] > 0


class ContextualAttention(nn.Module):
    """The attention of Yu et al. 2018 ("Generative image inpainting with contextual attention"), section 3.2. No parameters.

    Each 3x3 patch of the features reduced by 2 is compared with all others (dot product with keys of unit norm), scores are
    fused along diagonals, so that neighbours choose neighbours, and 4x4 patches of the features themselves are pasted with
    the softmax of 10 times the scores. Time and memory grow with (h * w / 4)^2.

    What is odd in it is kept, for weights were trained with it: keys that touch the hole have the score 0, not minus
    infinity, and lose their weight after the softmax; where none is left the result is 0.
    """

    def __init__(self, normalisation: str = "maximum", *, fuse: bool = True, scale: float = 10.0):
        """normalisation: of a key w, by max(|w|, 1e-4), "maximum", as in the original and in the port when its published
        checkpoint was trained; or by sqrt(sum(w^2 + 1e-4)), "sum", as in the port since July 2020.

        Raises ValueError for another one.
        """
        super().__init__()
        if normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation is {normalisation!r}, expected one of {', '.join(NORMALISATIONS)}")
        self.normalisation, self.fuse, self.scale = normalisation, fuse, scale

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """[B, C, h, w].

        Args:
            features: [B, C, h, w], h and w even. mask: float [B, 1, 4 * h, 4 * w], 1 = hole.

        Raises:
            ValueError: odd sides, or a mask of another size.
        """
        height, width = features.shape[2:]
        if height % 2 or width % 2 or mask.shape[2:] != (4 * height, 4 * width):
            sizes = f"features are {width}x{height}, the mask is {mask.shape[3]}x{mask.shape[2]}"
            raise ValueError(f"{sizes}: expected features of even sides and a mask four times as large")
        values = F.unfold(features, 4, padding=1, stride=2)  # [B, 16 C, n], n = h * w / 4
        queries = F.unfold(features[:, :, ::2, ::2], 3, padding=1)  # [B, 9 C, n]
        usable = ~F.unfold(mask[:, :, ::8, ::8], 3, padding=1).any(1)  # [B, n]
        grid = height // 2, width // 2
        images = [self._attended(*item, grid) for item in zip(queries, values, usable, strict=True)]
        return F.fold(torch.stack(images), (height, width), 4, padding=1, stride=2) / 4

    def _attended(self, queries: Tensor, values: Tensor, usable: Tensor, grid: tuple[int, int]) -> Tensor:
        """[16 C, n]: what is pasted at each query."""
        scores = (queries / self._norm(queries)).T @ queries  # [keys, queries]
        if self.fuse:
            for _ in range(2):  # along rows, then along columns: transposed twice, the plane is as it was
                scores = _transposed(_along_diagonals(scores), grid)
                grid = grid[::-1]
        weight = (scores * usable[:, None] * self.scale).softmax(0) * usable[:, None]
        return values @ weight

    def _norm(self, keys: Tensor) -> Tensor:
        square = keys.square()
        return square.sum(0).sqrt().clamp_min(FLOOR) if self.normalisation == "maximum" else (square + FLOOR).sum(0).sqrt()

    def extra_repr(self) -> str:
        return f"{self.normalisation!r}, fuse={self.fuse}, scale={self.scale}"


def _along_diagonals(plane: Tensor) -> Tensor:
    """[n, n]: each score and those of the key and the query one place before and one after, in raster order, added up."""
    out = plane.clone()
    out[1:, 1:] += plane[:-1, :-1]
    out[:-1, :-1] += plane[1:, 1:]
    return out


def _transposed(plane: Tensor, grid: tuple[int, int]) -> Tensor:
    """[n, n]: keys and queries, each of a grid, in the order of its columns."""
    return plane.view(*grid, *grid).permute(1, 0, 3, 2).reshape(plane.shape)
