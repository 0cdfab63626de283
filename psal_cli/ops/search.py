"""The search as a torch operator, psal::search."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli import native
from psal_cli.ops import validation
from psal_cli.ops.layout import channels_last, dense, inverse_norm, margins, pointer
from psal_cli.ops.operator import fake, operator


class ValidKeys(NamedTuple):
    """The keys of a mask, for callers that search one key often.

    Attributes:
        valid: bool [B, Hk, Wk], True where the whole patch lies inside the picture and inside the mask.
        rows: int32 [B, Hk], the number of valid keys in each row and all rows before it; random keys are drawn with it.

    Example:
        >>> keys = ValidKeys.of(torch.ones(1, 8, 8, dtype=torch.bool), patch_size=3)
        >>> keys.rows.tolist()
        [[0, 6, 12, 18, 24, 30, 36, 36]]
    """

    valid: Tensor
    rows: Tensor

    @staticmethod
    def of(key_mask: Tensor, patch_size: int) -> "ValidKeys":
        """Computes them once. key_mask: bool [B, Hk, Wk]; patch_size: of the searches."""
        valid = valid_keys(key_mask, patch_size)
        return ValidKeys(valid, keys_by_row(valid))


def search(
    query: Tensor,
    key: Tensor,
    patch_size: int = 7,
    k: int = 3,
    iterations: int = 5,
    similarity: str = "l2",
    query_mask: Tensor | None = None,
    key_mask: Tensor | ValidKeys | None = None,
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
        key_mask: bool [B, Hk, Wk], True = may be matched; a key needs its whole patch True. Or the `ValidKeys` of such a mask,
            which saves computing them.
        init: int32 [B, k, 2, H, W], a field to start from; unusable entries are drawn anew.
        schedule: "scan" (CPU; the default there), "jump-flood" (Algorithm 1; CPU and CUDA; the default on CUDA) or
            "exact" (all keys).
        seed: 63 bits. The same seed gives the same field for any number of threads.

    Returns:
        nnf: int32 [B, k, 2, H, W], best first, no duplicates.
        similarity: float32 [B, k, H, W], larger is closer. Not differentiable: see `similarity_at`.

    Raises:
        ValueError: for each constraint above, with the offending value and the expected one.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> picture = torch.rand(1, 3, 8, 8, generator=generator)
        >>> nnf, similarity = search(picture, picture, patch_size=3, k=1, schedule="exact")
        >>> nnf[0, 0, :, 4, 5].tolist(), similarity[0, 0, 4, 5].item()
        ([4, 5], -0.0)
    """
    schedule = schedule or ("jump-flood" if query.is_cuda else "scan")
    validation.features(query, key)
    validation.search(query, key, patch_size, k, iterations, similarity, schedule)
    validation.init(query, k, init)
    keys = None
    if isinstance(key_mask, ValidKeys):
        keys, key_mask = key_mask, key_mask.valid
    validation.masks(query, key, query_mask, key_mask)
    if keys:
        validation.enough_keys(keys.rows, k)
    elif key_mask is not None:
        keys = ValidKeys(*torch.ops.psal.enough_valid_keys(key_mask, patch_size, k))
    seed &= 0x7FFFFFFFFFFFFFFF
    nnf, best = torch.ops.psal.search(
        query, key, query_mask, *(keys or (None, None)), init, patch_size, k, iterations, similarity, schedule, seed
    )
    return nnf, best


def valid_keys(key_mask: Tensor, patch_size: int) -> Tensor:
    """bool [B, Hk, Wk] -> bool [B, Hk, Wk]: True where the whole patch lies inside the picture and inside the mask.

    Example:
        >>> valid_keys(torch.ones(1, 4, 5, dtype=torch.bool), 3)[0].int()
        tensor([[0, 0, 0, 0, 0],
                [0, 1, 1, 1, 0],
                [0, 1, 1, 1, 0],
                [0, 0, 0, 0, 0]], dtype=torch.int32)
    """
    valid = key_mask
    for axis in (1, 2):
        covered = 1  # valid[i] covers this many pixels from i on; it doubles with each step
        while covered < patch_size:
            step = min(covered, patch_size - covered)
            size = valid.shape[axis] - step
            valid = valid.narrow(axis, 0, size) & valid.narrow(axis, step, size)
            covered += step
    return F.pad(valid, margins((patch_size, patch_size)))


