"""How notebooks show a result: as a PNG file of at most 1024 pixels a side."""

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
    """A result that Jupyter shows as its picture."""

    def _repr_png_(self: HasImage) -> bytes:
        return png_of(self.image)


def png_of(image: np.ndarray) -> bytes:
    """A PNG file of a picture as the library returns it, with 8 bits, reduced where it is longer than 1024 pixels.

    Colours are taken as they are: arrays have no profile.
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
