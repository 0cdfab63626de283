"""No parser of metadata takes more than linear time, whatever a file holds: of eight times the size at most ten times the time.

The patterns are those that cost most: what begins again and again and never ends, directories that lie in each other.
"""

import io
import struct
import time
import zlib
from contextlib import suppress

import pytest
from PIL import Image

from psal_cli.image import chunks, isobmff, jpeg, jxl, png, xmp
from psal_cli.image.exif import orientation_in, resolution_in, upright_exif, without_lost_values, without_orientation
from psal_cli.image.photoshop import iptc_in, others_in, without_preview
from psal_cli.image.tiff_exif import moved_note, tiff_exif

LEAST = 0.02  # seconds of CPU time that count as none: the clock and the collector are in them


def exif(body):
    return b"II*\0\x08\0\0\0\0\0\0\0\0\0" + body


def directories(size):
    """Entries that all point to directories, which begin at every second byte and are as long as the block lets them be."""
    count = size // 24
    entry = struct.pack("<HHII", 0x8769, 4, 1, 0)
    entries = b"".join(struct.pack("<HHII", 0x8769, 4, 1, 10 + 12 * (at % count)) for at in range(count))
    assert len(entry) == 12
    return b"II*\0\x08\0\0\0" + struct.pack("<H", min(count, 0xFFFF)) + entries + struct.pack("<H", count // 2) * (size // 4)


def every_reader(block):
    for read in (
        orientation_in,
        resolution_in,
        without_orientation,
        without_lost_values,
        lambda data: upright_exif(data, (8, 8)),
    ):
        read(block)


def note(size):
    """A maker's note whose entries all point back into itself as directories."""
    count = min(size // 12, 1024)
    entries = b"".join(struct.pack("<HHII", 1, 13, 1, 100_000 + 2 * (at % (size // 2))) for at in range(count))
    return (struct.pack("<H", count) + entries) + b"\1\0" * (size // 2)


def png_file(body):
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + body)


def box(kind, body):
    return struct.pack(">I", len(body) + 8) + kind + body


def a_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + bytes(4)


def jxl_file(size):
    head = jxl.CONTAINER + box(b"jxlc", b"\xff\x0a" + bytes(60))
    return io.BytesIO(head + box(b"brob", b"Exif") * (size // 12))


def pixels(size):
    """A PNG file with its pixels in one chunk, which hardly pack."""
    import random

    rows = random.Random(0).randbytes(size)
    head = struct.pack(">IIBBBBB", size - 1, 2, 8, 0, 0, 0, 0)
    return png_file(a_chunk(b"IHDR", head) + a_chunk(b"IDAT", zlib.compress(rows, 0)))


def unfinished(file):
    image = Image.new("L", (1, 1))
    png.lacks_rows(image, file)


PARSERS = {  # name -> (what is parsed, of a size; the parser; the smallest size)
    "previews": (lambda n: exif(b"\xff\xd8\xff\xe0\x00\x04" * (n // 6)), lambda b: upright_exif(b, (8, 8)), 60_000),
    "previews without end": (lambda n: exif(b"\xff\xd8\xff\xda\x00\x02" * (n // 6)), lambda b: upright_exif(b, (8, 8)), 60_000),
    "directories": (directories, every_reader, 60_000),
    "TIFF directories": (lambda n: io.BytesIO(directories(n)), tiff_exif, 60_000),
    "maker's note": (note, lambda b: moved_note(b, "<", 100_000, 500), 60_000),
    "XMP pictures": (lambda n: b"<xmp:Thumbnails>" * (n // 16), xmp.upright_xmp, 200_000),
    "XMP words": (lambda n: b"<" + b"a" * n + b"<" * n, xmp.upright_xmp, 200_000),
    "XMP spaces": (lambda n: b" GImage:Data " + b" " * n + b" hdrgm:a" * (n // 8), xmp.upright_xmp, 200_000),
    "XMP quotes": (lambda n: b""" GImage:Data="'""" * (n // 15), xmp.upright_xmp, 200_000),
    "XMP orientation": (lambda n: b"tiff:Orientation" + b" " * n, xmp.xmp_orientation, 200_000),
    "IPTC": (lambda n: b"\x1c\x02\x50\0\0" * (n // 5), without_preview, 100_000),
    "Photoshop": (lambda n: (b"8BIM\4\4" + bytes(6)) * (n // 12), lambda b: (iptc_in(b), others_in(b)), 100_000),
    "PNG texts": (lambda n: png_file(a_chunk(b"tEXt", b"Comment\0") * (n // 20)), lambda f: chunks.read_chunks(f), 200_000),
    "PNG comments": (lambda n: [(b"tEXt", b"Comment\0a")] * (n // 9), lambda c: chunks.texts_of(c, b"Comment"), 200_000),
    "PNG names": (lambda n: png_file(a_chunk(b"abCD", b"") * (n // 12)), chunks.lost_chunks, 200_000),
    "PNG pixels": (pixels, unfinished, 4_000_000),
    "JPEG end": (lambda n: io.BytesIO(b"\xff\xd8" + b"\xff\xda\0\2\xff" * (n // 5)), jpeg.behind_the_end, 200_000),
    "JPEG padding": (lambda n: io.BytesIO(b"\xff\xd8" + b"\xff" * n), jpeg.behind_the_end, 200_000),
    "JPEG pictures": (lambda n: b"\xff\xd8\xff\xd9" * (n // 4), jpeg.pictures_in, 1_000_000),
    "JPEG segments": (lambda n: b"\xff\xd8" + b"\xff\xe1\0\2" * (n // 4), jpeg.segments_of, 100_000),
    "JPEG XL boxes": (jxl_file, jxl.read_head, 100_000),
    "AVIF boxes": (lambda n: io.BytesIO(box(b"meta", bytes(4) + box(b"free", b"") * (n // 8))), isobmff.read_boxes, 100_000),
    "AVIF items": (
        lambda n: io.BytesIO(box(b"meta", bytes(4) + box(b"iinf", bytes(6) + box(b"infe", b"\2" + bytes(12)) * (n // 21)))),
        isobmff.read_boxes,
        100_000,
    ),
}


def seconds(parse, data):
    if isinstance(data, io.BytesIO):
        data.seek(0)
    start = time.process_time()
    with suppress(ValueError, LookupError, struct.error, zlib.error):
        parse(data)
    return time.process_time() - start


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_time_grows_with_the_size(name):
    make, parse, smallest = PARSERS[name]
    small, large = (min(seconds(parse, data) for _ in range(3)) for data in (make(smallest), make(8 * smallest)))
    assert large < 10 * max(small, LEAST)
