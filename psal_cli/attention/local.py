"""Attention over the patches of a window around each query's own place (after Parmar et al. 2018; Cherel et al. 2022, 4.3)."""

import torch
from torch import Tensor, nn

from psal_cli.attention.full import weighted
from psal_cli.attention.patches import all_patches, inner, padded, pixel_vectors
from psal_cli.ops import validation
from psal_cli.ops.search import valid_keys

BLOCK = 21  # side of the blocks of queries that are processed together


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
    """Mean of the values of the keys at most window // 2 pixels away, weighted by softmax(similarity / temperature).

    Keys, and query patches at the border, are as in `ops.search`; a value is the centre pixel of its patch. The window slides
    with the query, whereas Parmar et al. share one among a block of queries: no seams between blocks. Time grows with H * W *
    window^2, and so does the memory of the gradient. Differentiable in query, key and value.

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

    Example:
        >>> query, key, value = torch.rand(1, 4, 12, 12), torch.rand(1, 4, 12, 12), torch.rand(1, 3, 12, 12)
        >>> tuple(local_attention(query, key, value, 3, window=5).shape)
        (1, 3, 12, 12)
    """
    validation.dense_attention(query, key, value, patch_size, similarity, temperature)
    validation.masks(query, key, query_mask, key_mask)
    validation.same_size(query, key)
    validation.window(window, patch_size)
    everywhere = query.new_ones((len(query), *query.shape[2:]), dtype=torch.bool)
    usable = valid_keys(everywhere if key_mask is None else key_mask, patch_size)
    queries, keys = pixel_vectors(query, key, similarity)
    searched = everywhere if query_mask is None else query_mask
    margin = window // 2 + patch_size // 2
    out = torch.zeros_like(value)
    for image in range(query.shape[0]):
        if not searched[image].any():
            continue
        # Only what the windows reach: slices of a whole picture would each have a gradient of its size.
        (top, bottom), (left, right) = (_extent(searched[image].any(axis)) for axis in (1, 0))
        near = slice(max(top - margin, 0), bottom + margin), slice(max(left - margin, 0), right + margin)
        near_query, near_key, values, keyed = (x[image][(..., *near)] for x in (queries, keys, value, usable))
        maps = padded(near_query, patch_size), near_key.permute(1, 2, 0), values, keyed
        for y in range(top, bottom, BLOCK):
            for x in range(left, right, BLOCK):
                box = slice(y, min(y + BLOCK, bottom)), slice(x, min(x + BLOCK, right))
                rows, columns = (slice(side.start - by.start, side.stop - by.start) for side, by in zip(box, near, strict=True))
                attended = _attend(*maps, (rows, columns), patch_size, window, temperature)
                out[(image, slice(None), *box)] = attended * searched[(image, *box)]
    return out


def _extent(line: Tensor) -> tuple[int, int]:
    places = line.nonzero()[:, 0]
    return int(places[0]), int(places[-1]) + 1


def _attend(
    queries: Tensor,  # `padded`
    keys: Tensor,  # [H, W, D]
    value: Tensor,  # [Cv, H, W]
    usable: Tensor,  # [H, W]
    box: tuple[slice, slice],
    patch_size: int,
    window: int,
    temperature: float,
) -> Tensor:
    """[Cv, h, w] for the queries of a box of rows and columns."""
    height, width = keys.shape[:2]
    radius, reach = patch_size // 2, window // 2
    y, x = (torch.arange(side.start, side.stop, device=queries.device) for side in box)
    # All keys of the box's windows lie in one region, whose margin of one radius holds only pixels of their patches.
    rows, columns = (
        torch.arange(max(side.start - reach, radius), min(side.stop + reach, size - radius), device=queries.device)
        for side, size in zip(box, (height, width), strict=True)
    )
    region = (
        slice(int(rows[0]) - radius, int(rows[-1]) + radius + 1),
        slice(int(columns[0]) - radius, int(columns[-1]) + radius + 1),
    )
    values = inner(value[(..., *region)], patch_size).flatten(1).T
    far_rows, far_columns = (y[:, None] - rows).abs() > reach, (x[:, None] - columns).abs() > reach
    absent = far_rows[:, None, :, None] | far_columns[None, :, None, :] | ~inner(usable[region], patch_size)
    near_query = queries[box[0].start : box[0].stop + 2 * radius, box[1].start : box[1].stop + 2 * radius]
    query_patches, key_patches = (all_patches(maps, patch_size) for maps in (near_query, keys[region]))
    out = weighted(query_patches, key_patches, values, temperature, absent.flatten(2).flatten(0, 1))
    return out.T.unflatten(1, (len(y), len(x)))


class LocalAttention(nn.Module):
    """`local_attention` as a layer without parameters (after Parmar et al. 2018; Cherel et al., arXiv 2202.03163, section 4.3).

    Takes query, key, value and optionally query_mask and key_mask, and returns [B, Cv, H, W]; for arguments, dtypes and
    errors see the function.

    Example:
        >>> layer = LocalAttention(3, window=5)
        >>> features = torch.rand(1, 4, 12, 12)
        >>> tuple(layer(features, features, features).shape)
        (1, 4, 12, 12)
    """

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
