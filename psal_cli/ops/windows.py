"""similarity_at and aggregate as torch operators with their gradients, all made of three window sums (ext/windows.h)."""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli import native
from psal_cli.ops import validation
from psal_cli.ops.layout import channels_last, dense, inverse_norm, pointer, term
from psal_cli.ops.operator import Context, fake, operator

FORWARD = ("gather", "spread")  # of which one sees every field


def _arguments(
    name: str,
    nnf: Tensor,  # [B, k, 2, H, W]
    out: Tensor,
    key_size: Sequence[int],  # (Hk, Wk)
    patch_size: int,
    *,
    query: Tensor | None = None,  # [B, H, W, C], and key [B, Hk, Wk, C]: channels-last and dense
    key: Tensor | None = None,
    weight: Tensor | None = None,
    log_total: Tensor | None = None,
    baseline: Tensor | None = None,
    order: Tensor | None = None,
    first: Tensor | None = None,
    similarity: str = "dot",
    centred: bool = False,
) -> native.WindowArgs:
    """The struct of psal_<name>, which fills `out`; what the arguments mean is in ext/psal.h."""
    batch, k, _, height, width = nnf.shape
    if nnf.is_cuda and name in FORWARD:
        validation.inside_key(nnf, key_size)
    features = key if query is None else query
    dtype, channels = (out.dtype, 0) if features is None else (features.dtype, features.shape[3])
    tensors = (query, key, *dense(nnf, weight, log_total, baseline), order, first)
    arguments = native.WindowArgs(
        native.place(nnf.device), native.DTYPES[dtype], native.SIMILARITIES[similarity],
        batch, channels, height, width, *key_size, patch_size, k, *map(pointer, tensors), centred, out.data_ptr(),
    )  # fmt: skip
    arguments.tensors = tensors
    return arguments


def _gathered(query: Tensor, nnf: Tensor) -> Tensor:
    """An empty tensor for a value per match: [B, k, H, W]."""
    return query.new_empty((*nnf.shape[:2], *nnf.shape[3:]), dtype=term(query.dtype))


def _vectors(like: Tensor, height: int, width: int) -> Tensor:
    """An empty tensor for a vector per pixel, with the batch, channels and dtype of `like`: [B, H, W, C]."""
    return like.new_empty((like.shape[0], height, width, like.shape[1]))


@operator("gather", differentiable=True)
def _gather(
    query: Tensor,
    key: Tensor,
    nnf: Tensor,
    patch_size: int,
    similarity: str,
    weight: Tensor | None = None,
    log_total: Tensor | None = None,
    baseline: Tensor | None = None,
) -> Tensor:
    """[B, k, H, W]: similarity of the patches at each match; with a baseline, the gradient of a softmax's logits."""
    out = _gathered(query, nnf)
    arguments = _arguments(
        "gather", nnf, out, key.shape[2:], patch_size, query=channels_last(query), key=channels_last(key),
        weight=weight, log_total=log_total, baseline=baseline, similarity=similarity,
    )  # fmt: skip
    native.kernel("gather", nnf.device)(arguments)
    return out


@fake("gather")
def _(query: Tensor, key: Tensor, nnf: Tensor, *_: Tensor | float | str | None) -> Tensor:
    return _gathered(query, nnf)


@operator("spread")
def _spread(
    value: Tensor, nnf: Tensor, weight: Tensor, patch_size: int, log_total: Tensor | None = None, centre: Tensor | None = None
) -> Tensor:
    """[B, C, H, W]: at each query the weighted sum of what the surrounding matches paste there, minus `centre`."""
    out = _vectors(value, *nnf.shape[3:])
    arguments = _arguments(
        "spread", nnf, out, value.shape[2:], patch_size,
        query=None if centre is None else channels_last(centre), key=channels_last(value),
        weight=weight, log_total=log_total, centred=centre is not None,
    )  # fmt: skip
    native.kernel("spread", nnf.device)(arguments)
    return out.permute(0, 3, 1, 2)


@fake("spread")
def _(value: Tensor, nnf: Tensor, *_: Tensor | float | None) -> Tensor:
    return _vectors(value, *nnf.shape[3:]).permute(0, 3, 1, 2)


