"""Inpainting: fills the masked part of a picture at its own resolution; nothing outside the mask changes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from psal_cli.tasks.blend import blended
from psal_cli.tasks.completion import complete, crop


@dataclass
class Filled:
    """image: float32 [1, C, H, W], equal to the input outside the mask; nnf: int32 [H, W, 2], the (row, column) that each
    filled pixel was copied from, -1 outside the mask."""

    image: Tensor
    nnf: Tensor


def inpaint(
    image: Tensor,
    mask: Tensor,
    *,
    source_mask: Tensor | None = None,
    patch_size: int = 7,
    iterations: int | None = None,
    seed: int = 0,
    blend: bool = True,
    progress: Callable[[int, int, str], None] | None = None,
) -> Filled:
    """Fills a hole with patches of the rest of the picture (see psal_cli.tasks.completion).

    Args:
        image: float32 [1, C, H, W] in [0, 1].
        mask: bool [H, W], True = fill; any number of holes of any size, also at the border.
        source_mask: bool [H, W], True = may be copied from; default everywhere outside the mask.
        patch_size: odd, 3 to 31.
        iterations: rounds of search and vote at each level; default more at coarse levels than at fine ones.
        seed: the same seed gives the same picture for any number of threads.
        blend: correct the fill where the light differs across the hole's edge.
        progress: called before each level with (level, levels, its size as text).

    Raises:
        ValueError: wrong shapes; an empty mask; no whole patch left to copy from.
    """
    _check(image, mask, source_mask, patch_size)
    device = image.device  # the work is many small searches in a row, each over before a GPU had begun: the CPU does it
    image, mask = image.cpu(), mask.cpu()
    source = torch.ones_like(mask) if source_mask is None else source_mask.cpu()
    level, holes = complete(image, mask, source, patch_size, iterations, seed, progress)
    out, nnf = image.clone(), torch.full((*mask.shape, 2), -1, dtype=torch.int32)
    for one in holes:
        fill = one.features[0, : level.colours]
        if blend:
            fill = blended(image[0], fill, one.origin, one.unknown, one.box)
        target, found = crop(out[0], one.box), crop(nnf.permute(2, 0, 1), one.box)
        target.copy_(torch.where(one.unknown, fill.clamp(0, 1), target))
        found.copy_(torch.where(one.unknown, one.origin.permute(2, 0, 1).int(), found))
    return Filled(out.to(device), nnf.to(device))


def _check(image: Tensor, mask: Tensor, source_mask: Tensor | None, patch_size: int) -> None:
    if image.ndim != 4 or image.shape[0] != 1:
        raise ValueError(f"image has shape {list(image.shape)}, expected [1, C, H, W]")
    for name, m in (("mask", mask), ("source_mask", source_mask)):
        if m is not None and (m.shape != image.shape[2:] or m.dtype != torch.bool):
            raise ValueError(f"{name} is {m.dtype} {list(m.shape)}, expected torch.bool {list(image.shape[2:])}")
    if not mask.any():
        raise ValueError("mask is empty: nothing to fill")
    if mask.all():
        raise ValueError("mask covers the whole picture: nothing is left to copy from")
    if not (3 <= patch_size <= 31 and patch_size % 2):
        raise ValueError(f"patch_size is {patch_size}, expected an odd number from 3 to 31")
