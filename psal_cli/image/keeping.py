"""Selects the metadata that a file format can hold, in the form that its writer takes; losses are logged."""

import logging
import math
import struct
import zlib
from dataclasses import replace

from psal_cli.image import chunks as png
from psal_cli.image.exif import first_tags, resolution_block, resolution_in, without_orientation
from psal_cli.image.formats import word
from psal_cli.image.gain_map import DIRECTORY, announced
from psal_cli.image.jpeg import GAIN_MAP_WORDS, JPEG_SEGMENT, as_bytes, listed
from psal_cli.image.losses import tag_words
from psal_cli.image.metadata import Metadata
from psal_cli.image.photoshop import START, as_block

log = logging.getLogger(__name__)

XMP_HEAD = 29  # bytes before a packet in its segment
# Fields of Metadata that each format holds; `colour` is a PNG file's description of its colours without a profile.
HOLDS = {
    "JPEG": {"icc", "exif", "xmp", "iptc", "photoshop", "comment", "dpi", "segments", "gain_map"},
    "PNG": {"icc", "exif", "xmp", "iptc", "photoshop", "comment", "cicp", "dpi", "texts", "colour", "chunks"},
    "TIFF": {"icc", "exif", "xmp", "iptc", "photoshop", "dpi"},
    "WEBP": {"icc", "exif", "xmp"},
    "AVIF": {"icc", "exif", "xmp", "cicp"},
    "HEIF": {"icc", "exif", "xmp", "cicp"},
    "JXL": {"exif", "xmp"},
    "BMP": {"dpi"},
    "EXR": {"exr"},
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
    "gain_map": GAIN_MAP_WORDS,
}


def held(metadata: Metadata, target_format: str, name: str) -> Metadata:
    """The metadata that `target_format` can hold; the rest is logged as one warning about the file `name`."""
    most = MOST.get(target_format, {})
    metadata = _with_room(_without_old_map(metadata, target_format, name), target_format)
    lost, long, dropped = [], [], {}
    for field, empty in vars(Metadata()).items():
        value = getattr(metadata, field)
        if value == empty or (field in HOLDS[target_format] and len(value) <= most.get(field, math.inf)):
            continue
        dropped[field] = empty
        if field in HOLDS[target_format]:
            long.append(f"{-(-most[field] // 1024)} kB of {WORDS[field]} (this has {-(-len(value) // 1024)})")
        elif field in ("cicp", "colour"):
            lost += _colours_said(metadata, field)
        elif field == "exr":
            lost += [f"OpenEXR attributes ({', '.join(name for name, _ in value.others[:5])})"] if value.others else []
        elif field == "segments":
            lost.append(f"segments of other programs ({listed(value.parts)})")
        elif field == "chunks":
            lost.append(f"PNG chunks ({', '.join(dict.fromkeys(kind.decode('latin-1') for kind, _ in value))})")
        elif field == "texts":
            lost.append(f"PNG texts ({', '.join(png.keyword(chunk).decode('latin-1') for chunk in value[:5])})")
        elif field == "dpi" and "exif" in HOLDS[target_format] and (not metadata.exif or resolution_in(metadata.exif)):
            dropped["exif"] = metadata.exif or resolution_block(value)
        else:
            lost.append(WORDS[field])
    if target_format == "TIFF" and metadata.exif:
        lost += tag_words(first_tags(metadata.exif))
    holds = [f"no {' nor '.join(lost)}"] * bool(lost) + [f"at most {' and '.join(long)}"] * bool(long)
    if holds:
        cure = "" if target_format == "PNG" or metadata.segments or metadata.gain_map or metadata.exr else " (PNG holds all)"
        log.warning("%s: %s holds %s: not kept%s", name, word(target_format), " and ".join(holds), cure)
    return replace(metadata, **dropped)