def keys_by_row(key_valid: Tensor) -> Tensor:
    """int32 [B, Hk]: the number of valid keys in each row and all rows before it.

    Example:
        >>> keys_by_row(torch.tensor([[[True, False], [True, True]]]))
        tensor([[1, 3]], dtype=torch.int32)
    """
    return key_valid.sum(2, dtype=torch.int32).cumsum(1, dtype=torch.int32)


@operator("enough_valid_keys")
def _enough_valid_keys(key_mask: Tensor, patch_size: int, k: int) -> tuple[Tensor, Tensor]:
    """`valid_keys` and their `keys_by_row`. Raises ValueError for fewer than k valid keys.

    This is an operator because torch.compile cannot branch on the content of a tensor.
    """
    key_valid = valid_keys(key_mask, patch_size)
    key_rows = keys_by_row(key_valid)
    validation.enough_keys(key_rows, k)
    return key_valid, key_rows


@fake("enough_valid_keys")
def _(key_mask: Tensor, patch_size: int, k: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(key_mask), key_mask.new_empty(key_mask.shape[:2], dtype=torch.int32)


@operator("search")
def _search(
    query: Tensor,
    key: Tensor,
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
    key_scale = inverse_norm(key, patch_size).float().contiguous() if similarity in ("cosine", "key_cosine") else None
    product = "l2" if similarity == "l2" else "dot"
    last_query, last_key = channels_last(query), channels_last(key)
    query_mask, key_valid, key_rows = dense(query_mask, key_valid, key_rows)
    field = _packed(init) if init is not None else query.new_empty((batch, height, width, k), dtype=torch.int32)
    best = query.new_empty((batch, height, width, k), dtype=torch.float32)
    args = native.SearchArgs(
        native.place(query.device), native.DTYPES[query.dtype], native.SIMILARITIES[product], native.SCHEDULES[schedule],
        batch, channels, height, width, *key.shape[2:], patch_size, k, iterations, init is not None, seed,
        last_query.data_ptr(), last_key.data_ptr(), pointer(key_scale), pointer(query_mask),
        pointer(key_valid), pointer(key_rows),
        field.data_ptr(), best.data_ptr(), None,
    )  # fmt: skip
    scratch = query.new_empty(native.search_scratch(args, query.device), dtype=torch.uint8)
    args.scratch = scratch.data_ptr()
    native.kernel("search", query.device)(args)
    del last_query, last_key, scratch  # free the largest tensors before the field is unpacked
    nnf, best = _unpacked(field), best.permute(0, 3, 1, 2).contiguous()
    del field
    if similarity == "cosine":
        best = (best * inverse_norm(query, patch_size)).float()
    if query_mask is not None:
        nnf.masked_fill_(~query_mask[:, None, None], -1)
        best.masked_fill_(~query_mask[:, None], -torch.inf)
    return nnf, best


def _packed(nnf: Tensor) -> Tensor:
    """[B, k, 2, H, W] -> [B, H, W, k], row << 16 | column; entries out of range become 0xffffffff, which is no key."""
    row, column = nnf.unbind(2)
    packed = (row << 16) | (column & 0xFFFF)
    outside = (row < 0) | (column < 0) | (row > validation.MAX_SIDE) | (column > validation.MAX_SIDE)
    return packed.masked_fill_(outside, -1).permute(0, 2, 3, 1).contiguous()


def _unpacked(field: Tensor) -> Tensor:
    batch, height, width, k = field.shape
    nnf = field.new_empty((batch, k, 2, height, width))
    nnf[:, :, 0] = ((field >> 16) & 0xFFFF).permute(0, 3, 1, 2)
    nnf[:, :, 1] = (field & 0xFFFF).permute(0, 3, 1, 2)
    return nnf


@fake("search")
def _(
    query: Tensor,
    key: Tensor,
    query_mask: Tensor | None,
    key_valid: Tensor | None,
    key_rows: Tensor | None,
    init: Tensor | None,
    patch_size: int,
    k: int,
    *_: int | str,
) -> tuple[Tensor, Tensor]:
    batch, height, width = query.shape[0], *query.shape[2:]
    nnf = query.new_empty((batch, k, 2, height, width), dtype=torch.int32)
    return nnf, query.new_empty((batch, k, height, width), dtype=torch.float32)
