"""The cross-scale attention that super-resolution networks share: patches of a map are weighed, and what lies there is pasted."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli import ops
from psal_cli.strips import Strip, strip

PATCH = 3  # side of the patches that are compared
SOFTMAX_SCALE = 10.0
OVERLAP = 6.0  # by which the sum of the overlapping patches is divided, nine of them: the weights were trained with it
FLOOR = 1e-4  # of the norm of a key

Rows = Callable[[int, int], Tensor]  # (first row, row after the last) -> a map of those rows


class Pasting(nn.Module):
    """Weighs 3x3 patches of keys by their product with those of queries, and pastes what lies there. No parameters.

    Keys have unit norm, queries their own; all keys count, those at the border with zeros around them. PSAL weighs the k
    nearest keys that it finds, "full" all of them.
    """

    def __init__(self, attention: str = "psal", k: int = 8, iterations: int = 5, seed: int = 0):
        """k, iterations, seed: of PSAL. Raises ValueError for another attention than "psal" and "full"."""
        super().__init__()
        if attention not in ("psal", "full"):
            raise ValueError(f"attention is {attention!r}, expected one of psal, full")
        self.attention, self.k, self.iterations, self.seed = attention, k, iterations, seed
        self.matched: Callable[[Tensor], None] | None = None  # told of the nearest keys' places, int32 [B, 2, H, W]; of PSAL

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Rows, Rows]:
        """Args:
            query: [B, C, H, W]. key: [B, C, h, w].
            value: [B, V * s^2, h, w], as `ops.aggregate` has values [B, V, s * h, s * w] of the value_scale s: rearranged once
                for all rows.

        Returns:
            Two functions of rows: one makes those of the result [B, V * s^2, rows, W], one those of the similarity of the nearest
            key, [B, 1, rows, W].
        """
        key, value = (F.pad(x, (1, 1, 1, 1)) for x in (key, value))
        return (self._full if self.attention == "full" else self._psal)(query, key, value)

    def _psal(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Rows, Rows]:
        k = min(self.k, (key.shape[2] - 2) * (key.shape[3] - 2))
        with torch.no_grad():
            nnf, similarity = ops.search(query, key, PATCH, k, self.iterations, "key_cosine", seed=self.seed)
        if self.matched:
            self.matched(nnf[:, 0] - 1)
        if torch.is_grad_enabled():
            similarity = ops.similarity_at(query, key, nnf, PATCH, "key_cosine")
        weight = (similarity * SOFTMAX_SCALE).softmax(1) / OVERLAP
        # Queries, keys and the similarities of all but the nearest are not kept.
        value, height, nearest = value.contiguous(memory_format=torch.channels_last), query.shape[2], similarity[:, :1].clone()

        def rows(first: int, last: int) -> Tensor:
            part = strip(first, last, height, PATCH // 2)
            pasted = ops.aggregate(value, part.seen(nnf), part.seen(weight), PATCH)
            return part.kept(pasted).float()

        return rows, lambda first, last: nearest[:, :, first:last]

    def _full(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Rows, Rows]:
        """Memory and time of some rows grow with their pixels times the keys."""
        query, key, value = (x.float() for x in (F.pad(query, (1, 1, 1, 1)), key, value))
        keys = F.unfold(key, PATCH)  # [B, 9 C, keys]
        keys = keys / keys.square().sum(1, keepdim=True).sqrt().clamp_min(FLOOR)
        values = F.unfold(value, PATCH)

        def scores(part: Strip) -> Tensor:
            queries = F.unfold(query[:, :, part.first : part.last + 2], PATCH)  # [B, 9 C, rows * W]
            return keys.transpose(1, 2) @ queries

        def rows(first: int, last: int) -> Tensor:
            part = strip(first, last, query.shape[2] - 2, PATCH // 2)
            weight = (scores(part) * SOFTMAX_SCALE).softmax(1)
            pasted = F.fold(values @ weight, (part.last - part.first, query.shape[3] - 2), PATCH, padding=1)
            return part.kept(pasted) / OVERLAP

        def nearest(first: int, last: int) -> Tensor:
            part = Strip(first, last, first, last)
            return scores(part).amax(1).unflatten(1, (last - first, -1))[:, None]

        return rows, nearest
