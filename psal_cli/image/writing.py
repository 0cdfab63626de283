"""Pictures to files: in the format of the path's extension, atomically, with their metadata."""

import logging
from pathlib import Path
from typing import IO

from PIL import Image

from psal_cli.errors import InputError, WriteError
from psal_cli.files import atomic_file
from psal_cli.image.formats import LONGEST_SIDE, NO_ALPHA, check_format
from psal_cli.image.metadata import save_arguments
from psal_cli.image.picture import Picture
from psal_cli.image.tiff import write_tiff

log = logging.getLogger(__name__)

QUALITY = 95


def check_holds(picture: Picture, path: Path) -> None:
    """Raises InputError when the format that `path` asks for cannot hold the picture: alpha, size."""
    name = check_format(path)
    if picture.alpha is not None and name in NO_ALPHA and picture.alpha.min() < picture.white:
        raise InputError(f"{path}: {name} holds no alpha and the picture has some: write PNG, WebP or TIFF with -o")
    longest = LONGEST_SIDE.get(name, max(picture.size))
    if max(picture.size) > longest:
        width, height = picture.size
        cure = "write PNG or TIFF with -o"
        raise InputError(f"{path}: {name} holds sides up to {longest}, the picture is {width}x{height}: {cure}")


def write_picture(picture: Picture, path: str | Path, force: bool = False, quality: int | None = None) -> None:
    """Writes a picture in the format of the path's extension, atomically, with its metadata.

    JPEG has quality 95 and full colour resolution (4:4:4). WebP is lossless where the picture came from a lossless format
    (PNG, TIFF, BMP, lossless WebP) and else has quality 95; a `quality` that is given makes it lossy. PNG, TIFF and BMP
    are lossless. What the format cannot hold is logged as a warning.
    Raises InputError: unknown extension, alpha or size that the format cannot hold, the file exists and not `force`;
    WriteError: it could not be written (disk full, no permission); the old file is then whole.
    """
    path = Path(path)
    check_holds(picture, path)
    name = check_format(path)
    with atomic_file(path, force) as file:
        try:
            if name == "TIFF":
                write_tiff(file, picture.pixels, picture.alpha, picture.metadata)
            else:
                _save(picture, file, name, path, quality)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # encoders raise anything
            raise WriteError(f"cannot write {path} as {name} ({error})") from error


def _save(picture: Picture, file: IO[bytes], name: str, path: Path, quality: int | None) -> None:
    grey = picture.pixels.shape[2] == 1
    image = Image.fromarray(picture.pixels[..., 0] if grey else picture.pixels)
    if grey and name == "WEBP":
        log.warning("%s: WebP holds no grey pictures: written as RGB with equal channels", path)
    if picture.alpha is not None and name not in NO_ALPHA:
        image.putalpha(Image.fromarray(picture.alpha))
    arguments = save_arguments(picture.metadata, name, str(path)) | _encoding(name, picture.lossless, quality)
    image.save(_Sink(file), format=name, **arguments)


def _encoding(name: str, lossless: bool, quality: int | None) -> dict:
    if name == "JPEG":
        return {"quality": quality or QUALITY, "subsampling": 0}
    if name == "WEBP" and lossless and quality is None:
        return {"lossless": True, "exact": True, "quality": 50}  # exact: colours under full transparency too
    if name == "WEBP":
        return {"quality": quality or QUALITY, "exact": True}
    return {"compress_level": 4} if name == "PNG" else {}  # 5 % larger than the usual 6, in less than half of its time


class _Sink:
    """A file without a descriptor: Pillow then writes through Python, which sees a disk that fills up in the last block."""

    def __init__(self, file: IO[bytes]):
        self.write, self.seek, self.tell, self.flush = file.write, file.seek, file.tell, file.flush
