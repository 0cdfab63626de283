"""Picture files to and from arrays: upright pixels, alpha apart, metadata kept, atomic writes."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from psal_cli.errors import InputError, PsalError, WriteError
from psal_cli.files import atomic_file
from psal_cli.metadata import Metadata, orientation_of, read_metadata, save_arguments
from psal_cli.tiff import write_tiff

log = logging.getLogger(__name__)

READS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
WRITES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}
NO_ALPHA = ("JPEG", "BMP")
LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
QUALITY = 95
MAX_PIXELS = 500_000_000
# Pillow's own guard refuses honest panoramas (179 megapixels); `_open` checks our limit, from the header, instead.
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


@dataclass(frozen=True)
class Picture:
    """A picture as it is looked at: upright.

    pixels: uint8 [H, W, C], C = 1 (grey) or 3 (red, green, blue, not multiplied by alpha); alpha: uint8 [H, W] or None.
    format: of the file it came from, as Pillow names it; lossless: whether that format keeps pixels exactly.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default_factory=Metadata)
    format: str = "PNG"
    lossless: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def white(self) -> int:
        """The largest value of a pixel: 255."""
        return int(np.iinfo(self.pixels.dtype).max)

    def tensor(self):
        """float32 [1, C, H, W] in [0, 1], a copy."""
        import torch

        height, width, channels = self.pixels.shape
        out = torch.empty(1, channels, height, width)
        out[0].copy_(torch.from_numpy(self.pixels).permute(2, 0, 1))
        return out.div_(self.white)

    def replaced(self, image, mask: np.ndarray, soft: np.ndarray | None = None) -> "Picture":
        """This picture with the pixels inside `mask` taken from `image`, rounded; all others stay bit for bit.

        image: float tensor [1, C, H, W] in [0, 1]; mask: bool [H, W]; soft: float32 [H, W] in [0, 1], how much of `image`
        a pixel inside the mask takes (default all). Costs time and memory by the size of the mask, beside one copy.
        """
        import torch

        height, width, channels = self.pixels.shape
        if tuple(image.shape) != (1, channels, height, width) or mask.shape != (height, width):
            expected = f"[1, {channels}, {height}, {width}]"
            raise ValueError(f"image has shape {list(image.shape)} and mask {list(mask.shape)}, expected {expected}")
        inside = np.flatnonzero(mask)
        values = image[0].reshape(channels, -1)[:, torch.from_numpy(inside).to(image.device)].T.cpu().numpy() * self.white
        pixels = self.pixels.copy()
        flat = pixels.reshape(-1, channels)
        if soft is not None:
            share = soft.reshape(-1)[inside, None]
            values = share * values + (1 - share) * flat[inside]
        flat[inside] = np.rint(values).clip(0, self.white).astype(pixels.dtype)
        return replace(self, pixels=pixels)


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
            upright, metadata = _cmyk_to_srgb(upright, metadata, path)
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


def _cmyk_to_srgb(image: Image.Image, metadata: Metadata, path: Path) -> tuple[Image.Image, Metadata]:
    if metadata.icc is None:
        raise InputError(f"{path} is CMYK without an ICC profile, its colours are anyone's guess: convert it to RGB first")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    try:
        converted = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(BytesIO(metadata.icc)), srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise InputError(f"{path} is CMYK with an unusable ICC profile ({error}): convert it to RGB first") from error
    log.warning("%s is CMYK: it becomes sRGB", path)
    return converted, replace(metadata, icc=srgb.tobytes())


def check_format(path: Path) -> str:
    """The format that the output's extension asks for. Raises InputError when it is none that psal writes."""
    name = WRITES.get(path.suffix.lower())
    if name is None:
        asked = f"the extension {path.suffix}" if path.suffix else "no extension"
        raise InputError(f"{path} has {asked}: psal writes {', '.join(WRITES)}; name the output with -o")
    return name


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
