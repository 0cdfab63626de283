"""How pictures are written: without loss where they came so, over a background, in a profile, stripped."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from psal_cli.errors import InputError
from psal_cli.image import (
    Encoding,
    Metadata,
    Picture,
    check_format,
    check_holds,
    read_header,
    read_picture,
    write_picture,
)

from .metadata_blocks import exif_block
from .pictures import blocks
from .raw_files import profile


def test_stdout_needs_a_format_and_a_format_counts_before_the_extension(tmp_path):
    write_picture(Picture(blocks()), tmp_path / "photo.jpg", encoding=Encoding(format="PNG"))
    assert read_header(tmp_path / "photo.jpg").format == "PNG"
    assert check_format(Path("-"), "tif") == "TIFF"
    for path, format, words in (
        ("-", None, "say the format"),
        ("a.gif", None, r"extension \.gif"),
        ("a.png", "gif", "format is gif, expected one that psal writes"),
    ):
        with pytest.raises(InputError, match=words):
            check_format(Path(path), format)


@pytest.mark.parametrize("suffix", ["heic", "jxl", "webp", "avif"])
def test_formats_that_can_be_lossless_are_when_the_source_was(tmp_path, suffix):
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"out.{suffix}"

    def far(picture, **arguments):
        write_picture(picture, path, force=True, encoding=Encoding(**arguments))
        return np.abs(read_picture(path).pixels.astype(int) - noise).max()

    exact = far(Picture(noise))
    assert exact == 0 if suffix != "avif" else exact <= 4
    assert read_picture(path).lossless == (suffix in ("jxl", "webp"))  # of the others it cannot be told
    assert far(Picture(noise, lossless=False)) > 4 and far(Picture(noise), quality=50) > 4
    small = path.stat().st_size
    far(Picture(noise))
    assert path.stat().st_size > 1.5 * small


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(4200, 1), (31, 4100), (4100, 32)])
def test_narrow_pictures_are_written_as_heic(tmp_path, width, height):
    """Where the encoder writes them without loss alone, the quality does not count."""
    noise = np.full((height, width, 3), 128, np.uint8)
    noise[:200, :200] = np.random.default_rng(3).integers(0, 256, noise[:200, :200].shape)  # all of it would take long
    for picture, quality in ((Picture(noise, lossless=False), None), (Picture(noise), 60)):
        write_picture(picture, tmp_path / "out.heic", force=True, encoding=Encoding(quality=quality))
        again = read_picture(tmp_path / "out.heic")
        assert again.size == (width, height) and np.array_equal(again.pixels, noise) == (min(width, height) < 32)


def test_what_was_lossless_is_known(tmp_path):
    moving = {"save_all": True, "append_images": [Image.fromarray(blocks()[::-1])]}
    profiled = {"icc_profile": profile() + bytes(1 - len(profile()) % 2)}  # an odd number of bytes before the pixels
    for name, arguments, lossless in (
        ("a.bmp", {}, True),
        ("b.webp", moving, False),
        ("c.webp", moving | {"lossless": True}, True),
        ("d.webp", profiled, False),
        ("e.webp", profiled | {"lossless": True}, True),
    ):
        Image.fromarray(blocks()).save(tmp_path / name, **arguments)
        assert read_picture(tmp_path / name).lossless == lossless, name


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_compression(tmp_path, suffix):
    sizes = []
    for level in (0, None, 9):
        path = tmp_path / f"{level}.{suffix}"
        write_picture(Picture(blocks(400, 640)), path, encoding=Encoding(compression=level))
        assert np.array_equal(read_picture(path).pixels, blocks(400, 640))
        sizes.append(path.stat().st_size)
    assert sizes[0] > blocks(400, 640).size and sizes[0] > 2 * sizes[1] > 2 * 0.9 * sizes[2]


# ------------------------------------------------------------------------------------------ what a format does not hold
def test_alpha_over_a_background(tmp_path, caplog):
    """The colour is meant as sRGB, whatever the picture's profile: half of 188 of 255 in light is 128 of a linear profile."""
    half = np.full((40, 64), 51, np.uint8)
    half[:20] = 0
    for icc, channels, under in ((None, 3, 188), (profile(), 3, 128), (profile("GRAY"), 1, 128), (None, 1, 188)):
        for scale, depth in ((1, np.uint8), (257, np.uint16)):
            caplog.clear()
            picture = Picture(np.full((40, 64, channels), 50 * scale, depth), half.astype(depth) * depth(scale), Metadata(icc))
            write_picture(picture, tmp_path / "out.jpg", force=True, encoding=Encoding(background="#bcbcbc"))
            pixels = read_picture(tmp_path / "out.jpg").pixels.astype(int)
            assert np.abs(pixels[:18] - under).max() <= 2 and np.abs(pixels[22:] - (50 * 0.2 + under * 0.8)).max() <= 2
            assert "its alpha is flattened, #bcbcbc shows through" in caplog.text
    caplog.clear()
    write_picture(
        replace(picture, alpha=np.full((40, 64), 65535, np.uint16)), tmp_path / "opaque.jpg", encoding=Encoding(background="red")
    )
    assert "flattened" not in caplog.text
    for colour in ("bluish", "#12", "#11223344"):
        with pytest.raises(InputError, match=f"background is {colour}, expected a colour"):
            write_picture(picture, tmp_path / "no.jpg", encoding=Encoding(background=colour))
        with pytest.raises(InputError, match="expected a colour"):  # without alpha and before any work too
            check_holds(Picture(blocks()), tmp_path / "no.jpg", Encoding(background=colour))
    write_picture(picture, tmp_path / "kept.png", encoding=Encoding(background="white"))
    assert read_picture(tmp_path / "kept.png").alpha is not None


