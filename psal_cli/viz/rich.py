"""Shows results in notebooks, as PNG files of at most 1024 pixels a side."""

from io import BytesIO
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from psal_cli.image.arrays import Pixels, joined, split
from psal_cli.image.fitting import rounded

LONGEST = 1024  # pixels


class HasImage(Protocol):
    """A result of a verb."""

    @property
    def image(self) -> Pixels: ...


class Shown:
    """Mixin for results that Jupyter shows as their picture."""

    def _repr_png_(self: HasImage) -> bytes:
        return png_of(self.image)


def png_of(image: np.ndarray) -> bytes:
    """An 8-bit PNG file of an array as the library returns it, reduced to at most 1024 pixels a side. Colours are not converted:
    arrays have no profile.
    """
    height, width = image.shape[:2]
    scale = LONGEST / max(height, width)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    pixels, alpha = split(image)
    out = BytesIO()
    Image.fromarray(joined(rounded(pixels), None if alpha is None else rounded(alpha))).save(out, "PNG")
    return out.getvalue()
