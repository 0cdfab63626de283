"""EXIF out of TIFF files: makers' notes readable, every byte of a text kept, wherever the directories lie in the file."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from psal_cli.image import Metadata, Picture, read_picture, write_picture
from psal_cli.image.tiff_exif import tiff_exif

from .pictures import blocks

MAKERS = {  # what is in front of the directory of a maker's note whose offsets count from the start of the file
    "Minolta": b"",
    "Nikon": b"Nikon\0\1\0",
    "Olympus": b"OLYMP\0\1\0",
    "Panasonic": b"Panasonic\0\0\0",
    "Ricoh": b"Ricoh\0\0\0",
    "Sigma": b"SIGMA\0\0\0\1\0",
}
QUALITY = b"FINE, as the maker wrote it\0"
TEXTS = {315: "Zoë Müller".encode() + b"\0", 270: "画像の説明".encode() + b"\0", 33432: b"\xa9 caf\xe9\0"}


def directory(order, at, entries):
    """A directory with what does not fit in it behind it. entries: (tag, type, count, number or bytes)."""
    head, tail = struct.pack(order + "H", len(entries)), b""
    for tag, kind, count, value in sorted(entries):
        if isinstance(value, bytes) and len(value) > 4:
            field = struct.pack(order + "I", at + 2 + 12 * len(entries) + 4 + len(tail))
            tail += value + bytes(len(value) % 2)
        else:
            field = value if isinstance(value, bytes) else struct.pack(order + "HH" if kind == 3 else order + "I", *value)
        head += struct.pack(order + "HHI", tag, kind, count) + field.ljust(4, b"\0")
    return head + bytes(4) + tail


def maker_note(order, at, start):
    """`start`, then a directory of two entries: a number, and a text and a directory below that count from the file's start."""
    below = directory(order, at + len(start) + 100, [(1, 2, len(QUALITY), QUALITY)])
    top = directory(
        order, at + len(start), [(2, 3, 1, (7, 0)), (4, 2, len(QUALITY), QUALITY), (9, 13, 1, (at + len(start) + 100,))]
    )
    return start + top.ljust(100, b"\0") + below


def tiff(order, start, pixels_first=True, side=160):
    """A TIFF file of grey noise as another program writes it, its EXIF in front of the pixels or behind them."""
    pixels = np.random.default_rng(0).bytes(side * side)
    out = bytearray({"<": b"II*\0", ">": b"MM\0*"}[order] + bytes(4))
    if pixels_first:
        at, out = len(out), out + pixels
    note_at = len(out)
    note = maker_note(order, note_at, start)
    out += note + bytes(len(note) % 2)
    exif_at = len(out)
    out += struct.pack(order + "H", 1) + struct.pack(order + "HHII", 0x927C, 7, len(note), note_at) + bytes(4)
    if not pixels_first:
        at, out = len(out), out + pixels
    struct.pack_into(order + "I", out, 4, len(out))
    entries = [(256, 4, 1, (side,)), (257, 4, 1, (side,)), (258, 3, 1, (8, 0)), (259, 3, 1, (1, 0)), (262, 3, 1, (1, 0))]
    entries += [(273, 4, 1, (at,)), (277, 3, 1, (1, 0)), (278, 4, 1, (side,)), (279, 4, 1, (side * side,))]
    entries += [(0x8769, 4, 1, (exif_at,)), *((tag, 2, len(text), text) for tag, text in TEXTS.items())]
    return bytes(out + directory(order, len(out), entries))


def entry(data, order, at, tag):
    """(count, offset or number) of a tag in the directory at `at`."""
    (count,) = struct.unpack_from(order + "H", data, at)
    for place in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from(order + "H", data, place) == (tag,):
            return struct.unpack_from(order + "II", data, place + 4)
    raise KeyError(tag)


def text_at(data, order, at, tag):
    count, offset = entry(data, order, at, tag)
    return bytes(data[offset : offset + count])


def assert_whole(block, order, start):
    data = block.removeprefix(b"Exif\0\0")
    (first,) = struct.unpack_from(order + "I", data, 4)
    assert {tag: text_at(data, order, first, tag) for tag in TEXTS} == TEXTS
    _, exif = entry(data, order, first, 0x8769)
    _, note = entry(data, order, exif, 0x927C)
    top = note + len(start)
    assert data[note:top] == start
    assert text_at(data, order, top, 4) == QUALITY
    assert text_at(data, order, entry(data, order, top, 9)[1], 1) == QUALITY


