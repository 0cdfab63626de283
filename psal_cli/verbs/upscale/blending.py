"""Between the two models that ship: the linear blend of their results."""

import numpy as np

from psal_cli.image.arrays import Pixels
from psal_cli.strips import rows_within, strips

BAND = 1 << 20  # numbers that are blended at a time


def blend_into(clean: Pixels, photo: Pixels, strength: float) -> None:
    """Turns the clean result into the blend, in place: clean + strength * (photo - clean), integers rounded.

    Args:
        clean, photo: [H, W] or [H, W, C] of one shape and dtype. strength: 0 to 1.
    """
    for part in strips(len(clean), rows_within(BAND, clean[0].size)):
        first, second = (x[part.rows].astype(np.float32) for x in (clean, photo))
        mixed = (1 - strength) * first + strength * second
        clean[part.rows] = np.rint(mixed) if clean.dtype.kind == "u" else mixed
