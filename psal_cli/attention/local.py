"""Attention over the patches of a window around each query's own place (after Parmar et al. 2018; Cherel et al. 2022, 4.3)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli import checks
from psal_cli.attention.full import Weighted, inner, patches_at, pixel_vectors
from psal_cli.ops.search import valid_keys

BLOCK = 14  # side of the blocks of queries whose windows are looked at together


def local_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    patch_size: int = 7,
    window: int = 49,
    *,
    similarity: str = "l2",
    temperature: float = 1.0,
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """Softmax(similarity / temperature) weighted mean of the values of the keys at most window // 2 pixels away.

    Keys and query patches at the border are those of `ops.search`; a value is the centre pixel of its patch. The window
    slides with the query, where Parmar et al. share one among a block of queries: no seams between blocks. Time grows with
    H * W * window^2, and so does the memory of the gradient. Differentiable in query, key and value.

    Args:
        query: [B, C, H, W]; key: [B, C, H, W], value: [B, Cv, H, W]; float32 or float64, one dtype for all.
        patch_size: odd, 1 to 31, at most H and W.
        window: odd, at least patch_size, so that each query has a key; the paper's comparison has 50.
        similarity: "l2" or "dot", see `ops.search`.
        temperature: > 0.
        query_mask: bool [B, H, W], True = attend; the result is zero elsewhere. Costs the box around what is True.
        key_mask: bool [B, H, W], True = may be matched; a key needs its whole patch True. A query without any gives zero.

    Returns:
        [B, Cv, H, W].

    Raises:
        ValueError: for each constraint above, with the offending value and the expected one.
    """
    checks.dense_attention(query, key, value, patch_size, similarity, temperature)
    checks.masks(query, key, query_mask, key_mask)
    if query.shape != key.shape:
        size = f"query is {query.shape[3]}x{query.shape[2]}, key is {key.shape[3]}x{key.shape[2]}"
        raise ValueError(f"{size}: expected the same, for a window around each place")
    if window % 2 == 0 or window < patch_size:
        raise ValueError(f"window is {window}, expected an odd number, at least patch_size {patch_size}")
    usable = valid_keys(
        query.new_ones((len(query), *key.shape[2:]), dtype=torch.bool) if key_mask is None else key_mask, patch_size
    )
    queries, keys = pixel_vectors(query, key, similarity)
    out = torch.zeros_like(value)
    for image in range(query.shape[0]):
        for box in _blocks(None if query_mask is None else query_mask[image], *query.shape[2:]):
            rows, columns = slice(*box[:2]), slice(*box[2:])
            attended = _attend(queries[image], keys[image], value[image], usable[image], box, patch_size, window, temperature)
            out[image, :, rows, columns] = attended if query_mask is None else attended * query_mask[image, rows, columns]
    return out


def _blocks(mask: Tensor | None, height: int, width: int) -> Iterator[tuple[int, int, int, int]]:
    """(top, bottom, left, right) of blocks that cover the box around what is True."""
    rows, columns = (0, height), (0, width)
    if mask is not None:
        if not mask.any():
            return
        rows, columns = (_extent(mask.any(axis)) for axis in (1, 0))
    for top in range(*rows, BLOCK):
        for left in range(*columns, BLOCK):
            yield top, min(top + BLOCK, rows[1]), left, min(left + BLOCK, columns[1])


def _extent(line: Tensor) -> tuple[int, int]:
    places = line.nonzero()[:, 0]
    return int(places[0]), int(places[-1]) + 1


def _attend(
    queries: Tensor,  # [D, H, W]
    keys: Tensor,
    value: Tensor,  # [Cv, H, W]
    usable: Tensor,  # [H, W]
    box: tuple[int, int, int, int],
    patch_size: int,
    window: int,
    temperature: float,
) -> Tensor:
    """[Cv, h, w] for the queries of a box."""
    height, width = queries.shape[1:]
    radius, reach = patch_size // 2, window // 2
    y, x = (torch.arange(*box[i : i + 2], device=queries.device) for i in (0, 2))
    # All keys of the windows of the box lie in one region; its margin of a radius holds only pixels of their patches.
    rows = torch.arange(max(box[0] - reach, radius), min(box[1] + reach, height - radius), device=queries.device)
    columns = torch.arange(max(box[2] - reach, radius), min(box[3] + reach, width - radius), device=queries.device)
    region = (
        ...,
        slice(int(rows[0]) - radius, int(rows[-1]) + radius + 1),
        slice(int(columns[0]) - radius, int(columns[-1]) + radius + 1),
    )
    patches = F.unfold(keys[region][None], patch_size)[0].T
    values = inner(value[region], patch_size).flatten(1).T
    far_rows, far_columns = (y[:, None] - rows).abs() > reach, (x[:, None] - columns).abs() > reach
    absent = far_rows[:, None, :, None] | far_columns[None, :, None, :] | ~inner(usable[region], patch_size)
    place = (y[:, None] * width + x).flatten()
    out = Weighted.apply(
        patches_at(queries, place, patch_size), patches, values, temperature, absent.flatten(2).flatten(0, 1)
    )  # fmt: skip
    return out.T.unflatten(1, (len(y), len(x)))


class LocalAttention(nn.Module):
    """`local_attention` with its arguments stored; no parameters."""

    def __init__(self, patch_size: int = 7, window: int = 49, *, similarity: str = "l2", temperature: float = 1.0):
        super().__init__()
        self.patch_size, self.window, self.similarity, self.temperature = patch_size, window, similarity, temperature

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, query_mask: Tensor | None = None, key_mask: Tensor | None = None
    ) -> Tensor:
        return local_attention(
            query, key, value, self.patch_size, self.window, similarity=self.similarity, temperature=self.temperature,
            query_mask=query_mask, key_mask=key_mask,
        )  # fmt: skip

    def extra_repr(self) -> str:
        names = ("patch_size", "window", "similarity", "temperature")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
