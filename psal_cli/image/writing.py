"""Writes pictures: in the format of the path's extension, atomically, with their metadata."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, cast

from PIL import Image

from psal_cli.errors import Cure, InputError, WriteError, is_out_of_memory
from psal_cli.files import atomic_file
from psal_cli.image.colour import parse_colour
from psal_cli.image.decoding import prepare_pillow
from psal_cli.image.exr import write_exr
from psal_cli.image.fitting import fitted
from psal_cli.image.formats import LONG, LONGEST_SIDE, MOST_PIXELS, NARROW, NO_ALPHA, check_format, word
from psal_cli.image.gain_map import with_gain_map
from psal_cli.image.isobmff import with_colours
from psal_cli.image.keeping import png_chunks, save_arguments
from psal_cli.image.picture import Picture
from psal_cli.image.png import write_png
from psal_cli.image.tiff import write_tiff
from psal_cli.storage import as_path

log = logging.getLogger(__name__)

QUALITY = 95


@dataclass(frozen=True)
class Encoding:
    """How a picture is written.

    quality: 1 to 100, of lossy formats (default 95; see `write_picture`); compression: 0 (none) to 9, of PNG and TIFF; of OpenEXR
        only 0 counts; background: a CSS colour behind transparent pixels if the format has no alpha; strip_metadata: drop all of
        Metadata; format: an extension without its dot, which overrides the path's.
    """

    quality: int | None = None
    compression: int | None = None
    background: str | None = None
    strip_metadata: bool = False
    format: str | None = None


def check_holds(picture: Picture, path: Path, encoding: Encoding = Encoding()) -> None:
    """Raises InputError if the requested format cannot hold the picture: alpha without a background, size."""
    name = check_format(path, encoding.format)
    if encoding.background is not None:
        parse_colour(encoding.background)
    elif picture.alpha is not None and name in NO_ALPHA and picture.alpha.min() < picture.white:
        raise InputError(f"{path}: {name} holds no alpha and the picture has some", Cure.SHOW_THROUGH)
    check_size(picture.size, path, encoding)


def check_size(size: tuple[int, int], path: Path, encoding: Encoding = Encoding(), what: str = "the picture") -> None:
    """Raises InputError if the requested format cannot hold a picture of `size` (width, height)."""
    name, (width, height) = check_format(path, encoding.format), size
    longest, most = LONGEST_SIDE.get(name, width + height), MOST_PIXELS.get(name, width * height)
    if max(width, height) > longest or width * height > most:
        limit = f"sides up to {longest}" if max(width, height) > longest else f"up to {most / 1e6:.0f} megapixels"
        raise InputError(f"{path}: {word(name)} holds {limit}, {what} is {width}x{height}", Cure.LARGER_FORMAT)


def write_picture(picture: Picture, path: str | Path, force: bool = False, encoding: Encoding = Encoding()) -> None:
    """Writes a picture in the format of the path's extension, atomically, with its metadata.

    PNG, TIFF, OpenEXR and BMP are lossless. WebP, HEIC and JPEG XL are lossless if the picture came from a lossless format and no
    quality is given (HEIC always for very narrow pictures); AVIF then has its best quality, as Pillow cannot write it losslessly.
    Lossy files have quality 95 and full colour resolution (4:4:4, except WebP, which does not support it). Losses are logged as
    warnings. Raises InputError for an unknown extension, for alpha or a size that the format cannot hold, and for an existing
    file without `force`; WriteError if it cannot be written (disk full, no permission), in which case the old file is intact.
    """
    path = as_path(path)
    check_holds(picture, path, encoding)
    name = check_format(path, encoding.format)
    picture = fitted(picture, name, path, encoding.background, encoding.strip_metadata)
    with atomic_file(path, force) as file:
        try:
            if name == "TIFF":
                write_tiff(file, picture.pixels, picture.alpha, picture.metadata, encoding.compression)
            elif name == "EXR":
                write_exr(file, picture.pixels, picture.alpha, picture.metadata.exr, encoding.compression)
            elif name == "PNG":
                write_png(file, picture.pixels, picture.alpha, png_chunks(picture.metadata), encoding.compression)
            else:
                _save(picture, file, name, encoding.quality)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # encoders raise anything
            if is_out_of_memory(error):
                raise MemoryError from error
            raise WriteError(f"cannot write {path} as {word(name)} ({error})") from error


def _save(picture: Picture, file: IO[bytes], name: str, quality: int | None) -> None:
    prepare_pillow()
    grey = picture.pixels.shape[2] == 1
    image = Image.fromarray(picture.pixels[..., 0] if grey else picture.pixels)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    lossless = picture.lossless and quality is None
    if name == "HEIF" and min(picture.size) < NARROW and max(picture.size) > LONG:
        lossless = True
    arguments = save_arguments(picture.metadata, name) | dict(_encoding(name, grey, lossless, quality or QUALITY))
    if name == "AVIF" and picture.metadata.cicp and not picture.metadata.icc:  # Pillow declares sRGB if there is no profile
        encoded = BytesIO()
        image.save(encoded, format=name, **arguments)
        file.write(with_colours(encoded.getvalue(), picture.metadata.cicp))
    elif name == "JPEG" and picture.metadata.gain_map:
        encoded = BytesIO()
        image.save(encoded, format=name, **arguments)
        file.write(with_gain_map(encoded.getvalue(), picture.metadata.gain_map))
    else:
        image.save(cast("IO[bytes]", _Sink(file)), format=name, **arguments)


def _encoding(name: str, grey: bool, lossless: bool, quality: int) -> Mapping[str, int | str]:
    if name == "JPEG":
        return {"quality": quality, "subsampling": 0}
    if name == "WEBP":  # exact: keep colours of fully transparent pixels
        return {"exact": True} | ({"lossless": True, "quality": 50} if lossless else {"quality": quality})
    if name == "AVIF":
        return {"quality": 100 if lossless else quality, "subsampling": "4:0:0" if grey else "4:4:4"}
    if name == "HEIF":
        return {"chroma": 444} | ({"quality": -1, "matrix_coefficients": 0} if lossless else {"quality": quality})
    if name == "JXL":
        return {"lossless": True} if lossless else {"quality": quality}
    return {}


class _Sink:
    """A file without a descriptor: Pillow then writes through Python, which notices a full disk even in the last block."""

    def __init__(self, file: IO[bytes]):
        self.write, self.seek, self.tell, self.flush = file.write, file.seek, file.tell, file.flush
