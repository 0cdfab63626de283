"""Attention over all patches of the key, in chunks: what PSAL approximates (Cherel et al., arXiv 2202.03163, equation 1)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from psal_cli import checks
from psal_cli.ops.search import valid_keys

CHUNK = 1 << 24  # similarities held at a time


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
    """Softmax(similarity / temperature) weighted mean of the values of all keys, or of each stride-th in both directions.

    Keys and query patches at the border are those of `ops.search`; a value is the centre pixel of its patch. The time
    grows with H * W * Hk * Wk / stride^2. Without gradient the memory is that of the key's patches and of a chunk of
    queries; the gradient keeps the weights, H * W * Hk * Wk / stride^2 numbers.
    Differentiable in query, key and value.

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
    """
    checks.dense_attention(query, key, value, patch_size, similarity, temperature)
    checks.masks(query, key, query_mask, key_mask)
    if stride < 1:
        raise ValueError(f"stride is {stride}, expected 1 or more")
    queries, keys = pixel_vectors(query, key, similarity)
    images = []
    for image in range(query.shape[0]):
        patches = F.unfold(keys[image : image + 1], patch_size, stride=stride)[0].T  # [n, D]
        values = inner(value[image], patch_size)[:, ::stride, ::stride].flatten(1).T  # [n, Cv]
        if key_mask is not None:
            chosen = inner(valid_keys(key_mask[image : image + 1], patch_size)[0], patch_size)[::stride, ::stride].flatten()
            if not chosen.any():
                raise ValueError("key_mask leaves no valid key: no patch lies whole inside it")
            patches, values = patches[chosen], values[chosen]
        where = _places(query, query_mask, image)
        out = value.new_zeros((query.shape[2] * query.shape[3], value.shape[1]))
        for part in where.split(max(CHUNK // len(values), 1)):
            attended = Weighted.apply(patches_at(queries[image], part, patch_size), patches, values, temperature, None)
            out = out.index_copy(0, part, attended)
        images.append(out.T.unflatten(1, query.shape[2:]))
    return torch.stack(images)


def pixel_vectors(query: Tensor, key: Tensor, similarity: str) -> tuple[Tensor, Tensor]:
    """Maps [B, D, H, W] and [B, D, Hk, Wk] whose patches' products are the similarity, but for a constant of each query.

    Of the l2 terms of the pixels of a query's patch inside its picture (m = 1, and 0 outside), the part that depends on
    the key is <[2 m q, -m], [k, |k|^2]>; a softmax does not see the rest.
    """
    if similarity == "dot":
        return query, key
    mean = key.mean((0, 2, 3), keepdim=True)  # distances do not see it, sums of squares lose digits to it
    query, key = query - mean, key - mean
    return torch.cat([2 * query, -torch.ones_like(query[:, :1])], 1), torch.cat([key, key.square().sum(1, keepdim=True)], 1)


def inner(x: Tensor, patch_size: int) -> Tensor:
    """[..., H, W] -> the pixels whose whole patch lies inside the picture: [..., H - patch_size + 1, W - patch_size + 1]."""
    radius = patch_size // 2
    return x[..., radius : x.shape[-2] - radius, radius : x.shape[-1] - radius]


def _places(query: Tensor, query_mask: Tensor | None, image: int) -> Tensor:
    """int64 [m]: the queries of an image, row * W + column."""
    if query_mask is None:
        return torch.arange(query.shape[2] * query.shape[3], device=query.device)
    return query_mask[image].flatten().nonzero()[:, 0]


def patches_at(x: Tensor, place: Tensor, patch_size: int) -> Tensor:
    """[D, H, W] -> [m, D * patch_size^2] in the order of F.unfold: the patches around some pixels, zero outside the picture."""
    radius, width = patch_size // 2, x.shape[2] + patch_size - 1
    padded = F.pad(x, (radius,) * 4).flatten(1).T  # [(H + 2 radius) * (W + 2 radius), D]
    first = (place // x.shape[2]) * width + place % x.shape[2]
    steps = torch.arange(patch_size, device=x.device)
    at = first[:, None] + (steps[:, None] * width + steps).flatten()  # [m, patch_size^2]
    return padded.index_select(0, at.flatten()).unflatten(0, at.shape).transpose(1, 2).flatten(1)


class Weighted(torch.autograd.Function):
    """softmax(queries @ keys^T / temperature) @ values, which keeps the weights and passes over them as seldom as it can.

    Where `torch.get_float32_matmul_precision()` is "medium" during the backward pass, its large products are of bfloat16.
    """

    @staticmethod
    def forward(
        ctx: Any,
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
    def backward(ctx: Any, grad: Tensor) -> tuple:
        queries, keys, values, weight, total, out = ctx.saved_tensors
        grad = grad / total
        logits = (grad @ values.T).sub_((grad * out).sum(1, keepdim=True)).mul_(weight)
        values_grad = weight.T @ grad
        if torch.get_float32_matmul_precision() == "medium":  # torch itself rounds so slowly on a CPU that little is won
            logits, queries, keys = (x.bfloat16() for x in (logits, queries, keys))
        return (logits @ keys).to(grad) / ctx.temperature, (queries.T @ logits).T.to(grad), values_grad, None, None


class FullAttention(nn.Module):
    """`full_attention` with its arguments stored; no parameters."""

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
