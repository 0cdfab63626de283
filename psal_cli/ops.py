"""The native operations as torch operators: typed function, fake kernel and gradient of each (torch.library).

Feature maps are `[B, C, H, W]`; the native code reads them channels-last, so a tensor in torch.channels_last memory
format is used as it is and any other is copied once. An nnf is int32 `[B, k, 2, H, W]`, absolute (row, column) in the
key, best first; -1 where there is no match. Similarities and weights are float32, or float64 with float64 features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli import checks, native


def _channels_last(x: Tensor) -> Tensor:
    """[B, C, H, W] -> the same numbers as a densely packed [B, H, W, C]."""
    return x.permute(0, 2, 3, 1).contiguous()


def _pointer(x: Tensor | None):
    return None if x is None else x.data_ptr()


def _dense(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if x is None else x.contiguous() for x in tensors]


def _term(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which sums over features of `dtype` are kept."""
    return torch.float64 if dtype == torch.float64 else torch.float32


# ---------------------------------------------------------------------------------------------------------------- search


def search(
    query: Tensor,
    key: Tensor,
    patch_size: int = 7,
    k: int = 3,
    iterations: int = 5,
    similarity: str = "l2",
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
    init: Tensor | None = None,
    schedule: str | None = None,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Finds, for every query patch, k key patches of high similarity (PatchMatch; Cherel et al. 2022, section 3.2).

    A key is the centre of a patch that lies whole inside the key picture. A query patch that leaves the query picture
    is clipped: with "l2" the terms outside are left out, with the products they are zero.

    Args:
        query: [B, C, H, W] float32, float16, bfloat16 or float64.
        key: [B, C, Hk, Wk], same B, C, dtype and device; Hk, Wk >= patch_size; sides up to 65535.
        patch_size: odd, 1 to 31.
        k: neighbours kept for each query, 1 to 64, at most the number of valid keys.
        iterations: of propagation and random search, 0 to 1000 (unused by "exact").
        similarity: "l2" (minus the sum of squared differences), "dot", "cosine", or "key_cosine" (the key patch has
            unit norm, the query patch its own: ContextualAttention, CSNLN).
        query_mask: bool [B, H, W], True = search here. Elsewhere the nnf is -1 and the similarity -inf.
        key_mask: bool [B, Hk, Wk], True = may be matched; a key needs its whole patch True.
        init: int32 [B, k, 2, H, W], a field to start from; unusable entries are drawn anew.
        schedule: "scan" (CPU; the default there), "jump-flood" (Algorithm 1; CPU and CUDA; the default on CUDA) or
            "exact" (all keys).
        seed: 63 bits. The same seed gives the same field for any number of threads.

    Returns:
        nnf: int32 [B, k, 2, H, W], best first, no duplicates.
        similarity: float32 [B, k, H, W], larger is closer. Not differentiable: see `similarity_at`.

    Raises:
        ValueError: for each constraint above, with the offending value and the expected one.
    """
    schedule = schedule or ("jump-flood" if query.is_cuda else "scan")
    checks.features(query, key)
    checks.search(query, key, patch_size, k, iterations, similarity, schedule)
    checks.masks(query, key, query_mask, key_mask)
    checks.init(query, k, init)
    key_valid = None if key_mask is None else torch.ops.psal.enough_valid_keys(key_mask, patch_size, k)
    return search_valid(query, key, patch_size, k, iterations, similarity, query_mask, key_valid, init, schedule, seed)


def valid_keys(key_mask: Tensor, patch_size: int) -> Tensor:
    """bool [B, Hk, Wk] -> bool [B, Hk, Wk]: True where the whole patch lies inside the picture and inside the mask."""
    valid = key_mask
    for axis in (1, 2):
        covered = 1  # valid[i] tells of `covered` pixels from i on: twice as many with each step
        while covered < patch_size:
            step = min(covered, patch_size - covered)
            size = valid.shape[axis] - step
            valid = valid.narrow(axis, 0, size) & valid.narrow(axis, step, size)
            covered += step
    return F.pad(valid, _margins((patch_size, patch_size)))


def keys_by_row(key_valid: Tensor) -> Tensor:
    """int32 [B, Hk]: how many keys of each row and all earlier ones are valid; what random draws are made from."""
    return key_valid.sum(2, dtype=torch.int32).cumsum(1, dtype=torch.int32)


@torch.library.custom_op("psal::enough_valid_keys", mutates_args=())
def _enough_valid_keys(key_mask: Tensor, patch_size: int, k: int) -> Tensor:
    """`valid_keys`, refused when fewer than k. An operator, because torch.compile cannot branch on what a tensor holds."""
    key_valid = valid_keys(key_mask, patch_size)
    checks.enough_keys(keys_by_row(key_valid), k)
    return key_valid


@_enough_valid_keys.register_fake
def _(key_mask, patch_size, k):
    return torch.empty_like(key_mask)


def _margins(window: tuple[int, int]) -> tuple[int, int, int, int]:
    return window[1] // 2, window[1] // 2, window[0] // 2, window[0] // 2


def search_valid(
    query, key, patch_size, k, iterations, similarity, query_mask, key_valid, init, schedule, seed, key_rows=None
) -> tuple[Tensor, Tensor]:
    """`search` without its checks, for callers that search one key often: with its `valid_keys` and their `keys_by_row`."""
    if key_valid is not None and key_rows is None:
        key_rows = keys_by_row(key_valid)
    key_scale = None
    if similarity in ("cosine", "key_cosine"):
        key_scale = inverse_norm(key, patch_size)[:, 0]
    product = "l2" if similarity == "l2" else "dot"
    seed = seed & 0x7FFFFFFFFFFFFFFF
    nnf, best = torch.ops.psal.search(
        query, key, key_scale, query_mask, key_valid, key_rows, init, patch_size, k, iterations, product, schedule, seed
    )  # fmt: skip
    if similarity == "cosine":
        best = (best * inverse_norm(query, patch_size)).float()
    return nnf, best


def inverse_norm(x: Tensor, patch_size: int) -> Tensor:
    """1 / max(norm of the patch around each pixel, 1e-4) as [B, 1, H, W]; what lies outside the picture counts as zero.

    The floor is that of ContextualAttention and CSNLN. Differentiable.
    """
    energy = x.to(_term(x.dtype)).square().sum(1, keepdim=True)
    for window in ((patch_size, 1), (1, patch_size)):
        energy = F.avg_pool2d(F.pad(energy, _margins(window)), window, stride=1) * patch_size
    return energy.clamp_min(1e-8).rsqrt()


@torch.library.custom_op("psal::search", mutates_args=(), device_types=("cpu", "cuda"))
def _search(
    query: Tensor,
    key: Tensor,
    key_scale: Tensor | None,
    query_mask: Tensor | None,
    key_valid: Tensor | None,
    key_rows: Tensor | None,
    init: Tensor | None,
    patch_size: int,
    k: int,
    iterations: int,
    similarity: str,
    schedule: str,
    seed: int,
) -> tuple[Tensor, Tensor]:
    batch, channels, height, width = query.shape
    last_query, last_key = _channels_last(query), _channels_last(key)
    scale = None if key_scale is None else key_scale.float().contiguous()
    query_mask, key_valid, key_rows = _dense(query_mask, key_valid, key_rows)
    field = _packed(init) if init is not None else query.new_empty((batch, height, width, k), dtype=torch.int32)
    best = query.new_empty((batch, height, width, k), dtype=torch.float32)
    args = native.SearchArgs(
        native.Place(), native.DTYPES[query.dtype], native.SIMILARITIES[similarity], native.SCHEDULES[schedule],
        batch, channels, height, width, *key.shape[2:], patch_size, k, iterations, init is not None, seed,
        last_query.data_ptr(), last_key.data_ptr(), _pointer(scale), _pointer(query_mask),
        _pointer(key_valid), _pointer(key_rows),
        field.data_ptr(), best.data_ptr(), None,
    )  # fmt: skip
    if query.is_cuda:
        scratch = query.new_empty(native.search_scratch(args), dtype=torch.uint8)
        args.scratch = scratch.data_ptr()
    native.call("search", args, query.device)
    del last_query, last_key  # before the unpacked field is made: the copies are the larger part of the memory
    nnf, best = _unpacked(field), best.permute(0, 3, 1, 2).contiguous()
    if query_mask is not None:
        nnf.masked_fill_(~query_mask[:, None, None], -1)
        best.masked_fill_(~query_mask[:, None], -torch.inf)
    return nnf, best


def _packed(nnf: Tensor) -> Tensor:
    """[B, k, 2, H, W] -> [B, H, W, k], row << 16 | column; what cannot be packed becomes 0xffffffff, which is no key."""
    row, column = nnf.unbind(2)
    packed = (row << 16) | (column & 0xFFFF)
    outside = (row < 0) | (column < 0) | (row > checks.MAX_SIDE) | (column > checks.MAX_SIDE)
    return packed.masked_fill_(outside, -1).permute(0, 2, 3, 1).contiguous()


def _unpacked(field: Tensor) -> Tensor:
    batch, height, width, k = field.shape
    nnf = field.new_empty((batch, k, 2, height, width))
    nnf[:, :, 0] = ((field >> 16) & 0xFFFF).permute(0, 3, 1, 2)
    nnf[:, :, 1] = (field & 0xFFFF).permute(0, 3, 1, 2)
    return nnf


@_search.register_fake
def _(query, key, key_scale, query_mask, key_valid, key_rows, init, patch_size, k, iterations, similarity, schedule, seed):
    batch, _, height, width = query.shape
    nnf = query.new_empty((batch, k, 2, height, width), dtype=torch.int32)
    return nnf, query.new_empty((batch, k, height, width), dtype=torch.float32)


# ----------------------------------------------------------------------------------------- window sums (ext/windows.h)


def _window_args(query, key, key_size, nnf, weight, log_total, baseline, order, first, patch_size, similarity, centred, out):
    batch, k, _, height, width = nnf.shape
    features = next((x for x in (query, key) if x is not None), None)
    dtype, channels = (weight.dtype, 0) if features is None else (features.dtype, features.shape[3])
    return native.WindowArgs(
        native.Place(), native.DTYPES[dtype], native.SIMILARITIES[similarity],
        batch, channels, height, width, *key_size, patch_size, k,
        *[_pointer(x) for x in (query, key, nnf, weight, log_total, baseline, order, first)], centred, out.data_ptr(),
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
    nnf, weight, log_total, baseline = _dense(nnf, weight, log_total, baseline)
    last_query, last_key = _channels_last(query), _channels_last(key)
    batch, k, _, height, width = nnf.shape
    out = query.new_empty((batch, k, height, width), dtype=_term(query.dtype))
    args = _window_args(
        last_query, last_key, key.shape[2:], nnf, weight, log_total, baseline, None, None, patch_size, similarity, 0, out
    )
    native.call("gather", args, nnf.device)
    return out


@_gather.register_fake
def _(query, key, nnf, patch_size, similarity, weight=None, log_total=None, baseline=None):
    batch, k, _, height, width = nnf.shape
    return query.new_empty((batch, k, height, width), dtype=_term(query.dtype))


@torch.library.custom_op("psal::spread", mutates_args=(), device_types=("cpu", "cuda"))
def _spread(
    value: Tensor, nnf: Tensor, weight: Tensor, patch_size: int, log_total: Tensor | None = None, centre: Tensor | None = None
) -> Tensor:
    """[B, C, H, W]: at each query the weighted sum of what the surrounding matches paste there, minus `centre`."""
    nnf, weight, log_total = _dense(nnf, weight, log_total)
    last_value, last_centre = _channels_last(value), None if centre is None else _channels_last(centre)
    batch, _, _, height, width = nnf.shape
    out = value.new_empty((batch, height, width, value.shape[1]))
    args = _window_args(last_centre, last_value, value.shape[2:], nnf, weight, log_total, None, None, None, patch_size, "dot", centre is not None, out)  # fmt: skip
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
    nnf, weight, log_total = _dense(nnf, weight, log_total)
    last_query, last_centre = _channels_last(query), None if centre is None else _channels_last(centre)
    row, column = nnf.unbind(2)
    keys = key_height * key_width
    place = (row.long() * key_width + column).masked_fill_((row < 0) | (column < 0), keys).flatten(1)
    place, order = place.sort(dim=1, stable=True)
    bounds = torch.arange(keys + 1, device=nnf.device).expand(nnf.shape[0], -1).contiguous()
    first = torch.searchsorted(place, bounds)
    out = query.new_empty((nnf.shape[0], key_height, key_width, query.shape[1]))
    args = _window_args(last_query, last_centre, (key_height, key_width), nnf, weight, log_total, None, order, first, patch_size, "dot", centre is not None, out)  # fmt: skip
    native.call("scatter", args, nnf.device)
    return out.permute(0, 3, 1, 2)


@_scatter.register_fake
def _(query, nnf, weight, patch_size, key_height, key_width, log_total=None, centre=None):
    return query.new_empty((nnf.shape[0], key_height, key_width, query.shape[1])).permute(0, 3, 1, 2)


# --------------------------------------------------------------------------------------------------------- similarity_at


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


# ------------------------------------------------------------------------------------------------------------- aggregate


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
        dense_nnf, dense_weight = _dense(nnf, weight)
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
