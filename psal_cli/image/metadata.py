"""What a picture carries beside its pixels: profile, EXIF, XMP, IPTC, texts and resolution, from file to file.

The pixels are turned upright when read, so EXIF and XMP are rewritten to say so. Embedded thumbnails and previews are
dropped: they show the picture before it was edited.
"""

import logging
import math
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

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
from psal_cli.image.tiff_exif import tiff_exif

log = logging.getLogger(__name__)

XMP_TAG, IPTC_TAG, IPTC_RESOURCE = 700, 33723, 0x0404
IPTC_PREVIEWS = {(2, number) for number in (200, 201, 202)}
XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)([2-8])""")
XMP_PICTURE = re.compile(rb"<(\w+:Thumbnails|GImage:Data|xmpNote:HasExtendedXMP)(?=[\s/>])[^<>]*?(/?)>")
MOST_DPI = 65_535  # that a JPEG file holds; what is more is damage
JPEG_SEGMENT = 65_502  # bytes that one JPEG segment holds beside its headers
TIFF_ONLY = {37724: "Photoshop layers", 34735: "GeoTIFF"}
JPEG_ONLY = {("APP11", b"jumb"): "Content Credentials", ("APP1", b"http://ns.adobe.com/xmp/extension/"): "extended XMP"}
# What each format holds; `colour` is what a PNG file says about its colours where it has no profile.
HOLDS = {
    "JPEG": {"icc", "exif", "xmp", "iptc", "comment", "dpi"},
    "PNG": {"icc", "exif", "xmp", "iptc", "comment", "cicp", "dpi", "texts", "colour"},
    "TIFF": {"icc", "exif", "xmp", "iptc", "dpi"},
    "WEBP": {"icc", "exif", "xmp"},
    "AVIF": {"icc", "exif", "xmp"},
    "HEIF": {"icc", "exif", "xmp", "cicp"},
    "JXL": {"exif", "xmp"},
    "BMP": {"dpi"},
}
MOST = {"JPEG": {"icc": 255 * (JPEG_SEGMENT - 16)} | dict.fromkeys(("exif", "xmp", "iptc", "comment"), JPEG_SEGMENT)}
WORDS = {"icc": "ICC profile", "exif": "EXIF", "xmp": "XMP", "iptc": "IPTC", "comment": "comment", "dpi": "resolution"}


@dataclass(frozen=True)
class Metadata:
    """icc, exif (starting with b"Exif\\0\\0", orientation 1), xmp, iptc (records of IIM), comment (a JPEG file's): bytes.

    cicp: what a PNG's cICP chunk says about colour, primaries and transfer function first; dpi: dots an inch across and down;
    texts, colour: other chunks of a PNG file (type, data), colour only counts without icc.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    cicp: bytes | None = None
    dpi: tuple[float, float] | None = None
    texts: tuple[png.Chunk, ...] = ()
    colour: tuple[png.Chunk, ...] = ()


def read_metadata(image: Image.Image, orientation: int, size: tuple[int, int], name: str) -> Metadata:
    """The metadata of a decoded Pillow image, rewritten for pixels turned upright, of `size` (width, height).

    What is damaged is not kept, with a warning about the file `name`; no metadata stops a picture.
    """

    def kept(what: str, read: Callable[..., Any], *arguments) -> Any:
        try:
            return read(*arguments)
        except Exception as error:  # whatever a damaged block provokes: the picture itself is sound
            log.warning("%s: its %s unusable and not kept (%s)", name, what, error)
            return None

    info = image.info
    chunks = kept("texts are", _png_chunks, name) or [] if image.format == "PNG" else []
    exif = kept("EXIF block is", _exif_block, image, name, chunks)
    exif = kept("EXIF block is", _whole_exif, exif, size, name) if exif else None
    xmp = info.get("xmp") or kept("XMP packet is", _hidden_xmp, image, name, chunks)
    iptc = kept("IPTC block is", _iptc_block, image, chunks)
    return Metadata(
        icc=info.get("icc_profile") or None,
        exif=exif,
        xmp=kept("XMP packet is", upright_xmp, xmp) if xmp else None,
        iptc=kept("IPTC block is", without_preview, iptc) if iptc else None,
        comment=kept("comment is", _comment, image, chunks) or None,
        dpi=kept("resolution is", _dpi, info, orientation, exif),
        texts=tuple(chunk for chunk in chunks if chunk[0] in png.TEXT and not _has_a_place(chunk)),
        cicp=kept("colour is", _cicp, info, chunks),
        colour=tuple(chunk for chunk in chunks if chunk[0] in png.COLOUR),
    )


def left_behind(image: Image.Image) -> list[str]:
    """What an opened JPEG or TIFF file has beside the picture that `Metadata` has no place for, in words."""
    if image.format == "TIFF":
        return [words for tag, words in TIFF_ONLY.items() if tag in image.tag_v2]
    segments = getattr(image, "applist", ())
    return [words for (name, start), words in JPEG_ONLY.items() if any(n == name and start in data[:64] for n, data in segments)]


def orientation_of(image: Image.Image) -> int:
    """1 to 8, as the picture is still to be turned (Pillow turns TIFF files itself when it decodes them).

    1 where the EXIF block is damaged, of which `read_metadata` warns.
    """
    block, xmp = image.info.get("exif"), image.info.get("xmp") or b""
    try:
        if block:
            orientation = orientation_in(block) or (1 if image.format == "AVIF" else _xmp_orientation(xmp))
        else:  # a TIFF, a PNG's text form, XMP alone
            orientation = 1 if image.format == "AVIF" else image.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1
    return orientation if orientation in range(1, 9) else 1


def _xmp_orientation(xmp: bytes | str) -> int:
    found = XMP_ORIENTATION.search(xmp.encode() if isinstance(xmp, str) else xmp)
    return int(found[2]) if found else 1


def upright_xmp(xmp: bytes | str) -> bytes:
    """The XMP packet with orientation 1, without thumbnails and without what is said to lie in further JPEG segments."""
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    xmp = XMP_ORIENTATION.sub(rb"\g<1>1", xmp)
    xmp = re.sub(rb"""\s(?:xmpNote:HasExtendedXMP|GImage:Data)\s*=\s*(?:"[^"]*"|'[^']*')""", b"", xmp)
    kept, at = [], 0
    while start := XMP_PICTURE.search(xmp, at):
        close = b"" if start[2] else b"</%s>" % start[1]
        end = xmp.find(close, start.end())
        if end < 0:
            raise ValueError(f"{start[1].decode()} has no end")
        kept.append(xmp[at : start.start()])
        at = end + len(close)
    return b"".join(kept) + xmp[at:]


def without_preview(iptc: bytes) -> bytes:
    """The IPTC records without those that hold a small picture. Raises ValueError when they are damaged."""
    kept, at = [], 0
    while iptc[at : at + 1] == b"\x1c":
        record, number, length = struct.unpack_from(">BBH", iptc, at + 1)
        start = at + 5
        if length & 0x8000:  # the length of the length
            start += length & 0x7FFF
            length = int.from_bytes(iptc[at + 5 : start])
        if start + length > len(iptc):
            raise ValueError("it is cut off")
        if (record, number) not in IPTC_PREVIEWS:
            kept.append(iptc[at : start + length])
        at = start + length
    if iptc[at:].strip(b"\0"):
        raise ValueError("no record where one should begin")
    return b"".join(kept)


def _png_chunks(name: str) -> list[png.Chunk]:
    with open_input(Path(name)) as file:
        return png.read_chunks(file)


def _hidden_xmp(image: Image.Image, name: str, chunks: list[png.Chunk]) -> bytes | None:
    """The XMP packet where Pillow has not looked."""
    if image.format != "JXL" or image.jpeg:
        return png.xmp_block(chunks)
    with open_input(Path(name)) as file:
        head = jxl.read_head(file)
    if head.packed:
        log.warning("%s: psal does not read %s that is compressed with Brotli: not kept", name, " and ".join(head.packed))
    return head.xmp


def _exif_block(image: Image.Image, name: str, chunks: list[png.Chunk]) -> bytes | None:
    """The EXIF block as it stands in the file, starting with b"Exif\0\0" or the byte order; of a TIFF, what describes it."""
    if image.format == "TIFF":
        with open_input(Path(name)) as file:
            return tiff_exif(file)
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


def _iptc_block(image: Image.Image, chunks: list[png.Chunk]) -> bytes | None:
    if image.format == "TIFF":
        return _in_order(image.tag_v2._tagdata.get(IPTC_TAG))  # tag_v2 gives the first number of many
    if image.format == "PNG":
        block = png.raw_block(chunks, b"iptc", b"8bim")
        return _resource(block) if block and block.startswith((b"8BIM", b"Photoshop 3.0\0")) else block
    return image.info.get("photoshop", {}).get(IPTC_RESOURCE)


def _in_order(iptc: bytes | None) -> bytes | None:
    """Photoshop calls the bytes 32-bit numbers in a TIFF file, and some writers turned those round."""
    if iptc and iptc[0] != 0x1C and iptc[3:4] == b"\x1c":
        return b"".join(iptc[at : at + 4][::-1] for at in range(0, len(iptc), 4))
    return iptc


def _resource(block: bytes) -> bytes | None:
    """The IPTC records among Photoshop's resources."""
    at = block.index(b"8BIM")
    while block[at : at + 4] == b"8BIM":
        (kind,), name = struct.unpack_from(">H", block, at + 4), block[at + 6]
        start = at + 6 + name + 2 - name % 2  # the name and its length take an even number of bytes
        (length,) = struct.unpack_from(">I", block, start)
        if kind == IPTC_RESOURCE:
            return block[start + 4 : start + 4 + length]
        at = start + 4 + length + length % 2
    return None


def _as_resource(iptc: bytes) -> bytes:
    return struct.pack(">4sHHI", b"8BIM", IPTC_RESOURCE, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)


def _comment(image: Image.Image, chunks: list[png.Chunk]) -> bytes | None:
    if image.format == "PNG":
        return b"\n".join(png.text_of(chunk) for chunk in chunks if png.keyword(chunk) == png.COMMENT_KEYWORD)
    return b"\n".join(data for marker, data in getattr(image, "applist", ()) if marker == "COM")


def _dpi(info: dict, orientation: int, exif: bytes | None) -> tuple[float, float] | None:
    made_up = info.get("dpi") == (72, 72) and info.get("jfif_unit") not in (1, 2)  # by Pillow, of a JPEG file that tells none
    told = () if made_up else tuple(map(float, info.get("dpi", ())))
    for dpi in (told, resolution_in(exif) if exif else ()):
        if dpi and all(1 < value <= MOST_DPI for value in dpi):  # Pillow says 1 for "unknown"
            return dpi[::-1] if orientation >= 5 else dpi
    return None


def _cicp(info: dict, chunks: list[png.Chunk]) -> bytes | None:
    """Of a HEIC file only where it has no profile, beside which it tells how the colours were encoded."""
    nclx, cicp = info.get("nclx_profile"), dict(chunks).get(b"cICP")
    if nclx and not info.get("icc_profile"):
        cicp = bytes([nclx["color_primaries"], nclx["transfer_characteristics"], 0, 1])
        return None if png.is_srgb((b"cICP", cicp)) else cicp
    return cicp if cicp and len(cicp) == 4 else None


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
        elif what == "texts":
            lost.append(f"PNG texts ({', '.join(png.keyword(chunk).decode('latin-1') for chunk in value[:5])})")
        elif what == "dpi" and "exif" in HOLDS[target_format] and (not metadata.exif or resolution_in(metadata.exif)):
            dropped["exif"] = metadata.exif or resolution_block(metadata.dpi)
        else:
            lost.append(WORDS[what])
    holds = [f"no {' nor '.join(lost)}"] * bool(lost) + [f"at most {' and '.join(long)}"] * bool(long)
    if holds:
        log.warning("%s: %s holds %s: not kept (PNG holds all)", name, word(target_format), " and ".join(holds))
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
    if metadata.iptc:
        out.append(png.raw_chunk(b"iptc", _as_resource(metadata.iptc)))
    if metadata.comment:
        out.append(png.text_chunk(png.COMMENT_KEYWORD, _utf8(metadata.comment)))
    return out + list(metadata.texts)


def _utf8(text: bytes) -> bytes:
    """A comment does not say how it is encoded: UTF-8 or else Latin-1."""
    try:
        return text.decode().encode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()


def save_arguments(metadata: Metadata, target_format: str) -> dict:
    """The arguments of Pillow's save() that keep what `held` gives (PNG and TIFF have their own writers)."""
    arguments = {"dpi": metadata.dpi, "icc_profile": metadata.icc, "exif": metadata.exif, "xmp": metadata.xmp}
    if target_format == "JPEG":
        arguments["comment"] = metadata.comment
        arguments["extra"] = _segment(metadata.iptc) if metadata.iptc else None
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


def _segment(iptc: bytes) -> bytes:
    """A JPEG file's segment of IPTC records."""
    data = b"Photoshop 3.0\0" + _as_resource(iptc)
    return b"\xff\xed" + struct.pack(">H", len(data) + 2) + data
