"""What a picture carries beside its pixels: profile, EXIF, XMP, IPTC, texts and resolution, from file to file.

The pixels are turned upright when read, so EXIF and XMP are rewritten to say so. Embedded thumbnails and previews are
dropped: they show the picture before it was edited.
"""

import logging
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from psal_cli.files import open_input
from psal_cli.image import chunks as png
from psal_cli.image import jxl
from psal_cli.image.exif import (
    ORIENTATION,
    orientation_in,
    resolution_block,
    resolution_in,
    upright_exif,
    without_lost_values,
    without_orientation,
)
from psal_cli.image.formats import word
from psal_cli.image.isobmff import About, read_about
from psal_cli.image.jpeg import JPEG_SEGMENT, Segments, as_bytes, listed, unknown_segments
from psal_cli.image.photoshop import START, as_block, in_order, iptc_in, others_in, without_preview
from psal_cli.image.png import late_exif
from psal_cli.image.tiff_exif import tiff_exif
from psal_cli.image.xmp import upright_xmp, xmp_orientation

log = logging.getLogger(__name__)

XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG = 700, 33723, 34377
MOST_DPI = 65_535  # that a JPEG file holds; what is more is damage
XMP_HEAD = 29  # bytes in front of a packet in its segment
# What each format holds; `colour` is what a PNG file says about its colours where it has no profile.
HOLDS = {
    "JPEG": {"icc", "exif", "xmp", "iptc", "photoshop", "comment", "dpi", "segments"},
    "PNG": {"icc", "exif", "xmp", "iptc", "photoshop", "comment", "cicp", "dpi", "texts", "colour", "chunks"},
    "TIFF": {"icc", "exif", "xmp", "iptc", "photoshop", "dpi"},
    "WEBP": {"icc", "exif", "xmp"},
    "AVIF": {"icc", "exif", "xmp", "cicp"},
    "HEIF": {"icc", "exif", "xmp", "cicp"},
    "JXL": {"exif", "xmp"},
    "BMP": {"dpi"},
}
MOST = {"JPEG": {"icc": 255 * (JPEG_SEGMENT - 16), "exif": JPEG_SEGMENT, "xmp": JPEG_SEGMENT - XMP_HEAD, "comment": JPEG_SEGMENT}}
WORDS = {
    "icc": "ICC profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "iptc": "IPTC",
    "photoshop": "Photoshop resources",
    "comment": "comment",
    "dpi": "resolution",
}


