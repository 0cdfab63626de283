"""Optimal transport from the patches of a picture to those of a reference, each of which is to be used as often as any other.

The semi-dual problem (Houdard, Leclaire, Papadakis and Rabin, "A Generative Model for Texture Synthesis based on Optimal
Transport between Feature Distributions", 2021, section 3): each key patch y_j has a potential b_j; the cost of transport is the
largest mean over the patches x of min_j (|x - y_j|^2 - b_j), plus the mean of b. It is concave in b. Its gradient is what share
each key patch ought to have less the share of the patches that choose it: stochastic ascent takes some patches at a time.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLE = 2048  # patches, at most, whose choices make the steps of one ascent; so many are compared at a time
RATE = 0.03  # of the first step, in mean distances; the t-th is sqrt(t) times smaller


class Grid(NamedTuple):
    """On which features are whole numbers, so small that float32 holds any sum of their products in a patch exactly: in whatever
    order a matrix product adds them up, on any number of threads, the transport is the same."""

    centre: Tensor  # [1, C, 1, 1]
    step: float
    steps: int  # from the centre, at most

    @staticmethod
    def of(features: Tensor, patch_size: int) -> "Grid":
        """The finest for the range of features [1, C, H, W]."""
        low, high = features.amin((2, 3), keepdim=True), features.amax((2, 3), keepdim=True)
        steps = int((2**24 / (features.shape[1] * patch_size**2)) ** 0.5)
        return Grid((low + high) / 2, max(float((high - low).max()) / 2 / steps, 1e-9), steps)

    def patches(self, features: Tensor, patch_size: int) -> Tensor:
        """[1, C, H, W] -> float32 [n, C * patch_size^2], all whole patches in raster order, in steps."""
        whole = ((features - self.centre) / self.step).round_().clamp_(-self.steps, self.steps)
        return F.unfold(whole.contiguous(), patch_size)[0].T.contiguous()


def distances(x: Tensor, y: Tensor) -> Tensor:
    """[n, m]: squared distances between the rows of x, [n, d], and those of y, [m, d]."""
    products = x @ y.T
    return products.mul_(-2).add_(x.square().sum(1, keepdim=True)).add_(y.square().sum(1)).clamp_min_(0)


def move(x: Tensor, y: Tensor, potentials: Tensor, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """So many steps of ascent, and the transport that the potentials then say.

    Args:
        x: [n, d] and y: [m, d], patches. potentials: [m], to start from.

    Returns:
        potentials, [m]; for each patch of x the number of that of y which it is moved to, int64 [n], and how far, [n].
    """
    order = torch.randperm(len(x), generator=generator)
    number, moved = torch.empty(len(x), dtype=torch.int64), torch.empty(len(x))
    for count, part in enumerate(order.split(SAMPLE)):
        cost = distances(x[part], y)
        if count == 0:
            potentials = ascend(cost, potentials, steps)
        number[part] = chosen = (cost - potentials).argmin(1)
        moved[part] = cost.gather(1, chosen[:, None])[:, 0]
    return potentials, number, moved


def ascend(cost: Tensor, potentials: Tensor, steps: int) -> Tensor:
    """Potentials [m] after so many steps from those given. cost: [n, m], squared distances of patches to those of the key."""
    count = cost.shape[1]
    potentials, unit = potentials.clone(), RATE * count * float(cost.mean(dtype=torch.float64))
    for step in range(1, steps + 1):
        chosen = torch.bincount((cost - potentials).argmin(1), minlength=count)
        potentials += (1 / count - chosen / len(cost)) * unit / step**0.5
    return potentials


def value(cost: Tensor, potentials: Tensor) -> float:
    """Of the semi-dual problem: what the potentials, [m], prove that transport at this cost, [n, m], takes at least, a patch."""
    return float((cost - potentials).min(1).values.mean() + potentials.mean())
