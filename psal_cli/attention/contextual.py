"""Attention that fills the hole of a feature map from the rest of it, for networks for inpainting."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.ops.search import valid_keys

NORMALISATIONS = ("sum", "maximum")
FLOOR = 1e-4  # lower bound of a key's norm


class HoleAttention(nn.Module):
    """Fills a hole with a layer of psal_cli.attention that has a `patch_size`: queries are the pixels of the hole, keys the
    patches outside (Cherel et al., arXiv 2202.03163, section 4.4, with PSAL in the network of Yu et al. 2018).

    Features outside the hole are kept and cost nothing, as they would match themselves. Images with fewer keys than the layer
    needs are returned unchanged. No parameters.

    Example:
        >>> from psal_cli.attention import PSAttention
        >>> mask = torch.zeros(1, 1, 64, 64)
        >>> mask[..., 24:40, 24:40] = 1
        >>> tuple(HoleAttention(PSAttention(3, 1))(torch.rand(1, 8, 16, 16), mask).shape)
        (1, 8, 16, 16)
    """

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """[B, C, h, w]: the features, with the hole replaced by the result of attention.

        Args:
            features: [B, C, h, w]. mask: float [B, 1, s * h, s * w], 1 = hole; a feature belongs to the hole if any of its s x s
                pixels does.

        Raises:
            ValueError: as the layer raises.
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
    """bool [B, h, w]: which features [B, C, h, w] have any of a mask [B, 1, s * h, s * w] among their s x s pixels."""
    return F.max_pool2d(mask, mask.shape[2] // features.shape[2])[:, 0] > 0


class ContextualAttention(nn.Module):
    """The attention of Yu et al. 2018 ("Generative image inpainting with contextual attention"), section 3.2. No parameters.

    Each 3x3 patch of the features reduced by 2 is compared with all others (dot product with keys of unit norm), scores are
    summed along diagonals for coherence, and 4x4 patches of the features themselves are pasted with the softmax of 10 times the
    scores. Time and memory grow with (h * w / 4)^2.

    Its peculiarities are kept, because weights were trained with them: keys that touch the hole have score 0, not minus infinity,
    and lose their weight after the softmax; if no key is left, the result is 0.

    Example:
        >>> mask = torch.zeros(1, 1, 64, 64)
        >>> mask[..., 24:40, 24:40] = 1
        >>> tuple(ContextualAttention()(torch.rand(1, 8, 16, 16), mask).shape)
        (1, 8, 16, 16)
    """

    def __init__(self, normalisation: str = "maximum", *, fuse: bool = True, scale: float = 10.0):
        """normalisation: of a key w, by max(|w|, 1e-4), "maximum", as in the original and in the port when its published
        checkpoint was trained; or by sqrt(sum(w^2 + 1e-4)), "sum", as in the port since July 2020.

        Raises ValueError for any other.
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
        """[16 C, n]: the patch pasted at each query."""
        scores = (queries / self._norm(queries)).T @ queries  # [keys, queries]
        if self.fuse:
            for _ in range(2):  # along rows, then along columns; the second transposition restores the order
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
    """[n, n]: the sum of each score with those of the preceding and following (key, query) in raster order."""
    out = plane.clone()
    out[1:, 1:] += plane[:-1, :-1]
    out[:-1, :-1] += plane[1:, 1:]
    return out


def _transposed(plane: Tensor, grid: tuple[int, int]) -> Tensor:
    """[n, n]: reorders keys and queries, each on a grid, to column-major order."""
    return plane.view(*grid, *grid).permute(1, 0, 3, 2).reshape(plane.shape)
