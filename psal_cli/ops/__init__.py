"""The native operations as torch operators: typed function, fake kernel and gradient of each (torch.library).

Feature maps are `[B, C, H, W]`; the native code reads them channels-last, so a tensor in torch.channels_last memory
format is used as it is and any other is copied once. An nnf is int32 `[B, k, 2, H, W]`, absolute (row, column) in the
key, best first; -1 where there is no match. Similarities and weights are float32, or float64 with float64 features.
"""

from psal_cli.ops.composition import compose, place_seams
from psal_cli.ops.layout import inverse_norm
from psal_cli.ops.search import ValidKeys, keys_by_row, search, valid_keys
from psal_cli.ops.windows import aggregate, similarity_at

__all__ = [
    "ValidKeys",
    "aggregate",
    "compose",
    "inverse_norm",
    "keys_by_row",
    "place_seams",
    "search",
    "similarity_at",
    "valid_keys",
]