@dataclass(frozen=True)
class Metadata:
    """icc, exif (starting with b"Exif\\0\\0", orientation 1), xmp, iptc (records of IIM), comment (a JPEG file's): bytes.

    photoshop: Photoshop's resources without IPTC and thumbnails; cicp: what a PNG's cICP chunk says about colour, primaries and
    transfer function first; dpi: dots an inch across and down; texts, colour, chunks: other chunks of a PNG file (type, data),
    colour only counts without icc; segments: those of a JPEG file that psal does not know, for a JPEG file of the same size.
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


def read_metadata(image: Image.Image, orientation: int, size: tuple[int, int], name: str) -> Metadata:
    """The metadata of a decoded Pillow image, rewritten for pixels turned upright, of `size` (width, height).

    What is damaged is not kept, with a warning about the file `name`; no metadata stops a picture.
    """

    def kept(what: str, read: Callable[..., Any], *arguments: object) -> Any:
        try:
            return read(*arguments)
        except Exception as error:  # whatever a damaged block provokes: the picture itself is sound
            log.warning("%s: its %s unusable and not kept (%s)", name, what, error)
            return None

    info = image.info
    chunks: list[png.Chunk] = (kept("texts are", _png_chunks, name) or []) if image.format == "PNG" else []
    about = kept("boxes are", _about, name) if image.format in ("AVIF", "HEIF") else None
    exif = kept("EXIF block is", _exif_block, image, name, chunks, about)
    exif = kept("EXIF block is", _whole_exif, exif, size, name) if exif else None
    xmp = info.get("xmp") or kept("XMP packet is", _hidden_xmp, image, name, chunks)
    resources = kept("Photoshop block is", _resources, image, chunks)
    iptc = kept("IPTC block is", _iptc_block, image, chunks, resources)
    unknown = unknown_segments(getattr(image, "applist", ()))
    return Metadata(
        icc=info.get("icc_profile") or None,
        exif=exif,
        xmp=kept("XMP packet is", upright_xmp, xmp) if xmp else None,
        iptc=kept("IPTC block is", without_preview, iptc) if iptc else None,
        photoshop=others_in(resources) if resources else None,
        comment=kept("comment is", _comment, image, chunks) or None,
        dpi=kept("resolution is", _dpi, info, orientation, exif),
        texts=tuple(chunk for chunk in chunks if chunk[0] in png.TEXT and not _has_a_place(chunk)),
        cicp=kept("colour is", _cicp, info, chunks, about),
        colour=tuple(chunk for chunk in chunks if chunk[0] in png.COLOUR),
        chunks=tuple(png.kept_chunks(chunks, image, orientation >= 5)),
        segments=Segments(size, unknown) if unknown else None,
    )


def orientation_of(image: Image.Image) -> int:
    """1 to 8, as the picture is still to be turned (Pillow turns TIFF files itself when it decodes them).

    1 where the EXIF block is damaged, of which `read_metadata` warns.
    """
    block, xmp = image.info.get("exif"), image.info.get("xmp") or b""
    try:
        if block:
            orientation = orientation_in(block) or (1 if image.format == "AVIF" else xmp_orientation(xmp))
        else:  # a TIFF, a PNG's text form, XMP alone
            orientation = 1 if image.format == "AVIF" else image.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1
    return orientation if orientation in range(1, 9) else 1


def complete_png(image: Image.Image, file: IO[bytes]) -> None:
    """Gives an opened PNG file the EXIF and XMP that Pillow does not look for: behind the pixels, or written as text.

    So that the orientation is the same before the picture is decoded and after.
    """
    if not image.info.get("exif"):
        image.info["exif"] = late_exif(file)
    try:
        chunks = png.read_chunks(file)
        image.info["exif"] = image.info["exif"] or png.raw_block(chunks, b"exif", b"APP1")
        image.info["xmp"] = image.info.get("xmp") or png.xmp_block(chunks)
    except (ValueError, LookupError, zlib.error):  # of which `read_metadata` warns
        return


def _png_chunks(name: str) -> list[png.Chunk]:
    with open_input(Path(name)) as file:
        return png.read_chunks(file)


def _hidden_xmp(image: Image.Image, name: str, chunks: list[png.Chunk]) -> bytes | None:
    """The XMP packet where Pillow has not looked."""
    if image.format != "JXL" or getattr(image, "jpeg", False):
        return png.xmp_block(chunks)
    with open_input(Path(name)) as file:
        head = jxl.read_head(file)
    if head.packed:
        log.warning("%s: psal does not read %s that is compressed with Brotli: not kept", name, " and ".join(head.packed))
    return head.xmp


def _about(name: str) -> About:
    with open_input(Path(name)) as file:
        return read_about(file)


def _exif_block(image: Image.Image, name: str, chunks: list[png.Chunk], about: About | None) -> bytes | None:
    """The EXIF block as it stands in the file, starting with b"Exif\0\0" or the byte order; of a TIFF, what describes it."""
    if image.format == "TIFF":
        with open_input(Path(name)) as file:
            return tiff_exif(file)
    if image.format == "AVIF" and about and about.exif:  # Pillow composes it anew where the container turns the picture
        return about.exif
    return image.info.get("exif") or png.raw_block(chunks, b"exif", b"APP1")


def _whole_exif(block: bytes, size: tuple[int, int], name: str) -> bytes:
    upright = upright_exif(block, size)
    whole = without_lost_values(upright)
    if whole != upright:
        log.warning("%s: its EXIF block is damaged: values that lie outside it are not kept", name)
    return whole


def _has_a_place(chunk: png.Chunk) -> bool:
    """Whether what the text says is in another field of Metadata, or is the profile in a second form."""
    return png.keyword(chunk) in (png.XMP_KEYWORD, png.COMMENT_KEYWORD) or png.keyword(chunk).startswith(png.RAW_KEYWORD)


def _resources(image: Image.Image, chunks: list[png.Chunk]) -> bytes | None:
    """Photoshop's resources, of a JPEG file those of all its segments."""
    if image.format == "TIFF":
        return _tag(image, PHOTOSHOP_TAG)
    if image.format == "PNG":
        block = png.raw_block(chunks, b"8bim") or png.raw_block(chunks, b"iptc")
        return block.removeprefix(START) if block and block.startswith((b"8BIM", START)) else None
    parts = [data.removeprefix(START) for name, data in getattr(image, "applist", ()) if data.startswith(START)]
    return b"".join(parts) or None


