"""Linear attention over patches (Katharopoulos et al., "Transformers are RNNs", ICML 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.attention.patches import at_a_time, checkpointed, key_places, padded, patches_at, query_places, spread, values_at
from psal_cli.ops import validation


def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    patch_size: int = 7,
    *,
    query_mask: Tensor | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """f(q_i) sum_j f(k_j) v_j / f(q_i) sum_j f(k_j), f(x) = elu(x) + 1: no softmax, no temperature
    (Katharopoulos et al., ICML 2020, equations 5 to 7).

    Vectors are whole patches, D = C * patch_size^2 values, zero outside the picture for queries. Time grows with (H * W + Hk *
    Wk) * D * Cv. Patches are extracted in chunks, and again for the gradient: memory is that of a chunk, of D * Cv values and of
    a few maps. Differentiable in query, key and value.

    Args:
        query: [B, C, H, W]; key: [B, C, Hk, Wk], value: [B, Cv, Hk, Wk]; float32 or float64, one dtype for all.
        patch_size: odd, 1 to 31, at most Hk and Wk.
        query_mask, key_mask: see `full_attention`.

    Returns:
        [B, Cv, H, W].

    Raises:
        ValueError: for each constraint above, with the offending value and the expected one.

    Example:
        >>> query, key, value = torch.rand(1, 4, 12, 12), torch.rand(1, 4, 16, 20), torch.rand(1, 3, 16, 20)
        >>> tuple(linear_attention(query, key, value, 3).shape)
        (1, 3, 12, 12)
    """
    validation.dense_attention(query, key, value, patch_size)
    validation.masks(query, key, query_mask, key_mask)
    numbers = query.shape[1] * patch_size**2

    def gathered(total: Tensor, keys: Tensor, values: Tensor, place: Tensor) -> Tensor:
        ones = torch.ones_like(place, dtype=values.dtype)[:, None]
        return total + _positive(patches_at(keys, place, patch_size)).T @ torch.cat([values_at(values, place), ones], 1)

    def divided(total: Tensor, queries: Tensor, place: Tensor) -> Tensor:
        out = _positive(patches_at(queries, place, patch_size)) @ total
        return out[:, :-1] / out[:, -1:]

    images = []
    for image in range(query.shape[0]):
        padded_query, padded_key = (padded(x[image], patch_size) for x in (query, key))
        total = value.new_zeros((numbers, value.shape[1] + 1))
        for part in key_places(key, key_mask, image, patch_size).split(at_a_time(numbers)):
            total = checkpointed(gathered, total, padded_key, value[image], part)
        where = query_places(query, query_mask, image)
        attended = [checkpointed(divided, total, padded_query, part) for part in where.split(at_a_time(numbers))]
        images.append(spread(torch.cat(attended), where, query.shape[2:]))
    return torch.stack(images)


def _positive(x: Tensor) -> Tensor:
    return F.elu(x) + 1


class LinearAttention(nn.Module):
    """`linear_attention` as a layer without parameters (Katharopoulos et al., ICML 2020, equations 5 to 7).

    Takes query, key, value and optionally query_mask and key_mask, and returns [B, Cv, H, W]; for arguments, dtypes and
    errors see the function.

    Example:
        >>> layer = LinearAttention(3)
        >>> features = torch.rand(1, 4, 12, 12)
        >>> tuple(layer(features, features, features).shape)
        (1, 4, 12, 12)
    """

    def __init__(self, patch_size: int = 7):
        super().__init__()
        self.patch_size = patch_size

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, query_mask: Tensor | None = None, key_mask: Tensor | None = None
    ) -> Tensor:
        return linear_attention(query, key, value, self.patch_size, query_mask=query_mask, key_mask=key_mask)

    def extra_repr(self) -> str:
        return f"patch_size={self.patch_size}"