def _without_old_map(metadata: Metadata, target_format: str, name: str) -> Metadata:
    """Drops a gain map that does not fit the pixels, with a warning if the format could hold one."""
    if not metadata.gain_map or metadata.gain_map.fits or "gain_map" not in HOLDS[target_format]:
        return metadata
    log.warning("%s: its %s describes the picture before: not kept", name, GAIN_MAP_WORDS)
    return replace(metadata, gain_map=None)


def _with_room(metadata: Metadata, target_format: str) -> Metadata:
    """Announces the gain map in XMP only if the packet has room; otherwise readers have the index alone."""
    room = MOST.get(target_format, {}).get("xmp", math.inf) - len(DIRECTORY) - 16
    if not metadata.gain_map or not metadata.gain_map.in_xmp or len(metadata.xmp or b"") <= room:
        return metadata
    return replace(metadata, gain_map=metadata.gain_map._replace(in_xmp=False))


def _colours_said(metadata: Metadata, field: str) -> list[str]:
    """The field ("cicp" or "colour") of a PNG file that declares colours other than sRGB, if there is no profile."""
    chunks = metadata.colour if field == "colour" else [(b"cICP", metadata.cicp)] if metadata.cicp else []
    return [] if metadata.icc or all(map(png.is_srgb, chunks)) else [kind.decode() for kind, _ in chunks]


def stripped(metadata: Metadata, name: str) -> Metadata:
    """Empty metadata; if the colours are not sRGB, a warning about the file `name` is logged."""
    if said := _colours_said(metadata, "cicp") + _colours_said(metadata, "colour"):
        log.warning("%s: its %s is dropped and is not sRGB: the colours will look different", name, " and ".join(said))
    if metadata.gain_map:
        log.warning("%s: its %s is dropped with the other metadata", name, GAIN_MAP_WORDS)
    return Metadata()


def png_chunks(metadata: Metadata) -> list[png.Chunk]:
    """(type, data) of the chunks that hold `metadata` in a PNG file, to be written before the pixels."""
    colour = {b"cICP": metadata.cicp} if metadata.cicp else {}  # takes precedence over the profile
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
    """Decodes a comment, which does not state its encoding: UTF-8 or else Latin-1."""
    try:
        return text.decode().encode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()


def save_arguments(metadata: Metadata, target_format: str) -> dict[str, object]:
    """Arguments of Pillow's save() for the result of `held` (PNG and TIFF have their own writers)."""
    arguments: dict[str, object] = {"dpi": metadata.dpi, "icc_profile": metadata.icc, "exif": metadata.exif, "xmp": metadata.xmp}
    if target_format == "JPEG":
        arguments["comment"] = metadata.comment
        arguments["extra"] = _segments(metadata)
        if metadata.gain_map and metadata.gain_map.in_xmp:
            arguments["xmp"] = announced(metadata.xmp, metadata.gain_map)
    if target_format == "BMP":
        arguments["dpi"] = metadata.dpi or (0, 0)  # otherwise Pillow makes one up
    if target_format == "AVIF" and metadata.exif:
        arguments["exif"] = without_orientation(metadata.exif)  # otherwise Pillow rebuilds the block
    if target_format == "HEIF" and metadata.cicp:
        primaries, transfer, *_ = metadata.cicp
        arguments |= {"color_primaries": primaries, "transfer_characteristics": transfer, "matrix_coefficients": 6}
        arguments["full_range_flag"] = 1
    if target_format == "JXL" and metadata.exif:
        arguments["exif"] = bytes(4) + metadata.exif.removeprefix(b"Exif\0\0")  # its plugin forgets the offset of the TIFF header
    return {key: value for key, value in arguments.items() if value}


def _segments(metadata: Metadata) -> bytes:
    """The segments of a JPEG file for Photoshop's resources, as many as needed, and of other programs."""
    block = as_block(metadata.iptc, metadata.photoshop)
    step = JPEG_SEGMENT - len(START)
    parts = [as_bytes(("APP13", START + block[at : at + step])) for at in range(0, len(block), step)]
    return b"".join([*parts, *(map(as_bytes, metadata.segments.parts) if metadata.segments else ())])
