"""Pictures by what their numbers mean: as sRGB, and with other colours but their own luminance."""

from dataclasses import replace

import numpy as np

from psal_cli.image import Picture
from psal_cli.image.colour import meaning_of, srgb_profile, srgb_tones, to_srgb
from psal_cli.tasks.colorize import Colorized, applied


def as_srgb(picture: Picture) -> np.ndarray:
    """The pixels [H, W, C] as sRGB. Of 8 bits and three channels exactly; of others each channel by the profile's grey tones."""
    icc, pixels = picture.metadata.icc, picture.pixels
    if icc is None or meaning_of(icc, pixels.shape[2]) != "other":
        return pixels
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return to_srgb(pixels, icc)
    tones, white = srgb_tones(icc, pixels.shape[2]), picture.white
    levels = np.interp(np.arange(white + 1) * (255 / white), np.arange(256), tones) * white
    return np.rint(levels).astype(pixels.dtype)[pixels]


def toned(picture: Picture, found: Colorized, strength: float = 1.0) -> Picture:
    """A picture in colour: the luminance of `picture`, and the colours that were found for it.

    What had a profile of its own becomes sRGB and says so; alpha and all other metadata stay.
    """
    metadata = picture.metadata
    if metadata.icc is not None and (picture.pixels.shape[2] == 1 or meaning_of(metadata.icc, 3) == "other"):
        metadata = replace(metadata, icc=srgb_profile())
    return replace(picture, pixels=applied(as_srgb(picture), found, strength), metadata=metadata)
