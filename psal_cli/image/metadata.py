"""Metadata of pictures: profile, EXIF, XMP, IPTC, texts and resolution, carried from file to file.

Pixels are turned upright on reading, so EXIF and XMP are rewritten to match. Embedded thumbnails and previews are dropped,
because they show the unedited picture.
"""

import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, ParamSpec, TypeVar

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from psal_cli.files import open_input
from psal_cli.image import chunks as png
from psal_cli.image import jxl
from psal_cli.image.exif import (
    ORIENTATION,
    orientation_in,
    resolution_in,
    upright_exif,
    without_lost_values,
)
from psal_cli.image.exr_header import Attributes
from psal_cli.image.gain_map import GainMap, gain_map_of
from psal_cli.image.isobmff import Boxes, read_boxes
from psal_cli.image.jpeg import GAIN_MAP, Segments, behind_the_end, unknown_segments
from psal_cli.image.photoshop import START, in_order, iptc_in, others_in, without_preview
from psal_cli.image.png import late_exif
from psal_cli.image.tiff_exif import tiff_exif
from psal_cli.image.xmp import upright_xmp, xmp_orientation
from psal_cli.storage import as_path

log = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")

XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG = 700, 33723, 34377
MOST_DPI = 65_535  # the most that a JPEG file can hold; anything above is damage


@dataclass(frozen=True)
class Metadata:
    """icc, exif (starting with b"Exif\\0\\0", orientation 1), xmp, iptc (records of IIM), comment (a JPEG file's): bytes.

    photoshop: Photoshop's resources without IPTC and thumbnails; cicp: the content of a PNG's cICP chunk, primaries and transfer
        function first; dpi: horizontal and vertical dots per inch; texts, colour, chunks: other chunks of a PNG file (type,
        data), colour applies only without icc; segments: of a JPEG file, unknown to psal, for a JPEG file of the same size;
        gain_map: of a JPEG file, for a JPEG file with the same pixels except those that it was `filled` for; exr: attributes of
        an OpenEXR file, whose numbers a picture has as long as its icc is the `linear_profile` of their chromaticities.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    photoshop: bytes | None = None
    comment: bytes | None = None
    cicp: bytes | None = None
    dpi: tuple[float, float] | None = None
    texts: tuple[png.Chunk, ...] = ()
    colour: tuple[png.Chunk, ...] = ()
    chunks: tuple[png.Chunk, ...] = ()
    segments: Segments | None = None
    gain_map: GainMap | None = None
    exr: Attributes | None = None


def read_metadata(image: Image.Image, orientation: int, size: tuple[int, int], name: str) -> Metadata:
    """The metadata of a decoded Pillow image, rewritten for pixels turned upright, of `size` (width, height).

    Damaged parts are dropped with a warning about the file `name`; they never prevent reading the picture.
    """

    def usable(what: str, read: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value | None:
        try:
            return read(*args, **kwargs)
        except Exception as error:  # any error in a damaged block: the picture itself is fine
            log.warning("%s: its %s unusable and not kept (%s)", name, what, error)
            return None

    info = image.info
    chunks: list[png.Chunk] = (usable("texts are", _png_chunks, name) or []) if image.format == "PNG" else []
    boxes = usable("boxes are", _boxes, name) if image.format in ("AVIF", "HEIF") else None
    exif = usable("EXIF block is", _exif_block, image, name, chunks, boxes)
    exif = usable("EXIF block is", _whole_exif, exif, size, name) if exif else None
    xmp = info.get("xmp") or usable("XMP packet is", _hidden_xmp, image, name, chunks)
    resources = usable("Photoshop block is", _resources, image, chunks)
    iptc = usable("IPTC block is", _iptc_block, image, chunks, resources)
    unknown = unknown_segments(getattr(image, "applist", ()))
    return Metadata(
        icc=info.get("icc_profile") or None,
        exif=exif,
        xmp=usable("XMP packet is", upright_xmp, xmp) if xmp else None,
        iptc=usable("IPTC block is", without_preview, iptc) if iptc else None,
        photoshop=others_in(resources) if resources else None,
        comment=usable("comment is", _comment, image, chunks) or None,
        dpi=usable("resolution is", _dpi, image, orientation, exif),
        texts=tuple(chunk for chunk in chunks if chunk[0] in png.TEXT and not _has_a_place(chunk)),
        cicp=usable("colour is", _cicp, image, chunks, boxes),
        colour=tuple(chunk for chunk in chunks if chunk[0] in png.COLOUR),
        chunks=tuple(png.kept_chunks(chunks, image, orientation >= 5)),
        segments=Segments(size, unknown) if unknown else None,
        gain_map=usable("gain map is", _gain_map, image, name, orientation) if image.format in ("JPEG", "MPO") else None,
    )


def orientation_of(image: Image.Image) -> int:
    """1 to 8, the orientation that is still to be applied (Pillow applies that of TIFF files on decoding).

    1 if the EXIF block is damaged, which `read_metadata` reports.
    """
    block, xmp = image.info.get("exif"), image.info.get("xmp") or b""
    try:
        if block:
            orientation = orientation_in(block) or (1 if image.format == "AVIF" else xmp_orientation(xmp))
        else:  # a TIFF, EXIF in PNG text, or XMP alone
            orientation = 1 if image.format == "AVIF" else image.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1
    return orientation if orientation in range(1, 9) else 1


def complete_png(image: Image.Image, file: IO[bytes]) -> None:
    """Gives an opened PNG file the EXIF and XMP that Pillow misses: after the pixels, or written as text.

    This makes the orientation the same before and after decoding.
    """
    if not image.info.get("exif"):
        image.info["exif"] = late_exif(file)
    try:
        chunks = png.read_chunks(file)
        image.info["exif"] = image.info["exif"] or png.raw_block(chunks, b"exif", b"APP1")
        image.info["xmp"] = image.info.get("xmp") or png.xmp_block(chunks)
    except (ValueError, LookupError, zlib.error):  # reported by `read_metadata`
        return


def _png_chunks(name: str) -> list[png.Chunk]:
    with open_input(as_path(name)) as file:
        return png.read_chunks(file)


def _hidden_xmp(image: Image.Image, name: str, chunks: list[png.Chunk]) -> bytes | None:
    """The XMP packet that Pillow has missed."""
    if image.format != "JXL" or getattr(image, "jpeg", False):
        return png.xmp_block(chunks)
    with open_input(as_path(name)) as file:
        head = jxl.read_head(file)
    if head.packed:
        log.warning("%s: psal does not read %s that is compressed with Brotli: not kept", name, " and ".join(head.packed))
    return head.xmp


def _boxes(name: str) -> Boxes:
    with open_input(as_path(name)) as file:
        return read_boxes(file)


def _exif_block(image: Image.Image, name: str, chunks: list[png.Chunk], boxes: Boxes | None) -> bytes | None:
    """The EXIF block as it stands in the file, starting with b"Exif\0\0" or the byte order; of a TIFF, what describes it."""
    if image.format == "TIFF":
        with open_input(as_path(name)) as file:
            return tiff_exif(file)
    if image.format == "AVIF" and boxes and boxes.exif:  # Pillow rebuilds it if the container rotates the picture
        return boxes.exif
    return image.info.get("exif") or png.raw_block(chunks, b"exif", b"APP1")


def _whole_exif(block: bytes, size: tuple[int, int], name: str) -> bytes:
    upright = upright_exif(block, size)
    complete = without_lost_values(upright)
    if complete != upright:
        log.warning("%s: its EXIF block is damaged: values that lie outside it or cannot be read are not kept", name)
    return complete


def _has_a_place(chunk: png.Chunk) -> bool:
    """Whether the content of a text is in another field of Metadata, or is a second form of the profile."""
    return png.keyword(chunk) in (png.XMP_KEYWORD, png.COMMENT_KEYWORD) or png.keyword(chunk).startswith(png.RAW_KEYWORD)


def _resources(image: Image.Image, chunks: list[png.Chunk]) -> bytes | None:
    """Photoshop's resources; for a JPEG file, those of all its segments."""
    if image.format == "TIFF":
        return _tag(image, PHOTOSHOP_TAG)
    if image.format == "PNG":
        block = png.raw_block(chunks, b"8bim") or png.raw_block(chunks, b"iptc")
        return block.removeprefix(START) if block and block.startswith((b"8BIM", START)) else None
    parts = [data.removeprefix(START) for name, data in getattr(image, "applist", ()) if data.startswith(START)]
    return b"".join(parts) or None