def test_16_bits_are_rounded_with_their_alpha_band_by_band(tmp_path):
    deep = np.random.default_rng(4).integers(0, 65536, (1100, 1000, 4), dtype=np.uint16)
    expected = np.rint(deep / 257).astype(np.uint8)
    write_picture(Picture(deep[..., :1].copy()), tmp_path / "out.bmp")
    assert np.array_equal(read_picture(tmp_path / "out.bmp").pixels, expected[..., :1])
    write_picture(Picture(deep[:40, ..., :3].copy(), deep[:40, ..., 3].copy()), tmp_path / "out.webp")
    again = read_picture(tmp_path / "out.webp")
    assert np.array_equal(again.pixels, expected[:40, ..., :3]) and np.array_equal(again.alpha, expected[:40, ..., 3])
    write_picture(
        Picture(deep[..., :1].copy(), deep[..., 3].copy()), tmp_path / "flat.bmp", encoding=Encoding(background="white")
    )
    share = deep[..., 3:] / 65535
    flat = np.rint(np.rint(deep[..., :1] * share + 65535 * (1 - share)) / 257)
    assert np.abs(read_picture(tmp_path / "flat.bmp").pixels - flat).max() <= 1


def test_a_profile_that_cannot_be_kept_is_converted_not_forgotten(tmp_path, caplog):
    linear = np.full((40, 64, 3), 128, np.uint8)
    for suffix, channels in (("bmp", 3), ("bmp", 1), ("jxl", 3), ("jxl", 1), ("webp", 1)):
        caplog.clear()
        icc = profile("RGB " if channels == 3 else "GRAY")
        write_picture(
            Picture(linear[..., :channels], metadata=Metadata(icc)),
            tmp_path / "out",
            encoding=Encoding(format=suffix),
            force=True,
        )
        again = read_picture(tmp_path / "out")
        assert (again.pixels == 188).all() and again.metadata.icc != icc
        assert again.pixels.shape[2] == (3 if suffix == "webp" else channels)
        assert "the colours are converted to sRGB" in caplog.text
    stripping = Encoding(strip_metadata=True)
    write_picture(Picture(linear, metadata=Metadata(profile())), tmp_path / "stripped.bmp", encoding=stripping)
    assert (read_picture(tmp_path / "stripped.bmp").pixels == 188).all()
    caplog.clear()
    srgb = Picture(linear, metadata=Metadata(icc=format_srgb()))
    write_picture(srgb, tmp_path / "out.bmp")
    assert (read_picture(tmp_path / "out.bmp").pixels == 128).all() and "converted" not in caplog.text


def format_srgb():
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_strip_metadata_drops_all_and_names_a_profile_that_mattered(tmp_path, caplog):
    full = Metadata(
        icc=profile(), exif=exif_block(), xmp=b"<x:xmpmeta/>", iptc=b"\x1c\x02\x50\x00\x04psal", comment=b"me", dpi=(300.0, 300.0)
    )
    for suffix in ("png", "jpg", "tif"):
        caplog.clear()
        write_picture(Picture(blocks(), metadata=full), tmp_path / f"out.{suffix}", encoding=Encoding(strip_metadata=True))
        again = read_picture(tmp_path / f"out.{suffix}").metadata
        assert (again.icc, again.xmp, again.iptc, again.comment) == (None,) * 4 and (suffix == "tif" or again.exif is None)
        assert "its ICC profile is dropped and is not sRGB: the colours will look different" in caplog.text
    caplog.clear()
    write_picture(
        Picture(blocks(), metadata=replace(full, icc=format_srgb())), tmp_path / "b.png", encoding=Encoding(strip_metadata=True)
    )
    assert caplog.text == ""
    p3, linear = bytes([12, 13, 0, 1]), ((b"gAMA", (100_000).to_bytes(4)),)
    for suffix in ("png", "jxl"):
        for said, word in (
            ({"cicp": p3}, "cICP"),
            ({"colour": linear}, "gAMA"),
            ({"cicp": p3, "colour": linear}, "cICP and gAMA"),
        ):
            caplog.clear()
            picture = Picture(blocks(), metadata=Metadata(**said))
            write_picture(picture, tmp_path / f"c.{suffix}", force=True, encoding=Encoding(strip_metadata=True))
            assert f"its {word} is dropped and is not sRGB: the colours will look different" in caplog.text


@pytest.mark.parametrize("entry", [(282, 2, 4), (283, 5, 3), (296, 2, 3), (296, 3, 2)])
def test_a_resolution_of_a_damaged_type_makes_no_tiff_that_others_refuse(tmp_path, entry):
    tag, kind, count = entry
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, tag, kind, count, 26) + bytes(4) + b"72\0" * 10
    write_picture(Picture(blocks(), metadata=Metadata(exif=block)), tmp_path / "out.tif")
    with Image.open(tmp_path / "out.tif") as raw:
        raw.load()
        assert tag not in raw.tag_v2