@pytest.mark.parametrize("side", [8, 160, 300])  # the note lies near, further than a JPEG file's block would reach, in front
@pytest.mark.parametrize("pixels_first", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("maker", MAKERS)
def test_makers_notes_and_texts_come_out_of_tiff(tmp_path, maker, order, pixels_first, side):
    (tmp_path / "0.tif").write_bytes(tiff(order, MAKERS[maker], pixels_first, side))
    for step, suffix in enumerate(("tif", "png", "jpg", "tif")):
        picture = read_picture(next(tmp_path.glob(f"{step}.*")))
        assert_whole(picture.metadata.exif, order, MAKERS[maker])
        write_picture(picture, tmp_path / f"{step + 1}.{suffix}")
    assert len(picture.metadata.exif) < 60_000


def test_notes_that_count_from_themselves_are_not_touched(tmp_path):
    """Nikon since 2000, Olympus since 2007, Fujifilm and others; and Canon's own record of the old offset."""
    inner = b"Nikon\0\2\x10\0\0" + b"II*\0\x08\0\0\0" + directory("<", 8, [(4, 2, len(QUALITY), QUALITY)])
    for note, expected in ((inner, inner), (b"no directory at all", b"no directory at all")):
        file = tiff("<", b"", side=300).replace(
            maker_note("<", 8 + 300 * 300, b""), note.ljust(len(maker_note("<", 0, b"")), b"\0")
        )
        (tmp_path / "in.tif").write_bytes(file)
        assert expected in read_picture(tmp_path / "in.tif").metadata.exif


def test_exif_tags_in_the_first_directory_come_into_tiff_or_are_said(tmp_path, caplog):
    exif = Image.Exif()
    exif[0xA431], exif[0x8830], exif[0xFE00] = "serial", 2, "private"
    picture = Picture(blocks(), metadata=Metadata(exif=exif.tobytes()))
    write_picture(picture, tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as image:
        assert (image.tag_v2[0xA431], image.tag_v2[0x8830], 0xFE00 in image.tag_v2) == ("serial", 2, False)
    assert ["TIFF holds no tag 65024" in line for line in caplog.messages] == [True]


def test_a_tiff_that_was_written_again_and_again_does_not_grow(tmp_path):
    (tmp_path / "0.tif").write_bytes(tiff("<", MAKERS["Nikon"], False))
    sizes = []
    for step in range(4):
        picture = read_picture(tmp_path / f"{step}.tif")
        sizes.append(len(picture.metadata.exif))
        write_picture(picture, tmp_path / f"{step + 1}.tif")
    assert sizes[3] - sizes[2] < 300


def test_a_text_at_the_end_of_the_block_keeps_its_zeros(tmp_path):
    """The resolution, which lies behind the pixels, is put behind it."""
    text = b"one\0two\0\0\0"
    below = directory("<", 8, [(0x9000, 7, 4, b"0232")])
    first = directory("<", 8 + len(below), [(0x8769, 4, 1, (8,)), (33432, 2, len(text), text)])
    exif = struct.pack("<2sHI", b"II", 42, 8 + len(below)) + below + first
    picture = Picture(blocks(), metadata=Metadata(exif=exif, dpi=(300.0, 300.0)))
    for _ in range(3):
        write_picture(picture, tmp_path / "out.tif", True)
        picture = read_picture(tmp_path / "out.tif")
        data = picture.metadata.exif.removeprefix(b"Exif\0\0")
        assert text_at(data, "<", struct.unpack_from("<I", data, 4)[0], 33432) == text


def test_exif_that_a_png_holds_as_text_keeps_its_bytes(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    (tmp_path / "in.tif").write_bytes(tiff("<", MAKERS["Sigma"]))
    block = read_picture(tmp_path / "in.tif").metadata.exif
    for kind in ("exif", "APP1"):
        digits, info = block.hex(), PngInfo()
        lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
        info.add_text(f"Raw profile type {kind}", f"\n{kind.lower()}\n{len(block):8}\n{lines}\n", zip=True)
        Image.fromarray(blocks()).save(tmp_path / f"{kind}.png", pnginfo=info)
        assert_whole(read_picture(tmp_path / f"{kind}.png").metadata.exif, "<", MAKERS["Sigma"])


def test_no_pixels_and_no_other_blocks_get_into_the_exif(tmp_path):
    xmp = b"<x:xmpmeta>" + b"a packet " * 500 + b"</x:xmpmeta>"
    (tmp_path / "in.tif").write_bytes(tiff("<", MAKERS["Nikon"], False))
    picture = read_picture(tmp_path / "in.tif")
    write_picture(Picture(picture.pixels, metadata=Metadata(exif=picture.metadata.exif, xmp=xmp)), tmp_path / "out.tif")
    assert b"a packet" not in read_picture(tmp_path / "out.tif").metadata.exif
    assert picture.pixels[0].tobytes() not in read_picture(tmp_path / "in.tif").metadata.exif


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from("<>"),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=6)), max_size=8),
    st.integers(0, 900),
)
def test_no_tiff_directory_stops_a_picture(order, pixels_first, changes, end):
    import io

    data = bytearray(tiff(order, MAKERS["Nikon"], pixels_first, side=8))
    for at, change in changes:
        data[at : at + len(change)] = change
    try:
        block = tiff_exif(io.BytesIO(bytes(data[:end])))
    except (ValueError, KeyError, struct.error):
        return
    assert block is None or len(block) < 4 * len(data)
