"""Reads picture files: format, header, and the upright picture with its metadata."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from psal_cli.errors import Cure, InputError, PsalError, is_out_of_memory
from psal_cli.files import STDIO, open_input
from psal_cli.image import exr, float_tiff, jxl
from psal_cli.image.coding import avif_bits, is_lossless
from psal_cli.image.colour import Inks
from psal_cli.image.decoding import (
    BITS,
    EXTRA_SAMPLES,
    PHOTOMETRIC,
    SAMPLE_FORMAT,
    Layout,
    arrays,
    layout_of,
    load,
    prepare_pillow,
    refusal,
)
from psal_cli.image.formats import detect, floating_point, foreign, load_plugin, readable, word
from psal_cli.image.header import Header
from psal_cli.image.jpeg_quality import quality_of
from psal_cli.image.losses import holds_gain_map, left_behind, of_jxl
from psal_cli.image.metadata import Metadata, complete_png, orientation_of, read_metadata
from psal_cli.image.picture import Picture
from psal_cli.image.png import is_too_short, lacks_rows
from psal_cli.storage import Url, as_path

log = logging.getLogger(__name__)

MAX_PIXELS = 600_000_000
FLOATING = " floating-point"
NUMBERS = {2: " signed", 3: FLOATING}
PHOTOMETRICS = {
    0: "grey",
    1: "grey",
    2: "RGB",
    3: "palette",
    5: "CMYK",
    6: "YCbCr",
    8: "CIELab",
    9: "ICCLab",
    32844: "LogL",
    32845: "LogLuv",
}
CURE = "save it as RGB or grey with 8 or 16 bits"


def read_header(path: str | Path, max_pixels: int = MAX_PIXELS, profiles: bool = True) -> Header:
    """Reads the header of a file without decoding it. Raises InputError for every defect visible there.

    profiles: whether CMYK requires a usable profile.
    """
    path = as_path(path)
    with opened(path) as (file, name):
        if name == "TIFF" and (tiff := float_tiff.float_tiff(file)):
            _check_size(*tiff.size, path, max_pixels)
            return tiff.header
        if name == "EXR":
            return _exr_header(file, path, max_pixels)
        header = _header(file, name, path, max_pixels, profiles)
        return _turned(header, file, path)


def read_picture(path: str | Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads a JPEG, PNG, TIFF, WebP, AVIF, BMP, HEIC or JPEG XL file, 8 or 16 bits, grey or colour, with or without alpha;
    floating-point TIFF and OpenEXR files as float32 with white = 1, not clipped.

    The orientation tag is applied and reset. Palettes become RGB (and alpha); CMYK is converted to sRGB through its ICC profile.
    Losses (further frames, bits) are logged as warnings. Raises InputError if there is no such file, or it is not a picture, is
    damaged, has more than `max_pixels` (checked before decoding), an unsupported bit depth or colour space, or CMYK without a
    profile, or needs a plugin that is not installed.
    """
    path = as_path(path)
    with opened(path) as (file, name):
        if name == "TIFF" and (tiff := float_tiff.float_tiff(file)):
            _check_size(*tiff.size, path, max_pixels)
            return float_tiff.picture(tiff, file, path)
        if name == "EXR":
            _exr_header(file, path, max_pixels)
            return exr.read_exr(file, path)
        header = _header(file, name, path, max_pixels)
        _warn_of_losses(file, name, path)
        with _image(file, name) as image:
            inks = Inks(image.info.get("icc_profile"), path) if image.mode == "CMYK" else None
            pixels, alpha, metadata = decoded(image, header, file, path, inks)
            metadata = inks.profiled(metadata) if inks else metadata
            quality = quality_of(getattr(image, "quantization", {}))
            return Picture(pixels, alpha, metadata, name, is_lossless(file, image), quality)


def read_plain(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, np.ndarray | None]:
    """The upright pixels and alpha as `read_picture` reads them, but also for CMYK without a profile; for masks."""
    with opened(path) as (file, name):
        if name == "TIFF" and (tiff := float_tiff.float_tiff(file)):
            _check_size(*tiff.size, path, max_pixels)
            with float_tiff.opened(tiff, file) as image:
                return float_tiff.arrays(tiff, image, path)
        if name == "EXR":
            _exr_header(file, path, max_pixels)
            return exr.arrays(file, path)
        header = _header(file, name, path, max_pixels, profiles=False)
        with _image(file, name) as image:
            return decoded(image, header, file, path)[:2]


