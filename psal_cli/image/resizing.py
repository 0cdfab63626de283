"""The size in a picture's metadata."""

import re
from dataclasses import replace

from psal_cli.image.exif import upright_exif
from psal_cli.image.metadata import Metadata

WIDTHS, HEIGHTS = (b"tiff:ImageWidth", b"exif:PixelXDimension"), (b"tiff:ImageLength", b"exif:PixelYDimension")


def resized(metadata: Metadata, size: tuple[int, int]) -> Metadata:
    """Sets the tags of EXIF and XMP for a new size (width, height)."""
    exif = upright_exif(metadata.exif, size) if metadata.exif else metadata.exif
    xmp = metadata.xmp
    for names, side in zip((WIDTHS, HEIGHTS), size, strict=True):
        for name in names:
            xmp = re.sub(rb"""(%s\s*(?:=\s*["']|>)\s*)\d+""" % name, rb"\g<1>%d" % side, xmp) if xmp else xmp
    return replace(metadata, exif=exif, xmp=xmp)
