"""Converts a picture to what a format can hold: no alpha, 8 bits, three channels, sRGB; each loss is logged."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from psal_cli.image.arrays import to_depth
from psal_cli.image.chunks import fits, with_alpha
from psal_cli.image.colour import in_profile, meaning_of, parse_colour, srgb_profile, to_srgb
from psal_cli.image.exr import linear
from psal_cli.image.formats import DEEP, NO_ALPHA, NO_GREY, NO_PROFILE, holds_grey, word
from psal_cli.image.jpeg import listed
from psal_cli.image.keeping import held, stripped
from psal_cli.image.light import is_linear, to_encoded
from psal_cli.image.metadata import Metadata
from psal_cli.image.picture import Picture
from psal_cli.strips import rows_within, strips

log = logging.getLogger(__name__)

BAND = 1 << 20  # pixels


def fitted(picture: Picture, name: str, path: Path, background: str | None, strip_metadata: bool) -> Picture:
    """Fits the picture to the format `name`; every loss except opaque alpha is logged as a warning."""
    if name == "EXR":
        picture = linear(picture, path)
    elif picture.pixels.dtype == np.float32 and name != "TIFF":
        picture = _of_integers(picture, np.uint16 if name in DEEP else np.uint8, name, path)
    if picture.alpha is not None and name in NO_ALPHA:
        picture = _flattened(picture, path, background)
    if picture.pixels.dtype == np.uint16 and name not in DEEP:
        log.warning("%s: %s is written with 8 bits a channel, the picture has 16: it is rounded", path, word(name))
        alpha = None if picture.alpha is None else rounded(picture.alpha)
        picture = replace(picture, pixels=rounded(picture.pixels), alpha=alpha)
    picture = _without_profile(picture, name, path, strip_metadata)
    if picture.pixels.shape[2] == 1 and not holds_grey(name, picture.alpha is not None):
        kind = "grey pictures" if name in NO_GREY else "grey pictures with alpha"
        log.warning("%s: %s holds no %s: written as RGB with equal channels", path, word(name), kind)
        picture = replace(picture, pixels=picture.pixels.repeat(3, 2))
    if strip_metadata:
        return replace(picture, metadata=stripped(picture.metadata, str(path)))
    metadata = held(_fitting_metadata(picture, path), name, str(path))
    return replace(picture, metadata=metadata)


def _of_integers(picture: Picture, dtype: type[np.unsignedinteger], name: str, path: Path) -> Picture:
    """Rounds a float picture to integers, clipped to [0, 1]; linear light from OpenEXR is encoded as sRGB first."""
    least, most = float(picture.pixels.min()), float(picture.pixels.max())
    clipped = f" and clipped to 0 and 1 (its values go from {least:.3g} to {most:.3g})" if least < 0 or most > 1 else ""
    bits = 8 * np.dtype(dtype).itemsize
    log.warning("%s: %s holds no floating-point numbers: rounded to %d bits a channel%s", path, word(name), bits, clipped)
    pixels, metadata = np.empty(picture.pixels.shape, dtype), picture.metadata
    light = metadata.exr is not None and is_linear(metadata.icc)
    for rows in (part.rows for part in strips(len(pixels), rows_within(BAND, pixels.shape[1]))):
        made = to_encoded(picture.pixels[rows], metadata.icc) if light else None
        pixels[rows] = to_depth(picture.pixels[rows] if made is None else made, dtype)
    metadata = replace(metadata, icc=srgb_profile() if pixels.shape[2] == 3 else None) if light else metadata
    alpha = None if picture.alpha is None else to_depth(picture.alpha, dtype)
    return replace(picture, pixels=pixels, alpha=alpha, metadata=metadata)


def _fitting_metadata(picture: Picture, path: Path) -> Metadata:
    """Drops metadata that describe pixels of another kind or number than the picture has."""
    metadata, bits = picture.metadata, 8 * picture.pixels.itemsize
    if metadata.segments and metadata.segments.size != picture.size:
        others = listed(metadata.segments.parts)
        log.warning("%s: its segments of other programs describe the old size: not kept (%s)", path, others)
        metadata = replace(metadata, segments=None)
    layout = picture.pixels.shape[2], picture.alpha is not None, bits
    chunks = [with_alpha(chunk, bits) if picture.alpha is not None else chunk for chunk in metadata.chunks]
    kept = tuple(chunk for chunk in chunks if fits(chunk, *layout))
    if lost := [kind.decode("latin-1") for kind, _ in (chunk for chunk in chunks if not fits(chunk, *layout))]:
        log.warning("%s: its %s describes other pixels: not kept", path, " and ".join(lost))
    return replace(metadata, chunks=kept)


def _flattened(picture: Picture, path: Path, background: str | None) -> Picture:
    if background is None or picture.alpha is None or picture.alpha.min() == picture.white:
        return replace(picture, alpha=None)
    log.warning("%s: its alpha is flattened, %s shows through", path, background)
    channels, white = picture.pixels.shape[2], picture.white
    under = in_profile(parse_colour(background), picture.metadata.icc, channels) * np.float32(white // 255)
    pixels = np.empty_like(picture.pixels)
    for rows in (part.rows for part in strips(len(pixels), rows_within(BAND, pixels.shape[1]))):
        share = picture.alpha[rows, :, None] / np.float32(white)
        pixels[rows] = np.rint(picture.pixels[rows] * share + under * (1 - share))
    return replace(picture, pixels=pixels, alpha=None)


def plain(pixels: np.ndarray, icc: bytes | None) -> np.ndarray:
    """uint8 [H, W, C] of pixels in a profile, converted to sRGB (three channels) if the profile is another one."""
    pixels = rounded(pixels)
    return to_srgb(pixels, icc) if icc is not None and meaning_of(icc, pixels.shape[2]) == "other" else pixels


def rounded(values: np.ndarray) -> np.ndarray:
    """uint16 or float32 -> uint8, rounded to nearest; uint8 is returned as it is."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.float32:
        return to_depth(values, np.uint8)
    out = np.empty(values.shape, np.uint8)
    for rows in (part.rows for part in strips(len(out), rows_within(BAND, values.shape[1]))):
        out[rows] = (values[rows].astype(np.uint32) + 128) // 257
    return out


def _without_profile(picture: Picture, name: str, path: Path, strip_metadata: bool) -> Picture:
    """Converts to sRGB if the profile cannot be kept: the format holds none, or grey becomes RGB."""
    icc, channels = picture.metadata.icc, picture.pixels.shape[2]
    if icc is None:
        return picture
    meaning = meaning_of(icc, channels)
    if strip_metadata and name not in NO_PROFILE:
        if meaning != "sRGB":
            log.warning("%s: its ICC profile is dropped and is not sRGB: the colours will look different", path)
        return picture
    bare = replace(picture, metadata=replace(picture.metadata, icc=None))
    if name in NO_PROFILE:
        reason = f"{word(name)} is written without an ICC profile"
    elif channels == 1 and not holds_grey(name, picture.alpha is not None):
        reason = "a grey ICC profile fits no RGB picture"
    else:
        return picture
    if meaning == "unusable":
        log.warning("%s: its ICC profile is unusable and is not kept", path)
    if meaning != "other":
        return bare
    log.warning("%s: %s: the colours are converted to sRGB", path, reason)
    pixels = to_srgb(picture.pixels, icc)
    return replace(bare, pixels=pixels[..., :1] if channels == 1 else pixels)  # grey stays grey: its channels are equal