def _tag(image: Image.Image, tag: int) -> bytes | None:
    """The bytes of a TIFF's tag; tag_v2 itself gives one number of many."""
    found = image.tag_v2._tagdata.get(tag) if isinstance(image, TiffImageFile) else None
    return bytes(found) if found else None


def _iptc_block(image: Image.Image, chunks: list[png.Chunk], resources: bytes | None) -> bytes | None:
    if image.format == "TIFF" and (block := in_order(_tag(image, IPTC_TAG))):
        return block
    found = iptc_in(resources) if resources else None
    if found is None and image.format == "PNG":
        block = png.raw_block(chunks, b"iptc")
        return None if block and block.startswith((b"8BIM", START)) else block
    return found


def _comment(image: Image.Image, chunks: list[png.Chunk]) -> bytes | None:
    if image.format == "PNG":
        return b"\n".join(png.texts_of(chunks, png.COMMENT_KEYWORD))
    return b"\n".join(data for marker, data in getattr(image, "applist", ()) if marker == "COM")


def _dpi(info: dict[str, Any], orientation: int, exif: bytes | None) -> tuple[float, float] | None:
    made_up = info.get("dpi") == (72, 72) and info.get("jfif_unit") not in (1, 2)  # by Pillow, of a JPEG file that tells none
    told = () if made_up else tuple(map(float, info.get("dpi", ())))
    for dpi in (told, resolution_in(exif) if exif else ()):
        if dpi and all(1 < value <= MOST_DPI for value in dpi):  # Pillow says 1 for "unknown"
            across, down = dpi
            return (down, across) if orientation >= 5 else (across, down)
    return None


def _cicp(info: dict[str, Any], chunks: list[png.Chunk], about: About | None) -> bytes | None:
    """Of a HEIC or AVIF file only where it has no profile, beside which it tells how the colours were encoded."""
    nclx = info.get("nclx_profile")
    told = (
        (nclx["color_primaries"], nclx["transfer_characteristics"]) if nclx else about.nclx[:2] if about and about.nclx else None
    )
    if told and not info.get("icc_profile"):
        cicp = bytes([*told, 0, 1])
        return None if png.is_srgb((b"cICP", cicp)) else cicp
    found = dict(chunks).get(b"cICP")
    return found if found and len(found) == 4 else None


def held(metadata: Metadata, target_format: str, name: str) -> Metadata:
    """What `target_format` holds of the metadata; what it does not is logged as one warning about the file `name`."""
    most = MOST.get(target_format, {})
    lost, long, dropped = [], [], {}
    for what, empty in vars(Metadata()).items():
        value = getattr(metadata, what)
        if value == empty or (what in HOLDS[target_format] and len(value) <= most.get(what, math.inf)):
            continue
        dropped[what] = empty
        if what in HOLDS[target_format]:
            long.append(f"{-(-most[what] // 1024)} kB of {WORDS[what]} (this has {-(-len(value) // 1024)})")
        elif what in ("cicp", "colour"):
            lost += _colours_said(metadata, what)
        elif what == "segments":
            lost.append(f"segments of other programs ({listed(value.parts)})")
        elif what == "chunks":
            lost.append(f"PNG chunks ({', '.join(dict.fromkeys(kind.decode('latin-1') for kind, _ in value))})")
        elif what == "texts":
            lost.append(f"PNG texts ({', '.join(png.keyword(chunk).decode('latin-1') for chunk in value[:5])})")
        elif what == "dpi" and "exif" in HOLDS[target_format] and (not metadata.exif or resolution_in(metadata.exif)):
            dropped["exif"] = metadata.exif or resolution_block(value)
        else:
            lost.append(WORDS[what])
    holds = [f"no {' nor '.join(lost)}"] * bool(lost) + [f"at most {' and '.join(long)}"] * bool(long)
    if holds:
        cure = "" if target_format == "PNG" or metadata.segments else " (PNG holds all)"
        log.warning("%s: %s holds %s: not kept%s", name, word(target_format), " and ".join(holds), cure)
    return replace(metadata, **dropped)


