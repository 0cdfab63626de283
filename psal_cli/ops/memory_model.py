"""Peak memory of the operators on a CUDA device, in bytes, including their results but not their inputs.

torch owns every allocation on the device, so each figure is the sum of the tensors that live at the same time, counted in bytes
per query, match, key and feature. A batch that does not fit can be run in parts with the same results, since no image's result
depends on the others (`images_at_a_time`).
"""

from dataclasses import dataclass

import torch

from psal_cli.errors import MemoryLimitError
from psal_cli.ops.layout import term

MATCH = 8  # bytes: row and column of a match in an nnf
PACKED = 4  # bytes of a match in the kernels' layout, and of its similarity
SCRATCH = 6  # per match: jump flooding's second field, and the iteration in which each match of both fields was found
UNPACKING = MATCH + 4 * PACKED  # per match: the nnf, the packed field, its similarity, and two intermediate results
INDEX = 8  # int64
SORTING = 24  # per match: the scratch memory of torch's sort; 16 measured on the CPU, not yet on CUDA
NORMS = 5  # sums per pixel that live at the same time while norms are computed
GRAIN = 512  # torch's allocator rounds every tensor up to a multiple of this
TENSORS = 24  # no operator has more


@dataclass(frozen=True)
class Sizes:
    """Sizes of one image. queries, keys: pixels (H * W, Hk * Wk); channels: of the features; values: of the values (Cv)."""

    queries: int
    keys: int
    channels: int
    k: int
    values: int = 0
    dtype: torch.dtype = torch.float32

    @property
    def matches(self) -> int:
        return self.queries * self.k

    @property
    def feature(self) -> int:
        """Bytes of a single feature or value."""
        return self.dtype.itemsize

    @property
    def term(self) -> int:
        """Bytes of a similarity, a weight or a sum."""
        return term(self.dtype).itemsize

    def copies(self, channels: int) -> int:
        """Copies of query and key, or of a gradient and the values, in the kernels' layout."""
        return (self.queries + self.keys) * channels * self.feature

    def norm(self, pixels: int) -> int:
        """The peak of `inverse_norm` for this many pixels."""
        widened = 0 if self.feature == self.term else self.term
        return pixels * (self.channels * (self.term + widened) + NORMS * self.term)


def _rounded(*steps: int) -> int:
    """The largest step of an operator, plus the most that the allocator's rounding may add."""
    return max(steps) + TENSORS * GRAIN


def search_bytes(sizes: Sizes, similarity: str = "l2", schedule: str = "jump-flood", init: bool = False) -> int:
    """Peak bytes of `ops.search` for one image."""
    scale = sizes.keys * sizes.term if "cosine" in similarity else 0
    field = 2 * PACKED * sizes.matches
    running = field + (SCRATCH * sizes.matches if schedule == "jump-flood" else 0)
    packing = 3 * PACKED * sizes.matches + sizes.matches if init else 0
    norms = sizes.norm(sizes.keys) if scale else 0
    scaling = sizes.queries * sizes.term + sizes.matches * (2 * sizes.term if sizes.term > PACKED else PACKED)
    last = (MATCH + PACKED) * sizes.matches + max(sizes.norm(sizes.queries), scaling) if similarity == "cosine" else 0
    searching = sizes.copies(sizes.channels) + max(running, packing)
    return _rounded(norms, scale + max(searching, UNPACKING * sizes.matches, last))


def similarity_at_bytes(sizes: Sizes, similarity: str = "l2") -> int:
    """Peak bytes of `ops.similarity_at`, forward, for one image."""
    product = sizes.matches * sizes.term
    gathering = sizes.copies(sizes.channels) + product
    if similarity == "l2":
        return _rounded(gathering)
    if similarity == "dot":
        return _rounded(gathering, 2 * product + sizes.matches)
    places = 2 * INDEX * sizes.matches
    scales = sizes.keys * sizes.term + product
    norms = sizes.norm(sizes.keys), (scales + sizes.norm(sizes.queries) if similarity == "cosine" else 0)
    return _rounded(gathering, product + places + max(places + scales, *norms))


def aggregate_bytes(sizes: Sizes, softmax: bool = True, value_scale: int = 1) -> int:
    """Peak bytes of `ops.aggregate`, forward, for one image. `sizes.values` does not depend on value_scale."""
    row = sizes.values * value_scale**2 * sizes.feature
    total = sizes.queries * sizes.term if softmax else 0
    unshuffled = sizes.keys * row if value_scale > 1 else 0
    shuffling = 2 * sizes.queries * row if value_scale > 1 else 0
    return _rounded(total + unshuffled + max((sizes.keys + sizes.queries) * row, shuffling))


def _scattering(sizes: Sizes, channels: int, centred: bool) -> int:
    sorting = (3 * INDEX + SORTING) * sizes.matches
    row = channels * sizes.feature
    sums = sizes.queries * row + sizes.keys * row * (2 if centred else 1)
    return max(sorting, 2 * INDEX * sizes.matches + 3 * INDEX * sizes.keys + sums)


def similarity_at_gradient_bytes(sizes: Sizes, similarity: str = "l2") -> int:
    """Peak bytes of the gradients of `ops.similarity_at` ("l2" or "dot") in query and key, without the incoming gradient."""
    weight, row, centred = sizes.matches * sizes.term, sizes.channels * sizes.feature, similarity == "l2"
    spreading = (sizes.keys + sizes.queries * (2 if centred else 1)) * row
    scattering = sizes.queries * row + _scattering(sizes, sizes.channels, centred)
    return _rounded(weight + max(weight + sizes.matches, spreading, scattering))


def aggregate_gradient_bytes(sizes: Sizes) -> int:
    """Peak bytes of the gradients of `ops.aggregate` in value and weight with softmax, without the incoming gradient."""
    values, row = sizes.keys * sizes.values * sizes.feature, sizes.queries * sizes.values * sizes.term
    widened = 0 if sizes.feature == sizes.term else 2
    baseline, gathering = row * (1 + widened), sizes.copies(sizes.values) + sizes.matches * sizes.term
    return _rounded(_scattering(sizes, sizes.values, False), values + baseline, values + sizes.queries * sizes.term + gathering)


def attention_bytes(sizes: Sizes, similarity: str = "l2", schedule: str = "jump-flood", value_scale: int = 1) -> int:
    """Peak bytes of `psal_cli.ps_attention`, forward: first its search, then its similarities, then the sum of its values."""
    matches = (MATCH + PACKED) * sizes.matches
    logits = 2 * sizes.matches * sizes.term
    return max(
        search_bytes(sizes, similarity, schedule),
        matches + similarity_at_bytes(sizes, similarity),
        matches + logits + aggregate_bytes(sizes, value_scale=value_scale),
    )


def images_at_a_time(free: int, image: int, batch: int) -> int:
    """How many images of a batch to give an operator at once.

    Args:
        free: free bytes on the device, with the inputs there already (torch.cuda.mem_get_info).
        image: bytes per image, from a function above.

    Raises:
        MemoryLimitError: not even one image fits.

    Example:
        >>> image = Sizes(queries=1024**2, keys=1024**2, channels=64, k=3, values=64)
        >>> images_at_a_time(4 * 2**30, attention_bytes(image), batch=16)
        7
    """
    if image > free:
        needed = f"one image takes {image} bytes of the device's memory, {free} are free"
        raise MemoryLimitError(f"{needed}: reduce its size, or use the CPU")
    return min(batch, free // image)
