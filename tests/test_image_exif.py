"""EXIF blocks: orientation applied and reset, the rest kept, thumbnails dropped, damage survived."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from psal_cli.image import Picture, read_picture, write_picture
from psal_cli.image.exif import orientation_in, upright_exif
from psal_cli.image.metadata import orientation_of, read_metadata

from .metadata_blocks import THUMBNAIL, XMP, exif_block
from .pictures import TURNED, blocks, finest, save

LOSSLESS = ["png", "tif", "webp"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", *LOSSLESS])
def test_orientation_is_applied_and_the_tag_reset(tmp_path, suffix, orientation):
    stored = blocks()
    source = save(tmp_path / f"in.{suffix}", stored, exif=exif_block(orientation), **finest(suffix))
    picture = read_picture(source)
    expected = TURNED[orientation](stored)
    assert picture.pixels.shape == expected.shape
    tolerance = 4 if suffix == "jpg" else 0
    assert np.abs(picture.pixels.astype(int) - expected).max() <= tolerance
    write_picture(picture, tmp_path / f"out.{suffix}")
    again = read_picture(tmp_path / f"out.{suffix}")
    assert again.pixels.shape == expected.shape
    with Image.open(tmp_path / f"out.{suffix}") as raw:
        assert raw.getexif().get(0x0112, 1) == 1
        assert raw.getexif()[0x010F] == "psal-cam"
        details = raw.getexif().get_ifd(0x8769)
        assert details[0x927C] == b"\1secret\2"
        assert (details[0xA002], details[0xA003]) == (expected.shape[1], expected.shape[0])
        assert raw.getexif().get_ifd(0x8825)[1] == "N"
    assert THUMBNAIL not in (tmp_path / f"out.{suffix}").read_bytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_kept_byte_for_byte_but_for_what_changed(tmp_path, order):
    picture = read_picture(save(tmp_path / "in.jpg", blocks(), exif=exif_block(6, order)))
    upright = exif_block(1, order)
    assert len(picture.metadata.exif) == len(upright) - len(THUMBNAIL)
    different = [i for i, (a, b) in enumerate(zip(picture.metadata.exif, upright, strict=False)) if a != b]
    assert len(different) <= 4  # width, height (5x8 became 40x64's turn) and the way to the thumbnail
    assert struct.unpack_from(order + "I", picture.metadata.exif, 6 + 8 + 2 + 4 * 12) == (0,)  # the way to the thumbnail


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_survives_a_chain_of_formats(tmp_path, order):
    save(tmp_path / "0.jpg", blocks(), exif=exif_block(8, order), **finest("jpg"))
    for step, suffix in enumerate(["tif", "png", "webp", "tif", "tif", "jpg"]):
        [source] = tmp_path.glob(f"{step}.*")
        write_picture(read_picture(source), tmp_path / f"{step + 1}.{suffix}")
    with Image.open(tmp_path / "6.jpg") as raw:
        exif = raw.getexif()
        assert (exif[0x010F], exif.get_ifd(0x8769)[0x927C], exif.get_ifd(0x8825)[1]) == ("psal-cam", b"\1secret\2", "N")


@pytest.mark.parametrize(
    "block", [b"Exif\0\0garbage", exif_block(6).replace(b"II*", b"II("), b"Exif\0\0II*\0\xff\xff\xff\x7f", exif_block(6)[:40]]
)
def test_a_damaged_exif_block_costs_the_block_not_the_picture(tmp_path, caplog, block):
    picture = read_picture(save(tmp_path / "in.jpg", blocks(), exif=block))
    assert picture.pixels.size == blocks().size
    assert picture.metadata.exif is None
    assert "in.jpg: its EXIF block is unusable and not kept" in caplog.text and len(caplog.records) == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_values_outside_the_exif_block_are_dropped_and_the_rest_kept(tmp_path, caplog, order):
    """A TIFF file with such an entry in its first directory would not open; in another, pixels would be its value."""
    block = exif_block(6, order)
    for tag, kind, count in ((0x010F, 2, 9), (0x927C, 7, 8)):
        entry = struct.pack(order + "HHI", tag, kind, count)
        at = block.index(entry) + 8
        block = block[:at] + struct.pack(order + "I", 100_000) + block[at + 4 :]
    picture = read_picture(save(tmp_path / "in.png", blocks(), exif=block))
    assert "in.png: its EXIF block is damaged: values that lie outside it or cannot be read are not kept" in caplog.text
    assert len(caplog.records) == 1 and len(picture.metadata.exif) == len(block) - len(THUMBNAIL)
    for suffix in ("tif", "jpg"):
        write_picture(picture, tmp_path / f"out.{suffix}")
        with Image.open(tmp_path / f"out.{suffix}") as raw:
            assert raw.size == (40, 64) and 0x010F not in raw.getexif() and raw.getexif().get(0x0112, 1) == 1
            assert raw.getexif().get_ifd(0x8769) == {0xA002: 40, 0xA003: 64} and raw.getexif().get_ifd(0x8825)[1] == "N"


def test_a_side_that_its_field_cannot_hold_costs_no_exif():
    exif = Image.Exif()
    exif.load(upright_exif(exif_block(), (70_000, 70_000)))
    assert exif.get_ifd(0x8769) == {0x927C: b"\1secret\2", 0xA002: 70_000, 0xA003: 5}  # the height has 16 bits


def test_a_lost_gps_directory_costs_that_alone(tmp_path, caplog):
    block = exif_block(6).replace(struct.pack("<HHII", 0x8825, 4, 1, 200), struct.pack("<HHII", 0x8825, 4, 1, 434))
    picture = read_picture(save(tmp_path / "in.png", blocks(), exif=block))
    assert "values that lie outside it or cannot be read are not kept" in caplog.text
    write_picture(picture, tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as raw:
        assert raw.getexif()[0x010F] == "psal-cam" and 0x8825 not in raw.getexif()


@pytest.mark.parametrize(("kind", "count"), [(1, 1), (2, 1), (7, 2), (5, 0)])
def test_a_resolution_that_is_no_number_is_dropped_because_pillow_refuses_the_file(tmp_path, caplog, kind, count):
    entries = [(0x010F, 2, 4, int.from_bytes(b"cam\0", "little")), (0x011A, kind, count, 7), (0x0128, 3, 1, 2)]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    source = tmp_path / "in.png"
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    Image.new("RGB", (5, 4)).save(source, exif=exif)
    write_picture(read_picture(source), tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as raw:
        assert raw.getexif()[0x010F] == "cam" and 0x011A not in raw.getexif()
    assert "in.png" in caplog.text


def test_an_orientation_of_a_damaged_type_becomes_upright(tmp_path):
    block = exif_block(6).replace(struct.pack("<HHI", 0x0112, 3, 1), struct.pack("<HHI", 0x0112, 0xFF, 7))
    picture = read_picture(save(tmp_path / "in.jpg", blocks(), exif=block))
    again = Image.Exif()
    again.load(picture.metadata.exif)
    assert again[0x0112] == 1 and again[0x010F] == "psal-cam"


def test_a_turned_picture_has_its_resolution_turned_and_no_exif_is_made_up(tmp_path):
    assert read_picture(save(tmp_path / "in.jpg", blocks(), exif=exif_block(6), dpi=(300, 150))).metadata.dpi == (150, 300)
    assert read_picture(save(tmp_path / "in.tif", blocks())).metadata.exif is None
    assert read_picture(save(tmp_path / "one.tif", blocks(), dpi=(1, 1))).metadata.dpi is None  # says that nobody knows


def test_a_jpeg_file_without_a_resolution_gets_none(tmp_path):
    """Pillow says 72 of those that have EXIF; where the file says 72 itself, it stays."""
    told = Image.Exif()
    told[0x011A], told[0x011B], told[0x0128] = 72.0, 72.0, 2
    for exif, arguments, dpi in ((exif_block(), {}, None), (exif_block(), {"dpi": (72, 72)}, (72, 72)), (told, {}, (72, 72))):
        picture = read_picture(save(tmp_path / "in.jpg", blocks(), exif=exif, **arguments))
        assert picture.metadata.dpi == dpi
        write_picture(picture, tmp_path / "out.png", force=True)
        with Image.open(tmp_path / "out.png") as raw:
            assert ("dpi" in raw.info) == (dpi is not None)


def test_an_exif_directory_that_contains_itself_costs_the_block(tmp_path, caplog):
    block = exif_block(6).replace(struct.pack("<HHII", 0x8769, 4, 1, 100), struct.pack("<HHII", 0x8769, 4, 1, 8))
    picture = read_picture(save(tmp_path / "in.jpg", blocks(), exif=block))
    assert picture.size == (40, 64) and picture.metadata.exif is None
    assert "a directory that contains itself" in caplog.text


LOST = b"\2\0" * 240 + bytes(600)  # entries whose values lie behind the end
OVER_EACH_OTHER = {
    "first in the header": struct.pack("<4sI", b"II*\0", 2) + LOST,
    "EXIF in the header": struct.pack("<4sIHHHIII", b"II*\0", 8, 1, 0x8769, 4, 1, 2, 0) + LOST,
    "EXIF over where the first lies": struct.pack("<4sIHHHIII", b"II*\0", 8, 1, 0x8769, 4, 1, 4, 0) + LOST,
}


@pytest.mark.parametrize("where", OVER_EACH_OTHER)
def test_exif_directories_over_each_other_leave_a_tiff_file_whole(tmp_path, where):
    source = save(tmp_path / "in.jpg", blocks(), exif=b"Exif\0\0" + OVER_EACH_OTHER[where], quality=95)
    picture = read_picture(source)
    write_picture(picture, tmp_path / "out.tif")
    assert np.array_equal(read_picture(tmp_path / "out.tif").pixels, picture.pixels)


def test_thumbnails_in_xmp_and_previews_in_makers_notes_are_dropped(tmp_path):
    jpeg = io.BytesIO()
    save(jpeg, blocks(16, 16), format="JPEG", exif=exif_block(), comment=b"before it was edited")
    preview = jpeg.getvalue()
    note = b"Maker\0" + preview + b"after" + b"\xff\xd8\xff no picture"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = note
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description dc:title="Dandelion" xmpNote:HasExtendedXMP="0123" '
        b"GImage:Data='before it was edited'><xmp:Thumbnails><rdf:li a='b'/>before it was edited</xmp:Thumbnails>"
        b'<a:b/><xap:Thumbnails rdf:resource="before it was edited"/><c:d/></rdf:Description></x:xmpmeta>'
    )
    save(tmp_path / "in.jpg", blocks(), exif=exif, xmp=xmp)
    write_picture(read_picture(tmp_path / "in.jpg"), tmp_path / "out.jpg")
    written = (tmp_path / "out.jpg").read_bytes()
    assert b"before it was edited" not in written and written.count(b"\xff\xd8\xff") == 2  # its own, and no picture
    with Image.open(tmp_path / "out.jpg") as raw:
        assert raw.getexif().get_ifd(0x8769)[0x927C] == note.replace(preview, bytes(len(preview)))
        described = b'<rdf:Description dc:title="Dandelion"><a:b/><c:d/></rdf:Description>'
        assert described in raw.info["xmp"]


def test_a_preview_that_is_cut_off_is_dropped_too(tmp_path):
    jpeg = io.BytesIO()
    save(jpeg, blocks(64, 64), format="JPEG")
    cut = jpeg.getvalue()[:-40]
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = b"Maker\0" + cut
    save(tmp_path / "in.jpg", blocks(), exif=exif)
    kept = read_picture(tmp_path / "in.jpg").metadata.exif
    assert b"Maker\0" in kept and cut[-40:] not in kept


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("suffix", ["avif", "heic", "jxl"])
def test_modern_formats_are_turned_once(tmp_path, suffix, orientation):
    """HEIC and AVIF turn in the container, where their writers put what EXIF says; JPEG XL in the codestream, EXIF is ignored."""
    write_picture(Picture(blocks()), tmp_path / f"plugin.{suffix}")  # loads it
    stored, best = Image.fromarray(blocks()), {"lossless": True, "xmp": XMP} if suffix == "jxl" else {"quality": 100}
    stored.save(tmp_path / f"in.{suffix}", exif=exif_block(orientation)[6 * (suffix == "jxl") :], **best)
    picture = read_picture(tmp_path / f"in.{suffix}")
    expected = blocks() if suffix == "jxl" else TURNED[orientation](blocks())
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels.astype(int) - expected)[4::8, 4::8].mean() < 10
    assert (orientation_in(picture.metadata.exif) or 1) == 1
    write_picture(picture, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as raw:
        assert raw.size == picture.size and raw.getexif().get(0x0112, 1) == 1


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from("<>"),
    st.lists(st.tuples(st.integers(0, 420), st.binary(min_size=1, max_size=6)), max_size=8),
    st.integers(0, 500),
)
def test_no_exif_block_stops_a_picture(order, changes, end):
    block = bytearray(exif_block(6, order)[6:])
    for at, data in changes:
        block[at : at + len(data)] = data
    image = Image.new("RGB", (8, 8))
    image.format, image.info["exif"] = "JPEG", b"Exif\0\0" + bytes(block[:end])
    assert orientation_of(image) in range(1, 9)
    kept = read_metadata(image, 6, (8, 8), "mutated.jpg").exif
    assert kept is None or len(kept) <= len(image.info["exif"])
    image.info["exif"] = kept
    assert orientation_of(image) == 1
