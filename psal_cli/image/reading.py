"""Picture files to arrays: upright pixels, alpha apart, metadata kept."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from psal_cli.errors import InputError, PsalError
from psal_cli.image.colour import cmyk_to_srgb
from psal_cli.image.formats import READS
from psal_cli.image.metadata import Metadata, orientation_of, read_metadata
from psal_cli.image.picture import Picture

log = logging.getLogger(__name__)

MAX_PIXELS = 600_000_000
# Pillow's own guard refuses honest panoramas (179 megapixels); `opened` checks our limit, from the header, instead.
Image.MAX_IMAGE_PIXELS = None

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow's mode -> (mode of the colours, has alpha); palettes, transparency keys and CMYK are handled by name.
MODES = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "RGB": "RGB", "RGBX": "RGB", "YCbCr": "RGB", "RGBA": "RGBA", "RGBa": "RGBA"}
PALETTES = ("P", "PA")


def read_picture(path: str | Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads an 8-bit JPEG, PNG, WebP, TIFF or BMP file, grey or in colour, with or without alpha.

    The orientation tag is applied and reset. A palette becomes red, green, blue (and alpha); CMYK is converted to sRGB
    through its ICC profile. What is not kept (further frames) is logged as a warning.
    Raises InputError: no such file, no picture, damaged, more than `max_pixels` (checked before decoding), more than 8
    bits a channel, CMYK without a profile, another colour space.
    """
    path = Path(path)
    with opened(path, max_pixels) as image:
        bits = _bits(image, path)
        if bits > 8:
            raise InputError(f"{path} has {bits} bits a channel, psal reads 8 so far: save a copy with 8 bits and give that")
        if getattr(image, "n_frames", 1) > 1:
            log.warning("%s holds %d pictures: only the first is used", path, image.n_frames)
        name = "JPEG" if image.format == "MPO" else image.format  # MPO: a JPEG file with a second picture in it
        lossless = name != "JPEG" and not (name == "WEBP" and _webp_is_lossy(path))
        upright, metadata = decoded(image, path)
        if upright.mode == "CMYK":
            upright, metadata = cmyk_to_srgb(upright, metadata, path)
        colours, alpha = _channels(upright, path)
        return Picture(colours, alpha, metadata, name, lossless)


@contextmanager
def opened(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The file as a Pillow image, its header read; whatever its decoder stumbles over in the block is an InputError."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is {'a folder' if path.is_dir() else 'no regular file'}, expected a picture")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata, which metadata.py reports itself
            with Image.open(path, formats=READS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    limit = f"more than the limit of {max_pixels / 1e6:.0f}"
                    raise InputError(f"{path} is {width}x{height}, {width * height / 1e6:.0f} megapixels, {limit}: scale it down")
                yield image
    except (PsalError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is no picture that psal reads (JPEG, PNG, WebP, TIFF, BMP)") from error
    except Exception as error:  # decoders raise anything on damaged files
        if isinstance(error, OSError) and error.strerror:  # the system's, a decoder's OSError has none
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        raise InputError(f"{path} is damaged or cut off ({error})") from error


def decoded(image: Image.Image, path: Path) -> tuple[Image.Image, Metadata]:
    """The decoded image turned upright, and its metadata, which says so."""
    image.load()
    orientation = orientation_of(image, str(path))
    upright = image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
    return upright, read_metadata(image, orientation, upright.size, str(path))


def _bits(image: Image.Image, path: Path) -> int:
    """Bits a channel in the file: Pillow opens 16-bit colour as 8-bit without a word."""
    if image.format == "PNG":
        with open(path, "rb") as file:
            return file.read(25)[24]
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,)))
    return 8


def _webp_is_lossy(path: Path) -> bool:
    """Whether any chunk of pixels in a WebP file (of a frame, where it is animated) is of the lossy kind."""
    with open(path, "rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            if head[:4] == b"VP8 ":
                return True
            length = int.from_bytes(head[4:], "little")
            # A frame's chunks lie inside it, after 16 bytes about the frame.
            file.seek(16 if head[:4] == b"ANMF" else length + length % 2, 1)
    return False


def _channels(image: Image.Image, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    transparent = image.has_transparency_data
    if image.mode in PALETTES:
        mode = "RGBA" if transparent else "RGB"
        log.info("%s has a palette: it becomes %s", path, mode)
    elif image.mode in MODES:
        mode = MODES[image.mode]
        mode = mode + "A" if transparent and not mode.endswith("A") else mode  # one colour is marked as transparent
    else:
        raise InputError(f"{path} has the colour mode {image.mode}, which psal does not read: convert it to RGB or grey first")
    image = image if image.mode == mode else image.convert(mode)
    alpha = np.array(image.getchannel("A")) if mode.endswith("A") else None
    colours = np.array(image.convert(mode.removesuffix("A")) if alpha is not None else image)
    return colours if colours.ndim == 3 else colours[..., None], alpha
