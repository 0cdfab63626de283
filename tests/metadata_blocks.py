"""Blocks of metadata as cameras and editors write them."""

import struct

from PIL import ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="Dandelion"/></x:xmpmeta>'
THUMBNAIL = b"\xff\xd8 the picture before it was edited \xff\xd9"


def exif_block(orientation=1, order="<"):
    """An EXIF block as cameras write it: maker's note, picture size, GPS, and a thumbnail in a second directory."""

    def directory(at, entries, following):
        """Entries: (tag, type, count, number or bytes); returns the directory with what does not fit in it behind it."""
        head, tail = struct.pack(order + "H", len(entries)), b""
        behind = at + 2 + 12 * len(entries) + 4
        for tag, kind, count, value in entries:
            if isinstance(value, bytes):
                value, tail = behind + len(tail), tail + value
            field = struct.pack(order + ("HH" if kind == 3 else "I"), *([value, 0] if kind == 3 else [value]))
            head += struct.pack(order + "HHI", tag, kind, count) + field
        return head + struct.pack(order + "I", following) + tail

    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    first = [(0x010F, 2, 9, b"psal-cam\0"), (0x0112, 3, 1, orientation), (0x8769, 4, 1, 100), (0x8825, 4, 1, 200)]
    body = directory(8, first, 300).ljust(92, b"\0")
    body += directory(100, [(0x927C, 7, 8, b"\1secret\2"), (0xA002, 4, 1, 8), (0xA003, 3, 1, 5)], 0).ljust(100, b"\0")
    body += directory(200, [(0x0001, 2, 2, ord("N") if order == "<" else ord("N") << 24)], 0).ljust(100, b"\0")
    body += directory(300, [(0x0201, 4, 1, 400), (0x0202, 4, 1, len(THUMBNAIL))], 0).ljust(100, b"\0")
    return b"Exif\0\0" + start + body + THUMBNAIL
