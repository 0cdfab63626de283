"""Colour management: conversions between ICC profiles, and colours given by name."""

import logging
from dataclasses import replace
from functools import cache, lru_cache
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageColor

from psal_cli.errors import InputError, InvalidValueError
from psal_cli.image.metadata import Metadata
from psal_cli.strips import rows_within, strips

log = logging.getLogger(__name__)

BAND = 1 << 20  # pixels
ALIKE = 2  # of 255: profiles that differ by no more are equivalent
ENCODED = ("L", "RGB")  # Pillow's modes of 1 and 3 channels


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


class Inks:
    """Converts crops of a CMYK image to sRGB. Raises InputError if its profile is missing or unusable."""

    def __init__(self, icc: bytes | None, path: Path):
        if not icc:
            raise InputError(f"{path} is CMYK without an ICC profile, its colours are anyone's guess: convert it to RGB first")
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(icc))
            self.transform = ImageCms.buildTransform(source, _srgb(), "CMYK", "RGB")
        except (ImageCms.PyCMSError, OSError) as error:
            raise InputError(f"{path} is CMYK with an unusable ICC profile ({error}): convert it to RGB first") from error
        self.path = path

    def __call__(self, crop: Image.Image) -> Image.Image:
        return self.transform.apply(crop)

    def profiled(self, metadata: Metadata) -> Metadata:
        log.warning("%s is CMYK: it becomes sRGB", self.path)
        return replace(metadata, icc=srgb_profile())


def _transform(icc: bytes, channels: int, back: bool = False) -> ImageCms.ImageCmsTransform | None:
    """The transform from a profile to sRGB, or `back`; None if the profile is unusable for this number of channels."""
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        if back:
            return ImageCms.buildTransform(_srgb(), profile, "RGB", ENCODED[channels > 1])
        return ImageCms.buildTransform(profile, _srgb(), ENCODED[channels > 1], "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None


@lru_cache(maxsize=8)  # called several times per picture, and creates a transform
def meaning_of(icc: bytes, channels: int) -> str:
    """ "sRGB" if the profile is equivalent to sRGB, "other", or "unusable"."""
    transform = _transform(icc, channels)
    if transform is None:
        return "unusable"
    grid = np.array(list(product(range(0, 256, 51), repeat=channels)), np.uint8)[None]
    meant = np.asarray(transform.apply(Image.fromarray(grid[..., 0] if channels == 1 else grid))).astype(int)
    return "sRGB" if np.abs(meant - grid).max() <= ALIKE else "other"


def to_srgb(pixels: np.ndarray, icc: bytes) -> np.ndarray:
    """uint8 [H, W, C] in the colours of a usable profile -> uint8 [H, W, 3] in sRGB."""
    transform, out = _transform(icc, pixels.shape[2]), np.empty((*pixels.shape[:2], 3), np.uint8)
    if transform is None:
        raise ValueError(f"an ICC profile of {len(icc)} bytes is unusable for {pixels.shape[2]} channels")
    for rows in (part.rows for part in strips(len(pixels), rows_within(BAND, pixels.shape[1]))):
        out[rows] = transform.apply(Image.fromarray(pixels[rows, :, 0] if pixels.shape[2] == 1 else pixels[rows]))
    return out


def srgb_tones(icc: bytes, channels: int) -> np.ndarray:
    """float32 [256]: for each grey level of a usable profile, 0 to 1, the equivalent level in sRGB."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], channels, 2)
    return np.asarray(to_srgb(ramp, icc)[0].mean(1, dtype=np.float32) / 255)


def srgb_profile() -> bytes:
    return _srgb().tobytes()


def parse_colour(text: str) -> tuple[int, int, int]:
    """A CSS colour ("white", "#1e90ff") as (red, green, blue) of sRGB. Raises InvalidValueError for any other text."""
    try:
        red, green, blue, *alpha = ImageColor.getrgb(text)
        if alpha:
            raise ValueError("a colour that lets others through")
    except ValueError:
        raise InvalidValueError("background", text, "a colour: a CSS name (white) or #rrggbb") from None
    return red, green, blue


def in_profile(colour: tuple[int, int, int], icc: bytes | None, channels: int) -> np.ndarray:
    """uint8 [C]: an sRGB colour converted to a profile (None: sRGB); its lightness for grey."""
    pixel = Image.new("RGB", (1, 1), colour)
    transform = _transform(icc, channels, back=True) if icc else None
    pixel = transform.apply(pixel) if transform else pixel.convert(ENCODED[channels > 1])
    return np.asarray(pixel).reshape(channels)