def _warn_of_losses(file: IO[bytes], name: str, path: Path) -> None:
    """Logs what will be lost of the file."""
    frames: int | str = 1
    bits, extra, others = 8, (), list[str]()
    if name == "JXL":
        head = jxl.read_head(file)
        frames, bits = "several" if head.animated else 1, head.bits if not head.grey or head.alpha else 8
        others = of_jxl(head)
    else:
        with _image(file, name) as image:
            frames, others = getattr(image, "n_frames", 1), left_behind(image, file)
            frames -= frames > 1 and holds_gain_map(image, file)
            if name in ("AVIF", "HEIF"):
                bits = image.info["bit_depth"] if name == "HEIF" else avif_bits(file)
            elif isinstance(image, TiffImagePlugin.TiffImageFile):
                extra = image.tag_v2.get(EXTRA_SAMPLES, ())
    if frames != 1:
        log.warning("%s holds %s pictures: only the first is used", path, frames)
    if others:
        log.warning("%s: its %s not kept", path, " and ".join(others) + (" is" if len(others) == 1 else " are"))
    if bits > 8:
        log.warning("%s has %d bits a channel: psal reads %s with 8", path, bits, word(name))
    if 0 in extra:
        log.warning("%s has a channel beside its colours that it does not explain: it is not kept", path)


def decoded(
    image: Image.Image, header: Header, file: IO[bytes], path: Path, inks: Inks | None = None
) -> tuple[np.ndarray, np.ndarray | None, Metadata]:
    """The upright pixels [H, W, C], alpha [H, W] or None (uint8 or uint16), and metadata to match.

    inks: converts a crop of CMYK to RGB; None for the conversion without a profile.
    """
    layout = _layout(image, path)
    load(image, layout)
    if sorted(image.size) != sorted((header.width, header.height)):  # JPEG XL's header is upright, its pixels may be rotated
        size = f"{image.size[0]}x{image.size[1]}"
        raise InputError(f"{path} is damaged: its header says {header.width}x{header.height}, its pixels are {size}")
    if image.format == "PNG" and lacks_rows(image, file):
        raise InputError(f"{path} is damaged or cut off: its pixels end before the last of its {image.size[1]} rows")
    if image.format == "PNG":
        complete_png(image, file)
    turned = image.format == "JXL" and not getattr(image, "jpeg", False)  # its decoder rotates it, regardless of EXIF
    orientation = 1 if turned else orientation_of(image)
    pixels, alpha = arrays(image, file, layout, orientation, inks or (lambda crop: crop.convert("RGB")))
    return pixels, alpha, read_metadata(image, orientation, (pixels.shape[1], pixels.shape[0]), str(path))


@contextmanager
def opened(path: Path, layered: bool = False) -> Iterator[tuple[IO[bytes], str]]:
    """Opens a file and detects its format; errors of decoders inside the block become InputErrors.

    layered: also accept PSD files.
    """
    prepare_pillow()
    name = None
    try:
        if path != STDIO and not isinstance(path, Url) and path.exists() and not path.is_file():
            kind = "a folder, expected a picture" if path.is_dir() else "not a regular file: give what comes from a pipe as -"
            raise InputError(f"{path} is {kind}")
        with open_input(path) as file:
            head = file.read(64)
            name = detect(head)
            file.seek(0)
            if not head:
                raise InputError(f"{path} is empty, expected a picture")
            if problem := foreign(path, head):
                raise InputError(problem)
            if name == "GIF" or (name == "PSD" and not layered):
                raise InputError(f"{path} is a {name} file, psal reads {readable()}: save it as one of these")
            if name is None:
                raise InputError(f"{path} is not a picture that psal reads ({readable()})")
            load_plugin(name, path)
            yield file, name
    except (PsalError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it") from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path} is damaged or cut off, or a {word(name or 'picture')} file of a kind that psal does not read"
        ) from error
    except BaseException as error:  # decoders raise anything on damaged files, JPEG XL's even a BaseException
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if is_out_of_memory(error):
            raise MemoryError from error
        if isinstance(error, OSError) and error.strerror:  # an error of the system; OSErrors of decoders have no errno
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        words = "" if name == "JXL" else f" ({' '.join(str(error).split())})"  # JPEG XL's message is about its build
        raise InputError(f"{path} is damaged or cut off{words}") from error


