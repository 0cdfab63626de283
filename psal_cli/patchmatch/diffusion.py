"""Diffuses colours into a hole: approximately the harmonic fill, in a few passes over the picture."""

import torch
import torch.nn.functional as F
from torch import Tensor

SWEEPS = 12  # iterations of Jacobi's method per level


def diffused(image: Tensor, mask: Tensor) -> Tensor:
    """[B, C, H, W]: the picture with the hole filled by an approximate solution of Laplace's equation (cascadic multigrid).

    Args:
        image: [B, C, H, W], zero in the hole. mask: float [B, 1, H, W], 1 = hole. If everything is hole, the result is zero.
    """
    known = 1 - mask
    if not mask.any():
        return image
    if min(image.shape[2:]) == 1:
        return image + mask * image.sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
    share = F.avg_pool2d(known, 2, ceil_mode=True)
    small = F.avg_pool2d(image, 2, ceil_mode=True) / share.clamp_min(1e-6)  # the mean of the known pixels
    small = diffused(small * (share > 0), (share == 0).to(mask))
    out = _doubled(_doubled(small, 2), 3)[..., : image.shape[2], : image.shape[3]]
    out = torch.where(mask > 0, out, image)
    for _ in range(SWEEPS):
        around = F.pad(out, (1, 1, 1, 1), mode="replicate")
        mean = (around[..., 1:-1, 2:] + around[..., 1:-1, :-2] + around[..., 2:, 1:-1] + around[..., :-2, 1:-1]) / 4
        out = torch.where(mask > 0, mean, out)
    return out


def _doubled(x: Tensor, axis: int) -> Tensor:
    """Bilinear upsampling by 2; the rounding of F.interpolate depends on the number of threads."""
    size = x.shape[axis]
    before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, size - 1)], axis)
    after = torch.cat([x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1)], axis)
    return torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1).flatten(axis, axis + 1)