@operator("scatter")
def _scatter(
    query: Tensor,
    nnf: Tensor,
    weight: Tensor,
    patch_size: int,
    key_height: int,
    key_width: int,
    log_total: Tensor | None = None,
    centre: Tensor | None = None,
) -> Tensor:
    """[B, C, Hk, Wk]: the transpose of `_spread`. The matches are sorted by key first, so that every key adds up its own."""
    row, column = nnf.unbind(2)
    keys = key_height * key_width
    place = (row.long() * key_width + column).masked_fill_((row < 0) | (column < 0), keys).flatten(1)
    place, order = place.sort(dim=1, stable=True)
    bounds = torch.arange(keys + 1, device=nnf.device).expand(nnf.shape[0], -1).contiguous()
    first = torch.searchsorted(place, bounds)
    out = _vectors(query, key_height, key_width)
    arguments = _arguments(
        "scatter", nnf, out, (key_height, key_width), patch_size,
        query=channels_last(query), key=None if centre is None else channels_last(centre),
        weight=weight, log_total=log_total, order=order, first=first, centred=centre is not None,
    )  # fmt: skip
    native.kernel("scatter", nnf.device)(arguments)
    return out.permute(0, 3, 1, 2)


@fake("scatter")
def _(query: Tensor, nnf: Tensor, weight: Tensor, patch_size: int, key_height: int, key_width: int, *_: Tensor | None) -> Tensor:
    return _vectors(query, key_height, key_width).permute(0, 3, 1, 2)


def similarity_at(query: Tensor, key: Tensor, nnf: Tensor, patch_size: int = 7, similarity: str = "l2") -> Tensor:
    """Similarity of every query patch to the key patches at its matches (Cherel et al., arXiv 2202.03163, section 3.5).

    Differentiable in query and key (equations 7 and 8).

    Args:
        query: [B, C, H, W]; key: [B, C, Hk, Wk], same dtype and device.
        nnf: int32 [B, k, 2, H, W], absolute (row, column) in key; -1 = no match, whose similarity is -inf.
        patch_size: odd, 1 to 31.
        similarity: "l2", "dot", "cosine" or "key_cosine", see `search`.

    Returns:
        [B, k, H, W] float32 (float64 for float64 features), equal to what `search` returns at that nnf.

    Raises:
        ValueError: wrong shapes, dtypes or devices, an unknown similarity, a match outside the key, with the offending value.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> picture = torch.rand(1, 3, 8, 8, generator=generator)
        >>> nnf = torch.full((1, 1, 2, 8, 8), 4, dtype=torch.int32)
        >>> similarity = similarity_at(picture, picture, nnf, patch_size=3)
        >>> tuple(similarity.shape), similarity[0, 0, 4, 4].item()
        ((1, 1, 8, 8), -0.0)
    """
    validation.features(query, key)
    validation.nnf(query, nnf)
    validation.patch(patch_size, similarity)
    if similarity == "l2":
        squared: Tensor = torch.ops.psal.gather(query, key, nnf, patch_size, "l2")
        return squared
    product: Tensor = torch.ops.psal.gather(query, key, nnf, patch_size, "dot")
    if similarity != "dot":
        row, column = nnf.long().clamp_min(0).unbind(2)  # [B, k, H, W]
        scale = inverse_norm(key, patch_size).flatten(1)  # [B, Hk * Wk]
        product = product * scale.gather(1, (row * key.shape[3] + column).flatten(1)).view_as(product)
    if similarity == "cosine":
        product = product * inverse_norm(query, patch_size)
    return product.masked_fill(nnf[:, :, 0] < 0, -torch.inf)


class _GatherContext(Context, Protocol):
    patch_size: int
    similarity: str


def _gather_setup(
    ctx: _GatherContext, inputs: tuple[Tensor, Tensor, Tensor, int, str, *tuple[object, ...]], output: Tensor
) -> None:
    query, key, nnf, ctx.patch_size, ctx.similarity, *_ = inputs
    ctx.save_for_backward(query, key, nnf)


def _gather_backward(ctx: _GatherContext, grad: Tensor) -> tuple[Tensor | None, ...]:
    query, key, nnf = ctx.saved_tensors
    l2 = ctx.similarity == "l2"  # d(-(q - k)^2)/dq = 2 (k - q), d/dk = 2 (q - k); the differences are summed, not the terms
    weight = grad * 2 if l2 else grad
    weight = weight.masked_fill(nnf[:, :, 0] < 0, 0)
    grad_query = grad_key = None
    if ctx.needs_input_grad[0]:
        grad_query = torch.ops.psal.spread(key, nnf, weight, ctx.patch_size, None, query if l2 else None)
    if ctx.needs_input_grad[1]:
        grad_key = torch.ops.psal.scatter(query, nnf, weight, ctx.patch_size, *key.shape[2:], None, key if l2 else None)
    return grad_query, grad_key, None, None, None, None, None, None


torch.library.register_autograd("psal::gather", _gather_backward, setup_context=_gather_setup)


