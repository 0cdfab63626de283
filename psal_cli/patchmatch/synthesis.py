"""Synthesis from patches: the estimate at one level of a pyramid, and its optimization.

The sum of squared distances of the estimate's patches to the nearest patch of the key is minimised by alternating weighted vote
and search (Kwatra et al. 2005, section 3; Wexler et al. 2007), for holes in `completion` and whole pictures in `generate`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from psal_cli import ops

SETTLED = 0.01  # of the matches: the loop ends if fewer change in a round


@dataclass
class Key:
    """The source of a level. features: [1, C, H, W]; channels: the estimated ones, the others are known everywhere; valid: the
    centres of patches that may be copied, None for all."""

    features: Tensor
    channels: int
    valid: ops.ValidKeys | None = None


@dataclass
class Estimate(ABC):
    """A picture, or a part of one, at one level."""

    unknown: Tensor  # bool [h, w], the pixels to estimate
    queries: Tensor  # bool [1, h, w], centres of the compared patches
    features: Tensor = None  # type: ignore[assignment]  # [1, C, h, w], the current estimate, set when a level begins
    nnf: Tensor = None  # type: ignore[assignment]  # int32 [1, 1, 2, h, w], there from the first search or match on
    similarity: Tensor = None  # type: ignore[assignment]  # float32 [1, 1, h, w], as nnf

    @abstractmethod
    def logits(self) -> Tensor:
        """[1, 1, h, w]: the logits of the patches in the vote, -inf where there is none."""

    def at_queries(self, values: Tensor) -> np.ndarray:
        """The values [1, 1, h, w] at the queries, copied to [n]. (torch would list their indices, 32 bytes each.)"""
        return np.asarray(values.numpy()[self.queries[:, None].numpy()])

    def match(self, nnf: Tensor, similarity: Tensor) -> None:
        """Sets the field, [1, 1, 2, h, w] and [1, 1, h, w], at the queries, in place."""
        outside = ~self.queries[:, None]
        self.nnf, self.similarity = nnf.masked_fill_(outside[:, :, None], -1), similarity.masked_fill_(outside, -torch.inf)

    def paste(self, key: Key, pasted: Tensor) -> None:
        """Sets each unknown pixel to what [1, C, h, w] has there."""
        put(self.features[:, : key.channels], pasted[:, : key.channels], self.unknown)

    def settle(self, key: Key, patch_size: int) -> None:  # noqa: B027  # not abstract: most have nothing to do
        """Hook after each search."""

    def origins(self, key: Key, patch_size: int) -> Tensor | None:
        """int32 [n, 2]: the (row, column) that each of the n unknown pixels is copied from, None if the patches vote instead."""
        return None

    def copied(self, key: Key, origins: Tensor | None) -> bool:
        """Sets each unknown pixel to a copy from its origin; False, and nothing done, if there are no origins."""
        return False

    def alternate(
        self,
        key: Key,
        patch_size: int,
        rounds: int,
        seed: int,
        iterations: int = 2,
        searched: Callable[[], None] | None = None,
    ) -> None:
        """Alternates vote and search until few matches change; ends with a search. In a vote, each unknown pixel becomes the
        weighted mean of what the patches over it paste there, or a copy (`copied`). The first round has no vote if there is no
        field yet, and searches from a random one. iterations: of each search; searched: called after each.
        """
        for number in range(rounds):
            before = self.nnf
            if before is not None and not self.copied(key, self.origins(key, patch_size)):
                self.paste(key, ops.aggregate(key.features, before, self.logits(), patch_size, softmax=True))
            self.nnf, self.similarity = ops.search(
                self.features, key.features, patch_size, 1, iterations, "l2", self.queries, key.valid, before, "scan",
                seed + number,
            )  # fmt: skip
            self.settle(key, patch_size)
            if searched:
                searched()
            if before is not None and self.at_queries((self.nnf != before).any(2)).mean() < SETTLED:
                break


def third_quartile(values: np.ndarray) -> np.float32:
    """The third quartile of float32 values, with linear interpolation. Reorders them. (torch.quantile is limited to 16
    million.)"""
    rank = np.float32(0.75) * np.float32(len(values) - 1)
    low, high = int(rank), min(int(np.ceil(rank)), len(values) - 1)
    values.partition([low, high])
    return np.float32(torch.lerp(*(torch.tensor(x) for x in (values[low], values[high], rank - np.float32(low)))).item())


def put(features: Tensor, new: Tensor, where: Tensor) -> None:
    """features[:, :, where] = new[:, :, where], without copies."""
    np.copyto(features[0].permute(1, 2, 0).numpy(), new[0].permute(1, 2, 0).numpy(), where=where.numpy()[..., None])
