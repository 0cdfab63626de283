"""Seams: a fill copied from elsewhere meets its surroundings in light as well as in texture (Perez et al. 2003)."""

import numpy as np
import torch
from torch import Tensor

from psal_cli.tasks.parts import Box
from psal_cli.tasks.pyramid import floats, strips

# Steps larger than these are edges of the subject, not differences of light, and stay as they are: across the hole's edge,
# and between two parts of the fill: evening out every step there would cost it its texture, so of the larger ones only those
# go that the sources themselves have nothing like.
EDGE, SEAM, PLAIN_SEAM = 0.5, 0.05, 0.15
PLAIN = 0.5  # the sources are, where their own steps are so many times smaller
STEPS = 200  # of conjugate gradients at most; what is then left is a difference too wide to be seen


def blended(pixels: np.ndarray, fill: Tensor, origin: Tensor, unknown: Tensor, box: Box) -> Tensor:
    """The fill, corrected so that its gradients are those of its sources wherever copies from two places meet.

    Solves the Poisson equation for the correction: it is zero on the known pixels around the hole, and between two
    neighbours it makes up for the step that their sources do not have.

    Args:
        pixels: [H, W, C], what `floats` takes. fill: float32 [C, h, w], the crop `box` of it, filled; is overwritten.
        origin: int32 [n, 2], where each unknown pixel was copied from, in raster order. unknown: bool [h, w].
        box: (top, bottom, left, right).

    Returns:
        float32 [C, h, w], equal to `fill` outside `unknown`.
    """
    height, width = unknown.shape
    source = torch.empty((height, width, 2), dtype=torch.int32)
    source[..., 0] = torch.arange(box[0], box[1])[:, None]
    source[..., 1] = torch.arange(box[2], box[3])
    source[unknown] = origin
    right_side = torch.zeros_like(fill)
    for axis in (1, 2):
        for top, bottom in strips(height, width):
            rows = slice(top, bottom + (axis == 1))  # a step down leads to the next row
            step = _missing_step(pixels, fill[:, rows], source[rows], unknown[rows], axis)
            part = right_side[:, rows]
            part.narrow(axis, 0, step.shape[axis]).sub_(step)
            part.narrow(axis, 1, step.shape[axis]).add_(step)
    del source
    return fill.add_(_solve(right_side, unknown))


def _missing_step(pixels: np.ndarray, fill: Tensor, source: Tensor, unknown: Tensor, axis: int) -> Tensor:
    """[C, ...]: what must be added to the step from each pixel to the next one along `axis`; zero where both are known."""
    size = fill.shape[axis] - 1
    first, second = source.narrow(axis - 1, 0, size), source.narrow(axis - 1, 1, size)
    move = torch.tensor([1, 0] if axis == 1 else [0, 1])
    limit = torch.tensor(pixels.shape[:2]) - 1
    after_first = _look_up(pixels, torch.minimum(first + move, limit))
    before_second = _look_up(pixels, (second - move).clamp_min(0))
    step_here = fill.narrow(axis, 1, size) - fill.narrow(axis, 0, size)
    # The mean of the two sources' own steps; a known pixel is its own source, so its step may only be read inside the fill.
    known_first, known_second = ~unknown.narrow(axis - 1, 0, size), ~unknown.narrow(axis - 1, 1, size)
    from_first, from_second = after_first - fill.narrow(axis, 0, size), fill.narrow(axis, 1, size) - before_second
    wanted = torch.where(known_first, from_second, torch.where(known_second, from_first, (from_first + from_second) / 2))
    missing = wanted - step_here
    height, own = missing.abs().amax(0), torch.maximum(from_first.abs_(), from_second.abs_()).amax(0)
    seam = torch.where(own <= PLAIN * height, PLAIN_SEAM, SEAM)
    usable = (height <= torch.where(known_first | known_second, EDGE, seam)) & ~(known_first & known_second)
    return missing * usable


def _look_up(pixels: np.ndarray, position: Tensor) -> Tensor:
    row, column = position.numpy().transpose(2, 0, 1)
    return torch.from_numpy(floats(pixels[row, column])).permute(2, 0, 1)


def _solve(right_side: Tensor, unknown: Tensor) -> Tensor:
    """Conjugate gradients for -laplacian(c) = right_side inside the hole, c = 0 on known pixels, free at the crop's border.

    right_side is overwritten.
    """
    inside = unknown.float()
    neighbours = torch.full_like(inside, 4.0)
    neighbours[0] -= 1
    neighbours[-1] -= 1
    neighbours[:, 0] -= 1
    neighbours[:, -1] -= 1

    def minus_laplacian(x: Tensor) -> Tensor:
        y = x * neighbours
        y[:, 1:] -= x[:, :-1]
        y[:, :-1] -= x[:, 1:]
        y[:, :, 1:] -= x[:, :, :-1]
        y[:, :, :-1] -= x[:, :, 1:]
        return y.mul_(inside)

    residual = right_side.mul_(inside)
    solution, direction = torch.zeros_like(residual), residual.clone()
    energy = start = residual.square().sum()
    for _ in range(STEPS):
        if energy <= 1e-6 * start or energy == 0:
            break
        moved = minus_laplacian(direction)
        rate = energy / (direction * moved).sum()
        solution += rate * direction
        residual -= rate * moved
        energy, before = residual.square().sum(), energy
        direction.mul_(energy / before).add_(residual)
    return solution