def aggregate(
    value: Tensor, nnf: Tensor, weight: Tensor, patch_size: int = 1, softmax: bool = False, value_scale: int = 1
) -> Tensor:
    """Weighted sum of the values at each query's matches, over its own matches or over those of its whole patch.

    With patch_size 1 each query takes the centre value of its own k matches: PSAL-k (Cherel et al., arXiv 2202.03163), equation 5
    with `weight` the softmax of the similarities. With a larger patch_size each query also takes the values that the matches of
    surrounding queries paste at its position: with softmax=True and `weight` the similarities / temperature this is the spatial
    aggregation of section 3.4.3, equation 10. Fused: no [C, k * patch_size^2, H, W] tensor is ever built. Differentiable in value
    and weight.

    Args:
        value: [B, Cv, s * Hk, s * Wk], s = value_scale; any dtype of `search`.
        nnf: int32 [B, k, 2, H, W], positions in the key picture [Hk, Wk]; -1 = no match (adds nothing).
        weight: [B, k, H, W] float32 (float64 with float64 values): weights, or logits with softmax=True.
        patch_size: odd, 1 to 31.
        softmax: normalise over all candidates of a query: exp(weight) / sum of exp(weight). Without any: 0.
        value_scale: 1 to 4; values s times larger than keys (cross-scale attention pastes s times larger patches).

    Returns:
        [B, Cv, s * H, s * W] of value's dtype.

    Raises:
        ValueError: wrong shapes, dtypes or devices, a match outside the picture, with the offending value.

    Example:
        >>> value, weight = torch.arange(4.0).view(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
        >>> nnf = torch.ones((1, 1, 2, 2, 2), dtype=torch.int32)
        >>> aggregate(value, nnf, weight).tolist()
        [[[[3.0, 3.0], [3.0, 3.0]]]]
    """
    validation.aggregate(value, nnf, weight, patch_size, value_scale)
    if value_scale > 1:
        # A pixel of an s times larger picture is one of s^2 groups of channels of a key's pixel.
        value = F.pixel_unshuffle(value, value_scale)
    out, _ = torch.ops.psal.aggregate(value, nnf, weight, patch_size, softmax)
    return F.pixel_shuffle(out, value_scale) if value_scale > 1 else out


def _log_totals(nnf: Tensor, weight: Tensor, softmax: bool) -> Tensor:
    """An empty tensor for the softmax's denominators: [B, H, W], or an empty one."""
    return weight.new_empty((nnf.shape[0], *nnf.shape[3:]) if softmax else (0,))


@operator("aggregate", differentiable=True)
def _aggregate(value: Tensor, nnf: Tensor, weight: Tensor, patch_size: int, softmax: bool) -> tuple[Tensor, Tensor]:
    log_total = _log_totals(nnf, weight, softmax)
    size, out = value.shape[2:], _vectors(value, *nnf.shape[3:])
    if softmax:
        native.kernel("log_total", nnf.device)(_arguments("log_total", nnf, log_total, size, patch_size, weight=weight))
    arguments = _arguments(
        "spread", nnf, out, size, patch_size, key=channels_last(value), weight=weight, log_total=log_total if softmax else None
    )
    native.kernel("spread", nnf.device)(arguments)
    return out.permute(0, 3, 1, 2), log_total


@fake("aggregate")
def _(value: Tensor, nnf: Tensor, weight: Tensor, patch_size: int, softmax: bool) -> tuple[Tensor, Tensor]:
    return _vectors(value, *nnf.shape[3:]).permute(0, 3, 1, 2), _log_totals(nnf, weight, softmax)


class _AggregateContext(Context, Protocol):
    patch_size: int
    softmax: bool


def _aggregate_setup(
    ctx: _AggregateContext, inputs: tuple[Tensor, Tensor, Tensor, int, bool], output: tuple[Tensor, Tensor]
) -> None:
    value, nnf, weight, ctx.patch_size, ctx.softmax = inputs
    ctx.save_for_backward(value, nnf, weight, *output)
    ctx.mark_non_differentiable(output[1])


def _aggregate_backward(ctx: _AggregateContext, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    value, nnf, weight, out, saved_total = ctx.saved_tensors
    log_total = saved_total if ctx.softmax else None
    grad_value = grad_weight = None
    if ctx.needs_input_grad[0]:
        grad_value = torch.ops.psal.scatter(grad, nnf, weight, ctx.patch_size, *value.shape[2:], log_total)
    if ctx.needs_input_grad[2]:
        baseline = (grad.to(weight.dtype) * out.to(weight.dtype)).sum(1) if ctx.softmax else None
        logits = weight if ctx.softmax else None
        grad_weight = torch.ops.psal.gather(grad, value, nnf, ctx.patch_size, "dot", logits, log_total, baseline)
        if ctx.softmax and ctx.patch_size == 1 and weight.shape[1] == 1:
            grad_weight.zero_()  # the softmax of one number: a rounding error here is a full step to Adam
    return grad_value, None, grad_weight, None, None


torch.library.register_autograd("psal::aggregate", _aggregate_backward, setup_context=_aggregate_setup)
