"""Converts pictures of any profile to sRGB, which the verbs assume."""

from dataclasses import replace

import numpy as np

from psal_cli.image.arrays import joined
from psal_cli.image.cielab import encoded
from psal_cli.image.colour import meaning_of, srgb_profile, srgb_tones, to_srgb
from psal_cli.image.curves import tone_curve
from psal_cli.image.fitting import plain, rounded
from psal_cli.image.light import to_encoded
from psal_cli.image.metadata import Metadata
from psal_cli.image.picture import Picture


def as_srgb(picture: Picture) -> np.ndarray:
    """The pixels [H, W, C] as sRGB: 8-bit RGB through the profile, floats by its curve and primaries, others by the tone curve of
    each channel. Floats with a profile of tables are returned unchanged."""
    icc, pixels, white = picture.metadata.icc, picture.pixels, picture.white
    if icc is None or meaning_of(icc, pixels.shape[2]) != "other":
        return pixels
    if pixels.dtype == np.float32:
        made = to_encoded(pixels, icc)
        return pixels if made is None else made
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return to_srgb(pixels, icc)
    levels = np.arange(white + 1) / white
    light = tone_curve(icc, levels)
    tones = np.interp(levels * 255, np.arange(256), srgb_tones(icc, pixels.shape[2])) if light is None else encoded(light)
    return np.asarray(np.rint(tones * white).astype(pixels.dtype)[pixels])


def lent_colours(picture: Picture) -> np.ndarray:
    """A picture as a reference for colours: an uint8 array in sRGB. More bits would change nothing."""
    alpha = None if picture.alpha is None else rounded(picture.alpha)
    return joined(plain(picture.pixels, picture.metadata.icc), alpha)


def changes_profile(picture: Picture) -> bool:
    """Whether the coloured result of a picture cannot keep its profile: a grey one, or one that is not sRGB."""
    icc = picture.metadata.icc
    return icc is not None and (picture.pixels.shape[2] == 1 or meaning_of(icc, 3) == "other")


def coloured_metadata(picture: Picture) -> Metadata:
    """The metadata of a picture that gets colours; any profile other than sRGB is replaced by sRGB."""
    return replace(picture.metadata, icc=srgb_profile()) if changes_profile(picture) else picture.metadata


def comparable(query: Picture, key: Picture) -> tuple[np.ndarray, np.ndarray, bytes | None]:
    """Converts the pixels of two pictures to one colour space; also returns the profile of a result made of the second's pixels.

    Both are unchanged if they have the same profile, and converted to sRGB otherwise.
    """
    icc = query.metadata.icc
    if icc == key.metadata.icc and query.pixels.shape[2] == key.pixels.shape[2]:
        return query.pixels, key.pixels, icc
    unprofiled = (icc is None and key.metadata.icc is None) or key.pixels.shape[2] == 1
    return as_srgb(query), as_srgb(key), None if unprofiled else srgb_profile()  # srgb_profile is for RGB
