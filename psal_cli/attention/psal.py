"""Patch-based Stochastic Attention (Cherel et al., arXiv 2202.03163, section 3)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from psal_cli import ops
from psal_cli.ops import validation


class Field(NamedTuple):
    """The result of a search. nnf: int32 [B, k, 2, H, W], absolute (row, column), best first; similarity: [B, k, H, W]."""

    nnf: Tensor
    similarity: Tensor


def ps_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    patch_size: int = 7,
    k: int = 3,
    iterations: int = 5,
    *,
    aggregation: bool = False,
    similarity: str = "l2",
    temperature: float = 1.0,
    value_scale: int = 1,
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
    init: Tensor | None = None,
    schedule: str | None = None,
    seed: int = 0,
    return_field: bool = False,
) -> Tensor | tuple[Tensor, Field]:
    """Attention over the k nearest patches: the mean of their values, weighted by softmax(similarity / temperature) (equations 4,
    5, 9 and 10).

    Differentiable in value, and for k >= 2 or with aggregation in query and key (equations 6, 7 and 8): the gradient is that of
    the softmax over the matches found. With k = 1 and no aggregation the weights are constantly 1, so the gradients of query and
    key are zero.

    Args:
        query: [B, C, H, W]; key: [B, C, Hk, Wk], same dtype (under autocast the two are promoted to one).
        value: [B, Cv, s * Hk, s * Wk], s = value_scale.
        patch_size: odd, 1 to 31; at most Hk and Wk.
        k: neighbours per query (PSAL-k), 1 to 64.
        iterations: rounds of propagation and random search, 0 to 1000.
        aggregation: also use the matches of all queries whose patches contain the pixel (section 3.4.3).
        similarity: "l2", "dot", "cosine" or "key_cosine", see `ops.search`.
        temperature: divisor of the similarity before the softmax, > 0.
        value_scale: 1 to 4, size of the value relative to the key, and of the result relative to the query.
        query_mask: bool [B, H, W], True = attend; the result is zero elsewhere (with aggregation: where no query of
            the patch is True).
        key_mask: bool [B, Hk, Wk], True = may be matched.
        init, schedule, seed: see `ops.search`.
        return_field: also return the Field.

    Returns:
        [B, Cv, s * H, s * W] of value's dtype, and with return_field the Field, whose similarity is differentiable.

    Raises:
        ValueError: see `ops.search`, `ops.aggregate`; temperature not above 0.

    Example:
        >>> query, key, value = torch.rand(1, 16, 64, 64), torch.rand(1, 16, 80, 96), torch.rand(1, 3, 80, 96)
        >>> ps_attention(query, key, value).shape
        torch.Size([1, 3, 64, 64])
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected a number above 0")
    if query.dtype != key.dtype and torch.is_autocast_enabled(query.device.type):
        common = torch.promote_types(query.dtype, key.dtype)
        query, key = query.to(common), key.to(common)
    validation.value(key, value, value_scale)
    with torch.no_grad():
        nnf, _ = ops.search(query, key, patch_size, k, iterations, similarity, query_mask, key_mask, init, schedule, seed)
    scores = ops.similarity_at(query, key, nnf, patch_size, similarity)  # [B, k, H, W]
    logits = (scores / temperature).to(torch.float64 if value.dtype == torch.float64 else torch.float32)
    out = ops.aggregate(value, nnf, logits, patch_size if aggregation else 1, softmax=True, value_scale=value_scale)
    return (out, Field(nnf, scores)) if return_field else out


class PSAttention(nn.Module):
    """`ps_attention` with its arguments stored; no parameters, no buffers.

    Args: the keyword arguments of `ps_attention` (patch_size, k, iterations, aggregation, similarity, temperature, value_scale,
        schedule, seed). Calls raise as `ps_attention` does.

    Example:
        >>> layer = PSAttention(patch_size=7, k=3, aggregation=True)
        >>> layer(query, key, value).shape  # [B, C, H, W], [B, C, Hk, Wk], [B, Cv, Hk, Wk]
        torch.Size([B, Cv, H, W])
    """

    def __init__(
        self,
        patch_size: int = 7,
        k: int = 3,
        iterations: int = 5,
        *,
        aggregation: bool = False,
        similarity: str = "l2",
        temperature: float = 1.0,
        value_scale: int = 1,
        schedule: str | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.patch_size, self.k, self.iterations = patch_size, k, iterations
        self.aggregation, self.similarity, self.temperature = aggregation, similarity, temperature
        self.value_scale, self.schedule, self.seed = value_scale, schedule, seed

    def forward(
        self,
        query: Tensor,  # [B, C, H, W]
        key: Tensor,  # [B, C, Hk, Wk]
        value: Tensor,  # [B, Cv, s * Hk, s * Wk]
        query_mask: Tensor | None = None,  # [B, H, W] bool
        key_mask: Tensor | None = None,  # [B, Hk, Wk] bool
        init: Tensor | None = None,  # [B, k, 2, H, W] int32
        return_field: bool = False,
    ) -> Tensor | tuple[Tensor, Field]:
        return ps_attention(
            query, key, value, self.patch_size, self.k, self.iterations,
            aggregation=self.aggregation, similarity=self.similarity, temperature=self.temperature,
            value_scale=self.value_scale, query_mask=query_mask, key_mask=key_mask, init=init,
            schedule=self.schedule, seed=self.seed, return_field=return_field,
        )  # fmt: skip

    def extra_repr(self) -> str:
        names = ("patch_size", "k", "iterations", "aggregation", "similarity", "temperature")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
