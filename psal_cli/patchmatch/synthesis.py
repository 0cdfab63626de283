"""Pictures made of the patches of another one: the estimate at one level of a pyramid, and how it is improved.

Minimised is the sum, over the patches of the estimate, of their squared distance to the nearest patch of the key, by search and
weighted vote in turn (Kwatra et al. 2005, section 3; Wexler et al. 2007): holes in `completion`, whole pictures in `generate`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from psal_cli import ops

SETTLED = 0.01  # of the matches: when fewer change in a round, it was the last


@dataclass
class Key:
    """What one level is made from. features: [1, C, H, W]; channels: of them, of what is estimated: those after them are known
    everywhere; valid: the centres of patches that may be copied, None for all."""

    features: Tensor
    channels: int
    valid: ops.ValidKeys | None = None


@dataclass
class Estimate(ABC):
    """A picture, or a part of one, at one level."""

    unknown: Tensor  # bool [h, w], what is to be made
    queries: Tensor  # bool [1, h, w], centres of the patches that are compared
    features: Tensor = None  # type: ignore[assignment]  # [1, C, h, w], the current estimate, set when a level begins
    nnf: Tensor = None  # type: ignore[assignment]  # int32 [1, 1, 2, h, w], there from the first search or match on
    similarity: Tensor = None  # type: ignore[assignment]  # float32 [1, 1, h, w], as nnf

    @abstractmethod
    def logits(self) -> Tensor:
        """[1, 1, h, w]: how much each patch has to say, -inf where there is none."""

    def at_queries(self, values: Tensor) -> np.ndarray:
        """The values [1, 1, h, w] at the queries, copied to [n]. (torch would list their indices, 32 bytes each.)"""
        return np.asarray(values.numpy()[self.queries[:, None].numpy()])

    def match(self, nnf: Tensor, similarity: Tensor) -> None:
        """Takes a field, [1, 1, 2, h, w] and [1, 1, h, w], as far as there are queries, in place."""
        outside = ~self.queries[:, None]
        self.nnf, self.similarity = nnf.masked_fill_(outside[:, :, None], -1), similarity.masked_fill_(outside, -torch.inf)

    def vote(self, key: Key, patch_size: int) -> None:
        """Each unknown pixel becomes the weighted mean of what the patches over it paste there."""
        pasted = ops.aggregate(key.features, self.nnf, self.logits(), patch_size, softmax=True)
        put(self.features[:, : key.channels], pasted[:, : key.channels], self.unknown)

    def settle(self, key: Key, patch_size: int) -> None:  # noqa: B027  # not abstract: most have nothing to do
        """Called after each search."""

    def alternate(
        self,
        key: Key,
        patch_size: int,
        rounds: int,
        seed: int,
        iterations: int = 2,
        searched: Callable[[], None] | None = None,
    ) -> None:
        """Alternates search and vote until hardly a match changes; ends with a search. The first search starts from the existing
        field, or from a random one. iterations: of each search; searched: called after each.
        """
        for number in range(rounds):
            before = self.nnf
            self.nnf, self.similarity = ops.search(
                self.features, key.features, patch_size, 1, iterations, "l2", self.queries, key.valid, before, "scan",
                seed + number,
            )  # fmt: skip
            self.settle(key, patch_size)
            if searched:
                searched()
            if before is not None and self.at_queries((self.nnf != before).any(2)).mean() < SETTLED:
                break
            if number + 1 < rounds:
                self.vote(key, patch_size)


def third_quartile(values: np.ndarray) -> np.float32:
    """Of float32 values, which are reordered; between two of them their weighted mean. (torch.quantile takes 16 million.)"""
    rank = np.float32(0.75) * np.float32(len(values) - 1)
    low, high = int(rank), min(int(np.ceil(rank)), len(values) - 1)
    values.partition([low, high])
    return np.float32(torch.lerp(*(torch.tensor(x) for x in (values[low], values[high], rank - np.float32(low)))).item())


def put(features: Tensor, new: Tensor, where: Tensor) -> None:
    """features[:, :, where] = new[:, :, where], without a copy of either."""
    np.copyto(features[0].permute(1, 2, 0).numpy(), new[0].permute(1, 2, 0).numpy(), where=where.numpy()[..., None])
