"""Performer over patches: softmax attention through positive orthogonal random features (Choromanski et al., ICLR 2021)."""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from psal_cli.attention.patches import (
    at_a_time,
    checkpointed,
    key_places,
    padded,
    patches_at,
    pixel_vectors,
    query_places,
    spread,
    values_at,
)
from psal_cli.ops import validation

FLOOR = 1e-4  # added to features, as in the authors' code: a query without matching keys gets the mean of all values


def performer_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    patch_size: int = 7,
    random_features: int | None = None,
    *,
    similarity: str = "dot",
    temperature: float = 1.0,
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """f(q_i) sum_j f(k_j) v_j / f(q_i) sum_j f(k_j), where the expectation of f(q_i) f(k_j) is the softmax's weight
    (FAVOR+, Choromanski et al., ICLR 2021).

    f(x) = exp(w x - |x|^2 / 2) / sqrt(M) for M orthogonal Gaussian w (lemma 1 and section 2.4), x a whole patch divided by the
    square root of the temperature: E[f(x) f(y)] = exp(x y / temperature). For |x| above about 2, the variance, which grows with
    exp(|x + y|^2), dominates. "l2" takes `pixel_vectors` for patches. Time grows with (H * W + Hk * Wk) * M * (D + Cv), D = C *
    patch_size^2 (l2: of a channel more); patches are extracted in chunks, and again for the gradient. Differentiable in query,
    key and value.

    Args:
        query: [B, C, H, W]; key: [B, C, Hk, Wk], value: [B, Cv, Hk, Wk]; float32 or float64, one dtype for all.
        patch_size: odd, 1 to 31, at most Hk and Wk.
        random_features: M; default D log D, rounded, as the authors recommend.
        similarity: "dot", that of the paper, or "l2".
        temperature: > 0.
        query_mask, key_mask: see `full_attention`.
        seed: of the random features; the same seed, the same result.

    Returns:
        [B, Cv, H, W].

    Raises:
        ValueError: for each constraint above, with the offending value and the expected one.

    Example:
        >>> query, key, value = torch.rand(1, 4, 12, 12), torch.rand(1, 4, 16, 20), torch.rand(1, 3, 16, 20)
        >>> tuple(performer_attention(query, key, value, 3, temperature=4.0).shape)
        (1, 3, 12, 12)
    """
    validation.dense_attention(query, key, value, patch_size, similarity, temperature)
    validation.masks(query, key, query_mask, key_mask)
    queries, keys = (x / temperature**0.5 for x in pixel_vectors(query, key, similarity))
    numbers = queries.shape[1] * patch_size**2
    count = default_features(numbers) if random_features is None else random_features
    if count < 1:
        raise ValueError(f"random_features is {count}, expected 1 or more")
    directions = orthogonal(count, numbers, seed).to(query)
    step = at_a_time(numbers + count)

    def exponents(x: Tensor, place: Tensor) -> Tensor:
        patches = patches_at(x, place, patch_size)
        return patches @ directions.T - patches.square().sum(1, keepdim=True) / 2

    def gathered(total: Tensor, largest: Tensor, keys: Tensor, values: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Adds more keys to the sums, which are relative to exp(largest)."""
        power = exponents(keys, place)
        larger = torch.maximum(largest, power.max())
        ones = torch.ones_like(place, dtype=values.dtype)[:, None]
        more = (power - larger).exp().T @ torch.cat([values_at(values, place), ones], 1)
        return total * (largest - larger).exp() + more, larger

    def divided(total: Tensor, queries: Tensor, place: Tensor) -> Tensor:
        power = exponents(queries, place)
        out = ((power - power.amax(1, keepdim=True)).exp() + FLOOR) @ total
        return out[:, :-1] / out[:, -1:]

    images = []
    for image in range(query.shape[0]):
        padded_query, padded_key = (padded(x, patch_size) for x in _balanced(queries[image], keys[image]))
        places = key_places(key, key_mask, image, patch_size)
        total, largest = value.new_zeros((count, value.shape[1] + 1)), value.new_tensor(-math.inf)
        for part in places.split(step):
            total, largest = checkpointed(gathered, total, largest, padded_key, value[image], part)
        all_values = values_at(value[image], places).sum(0)
        total = total + FLOOR * torch.cat([all_values, all_values.new_tensor([len(places)])])
        where = query_places(query, query_mask, image)
        attended = [checkpointed(divided, total, padded_query, part) for part in where.split(step)]
        images.append(spread(torch.cat(attended), where, query.shape[2:]))
    return torch.stack(images)


def _balanced(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Rescales channels so that query and key have equal magnitude, with the same products: the variance grows with their
    norms."""
    query_power, key_power = (x.square().mean((1, 2), keepdim=True) + torch.finfo(x.dtype).tiny for x in (query, key))
    ratio = (key_power / query_power) ** 0.25
    return query * ratio, key / ratio


def default_features(numbers: int) -> int:
    """M = d log d for vectors of length d."""
    return max(round(numbers * math.log(numbers)), 1)


@lru_cache(maxsize=2)
def orthogonal(count: int, numbers: int, seed: int) -> Tensor:
    """float64 [count, numbers]: Gaussian vectors, orthogonal in groups of `numbers` (section 2.4)."""
    generator = torch.Generator().manual_seed(seed)
    groups = []
    for start in range(0, count, numbers):
        gaussian = torch.randn(numbers, numbers, generator=generator, dtype=torch.float64)
        groups.append(torch.linalg.qr(gaussian).Q.T[: count - start])
    lengths = torch.randn(count, numbers, generator=generator, dtype=torch.float64).norm(dim=1)
    return torch.cat(groups) * lengths[:, None]


class PerformerAttention(nn.Module):
    """`performer_attention` as a layer without parameters (Choromanski et al., ICLR 2021, section 2.4).

    Takes query, key, value and optionally query_mask and key_mask, and returns [B, Cv, H, W]; for arguments, dtypes and
    errors see the function.

    Example:
        >>> layer = PerformerAttention(3, temperature=4.0)
        >>> features = torch.rand(1, 4, 12, 12)
        >>> tuple(layer(features, features, features).shape)
        (1, 4, 12, 12)
    """

    def __init__(
        self,
        patch_size: int = 7,
        random_features: int | None = None,
        *,
        similarity: str = "dot",
        temperature: float = 1.0,
        seed: int = 0,
    ):
        super().__init__()
        self.patch_size, self.random_features, self.similarity = patch_size, random_features, similarity
        self.temperature, self.seed = temperature, seed

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, query_mask: Tensor | None = None, key_mask: Tensor | None = None
    ) -> Tensor:
        return performer_attention(
            query, key, value, self.patch_size, self.random_features, similarity=self.similarity, temperature=self.temperature,
            query_mask=query_mask, key_mask=key_mask, seed=self.seed,
        )  # fmt: skip

    def extra_repr(self) -> str:
        names = ("patch_size", "random_features", "similarity", "temperature")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
