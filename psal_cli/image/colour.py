"""What the numbers of a picture mean: conversions between ICC profiles."""

import logging
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageCms

from psal_cli.errors import InputError
from psal_cli.image.metadata import Metadata

log = logging.getLogger(__name__)


def cmyk_to_srgb(image: Image.Image, metadata: Metadata, path: Path) -> tuple[Image.Image, Metadata]:
    if metadata.icc is None:
        raise InputError(f"{path} is CMYK without an ICC profile, its colours are anyone's guess: convert it to RGB first")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    try:
        converted = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(BytesIO(metadata.icc)), srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise InputError(f"{path} is CMYK with an unusable ICC profile ({error}): convert it to RGB first") from error
    log.warning("%s is CMYK: it becomes sRGB", path)
    return converted, replace(metadata, icc=srgb.tobytes())
