"""Optimal transport from the patches of a picture to those of a reference, each of which is to be used as often as any other.

The semi-dual problem (Houdard, Leclaire, Papadakis and Rabin, "A Generative Model for Texture Synthesis based on Optimal
Transport between Feature Distributions", 2021, section 3): each key patch y_j has a potential b_j; the cost of transport is the
largest mean over the patches x of min_j (|x - y_j|^2 - b_j), plus the weighted mean of b. It is concave in b. Its gradient is
what share each key ought to have less the share of the patches that choose it: stochastic ascent takes some patches at a time.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLE = 2048  # patches, at most, whose choices make the steps of one ascent; so many are compared at a time
RATE = 0.03  # of the first step, in mean distances; the t-th is sqrt(t) times smaller
EXCESS = 8  # times its share: what chooses a key beyond that lowers its potential no further, or one step would lose it


class Grid(NamedTuple):
    """A quantization of features to integers so small that float32 holds any sum of their products in a patch exactly. The
    transport is then the same in whatever order, on any number of threads, a matrix product adds them up."""

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


class Keys(NamedTuple):
    """The distinct patches of a key: potentials could not choose among equal ones."""

    patches: Tensor  # [m, d]
    weight: Tensor  # [m], each one's share of all
    place: Tensor  # int64 [m], the number of the first of each in raster order

    @staticmethod
    def of(patches: Tensor) -> "Keys":
        different, number, count = torch.unique(patches, dim=0, return_inverse=True, return_counts=True)
        place = torch.full((len(different),), len(patches)).scatter_reduce_(0, number, torch.arange(len(patches)), "amin")
        return Keys(different, count / len(patches), place)


def move(x: Tensor, keys: Keys, potentials: Tensor, steps: range, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The steps of ascent with these numbers, and the transport that the potentials then say.

    Args:
        x: patches, [n, d], in the steps of the keys. potentials: [m], to start from.

    Returns:
        potentials, [m]; for each patch of x the place of the key which it is moved to, int64 [n], and how far, float32 [n].
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
    """Potentials [m] after the steps with these numbers, from those given or, where these are worse, from none.

    cost: [n, m], squared distances of patches to the keys; weight: [m], the share of the patches that each key ought to have. The
    gradient is that less the share it has; each key's is divided by its weight, so that all come near in as many steps.
    """
    if value(cost, weight, potentials) < value(cost, weight, torch.zeros_like(potentials)):
        potentials = torch.zeros_like(potentials)  # those of patches that have changed too much
    potentials, unit = potentials.clone(), RATE * float(cost.mean(dtype=torch.float64))
    for step in steps:
        chosen = torch.bincount((cost - potentials).argmin(1), minlength=cost.shape[1])
        excess = chosen / (len(cost) * weight)
        potentials += (1 - excess.clamp_max_(EXCESS)) * (unit / step**0.5)
    return potentials


def value(cost: Tensor, weight: Tensor, potentials: Tensor) -> float:
    """Of the semi-dual problem: what the potentials, [m], prove that transport at this cost, [n, m], takes at least, a patch."""
    return float((cost - potentials).min(1).values.double().mean() + (weight * potentials).double().sum())
