"""Optimal transport from the patches of a picture to those of a reference, which all have equal weight.

The semi-dual problem (Houdard, Leclaire, Papadakis and Rabin, "A Generative Model for Texture Synthesis based on Optimal
Transport between Feature Distributions", 2021, section 3): each key patch y_j has a potential b_j; the cost of transport is the
largest mean over the patches x of min_j (|x - y_j|^2 - b_j), plus the weighted mean of b. It is concave in b. Its gradient is the
target share of each key minus the share of patches that choose it; stochastic ascent uses a sample of the patches at each step.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLE = 2048  # the most patches whose choices make the steps of an ascent; patches compared at a time
RATE = 0.03  # the first step, in mean distances; step t is sqrt(t) times smaller
EXCESS = 8  # times its share: more choices than that do not lower a key's potential further, or one step could lose the key


class Grid(NamedTuple):
    """Quantizes features to integers small enough for float32 to hold any sum of their products over a patch exactly. The
    transport then does not depend on the order of summation, and so not on the number of threads."""

    centre: Tensor  # [1, C, 1, 1]
    step: float
    steps: int  # the largest distance from the centre, in steps

    @staticmethod
    def of(features: Tensor, patch_size: int) -> "Grid":
        """The finest grid for the range of features [1, C, H, W]."""
        low, high = features.amin((2, 3), keepdim=True), features.amax((2, 3), keepdim=True)
        steps = int((2**24 / (features.shape[1] * patch_size**2)) ** 0.5)
        return Grid((low + high) / 2, max(float((high - low).max()) / 2 / steps, 1e-9), steps)

    def patches(self, features: Tensor, patch_size: int) -> Tensor:
        """[1, C, H, W] -> float32 [n, C * patch_size^2], all whole patches in raster order, in units of the step."""
        whole = ((features - self.centre) / self.step).round_().clamp_(-self.steps, self.steps)
        return F.unfold(whole.contiguous(), patch_size)[0].T.contiguous()


def distances(x: Tensor, y: Tensor) -> Tensor:
    """[n, m]: squared distances between the rows of x, [n, d], and those of y, [m, d]."""
    products = x @ y.T
    return products.mul_(-2).add_(x.square().sum(1, keepdim=True)).add_(y.square().sum(1)).clamp_min_(0)


class Keys(NamedTuple):
    """The distinct patches of a key; potentials cannot tell equal ones apart."""

    patches: Tensor  # [m, d]
    weight: Tensor  # [m], each one's share of all
    place: Tensor  # int64 [m], raster index of the first occurrence of each

    @staticmethod
    def of(patches: Tensor) -> "Keys":
        different, number, count = torch.unique(patches, dim=0, return_inverse=True, return_counts=True)
        place = torch.full((len(different),), len(patches)).scatter_reduce_(0, number, torch.arange(len(patches)), "amin")
        return Keys(different, count / len(patches), place)


def move(x: Tensor, keys: Keys, potentials: Tensor, steps: range, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Runs the steps of ascent with these numbers, then the transport that the potentials define.

    Args:
        x: patches, [n, d], quantized as the keys. potentials: [m], the start.

    Returns:
        potentials, [m]; for each patch of x the raster index of its key, int64 [n], and the distance, float32 [n].
    """
    order = torch.randperm(len(x), generator=generator)
    place, moved = torch.empty(len(x), dtype=torch.int64), torch.empty(len(x))
    for count, part in enumerate(torch.split(order, SAMPLE)):
        cost = distances(x[part], keys.patches)
        if count == 0:
            potentials = ascend(cost, keys.weight, potentials, steps)
        chosen = (cost - potentials).argmin(1)
        place[part], moved[part] = keys.place[chosen], cost.gather(1, chosen[:, None])[:, 0]
    return potentials, place, moved


def ascend(cost: Tensor, weight: Tensor, potentials: Tensor, steps: range) -> Tensor:
    """Potentials [m] after the steps with these numbers, from the given ones or, if these are worse, from zero.

    cost: [n, m], squared distances of patches to keys; weight: [m], the target share of each key. The gradient is the target
        minus the actual share, divided by the weight so that all keys converge at the same rate.
    """
    if value(cost, weight, potentials) < value(cost, weight, torch.zeros_like(potentials)):
        potentials = torch.zeros_like(potentials)  # the given potentials belong to patches that have changed too much
    potentials, unit = potentials.clone(), RATE * float(cost.mean(dtype=torch.float64))
    for step in steps:
        chosen = torch.bincount((cost - potentials).argmin(1), minlength=cost.shape[1])
        excess = chosen / (len(cost) * weight)
        potentials += (1 - excess.clamp_max_(EXCESS)) * (unit / step**0.5)
    return potentials


def value(cost: Tensor, weight: Tensor, potentials: Tensor) -> float:
    """The value of the semi-dual problem: a lower bound of the cost of transport per patch, for potentials [m] and costs [n,
    m]."""
    return float((cost - potentials).min(1).values.double().mean() + (weight * potentials).double().sum())
