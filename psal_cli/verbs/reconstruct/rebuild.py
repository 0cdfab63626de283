"""Rebuilds a picture from the pixels of another through one attention layer (Cherel et al., arXiv 2202.03163, section 4.2)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from psal_cli.attention import full_attention, ps_attention
from psal_cli.errors import InvalidValueError
from psal_cli.image.arrays import white_of
from psal_cli.image.cielab import tone
from psal_cli.image.extended_range import compressed, is_extended, limits
from psal_cli.ops.search import valid_keys
from psal_cli.patchmatch.pyramid import floats
from psal_cli.verbs.reconstruct.options import ReconstructOptions

DEFAULTS = ReconstructOptions()


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """pixels: with the dtype and size of the query and the channels of the key. nnf: int32 [k, 2, H, W], the (row, column) in the
    key of each pixel's matches, best first; None with full attention."""

    pixels: np.ndarray
    nnf: np.ndarray | None


def rebuild(
    query: np.ndarray,
    key: np.ndarray,
    options: ReconstructOptions = DEFAULTS,
    *,
    visible: np.ndarray | None = None,
) -> Rebuilt:
    """Replaces each pixel by the mean of the key's pixels with the nearest patches, weighted by softmax(-squared distance /
    temperature).

    If only one of the two is grey, they are compared by luminance.

    Args:
        query, key: uint8, uint16 or float32 [H, W, 1 or 3], as sRGB, of any sizes from patch_size on.
        visible: bool [Hk, Wk], which pixels of the key may be used, in patches that lie in it entirely; default all.

    Raises:
        InvalidValueError: nothing of the key is visible.
        ValueError: as the layers raise.
    """
    patch_size = options.patch_size
    query_map, key_map = _compared(query, key)
    value = key_map if key_map.shape[1] == key.shape[2] and not is_extended(key) else _shares(key)
    query_map, key_map, value = (x.to(options.device) for x in (query_map, key_map, value))
    mask = None if visible is None or visible.all() else torch.from_numpy(visible)[None].to(options.device)
    if mask is not None and not valid_keys(mask, patch_size).any():
        patch = f"a whole patch of {patch_size}x{patch_size} that is visible"
        raise InvalidValueError("reference", "too transparent", patch)
    nnf = None
    with torch.no_grad():
        if options.attention == "full":
            out = full_attention(query_map, key_map, value, patch_size, temperature=options.temperature, key_mask=mask)
        else:
            out, field = ps_attention(
                query_map, key_map, value, patch_size, options.k, options.iterations,
                aggregation=options.attention == "aggregation", temperature=options.temperature, key_mask=mask,
                seed=options.seed, return_field=True,
            )  # fmt: skip
            nnf = field.nnf[0].cpu().numpy()
    shares = out[0].clamp_(*limits(key))
    if query.dtype.kind == "u":
        shares = shares.clamp_(0, 1).mul_(white_of(query.dtype)).round_()
    return Rebuilt(shares.permute(1, 2, 0).cpu().numpy().astype(query.dtype), nnf)


def _compared(query: np.ndarray, key: np.ndarray) -> tuple[Tensor, Tensor]:
    """[1, C, H, W] of each picture, in [0, 1] or range-compressed."""
    if query.shape[2] != key.shape[2]:
        return torch.from_numpy(tone(query))[None, None], torch.from_numpy(tone(key))[None, None]
    return _shares(compressed(query)), _shares(compressed(key))


def _shares(pixels: np.ndarray) -> Tensor:
    """Channels last in memory, so that the engine makes no copy."""
    return torch.from_numpy(floats(pixels)).permute(2, 0, 1)[None]


def psnr(pixels: np.ndarray, other: np.ndarray) -> float:
    """PSNR in decibels of two pictures of the same shape and dtype; infinite if they are equal."""
    error = np.mean([np.square(a.astype(np.float64) - b).mean() for a, b in zip(pixels, other, strict=True)])  # row by row, to save memory
    return float("inf") if error == 0 else float(20 * np.log10(white_of(pixels.dtype)) - 10 * np.log10(error))
