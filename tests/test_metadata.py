"""What a picture carries beside its pixels comes out with it, and says that they are upright."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from psal_cli.image import read_picture, write_picture

from .pictures import blocks, finest, save

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="Dandelion"/></x:xmpmeta>'
THUMBNAIL = b"\xff\xd8 the picture before it was edited \xff\xd9"
TURNED = {  # how a stored picture with this orientation is looked at
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
LOSSLESS = ["png", "tif", "webp"]


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


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_survives_a_chain_of_formats(tmp_path, order):
    save(tmp_path / "0.jpg", blocks(), exif=exif_block(8, order), **finest("jpg"))
    for step, suffix in enumerate(["tif", "png", "webp", "tif", "tif", "jpg"]):
        [source] = tmp_path.glob(f"{step}.*")
        write_picture(read_picture(source), tmp_path / f"{step + 1}.{suffix}")
    with Image.open(tmp_path / "6.jpg") as raw:
        exif = raw.getexif()
        assert (exif[0x010F], exif.get_ifd(0x8769)[0x927C], exif.get_ifd(0x8825)[1]) == ("psal-cam", b"\1secret\2", "N")


@pytest.mark.parametrize("suffix", ["jpg", *LOSSLESS])
@pytest.mark.parametrize("target", ["jpg", *LOSSLESS])
def test_profile_xmp_and_resolution_are_kept(tmp_path, suffix, target):
    arguments = {"icc_profile": SRGB, "dpi": (300, 300)}
    if suffix == "png":
        arguments["pnginfo"] = PngInfo()
        arguments["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    elif suffix == "tif":
        arguments["tiffinfo"] = {700: XMP}
    else:
        arguments["xmp"] = XMP
    picture = read_picture(save(tmp_path / f"in.{suffix}", blocks(), **arguments))
    write_picture(picture, tmp_path / f"out.{target}")
    with Image.open(tmp_path / f"out.{target}") as raw:
        assert raw.info["icc_profile"] == SRGB
        assert b'dc:title="Dandelion"' in raw.info["xmp"]
        assert raw.getexif().get(0x0112, 1) == 1  # Pillow looks into the XMP for it too
        if "webp" not in (suffix, target):
            assert raw.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("block", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\x7f", exif_block(6)[:40]])
def test_a_damaged_exif_block_costs_the_block_not_the_picture(tmp_path, caplog, block):
    picture = read_picture(save(tmp_path / "in.jpg", blocks(), exif=block))
    assert picture.pixels.size == blocks().size
    assert picture.metadata.exif is None
    assert "EXIF block" in caplog.text
