"""The exact nearest neighbours that recall is counted against."""

import numpy as np
import torch
from methods import PATCH, RADIUS, nearest, patches_of, vectors


def exact_matches(query: torch.Tensor, key: torch.Tensor, positions: np.ndarray, k: int) -> np.ndarray:
    """[m, k] flat key positions, nearest first, of the queries at flat `positions`: brute force in torch, none of psal.

    Matrix products round, so k + 8 are kept and then ranked by their differences in float64.
    """
    width, columns = query.shape[3], key.shape[3] - PATCH + 1
    view, key_view = patches_of(query), patches_of(key)
    out = np.empty((len(positions), k), np.int64)
    for start in range(0, len(positions), 1024):
        flat = torch.from_numpy(positions[start : start + 1024])
        queries = vectors(view[flat // width - RADIUS, flat % width - RADIUS])
        kept = nearest(queries, key, k + 8)
        keys = key_view[kept // columns, kept % columns].flatten(2).double()
        order = (keys - queries[:, None]).square().sum(2).argsort(1)[:, :k]
        kept = kept.gather(1, order).numpy()
        out[start : start + 1024] = (kept // columns + RADIUS) * key.shape[3] + kept % columns + RADIUS
    return out


class Truth:
    """The exact matches of some queries of one size: all inner ones where psal's exact sweep ran, else a sample.

    The sample's matches are found in torch, without psal; the exact sweep itself is measured against the sample.
    """

    def __init__(self, query: torch.Tensor, key: torch.Tensor, samples: int, k: int):
        height, width = query.shape[2:]
        self.inner = np.zeros(height * width, bool)
        self.inner.reshape(height, width)[RADIUS : height - RADIUS, RADIUS : width - RADIUS] = True
        inner = np.flatnonzero(self.inner)
        chosen = np.sort(np.random.default_rng(0).choice(inner, min(samples, len(inner)), replace=False))
        self.sample = np.full((height * width, k), -2)  # -2: not known; -1 is "found nothing"
        self.sample[chosen] = exact_matches(query, key, chosen, k)
        self.all, self.known = None, 0

    def recall(self, queries: np.ndarray, keys: np.ndarray, of_exact: bool) -> tuple[float | None, int]:
        """(recall@k, queries it is averaged over). Rows with few neighbours count against as many of the exact ones."""
        k = keys.shape[1]
        truth = (self.sample if of_exact or k > self.known else self.all)[queries, :k]
        usable = (truth[:, -1] >= 0) & self.inner[queries]
        if not usable.any():
            return None, 0
        hits = (keys[usable][:, :, None] == truth[usable][:, None, :]).any(1)
        return float(hits.mean()), int(usable.sum())

    def learn(self, queries: np.ndarray, keys: np.ndarray) -> None:
        """Takes the field of an exact sweep for the truth, when it holds more neighbours than what is known."""
        if keys.shape[1] > self.known:
            self.all, self.known = np.full((len(self.inner), keys.shape[1]), -2), keys.shape[1]
            self.all[queries] = keys