def _tag(image: Image.Image, tag: int) -> bytes | None:
    """The bytes of a TIFF tag; tag_v2 itself returns only one of many numbers."""
    value = image.tag_v2._tagdata.get(tag) if isinstance(image, TiffImageFile) else None
    return bytes(value) if value else None


def _iptc_block(image: Image.Image, chunks: list[png.Chunk], resources: bytes | None) -> bytes | None:
    if image.format == "TIFF" and (block := in_order(_tag(image, IPTC_TAG))):
        return block
    iptc = iptc_in(resources) if resources else None
    if iptc is None and image.format == "PNG":
        block = png.raw_block(chunks, b"iptc")
        return None if block and block.startswith((b"8BIM", START)) else block
    return iptc


def _comment(image: Image.Image, chunks: list[png.Chunk]) -> bytes | None:
    if image.format == "PNG":
        return b"\n".join(png.texts_of(chunks, png.COMMENT_KEYWORD))
    return b"\n".join(data for marker, data in getattr(image, "applist", ()) if marker == "COM")


def _gain_map(image: Image.Image, name: str, orientation: int) -> GainMap | None:
    segments = getattr(image, "applist", ())
    if not any(GAIN_MAP.search(data) or data.startswith(b"MPF\0") for _, data in segments):
        return None
    with open_input(as_path(name)) as file:
        return gain_map_of(segments, behind_the_end(file), orientation)


def _dpi(image: Image.Image, orientation: int, exif: bytes | None) -> tuple[float, float] | None:
    info = image.info
    made_up = info.get("dpi") == (72, 72) and info.get("jfif_unit") not in (1, 2)  # Pillow's default for a JPEG file without one
    stated = () if made_up else tuple(map(float, info.get("dpi", ())))
    for dpi in (stated, resolution_in(exif) if exif else ()):
        if dpi and all(1 < value <= MOST_DPI for value in dpi):  # Pillow says 1 for "unknown"
            across, down = dpi
            return (down, across) if orientation >= 5 else (across, down)
    return None


def _cicp(image: Image.Image, chunks: list[png.Chunk], boxes: Boxes | None) -> bytes | None:
    """The cICP of a HEIC or AVIF file, only if it has no profile; with a profile it describes the encoding."""
    info = image.info
    nclx = info.get("nclx_profile")
    colour_codes = (
        (nclx["color_primaries"], nclx["transfer_characteristics"]) if nclx else boxes.nclx[:2] if boxes and boxes.nclx else None
    )
    if colour_codes and not info.get("icc_profile"):
        cicp = bytes([*colour_codes, 0, 1])
        return None if png.is_srgb((b"cICP", cicp)) else cicp
    chunk = dict(chunks).get(b"cICP")
    return chunk if chunk and len(chunk) == 4 else None
