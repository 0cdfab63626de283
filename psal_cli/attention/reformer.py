"""Reformer over patches: attention within buckets of locality-sensitive hashing (Kitaev et al., ICLR 2020)."""

import math

import torch
import torch.nn.functional as F
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


def reformer_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    patch_size: int = 7,
    chunk_size: int = 64,
    rounds: int = 4,
    *,
    similarity: str = "l2",
    temperature: float = 1.0,
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """Mean of the values of the keys next to each query in the order of hashes, weighted by softmax(similarity / temperature)
    (Kitaev et al., ICLR 2020).

    A hash is the nearest of random directions, argmax([x R, -x R]) (section 2, angular LSH), of the patch (for "l2" minus the
    mean colour of the key). Two hashes form a code, with two codes per `chunk_size` keys. Queries and keys are sorted by code; a
    chunk of `chunk_size` queries attends to the 2 * chunk_size keys at the same position in the order, and the rounds are
    weighted by their sums of exponentials (equation 4). Kitaev et al. hash one set, with queries equal to keys. Here queries are
    aligned with the keys of their bucket by rank, or with the nearest keys in the order if the bucket has none. One bucket,
    chunk_size >= 2 * Hk * Wk: full attention. Time grows with H * W * chunk_size * rounds * D, D = C * patch_size^2; patches are
    extracted in chunks, and again for the gradient. Differentiable in query, key and value.

    Args:
        query: [B, C, H, W]; key: [B, C, Hk, Wk], value: [B, Cv, Hk, Wk]; float32 or float64, one dtype for all.
        patch_size: odd, 1 to 31, at most Hk and Wk.
        chunk_size: >= 1, twice the average number of keys per code.
        rounds: of hashing, >= 1; more rounds miss fewer neighbours that one separates.
        similarity: "l2" or "dot", see `ops.search`.
        temperature: > 0.
        query_mask, key_mask: see `full_attention`.
        seed: of the hashes; the same seed, the same result.

    Returns:
        [B, Cv, H, W].

    Raises:
        ValueError: for each constraint above, with the offending value and the expected one.

    Example:
        >>> query, key, value = torch.rand(1, 4, 12, 12), torch.rand(1, 4, 16, 20), torch.rand(1, 3, 16, 20)
        >>> tuple(reformer_attention(query, key, value, 3, chunk_size=16).shape)
        (1, 3, 12, 12)
    """
    validation.dense_attention(query, key, value, patch_size, similarity, temperature)
    validation.masks(query, key, query_mask, key_mask)
    for name, number in (("chunk_size", chunk_size), ("rounds", rounds)):
        if number < 1:
            raise ValueError(f"{name} is {number}, expected 1 or more")
    queries, keys = pixel_vectors(query, key, similarity)
    images = []
    for image in range(query.shape[0]):
        query_index, key_index = query_places(query, query_mask, image), key_places(key, key_mask, image, patch_size)
        if not len(query_index):
            images.append(torch.zeros_like(value[image, :, :1, :1]).expand(-1, *query.shape[2:]))
            continue
        generator = torch.Generator().manual_seed(seed)  # the same seed for each image: none depends on the others of a batch
        maps = padded(queries[image], patch_size), padded(keys[image], patch_size)
        hashed = [x[..., : query.shape[1]].detach().contiguous() for x in maps]  # l2: without the squares
        attended = []
        for _ in range(rounds):
            buckets = math.ceil(2 * len(key_index) / chunk_size)
            directions = _directions(buckets, query.shape[1] * patch_size**2, generator).to(query)
            query_codes = _codes(hashed[0], query_index, patch_size, directions)
            key_codes = _codes(hashed[1], key_index, patch_size, directions)
            attended.append(
                _attended(
                    *maps, value[image], query_index, key_index, query_codes, key_codes, patch_size, chunk_size, temperature
                )
            )
        out, log_total = (torch.stack(x) for x in zip(*attended, strict=True))  # [rounds, m, Cv], [rounds, m]
        images.append(spread((log_total.softmax(0)[..., None] * out).sum(0), query_index, query.shape[2:]))
    return torch.stack(images)


def _directions(buckets: int, numbers: int, generator: torch.Generator) -> Tensor:
    """[numbers, 2, half]: directions of two hashes with 2 * half values each; half = 0 for one bucket."""
    half = 0 if buckets == 1 else math.ceil(buckets**0.5 / 2)
    return torch.randn(numbers, 2, half, generator=generator)


