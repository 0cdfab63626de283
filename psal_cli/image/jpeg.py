"""APP segments of JPEG files that other modules do not handle, and data after the end of the picture."""

import re
from collections.abc import Iterable
from typing import IO, NamedTuple

JPEG_SEGMENT = 65_533  # the most bytes of one segment
# Segments that another field of Metadata holds, or that only describe the storage of pixels.
KNOWN = (
    ("APP0", b"JFIF\0"),
    ("APP1", b"Exif\0\0"),
    ("APP1", b"http://ns.adobe.com/xap/1.0/\0"),
    ("APP2", b"ICC_PROFILE\0"),
    ("APP2", b"MPF\0"),  # the index of further pictures, which are reported separately
    ("APP13", b"Photoshop 3.0\0"),
    ("APP14", b"Adobe"),
    ("COM", b""),
)
GAIN_MAP_WORDS = "gain map (HDR)"
ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
# Segments that an edited picture cannot keep, with their names: signatures, thumbnails, continued data.
LOST = (
    ("APP0", b"JFXX\0", "JFXX thumbnail"),
    ("APP1", b"http://ns.adobe.com/xmp/extension/\0", "extended XMP"),
    ("APP2", ISO_GAIN_MAP, GAIN_MAP_WORDS),
    ("APP11", b"JP", "Content Credentials"),
)
GAIN_MAP = re.compile(rb"hdrgm:|hdrgainmap|HDRGainMap|urn:iso:std:iso:ts:21496")
PREVIEW = b"\xff\xd8\xff"
PADDING = b"\0\r\n "
MOST_PICTURES = 8  # the most pictures after the end
MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # inside the pixels: anything except a stuffed 0 and restart markers

Segment = tuple[str, bytes]  # APPn, its data


class Segments(NamedTuple):
    """Segments unknown to psal, and the size (width, height) of the picture that they describe."""

    size: tuple[int, int]
    parts: tuple[Segment, ...]


def unknown_segments(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """The unknown segments, which a picture of the same size keeps unchanged."""
    return tuple(segment for segment in segments if not _is_known(segment) and not _loss(segment) and PREVIEW not in segment[1])


def lost_segments(segments: Iterable[Segment]) -> list[str]:
    """The names of a file's segments that no edited picture keeps, each once."""
    names: dict[str, None] = {}
    for segment in segments:
        words = _loss(segment)
        if not words and not _is_known(segment) and PREVIEW in segment[1]:
            words = f"{label(segment)} segment with a preview"
        if words:
            names[words] = None
    return list(names)


def label(segment: Segment) -> str:
    """The label of a segment: its number, and the name that it begins with."""
    name = re.match(rb"[A-Za-z][\w .:/-]{1,30}", segment[1])
    return f"{segment[0]} {name[0].decode('ascii', 'replace').strip()}" if name else segment[0]


def listed(segments: Iterable[Segment]) -> str:
    """The labels of segments, each once."""
    return ", ".join(dict.fromkeys(map(label, segments)))


def as_bytes(segment: Segment) -> bytes:
    """The bytes of a segment in a file."""
    marker = 0xE0 + int(segment[0].removeprefix("APP"))
    return bytes([0xFF, marker]) + (len(segment[1]) + 2).to_bytes(2) + segment[1]


def segments_of(data: bytes) -> list[Segment]:
    """The APP segments and comments before the pixels of a JPEG file; stops at damage."""
    segments: list[Segment] = []
    at = 2
    while data[at : at + 1] == b"\xff" and (0xE0 <= data[at + 1] <= 0xEF or data[at + 1] == 0xFE):
        length = int.from_bytes(data[at + 2 : at + 4])
        if length < 2 or at + 2 + length >= len(data):
            break
        segments.append(("COM" if data[at + 1] == 0xFE else f"APP{data[at + 1] - 0xE0}", data[at + 4 : at + 2 + length]))
        at += 2 + length
    return segments


def end_of(segments: Iterable[Segment]) -> int:
    """The end of the leading segments of a JPEG file."""
    return 2 + sum(4 + len(data) for _, data in segments)


def behind_the_end(file: IO[bytes]) -> bytes:
    """The data after the first picture in a JPEG file, without padding."""
    file.seek(0)
    data = file.read()
    behind = data[_end_of_picture(data) :].strip(PADDING)
    return behind if behind.strip(PADDING + b"\xff") else b""


def pictures_in(trailer: bytes) -> tuple[list[bytes], bytes]:
    """The consecutive JPEG pictures at the start of a trailer, and the rest."""
    pictures: list[bytes] = []
    while trailer.startswith(PREVIEW) and len(pictures) < MOST_PICTURES:
        end = _end_of_picture(trailer)
        pictures.append(trailer[:end])
        trailer = trailer[end:].lstrip(PADDING)
    return pictures, trailer


def _end_of_picture(data: bytes) -> int:
    """The end of the JPEG picture at the start of `data`; the length of `data` if it has none."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:  # damaged: decoders skip to the next marker
            following = MARKER.search(data, at)
            if not following:
                return len(data)
            at = following.start()
        kind = data[at + 1]
        if kind == 0xFF:  # padding
            at += 1
        elif kind == 0xD9:
            break
        elif kind == 0xDA:
            following = MARKER.search(data, at + 2 + int.from_bytes(data[at + 2 : at + 4]))
            if not following:
                return len(data)
            at = following.start()
        elif kind == 0x01 or 0xD0 <= kind <= 0xD8:
            at += 2
        else:
            at += 2 + max(int.from_bytes(data[at + 2 : at + 4]), 2)
    return min(at + 2, len(data))


def _is_known(segment: Segment) -> bool:
    return any(segment[0] == name and segment[1].startswith(start) for name, start in KNOWN)


def _loss(segment: Segment) -> str | None:
    return next((words for name, start, words in LOST if segment[0] == name and segment[1].startswith(start)), None)
