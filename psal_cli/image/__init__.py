"""Pictures: files to arrays and back, with their metadata; masks."""

from psal_cli.image.formats import READABLE, check_format
from psal_cli.image.header import Header
from psal_cli.image.mask import Mask, read_mask, read_region
from psal_cli.image.metadata import Metadata
from psal_cli.image.picture import Picture
from psal_cli.image.reading import MAX_PIXELS, read_header, read_picture
from psal_cli.image.shapes import Box, Polygon, shapes_region
from psal_cli.image.writing import Encoding, check_holds, write_picture

__all__ = [
    "MAX_PIXELS",
    "READABLE",
    "Box",
    "Encoding",
    "Header",
    "Mask",
    "Metadata",
    "Picture",
    "Polygon",
    "check_format",
    "check_holds",
    "read_header",
    "read_mask",
    "read_picture",
    "read_region",
    "shapes_region",
    "write_picture",
]