def _codes(x: Tensor, place: Tensor, patch_size: int, directions: Tensor) -> Tensor:
    """int64 [m]: the bucket of each patch."""
    numbers, pair, half = directions.shape
    if not half:
        return torch.zeros_like(place)
    codes = []
    for part in place.split(at_a_time(numbers)):
        turned = (patches_at(x, part, patch_size) @ directions.flatten(1)).unflatten(1, (pair, half))
        codes.append(torch.cat([turned, -turned], 2).argmax(2))
    first, second = torch.cat(codes).unbind(1)
    return first * 2 * half + second


def _attended(
    queries: Tensor,  # `padded`
    keys: Tensor,
    value: Tensor,  # [Cv, Hk, Wk]
    query_index: Tensor,  # [m], the places of the queries
    key_index: Tensor,  # [n], of the keys
    query_codes: Tensor,
    key_codes: Tensor,
    patch_size: int,
    chunk_size: int,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """[m, Cv] and [m]: the mean of one round and the logarithm of its sum of exponentials, in the order of `query_index`."""
    order, centre = _aligned(query_codes, key_codes)
    sorted_keys = key_index[key_codes.sort(stable=True).indices]
    sorted_queries = query_index[order]
    chunk, width = min(chunk_size, len(query_index)), min(2 * chunk_size, len(key_index))
    sorted_queries = F.pad(sorted_queries, (0, -len(query_index) % chunk)).view(-1, chunk)  # padding, which is ignored below
    middle = centre[chunk // 2 :: chunk]
    middle = torch.cat([middle, centre[-1:]])[: len(sorted_queries)]  # the last chunk may have no middle
    first = (middle - width // 2).clamp(0, len(key_index) - width)
    near = sorted_keys[first[:, None] + torch.arange(width, device=first.device)]  # [chunks, width]

    def attend(queries: Tensor, keys: Tensor, value: Tensor, at: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
        logits = _patches(queries, at, patch_size) @ _patches(keys, near, patch_size).transpose(1, 2) / temperature
        values = values_at(value, near.flatten()).unflatten(0, near.shape)
        return logits.softmax(2) @ values, logits.logsumexp(2)

    step = at_a_time((chunk + width) * queries.shape[2] * patch_size**2)
    parts = zip(sorted_queries.split(step), near.split(step), strict=True)
    attended = [checkpointed(attend, queries, keys, value, at, around) for at, around in parts]
    back = order.argsort()
    out, log_total = (torch.cat(x).flatten(0, 1)[: len(query_index)][back] for x in zip(*attended, strict=True))
    return out, log_total


def _aligned(query_codes: Tensor, key_codes: Tensor) -> tuple[Tensor, Tensor]:
    """[m] twice: queries sorted by code, and for each the position in the order of keys with the same rank within the bucket."""
    codes, order = query_codes.sort(stable=True)
    keys = key_codes.sort().values
    first, last, start, end = (torch.searchsorted(x, codes, right=side) for x in (codes, keys) for side in (False, True))
    rank = torch.arange(len(codes), device=codes.device)
    share = (rank - first + 0.5) / (last - first)
    return order, (start + share * (end - start)).long()


def _patches(x: Tensor, place: Tensor, patch_size: int) -> Tensor:
    """Patches at positions [chunks, n] of a `padded` map: [chunks, n, patch_size^2 * D]."""
    return patches_at(x, place.flatten(), patch_size).unflatten(0, place.shape)


class ReformerAttention(nn.Module):
    """`reformer_attention` as a layer without parameters (Kitaev et al., ICLR 2020, section 2).

    Takes query, key, value and optionally query_mask and key_mask, and returns [B, Cv, H, W]; for arguments, dtypes and
    errors see the function.

    Example:
        >>> layer = ReformerAttention(3, chunk_size=16)
        >>> features = torch.rand(1, 4, 12, 12)
        >>> tuple(layer(features, features, features).shape)
        (1, 4, 12, 12)
    """

    def __init__(
        self,
        patch_size: int = 7,
        chunk_size: int = 64,
        rounds: int = 4,
        *,
        similarity: str = "l2",
        temperature: float = 1.0,
        seed: int = 0,
    ):
        super().__init__()
        self.patch_size, self.chunk_size, self.rounds = patch_size, chunk_size, rounds
        self.similarity, self.temperature, self.seed = similarity, temperature, seed

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, query_mask: Tensor | None = None, key_mask: Tensor | None = None
    ) -> Tensor:
        return reformer_attention(
            query, key, value, self.patch_size, self.chunk_size, self.rounds, similarity=self.similarity,
            temperature=self.temperature, query_mask=query_mask, key_mask=key_mask, seed=self.seed,
        )  # fmt: skip

    def extra_repr(self) -> str:
        names = ("patch_size", "chunk_size", "rounds", "similarity", "temperature")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
