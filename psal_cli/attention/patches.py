"""Patches of feature maps as vectors whose dot products are the similarities, for layers over whole patches."""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from psal_cli.ops.search import valid_keys

Made = TypeVar("Made")

CHUNK = 1 << 24  # values of patches or similarities held at a time


def pixel_vectors(query: Tensor, key: Tensor, similarity: str) -> tuple[Tensor, Tensor]:
    """Maps [B, D, H, W] and [B, D, Hk, Wk] for which the dot product of patches is the similarity, up to a constant per query.

    Of the l2 terms of the pixels of a query's patch inside its picture (m = 1, and 0 outside), the part that depends on
    the key is <[2 m q, -m], [k, |k|^2]>; a softmax does not depend on the rest.
    """
    if similarity == "dot":
        return query, key
    mean = key.mean((2, 3), keepdim=True)  # distances do not depend on it, but sums of squares lose digits to it
    query, key = query - mean, key - mean
    return torch.cat([2 * query, -torch.ones_like(query[:, :1])], 1), torch.cat([key, key.square().sum(1, keepdim=True)], 1)


def inner(x: Tensor, patch_size: int) -> Tensor:
    """[..., H, W] -> the pixels whose whole patch lies inside the picture: [..., H - patch_size + 1, W - patch_size + 1]."""
    radius = patch_size // 2
    return x[..., radius : x.shape[-2] - radius, radius : x.shape[-1] - radius]


def query_places(query: Tensor, query_mask: Tensor | None, image: int) -> Tensor:
    """int64 [m]: the queries of an image, row * W + column."""
    if query_mask is None:
        return torch.arange(query.shape[2] * query.shape[3], device=query.device)
    return query_mask[image].flatten().nonzero()[:, 0]


def key_places(key: Tensor, key_mask: Tensor | None, image: int, patch_size: int, stride: int = 1) -> Tensor:
    """int64 [n]: the keys of an image, row * Wk + column, every stride-th in both directions. Raises ValueError if there are
    none."""
    usable = key.new_ones((1, *key.shape[2:]), dtype=torch.bool) if key_mask is None else key_mask[image : image + 1]
    chosen = torch.zeros_like(usable[0])
    inner(chosen, patch_size)[::stride, ::stride] = True
    places = (valid_keys(usable, patch_size)[0] & chosen).flatten().nonzero()[:, 0]
    if not len(places):
        raise ValueError("key_mask leaves no valid key: no patch lies whole inside it")
    return places


def padded(x: Tensor, patch_size: int) -> Tensor:
    """[D, H, W] -> [H + 2 radius, W + 2 radius, D], zero around the picture: the input of `patches_at`."""
    return F.pad(x, (patch_size // 2,) * 4).permute(1, 2, 0).contiguous()


def patches_at(x: Tensor, place: Tensor, patch_size: int) -> Tensor:
    """[m, patch_size^2 * D]: the patches of a `padded` map around positions row * W + column."""
    width = x.shape[1] - patch_size + 1
    first = (place // width) * x.shape[1] + place % width
    steps = torch.arange(patch_size, device=x.device)
    at = first[:, None] + (steps[:, None] * x.shape[1] + steps).flatten()  # [m, patch_size^2]
    return x.flatten(0, 1).index_select(0, at.flatten()).view(len(place), patch_size**2 * x.shape[2])


def all_patches(x: Tensor, patch_size: int) -> Tensor:
    """`patches_at` all positions of a map [h, w, D] whose patch lies inside it, in raster order."""
    count = (x.shape[0] - patch_size + 1) * (x.shape[1] - patch_size + 1)
    return patches_at(x.contiguous(), torch.arange(count, device=x.device), patch_size)


def at_a_time(numbers: int) -> int:
    """How many items fit into one chunk, if each takes this many values."""
    return max(CHUNK // numbers, 1)


def values_at(value: Tensor, place: Tensor) -> Tensor:
    """[Cv, H, W] -> [n, Cv]: the pixels at some positions."""
    return value.flatten(1)[:, place].T


def spread(rows: Tensor, place: Tensor, size: torch.Size) -> Tensor:
    """[m, Cv], at some positions -> [Cv, H, W], zero elsewhere."""
    out = rows.new_zeros((size.numel(), rows.shape[1]))
    return out.index_copy(0, place, rows).T.unflatten(1, size)


def checkpointed(step: Callable[..., Made], *inputs: Tensor) -> Made:
    """Runs step(*inputs) with gradient checkpointing: only the inputs are kept, everything else is recomputed (Chen et al.
    2016)."""
    if not torch.is_grad_enabled():
        return step(*inputs)
    made: Made = checkpoint(step, *inputs, use_reentrant=False)
    return made
