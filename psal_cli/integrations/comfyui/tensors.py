"""Converts ComfyUI's batches of tensors to psal's arrays and back.

ComfyUI stores pictures as float32 [B, H, W, C], mostly in [0, 1], and masks as float32 [B, H, W] with 1 = white.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from psal_cli.errors import InvalidValueError

Floats = npt.NDArray[np.float32]


def arrays(images: Tensor) -> list[Floats]:
    """The pictures of a batch, [B, H, W, C] -> float32 [H, W, C] each."""
    return [np.ascontiguousarray(image.detach().cpu().numpy(), np.float32) for image in images]


def regions(masks: Tensor, count: int, size: tuple[int, int]) -> list[npt.NDArray[np.bool_]]:
    """The mask of each of `count` pictures of size (height, width): bool, True from 0.5 on. A single mask serves all pictures.

    Raises:
        InvalidValueError: the number of masks or their size does not fit.
    """
    masks = masks[None] if masks.ndim == 2 else masks
    height, width = size
    if tuple(masks.shape[1:]) != size:
        raise InvalidValueError("mask", f"{masks.shape[2]}x{masks.shape[1]}", f"{width}x{height}, the size of the pictures")
    return [np.asarray(mask.detach().cpu() >= 0.5) for mask in repeated("mask", list(masks), count)]


def repeated(what: str, given: Sequence[Tensor], count: int) -> Sequence[Tensor]:
    """One tensor for each of `count` pictures; a single tensor is repeated.

    Raises:
        InvalidValueError: the number of tensors is neither 1 nor `count`.
    """
    if len(given) not in (1, count):
        raise InvalidValueError(what, f"a batch of {len(given)}", f"1 or {count}, as many as there are pictures")
    return given if len(given) == count else [given[0]] * count


def batch(pictures: Sequence[npt.NDArray[np.generic]]) -> Tensor:
    """Pictures of one size, float32 or uint8 [H, W] or [H, W, C] -> a batch, float32 [B, H, W, C]."""
    made = [np.asarray(picture[..., None] if picture.ndim == 2 else picture) for picture in pictures]
    return torch.from_numpy(np.stack([x.astype(np.float32) / (255 if x.dtype == np.uint8 else 1) for x in made]))
