"""Pictures by what their numbers mean: as sRGB, and with other colours but their own luminance."""

from dataclasses import replace

import numpy as np

from psal_cli.image import Picture
from psal_cli.image.cielab import encoded
from psal_cli.image.colour import meaning_of, srgb_profile, srgb_tones, to_srgb
from psal_cli.image.curves import tone_curve
from psal_cli.image.fitting import plain
from psal_cli.verbs.colorize.coarse_to_fine import Colorized, applied


def as_srgb(picture: Picture) -> np.ndarray:
    """The pixels [H, W, C] as sRGB: 8 bits and three channels through the profile, others each channel by its tone curve."""
    icc, pixels, white = picture.metadata.icc, picture.pixels, picture.white
    if icc is None or meaning_of(icc, pixels.shape[2]) != "other":
        return pixels
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return to_srgb(pixels, icc)
    levels = np.arange(white + 1) / white
    light = tone_curve(icc, levels)
    tones = np.interp(levels * 255, np.arange(256), srgb_tones(icc, pixels.shape[2])) if light is None else encoded(light)
    return np.rint(tones * white).astype(pixels.dtype)[pixels]


def colours_of(reference: Picture) -> np.ndarray:
    """uint8 [H, W, 3], as sRGB: of a reference more bits would change nothing."""
    return plain(reference.pixels, reference.metadata.icc)


def changes_profile(picture: Picture) -> bool:
    """Whether the profile of a picture cannot be that of its result: a grey one, or one that is not sRGB."""
    icc = picture.metadata.icc
    return icc is not None and (picture.pixels.shape[2] == 1 or meaning_of(icc, 3) == "other")


def toned(picture: Picture, found: Colorized, strength: float = 1.0) -> Picture:
    """A picture in colour: the luminance of `picture`, and the colours that were found for it.

    What had a profile of its own becomes sRGB and says so; alpha and all other metadata stay.
    """
    metadata = picture.metadata
    if changes_profile(picture):
        metadata = replace(metadata, icc=srgb_profile())
    return replace(picture, pixels=applied(as_srgb(picture), found, strength), metadata=metadata)
