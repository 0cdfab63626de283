"""Full and local attention with torch's own scaled_dot_product_attention and flex_attention."""

import math
import warnings
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from psal_cli.attention.patches import (
    at_a_time,
    checkpointed,
    key_places,
    padded,
    patches_at,
    pixel_vectors,
    query_places,
    spread,
    values_at,
)
from psal_cli.ops import validation

MULTIPLE = 8
TILE = 8, 16  # rows and columns of a block of flex_attention


def sdpa_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    patch_size: int = 7,
    *,
    similarity: str = "l2",
    temperature: float = 1.0,
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """`full_attention` by torch.nn.functional.scaled_dot_product_attention: no weights are kept, not even for the gradient.

    All vectors are zero-padded to one length, a little more than D = C * patch_size^2: torch's kernels that keep no weights
    require values as long as keys (CPU) and multiples of 8 (CUDA). Memory is twice that of the key's patches. Differentiable in
    query, key and value.

    Args, returns, raises: those of `full_attention`, without stride; ValueError for more than D channels of value.
    """
    validation.dense_attention(query, key, value, patch_size, similarity, temperature)
    validation.masks(query, key, query_mask, key_mask)
    queries, keys = pixel_vectors(query, key, similarity)
    numbers, channels = queries.shape[1] * patch_size**2, value.shape[1]
    length = math.ceil(numbers / MULTIPLE) * MULTIPLE
    if channels > numbers:
        raise ValueError(f"value has {channels} channels, expected at most those of a key's patch, {numbers}")

    def attend(queries: Tensor, patches: Tensor, values: Tensor, place: Tensor) -> Tensor:
        patches_asked = F.pad(patches_at(queries, place, patch_size), (0, length - numbers))[None, None]
        return F.scaled_dot_product_attention(patches_asked, patches, values, scale=1 / temperature)[0, 0, :, :channels]

    images = []
    for image in range(query.shape[0]):
        places = key_places(key, key_mask, image, patch_size)
        patches = F.pad(patches_at(padded(keys[image], patch_size), places, patch_size), (0, length - numbers))[None, None]
        values = F.pad(values_at(value[image], places), (0, length - channels))[None, None]
        where, padded_query = query_places(query, query_mask, image), padded(queries[image], patch_size)
        attended = [checkpointed(attend, padded_query, patches, values, part) for part in where.split(at_a_time(numbers))]
        images.append(spread(torch.cat(attended), where, query.shape[2:]))
    return torch.stack(images)


def flex_local_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    patch_size: int = 7,
    window: int = 49,
    *,
    similarity: str = "l2",
    temperature: float = 1.0,
) -> Tensor:
    """`local_attention` by torch's flex_attention, compiled: blocks of 8x16 pixels that no window connects are skipped.

    Compiled at the first call, which takes seconds and a C++ compiler. All patches of query and key are in memory, n * D
    numbers each. Differentiable on CUDA only: torch has no gradient for the CPU.

    Args, returns, raises: those of `local_attention`, without masks; RuntimeError if torch cannot compile it.
    """
    validation.dense_attention(query, key, value, patch_size, similarity, temperature)
    validation.same_size(query, key)
    validation.window(window, patch_size)
    height, width = query.shape[2:]
    queries, keys = pixel_vectors(query, key, similarity)
    order = _tiled(height, width).to(query.device)
    blocks = _windows(height, width, patch_size // 2, window // 2, query.device)
    images = []
    for image in range(query.shape[0]):
        query_patches, key_patches = (
            patches_at(padded(x[image], patch_size), order, patch_size)[None, None] for x in (queries, keys)
        )
        values = values_at(value[image], order)[None, None]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own warnings
            out = _compiled()(query_patches, key_patches, values, block_mask=blocks, scale=1 / temperature)
        images.append(spread(out[0, 0], order, query.shape[2:]))
    return torch.stack(images)


@cache
def _compiled() -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(flex_attention, dynamic=False)
    return compiled


def _tiled(height: int, width: int) -> Tensor:
    """int64 [height * width]: all pixels, row * width + column, tile by tile."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    across = math.ceil(width / TILE[1])
    tile = (rows // TILE[0]) * across + columns // TILE[1]
    return tile.flatten().sort(stable=True).indices


def _windows(height: int, width: int, radius: int, reach: int, device: torch.device) -> BlockMask:
    """The block mask of keys with whole patches inside the window of each query, in the order of `_tiled`."""
    order = _tiled(height, width).to(device)
    rows, columns = order // width, order % width
    block = TILE[0] * TILE[1]
    count = math.ceil(len(order) / block)

    def extent(x: Tensor) -> tuple[Tensor, Tensor]:
        filled = torch.cat([x, x[-1:].expand(count * block - len(x))]).view(count, block)
        return filled.amin(1), filled.amax(1)

    near = torch.ones(count, count, dtype=torch.bool, device=device)
    for low, high in (extent(rows), extent(columns)):
        near &= (low[:, None] - high <= reach) & (low - high[:, None] <= reach)
    number = near.sum(1, dtype=torch.int32)
    blocks = near.int().argsort(dim=1, descending=True, stable=True).int()

    def seen(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        row, column = rows[key], columns[key]
        inside = (row >= radius) & (row < height - radius) & (column >= radius) & (column < width - radius)
        return inside & ((rows[query] - row).abs() <= reach) & ((columns[query] - column).abs() <= reach)

    size = len(order), len(order)
    return BlockMask.from_kv_blocks(number[None, None], blocks[None, None], BLOCK_SIZE=block, mask_mod=seen, seq_lengths=size)