def _image(file: IO[bytes], name: str) -> Image.Image:
    file.seek(0)
    return Image.open(file, formats=[name])


def _exr_header(file: IO[bytes], path: Path, max_pixels: int) -> Header:
    header = exr.exr_header(file, path)
    _check_size(header.width, header.height, path, max_pixels)
    return header


def _header(file: IO[bytes], name: str, path: Path, max_pixels: int, profiles: bool = True) -> Header:
    """The header, with width and height as stored. Refuses files that psal does not read, and with `profiles` CMYK without
    one."""
    if name == "JXL":  # opening it would decode it
        head = jxl.read_head(file)
        _check_size(head.width, head.height, path, max_pixels)
        if head.float:
            raise InputError(floating_point(path, f"JPEG XL, {head.bits}-bit"))
        bits = 16 if head.bits > 8 and head.grey and not head.alpha else 8
        return Header(name, head.width, head.height, 1 if head.grey else 3, bits, head.alpha)
    try:
        image = _image(file, name)
    except UnidentifiedImageError:
        if name == "TIFF" and (kind := _tiff_kind(file)):
            if kind.endswith(FLOATING):
                raise InputError(floating_point(path, f"TIFF, {kind.removesuffix(FLOATING)}")) from None
            raise InputError(f"{path} is a TIFF file of a kind that psal does not read ({kind}): {CURE}") from None
        raise
    with image:
        _check_size(*image.size, path, max_pixels)
        if name == "PNG" and is_too_short(file):
            raise InputError(f"{path} is damaged or cut off: too short for the {image.size[1]} rows that it promises")
        layout = _layout(image, path)
        if image.mode == "CMYK" and profiles:
            Inks(image.info.get("icc_profile"), path)
        return Header(name, *image.size, layout.channels, layout.bits, layout.alpha)


def _turned(header: Header, file: IO[bytes], path: Path) -> Header:
    """The header with the upright width and height."""
    if header.format in ("TIFF", "JXL"):  # already upright
        return header
    with _image(file, header.format) as image:
        if header.format == "PNG":
            complete_png(image, file)
        turned = orientation_of(image) >= 5
    return header._replace(width=header.height, height=header.width) if turned else header


def _check_size(width: int, height: int, path: Path, max_pixels: int) -> None:
    if width * height > max_pixels:
        size = f"{width}x{height}, {width * height / 1e6:.1f} megapixels, more than the limit of {max_pixels / 1e6:g}"
        if max_pixels < 1e5:
            size = f"{width}x{height}, {width * height} pixels, more than the limit of {max_pixels}"
        raise InputError(f"{path} is {size}", Cure.MORE_PIXELS)


def _layout(image: Image.Image, path: Path) -> Layout:
    if image.mode == "F":
        bits = max(image.tag_v2.get(BITS, (32,))) if isinstance(image, TiffImagePlugin.TiffImageFile) else 32
        raise InputError(floating_point(path, f"{word(image.format or '')}, grey, {bits}-bit"))
    if words := refusal(image):
        raise InputError(f"{path} {words}, which psal does not read: {CURE}")
    layout = layout_of(image)
    if layout is None:
        raise InputError(f"{path} has the colour mode {image.mode}, which psal does not read: {CURE}")
    return layout


def _tiff_kind(file: IO[bytes]) -> str | None:
    """The kind of a TIFF file that Pillow does not open, None if its directory cannot be read."""
    file.seek(0)
    try:
        directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(directory.next)
        directory.load(file)
        bits, colours = max(directory[BITS]), directory[PHOTOMETRIC]
        numbers = NUMBERS.get(directory.get(SAMPLE_FORMAT, (1,))[0], "")
    except Exception:
        return None
    return f"{PHOTOMETRICS.get(colours, f'photometric interpretation {colours}')}, {bits}-bit{numbers}"
