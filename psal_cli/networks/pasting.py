"""The cross-scale attention of super-resolution networks: weights patches of a map and pastes the values there."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli import ops
from psal_cli.strips import Strip, strip

PATCH = 3  # side of the compared patches
SOFTMAX_SCALE = 10.0
OVERLAP = 6.0  # divisor of the sum of the nine overlapping patches; the weights were trained with it
FLOOR = 1e-4  # lower bound of a key's norm
NEAR = 3  # keys in each direction that "local" attention considers

Rows = Callable[[int, int], Tensor]  # (first row, row after the last) -> a map of those rows


class Pasting(nn.Module):
    """Weights 3x3 patches of keys by their product with those of queries, and pastes the values there. No parameters.

    Keys are normalized, queries are not; all keys count, those at the border zero-padded. PSAL weights the k nearest keys, "full"
    all of them, and "local", an ablation, the k nearest of the 7x7 around the same place.
    """

    def __init__(self, attention: str = "psal", k: int = 8, iterations: int = 5, seed: int = 0):
        """k, iterations, seed: of PSAL. Raises ValueError for any attention other than "psal", "full" and "local"."""
        super().__init__()
        if attention not in ("psal", "full", "local"):
            raise ValueError(f"attention is {attention!r}, expected one of psal, full, local")
        self.attention, self.k, self.iterations, self.seed = attention, k, iterations, seed
        self.matched: Callable[[Tensor], None] | None = None  # of PSAL: gets the nearest keys, int32 [B, 2, H, W]

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Rows, Rows]:
        """Args:
            query: [B, C, H, W]. key: [B, C, h, w].
            value: [B, V * s^2, h, w]: the values [B, V, s * h, s * w] of `ops.aggregate` with value_scale s, rearranged once for
                all rows.

        Returns:
            Two functions of rows: the result [B, V * s^2, rows, W], and the similarity of the nearest key, [B, 1, rows, W].
        """
        key, value = (F.pad(x, (1, 1, 1, 1)) for x in (key, value))
        return (self._full if self.attention == "full" else self._psal)(query, key, value)

    def _psal(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Rows, Rows]:
        k = min(self.k, (key.shape[2] - 2) * (key.shape[3] - 2))
        with torch.no_grad():
            if self.attention == "local":
                nnf, similarity = _nearest_around(query, key, k)
            else:
                nnf, similarity = ops.search(query, key, PATCH, k, self.iterations, "key_cosine", seed=self.seed)
        if self.matched:
            self.matched(nnf[:, 0] - 1)
        if torch.is_grad_enabled():
            similarity = ops.similarity_at(query, key, nnf, PATCH, "key_cosine")
        weight = (similarity * SOFTMAX_SCALE).softmax(1) / OVERLAP
        # Keep neither queries, keys nor similarities other than the nearest.
        value, height, nearest = value.contiguous(memory_format=torch.channels_last), query.shape[2], similarity[:, :1].clone()

        def rows(first: int, last: int) -> Tensor:
            part = strip(first, last, height, PATCH // 2)
            pasted = ops.aggregate(value, part.seen(nnf), part.seen(weight), PATCH)
            return part.kept(pasted).float()

        return rows, lambda first, last: nearest[:, :, first:last]

    def _full(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Rows, Rows]:
        """Memory and time grow with the pixels of the rows times the keys."""
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


def _nearest_around(query: Tensor, key: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `ops.search` with padded keys, [B, C, h + 2, w + 2], among those around the place of each query alone."""
    places = []
    for size, keys in zip(query.shape[2:], (side - 2 for side in key.shape[2:]), strict=True):
        window = torch.arange(min(2 * NEAR + 1, keys), dtype=torch.int32, device=query.device)
        middle = torch.arange(size, device=query.device) * keys // size - NEAR
        places.append(1 + middle.clamp(0, keys - len(window)).int() + window[:, None])  # [window, size]
    rows, columns = places
    shape = len(rows), len(columns), *query.shape[2:]
    nnf = torch.stack([rows[:, None, :, None].expand(shape), columns[None, :, None, :].expand(shape)], 2).flatten(0, 1)
    nnf = nnf[None].expand(len(query), -1, -1, -1, -1).contiguous()
    similarity, order = ops.similarity_at(query, key, nnf, PATCH, "key_cosine").topk(min(k, nnf.shape[1]), 1)
    return nnf.gather(1, order[:, :, None].expand(-1, -1, 2, -1, -1)).contiguous(), similarity
