"""Gain maps of JPEG files (Ultra HDR, ISO 21496-1, Apple): how much brighter an HDR screen shows each pixel.

The map is a small JPEG picture after the end of the main one, announced by an index (MPF, CIPA DC-007), XMP or an ISO segment. If
a picture is filled, its map is filled too, smoothly from around the hole.
"""

import re
import struct
from collections.abc import Iterable
from io import BytesIO
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from psal_cli.image.decoding import UPRIGHT
from psal_cli.image.jpeg import GAIN_MAP, ISO_GAIN_MAP, Segment, as_bytes, end_of, pictures_in, segments_of

QUALITY = 95
LARGEST = 4  # pixels of the map relative to the picture; maps are smaller as a rule
RADIUS = 3  # pixels: radius of the inpainting
IN_XMP = re.compile(rb"hdrgm:Version")
RDF_END = b"</rdf:RDF>"
# Segments of the map's own file that are rewritten or dropped.
OWN = (("APP0", b"JFIF\0"), ("APP1", b"Exif\0\0"), ("APP2", b"MPF\0"), ("APP14", b"Adobe"), ("COM", b""))
DIRECTORY = (
    b'<rdf:Description rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
    b' xmlns:Container="http://ns.google.com/photos/1.0/container/"'
    b' xmlns:Item="http://ns.google.com/photos/1.0/container/item/" hdrgm:Version="1.0"><Container:Directory><rdf:Seq>'
    b'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>'
    b'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="%d"/>'
    b"</rdf:li></rdf:Seq></Container:Directory></rdf:Description>"
)
PACKET = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta>'
)


class GainMap(NamedTuple):
    """jpeg: the map's file; orientation: still to be applied; iso: the ISO 21496-1 segment of the picture that announces it, None
    if there is none; in_xmp: whether the picture's XMP announces it; fits: whether it matches the current pixels, which only the
    verb that changed them knows."""

    jpeg: bytes
    orientation: int
    iso: bytes | None
    in_xmp: bool
    fits: bool = False


def gain_map_of(segments: Iterable[Segment], trailer: bytes, orientation: int) -> GainMap | None:
    """The gain map in the data after the end of a JPEG picture with these segments; None if there is none."""
    jpeg = next((picture for picture in pictures_in(trailer)[0] if _is_gain_map(picture)), None)
    if jpeg is None:
        return None
    listed = list(segments)
    iso = next((data for name, data in listed if name == "APP2" and data.startswith(ISO_GAIN_MAP)), None)
    return GainMap(jpeg, orientation, iso, any(name == "APP1" and IN_XMP.search(data) for name, data in listed))


def _is_gain_map(jpeg: bytes) -> bool:
    return any(GAIN_MAP.search(data) for _, data in segments_of(jpeg))


def filled(gain_map: GainMap, hole: npt.NDArray[np.bool_]) -> GainMap:
    """The upright map of a picture that was filled inside `hole`, bool [H, W], and is unchanged elsewhere.

    Inside the hole, and one map pixel around it, the map continues its surroundings smoothly (Telea 2004): highlights that were
    removed disappear, highlights that were copied are not added. Raises OSError or ValueError for a damaged map.
    """
    import cv2

    with Image.open(BytesIO(gain_map.jpeg), formats=["JPEG"]) as image:
        if image.mode not in ("L", "RGB") or image.width * image.height > LARGEST * hole.size:
            raise ValueError(f"a map of {image.width}x{image.height}, {image.mode}")
        stored = np.asarray(image)
    turned = gain_map.orientation >= 5
    height, width = stored.shape[1::-1] if turned else stored.shape[:2]
    pixels = np.empty((height, width, *stored.shape[2:]), np.uint8)
    UPRIGHT[gain_map.orientation](pixels)[...] = stored
    edges = [np.arange(side) * whole // side for side, whole in zip((height, width), hole.shape, strict=True)]
    touched = np.logical_or.reduceat(np.logical_or.reduceat(hole, edges[0], axis=0), edges[1], axis=1)
    if not touched.any() and gain_map.orientation == 1:
        return gain_map._replace(fits=True)
    mask = cv2.dilate(touched.astype(np.uint8), np.ones((3, 3), np.uint8))
    pixels = np.asarray(cv2.inpaint(pixels, mask, RADIUS, cv2.INPAINT_TELEA), np.uint8)
    own = [
        segment
        for segment in segments_of(gain_map.jpeg)
        if not any(segment[0] == name and segment[1].startswith(start) for name, start in OWN)
    ]
    out = BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=QUALITY, subsampling=0, extra=b"".join(map(as_bytes, own)))
    return gain_map._replace(jpeg=out.getvalue(), orientation=1, fits=True)


def announced(xmp: bytes | None, gain_map: GainMap) -> bytes:
    """The picture's XMP packet with the directory that locates the map."""
    packet = xmp or PACKET
    at = packet.rfind(RDF_END)
    return packet if at < 0 else packet[:at] + DIRECTORY % len(gain_map.jpeg) + packet[at:]


def with_gain_map(data: bytes, gain_map: GainMap) -> bytes:
    """A JPEG file followed by the map, with the index of both and the ISO segment after its own segments."""
    at = end_of(segments_of(data))
    iso = as_bytes(("APP2", gain_map.iso)) if gain_map.iso else b""
    start = at + len(iso) + 8  # origin of the offsets in the index
    size = len(data) + len(iso) + len(_index(0, 0, 0))
    return data[:at] + iso + _index(size, len(gain_map.jpeg), size - start) + data[at:] + gain_map.jpeg


def _index(size: int, map_size: int, map_at: int) -> bytes:
    """The MPF segment that lists both pictures, the main one and the map."""
    entries = struct.pack(">IIIHH", 0x030000, size, 0, 0, 0) + struct.pack(">IIIHH", 0, map_size, map_at, 0, 0)
    fields = struct.pack(">HHI4s", 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 2)
    fields += struct.pack(">HHII", 0xB002, 7, len(entries), 8 + 2 + 3 * 12 + 4)
    return as_bytes(("APP2", b"MPF\0MM\0*" + struct.pack(">IH", 8, 3) + fields + bytes(4) + entries))
