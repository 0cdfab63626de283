"""Attention over all patches of the key, in chunks: what PSAL approximates (Cherel et al., arXiv 2202.03163, equation 1)."""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from psal_cli.attention.patches import at_a_time, key_places, padded, patches_at, pixel_vectors, query_places, spread, values_at
from psal_cli.ops import validation
from psal_cli.ops.operator import Context


def full_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    patch_size: int = 7,
    *,
    similarity: str = "l2",
    temperature: float = 1.0,
    stride: int = 1,
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """Mean of the values of all keys, or of every stride-th in both directions, weighted by softmax(similarity / temperature)
    (Cherel et al., arXiv 2202.03163, equation 1).

    Keys, and query patches at the border, are as in `ops.search`; a value is the centre pixel of its patch. The time grows with H
    * W * Hk * Wk / stride^2. Without gradient the memory is that of the key's patches and of a chunk of queries; the gradient
    keeps the weights, H * W * Hk * Wk / stride^2 numbers. Differentiable in query, key and value.

    Args:
        query: [B, C, H, W]; key: [B, C, Hk, Wk], value: [B, Cv, Hk, Wk]; float32 or float64, one dtype for all.
        patch_size: odd, 1 to 31, at most Hk and Wk.
        similarity: "l2" or "dot", see `ops.search`.
        temperature: > 0.
        stride: >= 1; the paper's comparison has 3 (section 4.3).
        query_mask: bool [B, H, W], True = attend; the result is zero elsewhere, and costs nothing.
        key_mask: bool [B, Hk, Wk], True = may be matched; a key needs its whole patch True.

    Returns:
        [B, Cv, H, W].

    Raises:
        ValueError: for each constraint above, with the offending value and the expected one.

    Example:
        >>> query, key, value = torch.rand(1, 4, 12, 12), torch.rand(1, 4, 16, 20), torch.rand(1, 3, 16, 20)
        >>> tuple(full_attention(query, key, value, 3).shape)
        (1, 3, 12, 12)
    """
    validation.dense_attention(query, key, value, patch_size, similarity, temperature)
    validation.masks(query, key, query_mask, key_mask)
    if stride < 1:
        raise ValueError(f"stride is {stride}, expected 1 or more")
    queries, keys = pixel_vectors(query, key, similarity)
    images = []
    for image in range(query.shape[0]):
        places = key_places(key, key_mask, image, patch_size, stride)
        patches, values = patches_at(padded(keys[image], patch_size), places, patch_size), values_at(value[image], places)
        padded_query = padded(queries[image], patch_size)
        where = query_places(query, query_mask, image)
        attended = [
            weighted(patches_at(padded_query, part, patch_size), patches, values, temperature, None)
            for part in where.split(at_a_time(len(values)))
        ]
        images.append(spread(torch.cat(attended), where, query.shape[2:]))
    return torch.stack(images)


class _WeightedContext(Context, Protocol):
    temperature: float


class Weighted(torch.autograd.Function):
    """softmax(queries @ keys^T / temperature) @ values. It keeps the weights for the gradient and makes few passes over them.

    If `torch.get_float32_matmul_precision()` is "medium" during the backward pass, its large products use bfloat16.
    """

    @staticmethod
    def forward(
        ctx: _WeightedContext,
        queries: Tensor,  # [m, D]
        keys: Tensor,  # [n, D]
        values: Tensor,  # [n, Cv]
        temperature: float,
        absent: Tensor | None,  # bool [m, n], True = may not be attended to; a query without any key gives zero
    ) -> Tensor:
        queries = queries / temperature
        weight = queries @ keys.T
        if absent is not None:
            weight.masked_fill_(absent, -torch.inf)
        limits = torch.finfo(weight.dtype)
        weight.sub_(weight.amax(1, keepdim=True).clamp_min_(limits.min)).exp_()
        total = weight.sum(1, keepdim=True).clamp_min_(limits.tiny)
        out = (weight @ values).div_(total)
        if any(ctx.needs_input_grad):
            ctx.temperature = temperature
            ctx.save_for_backward(queries, keys, values, weight, total, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: _WeightedContext, grad: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, weight, total, out = ctx.saved_tensors
        grad = grad / total
        logits = (grad @ values.T).sub_((grad * out).sum(1, keepdim=True)).mul_(weight)
        values_grad = weight.T @ grad
        if torch.get_float32_matmul_precision() == "medium":  # torch's own conversion is so slow on a CPU that little is gained
            logits, queries, keys = (x.bfloat16() for x in (logits, queries, keys))
        return (logits @ keys).to(grad) / ctx.temperature, (queries.T @ logits).T.to(grad), values_grad, None, None


def weighted(queries: Tensor, keys: Tensor, values: Tensor, temperature: float, absent: Tensor | None) -> Tensor:
    """A typed call of `Weighted.apply`, which torch leaves untyped."""
    out: Tensor = Weighted.apply(queries, keys, values, temperature, absent)  # type: ignore[no-untyped-call]
    return out


class FullAttention(nn.Module):
    """`full_attention` as a layer without parameters (Cherel et al., arXiv 2202.03163, equation 1).

    Takes query, key, value and optionally query_mask and key_mask, and returns [B, Cv, H, W]; for arguments, dtypes and
    errors see the function.

    Example:
        >>> layer = FullAttention(3)
        >>> features = torch.rand(1, 4, 12, 12)
        >>> tuple(layer(features, features, features).shape)
        (1, 4, 12, 12)
    """

    def __init__(self, patch_size: int = 7, *, similarity: str = "l2", temperature: float = 1.0, stride: int = 1):
        super().__init__()
        self.patch_size, self.similarity, self.temperature, self.stride = patch_size, similarity, temperature, stride

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, query_mask: Tensor | None = None, key_mask: Tensor | None = None
    ) -> Tensor:
        return full_attention(
            query, key, value, self.patch_size, similarity=self.similarity, temperature=self.temperature, stride=self.stride,
            query_mask=query_mask, key_mask=key_mask,
        )  # fmt: skip

    def extra_repr(self) -> str:
        names = ("patch_size", "similarity", "temperature", "stride")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
