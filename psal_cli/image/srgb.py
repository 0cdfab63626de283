"""Pictures of any profile as sRGB, which is what the verbs take colours to be."""

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
    """The pixels [H, W, C] as sRGB: 8 bits and three channels through the profile, integers of 16 bits each channel by its tone
    curve, floats by curve and primaries; floats of a profile that has tables as they are."""
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
    """A picture as a reference, an array of uint8 in sRGB: of one that only lends its colours more bits would change nothing."""
    alpha = None if picture.alpha is None else rounded(picture.alpha)
    return joined(plain(picture.pixels, picture.metadata.icc), alpha)


def changes_profile(picture: Picture) -> bool:
    """Whether the profile of a picture cannot be that of its coloured result: a grey one, or one that is not sRGB."""
    icc = picture.metadata.icc
    return icc is not None and (picture.pixels.shape[2] == 1 or meaning_of(icc, 3) == "other")


def coloured_metadata(picture: Picture) -> Metadata:
    """The metadata of a picture that gets colours: what had another profile than sRGB becomes sRGB and says so."""
    return replace(picture.metadata, icc=srgb_profile()) if changes_profile(picture) else picture.metadata


def comparable(query: Picture, key: Picture) -> tuple[np.ndarray, np.ndarray, bytes | None]:
    """Pixels of two pictures that mean the same by the same numbers, and the profile of what is made of the second's.

    They are left as they are where both have one profile, and meet in sRGB where they have not.
    """
    icc = query.metadata.icc
    if icc == key.metadata.icc and query.pixels.shape[2] == key.pixels.shape[2]:
        return query.pixels, key.pixels, icc
    unprofiled = (icc is None and key.metadata.icc is None) or key.pixels.shape[2] == 1
    return as_srgb(query), as_srgb(key), None if unprofiled else srgb_profile()  # srgb_profile is one for colours
