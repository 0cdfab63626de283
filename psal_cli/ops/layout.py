"""Layout and arithmetic that the operators share: channels-last copies, pointers, sums over patches."""

import torch
import torch.nn.functional as F
from torch import Tensor


def channels_last(x: Tensor) -> Tensor:
    """[B, C, H, W] -> the same numbers as a densely packed [B, H, W, C]."""
    return x.permute(0, 2, 3, 1).contiguous()


def pointer(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


def dense(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if x is None else x.contiguous() for x in tensors]


def term(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which sums over features of `dtype` are kept."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def margins(window: tuple[int, int]) -> tuple[int, int, int, int]:
    return window[1] // 2, window[1] // 2, window[0] // 2, window[0] // 2


def inverse_norm(x: Tensor, patch_size: int) -> Tensor:
    """1 / max(norm of the patch around each pixel, 1e-4) as [B, 1, H, W]; what lies outside the picture counts as zero.

    The floor is that of ContextualAttention and CSNLN. Differentiable.

    Example:
        >>> inverse_norm(torch.ones(1, 4, 5, 5), 3)[0, 0, 2, 2].item()  # 1 / sqrt(4 channels * 9 pixels)
        0.1666666716337204
    """
    energy = x.to(term(x.dtype)).square().sum(1, keepdim=True)
    for window in ((patch_size, 1), (1, patch_size)):
        energy = F.avg_pool2d(F.pad(energy, margins(window)), window, stride=1) * patch_size
    return energy.clamp_min(1e-8).rsqrt()
