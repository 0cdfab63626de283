"""Blends the results of the two shipped models linearly."""

import numpy as np

from psal_cli.image.arrays import Pixels
from psal_cli.strips import rows_within, strips

BAND = 1 << 20  # values blended at a time


def blend_into(clean: Pixels, photo: Pixels, strength: float) -> None:
    """Blends in place: clean becomes clean + strength * (photo - clean), integers rounded.

    Args:
        clean, photo: [H, W] or [H, W, C], of the same shape and dtype. strength: 0 to 1.
    """
    for part in strips(len(clean), rows_within(BAND, clean[0].size)):
        first, second = (x[part.rows].astype(np.float32) for x in (clean, photo))
        mixed = (1 - strength) * first + strength * second
        clean[part.rows] = np.rint(mixed) if clean.dtype.kind == "u" else mixed
