"""Lists what psal does not keep of a picture file, in words."""

from collections.abc import Iterable
from typing import IO

from PIL import Image, TiffTags
from PIL.TiffImagePlugin import TiffImageFile

from psal_cli.image import chunks as png
from psal_cli.image import jxl
from psal_cli.image.exif import DESCRIPTIVE, EXIF_IFD, GPS_IFD
from psal_cli.image.gain_map import gain_map_of
from psal_cli.image.isobmff import read_about
from psal_cli.image.jpeg import GAIN_MAP, GAIN_MAP_WORDS, behind_the_end, lost_segments, pictures_in

MOST_NAMED = 8
# Tags of a TIFF's first directory that describe the storage of pixels, or that Metadata holds.
LAYOUT = {
    *range(254, 267),
    *(273, 274, 277, 278, 279, 280, 281, 284, *range(288, 294), 317, 320, 321, *range(322, 326), 332, 336, *range(338, 348)),
    *(*range(512, 522), *range(529, 533), 700, 33723, 34377, 34675, EXIF_IFD, GPS_IFD, 0xA005),
}
TIFF_WORDS = {
    **dict.fromkeys((33550, 33922, 34264, 34735, 34736, 34737), "GeoTIFF"),
    **dict.fromkeys((42112, 42113), "GDAL metadata"),
    330: "list of further pictures (SubIFDs)",
    37724: "Photoshop layers",
    50255: "annotation",
}


def left_behind(image: Image.Image, file: IO[bytes]) -> list[str]:
    """The contents of an opened file that `Metadata` cannot hold. Reads JPEG files to their end."""
    if isinstance(image, TiffImageFile):
        return tag_words(image.tag_v2)
    if image.format == "PNG":
        return png.lost_chunks(file)
    if image.format in ("AVIF", "HEIF"):
        try:
            return [GAIN_MAP_WORDS] if read_about(file).gain_map else []
        except (ValueError, IndexError, OverflowError):
            return []
    return _of_jpeg(image, file) if image.format in ("JPEG", "MPO") else []


def of_jxl(head: jxl.Head) -> list[str]:
    return [GAIN_MAP_WORDS] if head.gain_map else []


def holds_gain_map(image: Image.Image, file: IO[bytes]) -> bool:
    """Whether one of the pictures in an opened JPEG file is a gain map that `Metadata` holds."""
    segments = getattr(image, "applist", [])
    return image.format in ("JPEG", "MPO") and gain_map_of(segments, behind_the_end(file), 1) is not None


def tag_words(tags: Iterable[int]) -> list[str]:
    """The names of a first directory's tags that psal drops although they do not describe the storage of pixels."""
    names: dict[str, None] = {}
    for tag in tags:
        if tag not in LAYOUT and tag not in DESCRIPTIVE:
            name = TiffTags.lookup(tag).name
            names[TIFF_WORDS.get(tag) or (f"tag {tag}" if name == "unknown" else name)] = None
    return _shortened(list(names))


def _of_jpeg(image: Image.Image, file: IO[bytes]) -> list[str]:
    segments = getattr(image, "applist", [])
    losses, trailer = lost_segments(segments), behind_the_end(file)
    packets = (data for name, data in segments if name == "APP1")
    several = getattr(image, "n_frames", 1) > 1  # further pictures are reported separately
    if gain_map := gain_map_of(segments, trailer, 1):  # held by Metadata
        losses = [loss for loss in losses if loss != GAIN_MAP_WORDS]
        pictures, rest = pictures_in(trailer)
        trailer = b"".join(picture for picture in pictures if picture != gain_map.jpeg) + rest
    elif GAIN_MAP_WORDS not in losses and (GAIN_MAP.search(trailer) or any(map(GAIN_MAP.search, packets))):
        losses.append(GAIN_MAP_WORDS)
    if trailer and not several and GAIN_MAP_WORDS not in losses:
        losses.append(f"{-(-len(trailer) // 1000)} kB behind the end of the picture")
    return _shortened(losses)


def _shortened(words: list[str]) -> list[str]:
    more = len(words) - MOST_NAMED
    return words if more <= 0 else [*words[:MOST_NAMED], f"{more} more"]