def _colours_said(metadata: Metadata, what: str) -> list[str]:
    """The chunks of a PNG file in "cicp" or "colour" that say that the colours are not sRGB, if no profile does."""
    chunks = metadata.colour if what == "colour" else [(b"cICP", metadata.cicp)] if metadata.cicp else []
    return [] if metadata.icc or all(map(png.is_srgb, chunks)) else [kind.decode() for kind, _ in chunks]


def stripped(metadata: Metadata, name: str) -> Metadata:
    """No metadata; that colours lose their meaning with it is logged as a warning about the file `name`."""
    if said := _colours_said(metadata, "cicp") + _colours_said(metadata, "colour"):
        log.warning("%s: its %s is dropped and is not sRGB: the colours will look different", name, " and ".join(said))
    return Metadata()


def png_chunks(metadata: Metadata) -> list[png.Chunk]:
    """The (type, data) of the chunks that keep `metadata` in a PNG file, to be written before the pixels."""
    colour = {b"cICP": metadata.cicp} if metadata.cicp else {}  # counts before the profile
    colour |= {b"iCCP": b"ICC Profile\0\0" + zlib.compress(metadata.icc)} if metadata.icc else dict(metadata.colour)
    out = list(colour.items())
    if metadata.dpi:
        out.append((b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in metadata.dpi), 1)))
    if metadata.exif:
        out.append((b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")))
    if metadata.xmp:
        out.append(png.text_chunk(png.XMP_KEYWORD, metadata.xmp))
    if metadata.iptc or metadata.photoshop:
        out.append(png.raw_chunk(b"iptc", as_block(metadata.iptc, metadata.photoshop)))
    if metadata.comment:
        out.append(png.text_chunk(png.COMMENT_KEYWORD, _utf8(metadata.comment)))
    return out + list(metadata.texts) + list(metadata.chunks)


def _utf8(text: bytes) -> bytes:
    """A comment does not say how it is encoded: UTF-8 or else Latin-1."""
    try:
        return text.decode().encode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()


def save_arguments(metadata: Metadata, target_format: str) -> dict[str, Any]:
    """The arguments of Pillow's save() that keep what `held` gives (PNG and TIFF have their own writers)."""
    arguments: dict[str, Any] = {"dpi": metadata.dpi, "icc_profile": metadata.icc, "exif": metadata.exif, "xmp": metadata.xmp}
    if target_format == "JPEG":
        arguments["comment"] = metadata.comment
        arguments["extra"] = _segments(metadata)
    if target_format == "BMP":
        arguments["dpi"] = metadata.dpi or (0, 0)  # else Pillow makes one up
    if target_format == "AVIF" and metadata.exif:
        arguments["exif"] = without_orientation(metadata.exif)  # else Pillow composes the block anew
    if target_format == "HEIF" and metadata.cicp:
        primaries, transfer, *_ = metadata.cicp
        arguments |= {"color_primaries": primaries, "transfer_characteristics": transfer, "matrix_coefficients": 6}
        arguments["full_range_flag"] = 1
    if target_format == "JXL" and metadata.exif:
        arguments["exif"] = bytes(4) + metadata.exif.removeprefix(b"Exif\0\0")  # its plugin forgets where TIFF begins
    return {key: value for key, value in arguments.items() if value}


def _segments(metadata: Metadata) -> bytes:
    """A JPEG file's segments of Photoshop's resources, as many as it takes, and of other programs."""
    block = as_block(metadata.iptc, metadata.photoshop)
    step = JPEG_SEGMENT - len(START)
    parts = [as_bytes(("APP13", START + block[at : at + step])) for at in range(0, len(block), step)]
    return b"".join([*parts, *(map(as_bytes, metadata.segments.parts) if metadata.segments else ())])
