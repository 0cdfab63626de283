"""Reads and writes OpenEXR files through the OpenEXR package: floating-point linear light, bit for bit.

The values stay as they are in the file, and a linear ICC profile describes them, so that other formats get the right tones.
OpenEXR stores premultiplied colours; these keep every bit where alpha is 0 or 1.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from psal_cli.errors import InputError
from psal_cli.image.exr_header import FLOAT, HALF, Attributes, Colours, Head, check_whole, colours_of, read_head
from psal_cli.image.header import Header
from psal_cli.image.light import REC_709, Chromaticities, linear_profile, to_light
from psal_cli.image.metadata import Metadata
from psal_cli.image.picture import Picture
from psal_cli.strips import rows_within, strips

log = logging.getLogger(__name__)

DTYPES = {HALF: "<f2", FLOAT: "<f4"}
LARGEST_HALF = 65_504.0
BAND = 1 << 20  # pixels
# Attributes that say how pixels are stored, that the library sets, or that show the picture before it was edited.
STORAGE = {"channels", "compression", "lineOrder", "type", "tiles", "chunkCount", "version", "name", "preview", "chromaticities"}
WINDOWS = {"dataWindow", "displayWindow"}  # valid for a picture of this size only
PLAIN = {"pixelAspectRatio": [1.0], "screenWindowCenter": [0.0, 0.0], "screenWindowWidth": [1.0]}  # the defaults


def exr_header(file: IO[bytes], path: Path) -> Header:
    """The header of the picture. Raises InputError for channels that are no picture, ValueError for a damaged header."""
    head = read_head(file)
    chosen = _chosen(head, path)
    return Header("EXR", *head.size, len(chosen.colours), 32, chosen.alpha is not None)


def read_exr(file: IO[bytes], path: Path) -> Picture:
    """Reads the picture in a file; losses are logged.

    Raises:
        InputError: channels that are no picture, NaN or infinity.
        ValueError, OSError: it is damaged.
    """
    head = read_head(file)
    chosen = _chosen(head, path)
    if head.parts > 1:
        log.warning("%s holds several pictures: only the first is used", path)
    if chosen.others:
        named = ", ".join(chosen.others[:8]) + (f" and {len(chosen.others) - 8} more" if len(chosen.others) > 8 else "")
        log.warning("%s: its channels %s are not kept", path, named)
    pixels, alpha = arrays(file, path)
    kinds = {channel.kind for channel in head.channels if channel.name in chosen.colours}
    chromaticities = head.chromaticities if len(chosen.colours) == 3 else None
    icc = linear_profile(len(chosen.colours), chromaticities or REC_709)
    metadata = Metadata(icc=icc, exr=_attributes(file, head, kinds == {HALF}, chromaticities))
    return Picture(pixels, alpha, metadata, "EXR", True)


def arrays(file: IO[bytes], path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """(pixels [H, W, C], alpha [H, W] or None), float32. Raises as `read_exr` does."""
    import OpenEXR

    head = read_head(file)
    check_whole(file, head)
    chosen, (width, height) = _chosen(head, path), head.size
    kinds = {channel.name: channel.kind for channel in head.channels}
    pixels = np.empty((height, width, len(chosen.colours)), np.float32)
    alpha = None if chosen.alpha is None else np.empty((height, width), np.float32)
    file.seek(0)
    source = OpenEXR.InputFile(file)
    try:
        for number, name in enumerate((*chosen.colours, *([chosen.alpha] if chosen.alpha else ()))):
            numbers = np.frombuffer(source.channel(name), DTYPES[kinds[name]])
            out = alpha if alpha is not None and name == chosen.alpha else pixels[..., number]
            out[:] = numbers.reshape(height, width)
    finally:
        source.close()
    finite = np.isfinite([pixels.min(), pixels.max()]).all()  # both are NaN if any value is
    if not finite or (alpha is not None and not np.isfinite(alpha).all()):
        raise InputError(f"{path} contains NaN or infinity: replace them, or save it as a 16-bit TIFF or PNG")
    if alpha is not None:
        alpha.clip(0, 1, out=alpha)
        _multiplied(pixels, alpha, back=True)
    return pixels, alpha


def linear(picture: Picture, path: Path) -> Picture:
    """Converts a picture for an OpenEXR file: float32, linear light, without a profile. path: for warnings.

    The values of a picture that was read from such a file and still has its profile are unchanged.
    """
    icc, exr, channels = picture.metadata.icc, picture.metadata.exr, picture.pixels.shape[2]
    if exr is not None and icc == linear_profile(channels, exr.chromaticities or REC_709):
        return replace(picture, metadata=replace(picture.metadata, icc=None))
    if icc is not None and to_light(np.zeros((1, channels), np.float32), icc) is None:
        log.warning("%s: its ICC profile has tables: the colours are taken for sRGB", path)
        icc = None
    white, pixels = np.float32(picture.white), np.empty(picture.pixels.shape, np.float32)
    for rows in (part.rows for part in strips(len(pixels), rows_within(BAND, picture.size[0]))):
        pixels[rows] = to_light(picture.pixels[rows].astype(np.float32) / white, icc)
    alpha = None if picture.alpha is None else picture.alpha.astype(np.float32) / white
    kept = None if exr is None else exr._replace(half=False, chromaticities=None)
    return replace(picture, pixels=pixels, alpha=alpha, metadata=replace(picture.metadata, icc=None, exr=kept))


def write_exr(
    file: IO[bytes], pixels: np.ndarray, alpha: np.ndarray | None, attributes: Attributes | None, level: int | None = None
) -> None:
    """Writes a picture from `linear` to a seekable file, with lossless compression; level 0 turns it off.

    Files with 16-bit values keep 16 bits: new values are rounded.
    """
    import OpenEXR

    height, width, channels = pixels.shape
    header: dict[str, object] = {"type": OpenEXR.scanlineimage}
    header["compression"] = OpenEXR.NO_COMPRESSION if level == 0 else OpenEXR.ZIP_COMPRESSION
    half = attributes is not None and attributes.half
    if attributes is not None:
        header |= dict(attributes.others)
        header |= dict(attributes.windows) if attributes.size == (width, height) else {}
        header |= {"chromaticities": attributes.chromaticities} if attributes.chromaticities and channels == 3 else {}
    if alpha is not None:
        pixels = pixels.copy()
        _multiplied(pixels, alpha)
    planes = dict(zip("RGB" if channels == 3 else "Y", np.moveaxis(pixels, 2, 0), strict=True))
    planes |= {} if alpha is None else {"A": alpha}
    if half:
        planes = {name: plane.clip(-LARGEST_HALF, LARGEST_HALF).astype(np.float16) for name, plane in planes.items()}
    with OpenEXR.File(header, {name: np.ascontiguousarray(plane) for name, plane in planes.items()}) as out:
        out.write(file)


def _multiplied(pixels: np.ndarray, alpha: np.ndarray, back: bool = False) -> None:
    """Multiplies colours by alpha in place, or divides with `back`. Where alpha is 0 or 1 they keep every bit."""
    partly = (alpha > 0) & (alpha < 1)
    if partly.any():
        share = alpha[partly][:, None]
        pixels[partly] = pixels[partly] / share if back else pixels[partly] * share


def _chosen(head: Head, path: Path) -> Colours:
    """Chooses the channels of the picture. Raises InputError if psal cannot read them."""
    if head.deep:
        raise InputError(f"{path} holds deep data, several values per pixel, which psal does not read: flatten it first")
    chosen = colours_of(head.channels)
    names = ", ".join(channel.name for channel in head.channels[:8])
    if chosen is None:
        raise InputError(f"{path} has the channels {names}: psal reads R, G and B, or Y, with or without A")
    own = [channel for channel in head.channels if channel.name in (*chosen.colours, chosen.alpha)]
    if any(channel.kind not in DTYPES for channel in own):
        raise InputError(f"{path} has integer channels among {names}: psal reads floating-point channels of 16 and 32 bits")
    if any(channel.step != (1, 1) for channel in own):
        raise InputError(f"{path} has subsampled channels among {names}, which psal does not read")
    return chosen


def _attributes(file: IO[bytes], head: Head, half: bool, chromaticities: Chromaticities | None) -> Attributes:
    """The attributes of a file. Those that the package cannot read are left out."""
    import OpenEXR

    file.seek(0)
    with OpenEXR.File(file, header_only=True) as source:
        said = dict(source.header())
    others = {name: value for name, value in said.items() if name not in STORAGE | WINDOWS and not _is_plain(name, value)}
    *_, right, bottom = head.window
    windows = {name: said[name] for name in WINDOWS if name in said}
    corners = [[np.asarray(corner).tolist() for corner in window] for window in windows.values()]
    if all(window == [[0, 0], [right, bottom]] for window in corners):
        windows = {}
    return Attributes(half, chromaticities, head.size, tuple(windows.items()), tuple(others.items()))


def _is_plain(name: str, value: object) -> bool:
    return name in PLAIN and np.array_equal(np.ravel(np.asarray(value, np.float64)), PLAIN[name])
