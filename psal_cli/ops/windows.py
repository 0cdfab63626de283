"""similarity_at and aggregate as torch operators with their gradients, all made of three window sums (ext/windows.h)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli import checks, native
from psal_cli.ops.layout import channels_last, dense, inverse_norm, pointer, term


def _window_args(query, key, key_size, nnf, weight, log_total, baseline, order, first, patch_size, similarity, centred, out):
    batch, k, _, height, width = nnf.shape
    features = next((x for x in (query, key) if x is not None), None)
    dtype, channels = (weight.dtype, 0) if features is None else (features.dtype, features.shape[3])
    return native.WindowArgs(
        native.Place(), native.DTYPES[dtype], native.SIMILARITIES[similarity],
        batch, channels, height, width, *key_size, patch_size, k,
        *[pointer(x) for x in (query, key, nnf, weight, log_total, baseline, order, first)], centred, out.data_ptr(),
    )  # fmt: skip


@torch.library.custom_op("psal::gather", mutates_args=(), device_types=("cpu", "cuda"))
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
    nnf, weight, log_total, baseline = dense(nnf, weight, log_total, baseline)
    last_query, last_key = channels_last(query), channels_last(key)
    batch, k, _, height, width = nnf.shape
    out = query.new_empty((batch, k, height, width), dtype=term(query.dtype))
    args = _window_args(
        last_query, last_key, key.shape[2:], nnf, weight, log_total, baseline, None, None, patch_size, similarity, 0, out
    )
    native.call("gather", args, nnf.device)
    return out


@_gather.register_fake
def _(query, key, nnf, patch_size, similarity, weight=None, log_total=None, baseline=None):
    batch, k, _, height, width = nnf.shape
    return query.new_empty((batch, k, height, width), dtype=term(query.dtype))


@torch.library.custom_op("psal::spread", mutates_args=(), device_types=("cpu", "cuda"))
def _spread(
    value: Tensor, nnf: Tensor, weight: Tensor, patch_size: int, log_total: Tensor | None = None, centre: Tensor | None = None
) -> Tensor:
    """[B, C, H, W]: at each query the weighted sum of what the surrounding matches paste there, minus `centre`."""
    nnf, weight, log_total = dense(nnf, weight, log_total)
    last_value, last_centre = channels_last(value), None if centre is None else channels_last(centre)
    batch, _, _, height, width = nnf.shape
    out = value.new_empty((batch, height, width, value.shape[1]))
    args = _window_args(
        last_centre,
        last_value,
        value.shape[2:],
        nnf,
        weight,
        log_total,
        None,
        None,
        None,
        patch_size,
        "dot",
        centre is not None,
        out,
    )
    native.call("spread", args, nnf.device)
    return out.permute(0, 3, 1, 2)


@_spread.register_fake
def _(value, nnf, weight, patch_size, log_total=None, centre=None):
    batch, _, _, height, width = nnf.shape
    return value.new_empty((batch, height, width, value.shape[1])).permute(0, 3, 1, 2)


@torch.library.custom_op("psal::scatter", mutates_args=(), device_types=("cpu", "cuda"))
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
    nnf, weight, log_total = dense(nnf, weight, log_total)
    last_query, last_centre = channels_last(query), None if centre is None else channels_last(centre)
    row, column = nnf.unbind(2)
    keys = key_height * key_width
    place = (row.long() * key_width + column).masked_fill_((row < 0) | (column < 0), keys).flatten(1)
    place, order = place.sort(dim=1, stable=True)
    bounds = torch.arange(keys + 1, device=nnf.device).expand(nnf.shape[0], -1).contiguous()
    first = torch.searchsorted(place, bounds)
    out = query.new_empty((nnf.shape[0], key_height, key_width, query.shape[1]))
    args = _window_args(
        last_query,
        last_centre,
        (key_height, key_width),
        nnf,
        weight,
        log_total,
        None,
        order,
        first,
        patch_size,
        "dot",
        centre is not None,
        out,
    )
    native.call("scatter", args, nnf.device)
    return out.permute(0, 3, 1, 2)


@_scatter.register_fake
def _(query, nnf, weight, patch_size, key_height, key_width, log_total=None, centre=None):
    return query.new_empty((nnf.shape[0], key_height, key_width, query.shape[1])).permute(0, 3, 1, 2)


def similarity_at(query: Tensor, key: Tensor, nnf: Tensor, patch_size: int = 7, similarity: str = "l2") -> Tensor:
    """Similarity of every query patch to the key patches at its matches; differentiable in query and key (eq. 7 and 8).

    Args:
        query: [B, C, H, W]; key: [B, C, Hk, Wk], same dtype and device.
        nnf: int32 [B, k, 2, H, W], absolute (row, column) in key; -1 = no match, whose similarity is -inf.
        patch_size: odd, 1 to 31.
        similarity: "l2", "dot", "cosine" or "key_cosine", see `search`.

    Returns:
        [B, k, H, W] float32 (float64 for float64 features), equal to what `search` returns at that nnf.

    Raises:
        ValueError: wrong shapes, dtypes or devices, or an unknown similarity, with the offending value.
    """
    checks.features(query, key)
    checks.nnf(query, nnf)
    checks.patch(patch_size, similarity)
    if similarity == "l2":
        return torch.ops.psal.gather(query, key, nnf, patch_size, "l2")
    product = torch.ops.psal.gather(query, key, nnf, patch_size, "dot")
    if similarity != "dot":
        row, column = nnf.long().clamp_min(0).unbind(2)  # [B, k, H, W]
        scale = inverse_norm(key, patch_size).flatten(1)  # [B, Hk * Wk]
        product = product * scale.gather(1, (row * key.shape[3] + column).flatten(1)).view_as(product)
    if similarity == "cosine":
        product = product * inverse_norm(query, patch_size)
    return product.masked_fill(nnf[:, :, 0] < 0, -torch.inf)


def _gather_setup(ctx, inputs, output):
    query, key, nnf, ctx.patch_size, ctx.similarity, *_ = inputs
    ctx.save_for_backward(query, key, nnf)


def _gather_backward(ctx, grad):
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


_gather.register_autograd(_gather_backward, setup_context=_gather_setup)


def aggregate(
    value: Tensor, nnf: Tensor, weight: Tensor, patch_size: int = 1, softmax: bool = False, value_scale: int = 1
) -> Tensor:
    """Weighted sum of the values at each query's matches, over its own matches or over those of its whole patch.

    With patch_size 1 each query takes the centre value of its own k matches: PSAL-k, equation 5 with `weight` the
    softmax of the similarities. With a larger patch_size each query also takes what the matches of the queries around it
    paste at its place: with softmax=True and `weight` the similarities / temperature this is the spatial aggregation of
    section 3.4.3, equation 10. Fused: no [C, k * patch_size^2, H, W] tensor is ever built. Differentiable in value and
    weight.

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
        ValueError: wrong shapes, dtypes or devices, with the offending value.
    """
    checks.aggregate(value, nnf, weight, patch_size, value_scale)
    if value_scale > 1:
        # A pixel of an s times larger picture is one of s^2 groups of channels of a key's pixel.
        value = F.pixel_unshuffle(value, value_scale)
    out, _ = torch.ops.psal.aggregate(value, nnf, weight, patch_size, softmax)
    return F.pixel_shuffle(out, value_scale) if value_scale > 1 else out


@torch.library.custom_op("psal::aggregate", mutates_args=(), device_types=("cpu", "cuda"))
def _aggregate(value: Tensor, nnf: Tensor, weight: Tensor, patch_size: int, softmax: bool) -> tuple[Tensor, Tensor]:
    batch, _, _, height, width = nnf.shape
    log_total = weight.new_empty((batch, height, width) if softmax else (0,))
    if softmax:
        dense_nnf, dense_weight = dense(nnf, weight)
        args = _window_args(
            None, None, value.shape[2:], dense_nnf, dense_weight, None, None, None, None, patch_size, "dot", 0, log_total
        )
        native.call("log_total", args, nnf.device)
    return torch.ops.psal.spread(value, nnf, weight, patch_size, log_total if softmax else None), log_total


@_aggregate.register_fake
def _(value, nnf, weight, patch_size, softmax):
    batch, _, _, height, width = nnf.shape
    out = value.new_empty((batch, height, width, value.shape[1])).permute(0, 3, 1, 2)
    return out, weight.new_empty((batch, height, width) if softmax else (0,))


def _aggregate_setup(ctx, inputs, output):
    value, nnf, weight, ctx.patch_size, ctx.softmax = inputs
    ctx.save_for_backward(value, nnf, weight, *output)
    ctx.mark_non_differentiable(output[1])


def _aggregate_backward(ctx, grad, _):
    value, nnf, weight, out, log_total = ctx.saved_tensors
    log_total = log_total if ctx.softmax else None
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


_aggregate.register_autograd(_aggregate_backward, setup_context=_aggregate_setup)
