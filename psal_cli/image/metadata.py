"""What a picture carries beside its pixels: ICC profile, EXIF, XMP and resolution, from file to file.

The pixels are turned upright when read, so EXIF and XMP are rewritten to say so. The embedded thumbnail is dropped: it
shows the picture before it was edited.
"""

import logging
import math
import re
import struct
from dataclasses import dataclass

from PIL import Image, PngImagePlugin

log = logging.getLogger(__name__)

ORIENTATION, EXIF_IFD, GPS_IFD, XMP_TAG = 0x0112, 0x8769, 0x8825, 700
THUMBNAIL_AT, THUMBNAIL_LENGTH = 0x0201, 0x0202
WIDTH_TAGS, HEIGHT_TAGS = (0x0100, 0xA002), (0x0101, 0xA003)
# The tags of a TIFF's first directory that describe the picture; the others say how its pixels are stored.
DESCRIPTIVE = {269, 270, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)}
JPEG_LIMIT = 65_502  # bytes that one JPEG segment holds beside its headers


@dataclass(frozen=True)
class Metadata:
    """icc, exif (starting with b"Exif\\0\\0", orientation 1), xmp: bytes; dpi: dots an inch across and down."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


def read_metadata(image: Image.Image, orientation: int, size: tuple[int, int], name: str) -> Metadata:
    """The metadata of a decoded Pillow image, rewritten for pixels turned upright, of `size` (width, height)."""
    info = image.info
    dpi = tuple(float(value) for value in info.get("dpi", ()))
    if len(dpi) != 2 or not all(math.isfinite(value) and value > 1 for value in dpi):  # Pillow says 1 for "unknown"
        dpi = None
    elif orientation >= 5:
        dpi = dpi[::-1]
    try:
        exif = _exif_block(image)
        exif = upright_exif(exif, size) if exif else None
    except Exception as error:  # whatever a damaged block provokes: the picture itself is sound
        log.warning("%s: its EXIF block is damaged and is not kept (%s)", name, error)
        exif = None
    xmp = info.get("xmp")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return Metadata(info.get("icc_profile") or None, exif, upright_xmp(xmp) if xmp else None, dpi)


def orientation_of(image: Image.Image, name: str) -> int:
    """1 to 8, as the picture is still to be turned (Pillow turns TIFF files itself when it decodes them)."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception as error:
        log.warning("%s: its EXIF block cannot be read, the picture is taken to be upright (%s)", name, error)
        return 1
    return orientation if orientation in range(1, 9) else 1


def _exif_block(image: Image.Image) -> bytes | None:
    if image.format != "TIFF":
        block = image.info.get("exif")
        if block or not len(image.getexif()):
            return block
        return image.getexif().tobytes()  # a PNG's text form, or an orientation that only its XMP gives
    return _described(image.getexif()).tobytes()


def _described(exif: Image.Exif) -> Image.Exif:
    """A copy with what describes the picture, without what a TIFF writer lays out itself."""
    kept = Image.Exif()
    for tag in exif:
        if tag in DESCRIPTIVE:
            kept[tag] = exif[tag]
    for tag in (EXIF_IFD, GPS_IFD):
        if directory := exif.get_ifd(tag):
            kept[tag] = dict(directory)
    return kept


def upright_exif(block: bytes, size: tuple[int, int]) -> bytes:
    """The EXIF block with orientation 1, the picture's size (width, height) and no thumbnail; all else byte for byte.

    Rewritten in place, not parsed and composed again: camera makers' notes hold offsets that must stay true.
    Raises ValueError or struct.error when the block is no EXIF.
    """
    data = bytearray(re.sub(rb"^(Exif\0\0)+", b"", block))
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        raise ValueError("no byte order mark")

    def directory(at: int):
        """Yields (tag, type, where its value lies) and last (None, None, where the next directory's offset lies)."""
        (count,) = struct.unpack_from(order + "H", data, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", data, entry)
            yield tag, kind, entry + 8
        yield None, None, at + 2 + 12 * count

    def number(kind: int, at: int) -> int:
        return struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at)[0]

    def put(kind: int, at: int, value: int) -> None:
        if kind == 4 or (kind == 3 and value <= 0xFFFF):
            struct.pack_into(order + ("H" if kind == 3 else "I"), data, at, value)

    todo, seen = [number(4, 4)], set()
    while todo:
        at = todo.pop()
        if at in seen:
            raise ValueError("a directory that contains itself")
        seen.add(at)
        for tag, kind, where in directory(at):
            if tag == ORIENTATION:
                put(kind, where, 1)
            elif tag in WIDTH_TAGS or tag in HEIGHT_TAGS:
                put(kind, where, size[tag in HEIGHT_TAGS])
            elif tag == EXIF_IFD:
                todo.append(number(kind, where))
            elif tag is None and len(seen) == 1 and where + 4 <= len(data) and number(4, where):
                _clear_thumbnail(data, {t: number(k, w) for t, k, w in directory(number(4, where)) if t})
                put(4, where, 0)
    return b"Exif\0\0" + bytes(data)


def _clear_thumbnail(data: bytearray, entries: dict[int, int]) -> None:
    start = entries.get(THUMBNAIL_AT, 0)
    end = start + entries.get(THUMBNAIL_LENGTH, 0)
    if 8 <= start < end <= len(data):
        data[start:end] = b"" if end == len(data) else bytes(end - start)


def upright_xmp(xmp: bytes) -> bytes:
    return re.sub(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)[2-8]""", rb"\g<1>1", xmp)


def save_arguments(metadata: Metadata, target_format: str, name: str) -> dict:
    """The arguments of Pillow's save() that keep `metadata` (TIFF has its own writer).

    What `target_format` cannot hold is logged as a warning.
    """
    exif, xmp, icc = metadata.exif, metadata.xmp, metadata.icc
    arguments = {"dpi": metadata.dpi} if metadata.dpi and target_format != "WEBP" else {}
    if target_format == "BMP":
        lost = [word for word, value in (("ICC profile", icc), ("EXIF", exif), ("XMP", xmp)) if value]
        if lost:
            log.warning("%s: BMP holds no %s: not kept (PNG and TIFF hold all)", name, " nor ".join(lost))
        return arguments
    if target_format == "JPEG":
        if exif and len(exif) > JPEG_LIMIT:
            log.warning("%s: JPEG holds at most 64 kB of EXIF, this is %d kB: not kept", name, len(exif) // 1000)
            exif = None
        if xmp and len(xmp) > JPEG_LIMIT:
            log.warning("%s: JPEG holds at most 64 kB of XMP, this is %d kB: not kept", name, len(xmp) // 1000)
            xmp = None
    if icc and target_format == "WEBP" and icc[16:20] == b"GRAY":
        log.warning("%s: WebP holds no grey pictures, so its grey ICC profile is not kept (PNG and TIFF hold it)", name)
    elif icc:
        arguments["icc_profile"] = icc
    if exif:
        arguments["exif"] = exif
    if xmp and target_format == "PNG":
        arguments["pnginfo"] = PngImagePlugin.PngInfo()
        arguments["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    elif xmp:
        arguments["xmp"] = xmp
    return arguments
