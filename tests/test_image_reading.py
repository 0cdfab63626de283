"""Picture files: what goes in comes out, and what psal cannot read or hold is refused by name."""

import io
import os
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from psal_cli.errors import InputError
from psal_cli.image import MAX_PIXELS, Encoding, Metadata, Picture, check_holds, read_picture, write_picture

from .pictures import blocks, filled, finest, save
from .raw_files import cmyk_profile

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = ["png", "tif", "webp"]


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pixels_and_alpha_come_back_exactly(tmp_path, suffix, channels):
    stored = np.random.default_rng(1).integers(0, 256, (37, 53, channels), dtype=np.uint8)
    stored[:9, :9, -1] = 0  # wholly transparent pixels keep their colour
    source = save(tmp_path / "in.png", stored)
    picture = read_picture(source)
    assert picture.pixels.shape[2] == (1 if channels < 3 else 3)
    assert (picture.alpha is None) == (channels % 2 == 1)
    write_picture(picture, tmp_path / f"out.{suffix}")
    again = read_picture(tmp_path / f"out.{suffix}")
    grey_as_colour = suffix == "webp" and channels < 3
    assert np.array_equal(again.pixels, picture.pixels.repeat(3, 2) if grey_as_colour else picture.pixels)
    assert picture.alpha is None or np.array_equal(again.alpha, stored[..., -1])


@pytest.mark.parametrize(("depth", "channels"), [(np.uint8, 1), (np.uint8, 3), (np.uint16, 1), (np.uint16, 3), (np.uint16, 4)])
def test_other_readers_understand_our_tiff(tmp_path, depth, channels):
    """OpenCV reads with libtiff; the picture spans several strips, and one order of bytes is not the machine's own.

    8 bits with alpha is missing: OpenCV multiplies it in.
    """
    stored = np.random.default_rng(8).integers(0, np.iinfo(depth).max + 1, (700, 900, channels), dtype=depth)
    alpha = stored[..., 3] if channels == 4 else None
    for start in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        picture = Picture(np.ascontiguousarray(stored[..., :3]), alpha, Metadata(exif=start + b"\0\0"))
        write_picture(picture, tmp_path / "out.tif", force=True)
        again = cv2.imread(str(tmp_path / "out.tif"), cv2.IMREAD_UNCHANGED)
        again = again[..., None] if channels == 1 else again[..., [2, 1, 0, 3][:channels]]
        assert again.dtype == depth and np.array_equal(again, stored)


def test_grey_jpeg_stays_grey_and_colour_jpeg_keeps_its_colour_resolution(tmp_path):
    write_picture(read_picture(save(tmp_path / "grey.jpg", blocks(channels=1))), tmp_path / "grey_out.jpg")
    with Image.open(tmp_path / "grey_out.jpg") as raw:
        assert raw.mode == "L"
    fine = np.zeros((32, 32, 3), np.uint8)
    fine[:, ::2] = (255, 0, 0)
    fine[:, 1::2] = (0, 0, 255)
    write_picture(Picture(fine), tmp_path / "fine.jpg")
    assert np.abs(read_picture(tmp_path / "fine.jpg").pixels.astype(int) - fine).max() < 40  # 4:2:0 would mix them


def test_quality_and_lossless_webp_follow_the_source(tmp_path):
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    from_png = read_picture(save(tmp_path / "a.png", noise))
    from_jpeg = read_picture(save(tmp_path / "a.jpg", noise))
    from_lossy_webp = read_picture(save(tmp_path / "b.webp", noise, quality=90))
    from_lossless_webp = read_picture(save(tmp_path / "c.webp", noise, lossless=True))
    assert [p.lossless for p in (from_png, from_jpeg, from_lossy_webp, from_lossless_webp)] == [True, False, False, True]
    write_picture(from_png, tmp_path / "kept.webp")
    assert np.array_equal(read_picture(tmp_path / "kept.webp").pixels, noise)
    for picture, quality in ((from_jpeg, None), (from_png, 50)):
        write_picture(picture, tmp_path / f"lossy{quality}.webp", encoding=Encoding(quality=quality))
        assert not read_picture(tmp_path / f"lossy{quality}.webp").lossless
    write_picture(from_png, tmp_path / "q95.jpg")
    write_picture(from_png, tmp_path / "q50.jpg", encoding=Encoding(quality=50))
    assert (tmp_path / "q50.jpg").stat().st_size < 0.6 * (tmp_path / "q95.jpg").stat().st_size


@pytest.mark.parametrize("transparency", [None, 3, bytes([255] * 3 + [0, 128])])
def test_a_palette_becomes_rgb_with_its_transparency(tmp_path, transparency):
    image = Image.fromarray(np.arange(40, dtype=np.uint8).reshape(5, 8) % 5, "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    image.save(tmp_path / "in.png", **({} if transparency is None else {"transparency": transparency}))
    picture = read_picture(tmp_path / "in.png")
    assert picture.pixels[0, :5].tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]
    alpha = {None: None, 3: [255, 255, 255, 0, 255]}.get(transparency, [255, 255, 255, 0, 128])
    assert alpha is picture.alpha is None or picture.alpha[0, :5].tolist() == alpha


def test_one_bit_and_colour_key_pictures(tmp_path):
    Image.fromarray(np.eye(8, dtype=bool)).save(tmp_path / "bit.png")
    assert np.array_equal(read_picture(tmp_path / "bit.png").pixels[..., 0], np.eye(8, dtype=np.uint8) * 255)
    save(tmp_path / "key.png", blocks(8, 16), transparency=tuple(int(v) for v in blocks(8, 16)[0, 0]))
    assert read_picture(tmp_path / "key.png").alpha[0].tolist() == [0] * 8 + [255] * 8


def test_cmyk_goes_through_its_profile(tmp_path, caplog):
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, 16:32, 1] = 255  # magenta
    inks[:, 32:, 3] = 255  # black
    Image.fromarray(inks, "CMYK").save(tmp_path / "in.jpg", icc_profile=cmyk_profile(), quality=100)
    picture = read_picture(tmp_path / "in.jpg")
    paper, magenta, black = picture.pixels[8, [8, 24, 40]].astype(int)
    assert paper.min() > 240 and black.max() < 20
    assert magenta[0] > magenta[1] + 80
    assert "is CMYK: it becomes sRGB" in caplog.text
    write_picture(picture, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as raw:
        assert raw.mode == "RGB"
        assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(raw.info["icc_profile"])))


def unreadable(tmp_path):
    """file name -> what the one line must say."""
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise[..., 0].astype(np.int32)).save(tmp_path / "long.tif")
    Image.fromarray(np.zeros((8, 8, 4), np.uint8), "CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.zeros((8, 8, 4), np.uint8), "CMYK").save(tmp_path / "badicc.tif", icc_profile=b"no profile" * 20)
    Image.fromarray(noise).convert("LAB").save(tmp_path / "lab.tif")
    for name, start in (
        ("renamed.png", b"#?RGBE\n"),
        ("scene.hdr", b"#?RADIANCE\n"),
        ("map.pfm", b"PF\n4 4\n"),
        ("photo.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom"),
    ):
        (tmp_path / name).write_bytes(start + bytes(100))
    Image.fromarray(noise).save(tmp_path / "preview.tif")  # RAW files are TIFF files around a small preview
    (tmp_path / "preview.tif").rename(tmp_path / "photo.CR2")
    for suffix in ("jpg", "png", "webp", "tif"):
        save(tmp_path / f"cut.{suffix}", noise)
        whole = (tmp_path / f"cut.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    Image.fromarray(noise).save(tmp_path / "moving.gif")
    return {
        "renamed.png": "has floating-point numbers (Radiance HDR), which psal reads from",
        "scene.hdr": "has floating-point numbers (Radiance HDR), which psal reads from",
        "map.pfm": "has floating-point numbers (PFM), which psal reads from",
        "photo.CR2": "RAW file, which psal does not read: develop it to TIFF first, e.g. darktable-cli photo.CR2 photo.tif",
        "photo.cr3": "is a camera RAW file, which",
        "long.tif": "has signed numbers of 32 bits",
        "cmyk.jpg": "CMYK without an ICC profile",
        "badicc.tif": "unusable ICC profile",
        "lab.tif": "colour mode LAB",
        "cut.jpg": "damaged or cut off",
        "cut.png": "damaged or cut off",
        "cut.tif": "damaged or cut off",
        "cut.webp": "cut",  # libwebp may refuse it as no picture at all
        "text.png": "is not a picture that psal reads",
        "empty.png": "is empty, expected a picture",
        "moving.gif": "is a GIF file",
        "folder.png": "a folder",
        "pipe.png": "not a regular file",
        "missing.png": "no such file",
        "x" * 300: "cannot be read: File name too long",
    }


def test_what_cannot_be_read_is_refused_by_name(tmp_path):
    for name, words in unreadable(tmp_path).items():
        with pytest.raises(InputError) as refusal:
            read_picture(tmp_path / name)
        assert words in str(refusal.value), name
        assert str(tmp_path / name) in str(refusal.value)
        assert refusal.value.exit_code == 2


def test_size_limit_is_checked_before_decoding(tmp_path):
    path = save(tmp_path / "in.png", blocks())
    path.write_bytes(path.read_bytes()[:60])  # the header alone: nothing that could be decoded
    with pytest.raises(InputError, match=r"64x40.*more than the limit"):
        read_picture(path, max_pixels=64 * 40 - 1)
    assert MAX_PIXELS > 178_956_970 and Image.MAX_IMAGE_PIXELS is None  # where Pillow would refuse honest panoramas


def test_further_frames_are_named(tmp_path, caplog):
    first, second = Image.fromarray(blocks()), Image.fromarray(blocks()[::-1])
    first.save(tmp_path / "moving.webp", save_all=True, append_images=[second], lossless=True)
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[second])
    first.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[second], **finest("jpg"))
    for name in ("moving.webp", "pages.tif", "phone.jpg"):
        caplog.clear()
        picture = read_picture(tmp_path / name)
        assert f"{name} holds 2 pictures: only the first is used" in caplog.text
        assert np.abs(picture.pixels.astype(int) - blocks()).max() <= (4 if name == "phone.jpg" else 0)
    assert picture.format == "JPEG" and not picture.lossless


def test_what_a_format_cannot_hold(tmp_path, caplog):
    half = Picture(blocks(), np.full((40, 64), 128, np.uint8))
    for name in ("JPEG", "BMP"):
        with pytest.raises(InputError, match=f"{name} holds no alpha.*write PNG, WebP or TIFF"):
            write_picture(half, tmp_path / f"out.{name.lower()}")
    write_picture(replace(half, alpha=np.full((40, 64), 255, np.uint8)), tmp_path / "opaque.jpg")
    with pytest.raises(InputError, match="WebP holds sides up to 16383, the picture is 17000x1"):
        check_holds(Picture(np.zeros((1, 17000, 3), np.uint8)), tmp_path / "long.webp")
    with pytest.raises(InputError, match="AVIF holds up to 268 megapixels, the picture is 20000x20000"):
        check_holds(Picture(np.broadcast_to(np.uint8(0), (20_000, 20_000, 3))), tmp_path / "large.avif")
    with pytest.raises(InputError, match=r"the extension \.gif"):
        write_picture(half, tmp_path / "out.gif")
    with pytest.raises(InputError, match="no extension"):
        write_picture(half, tmp_path / "out")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["opaque.jpg"]
    rich = Picture(blocks(), metadata=Metadata(icc=SRGB, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0", xmp=b"<x:xmpmeta/>"))
    write_picture(rich, tmp_path / "out.bmp")
    assert "BMP holds no EXIF nor XMP" in caplog.text
    assert np.array_equal(read_picture(tmp_path / "out.bmp").pixels, rich.pixels)
    grey = Picture(blocks(channels=1), metadata=Metadata(icc=bytes(16) + b"GRAY" + bytes(108)))
    write_picture(grey, tmp_path / "grey.webp")
    assert (
        "WebP holds no grey pictures: written as RGB" in caplog.text
        and "its ICC profile is unusable and is not kept" in caplog.text
    )
    assert read_picture(tmp_path / "grey.webp").metadata.icc is None
    long = replace(rich.metadata, exif=rich.metadata.exif + bytes(70_000), xmp=b" " * 70_000)
    write_picture(replace(rich, metadata=long), tmp_path / "out.jpg")
    assert "64 kB of EXIF" in caplog.text and "64 kB of XMP" in caplog.text


def test_a_fill_changes_only_the_mask(tmp_path):
    for channels in (1, 3):
        stored = np.random.default_rng(5).integers(0, 256, (31, 47, channels), dtype=np.uint8)
        picture = Picture(stored, alpha=stored[..., 0])
        mask = np.zeros((31, 47), bool)
        mask[3:9, 40:] = mask[30, 0] = True
        values = np.ones((mask.sum(), channels), np.float32)
        result = filled(picture, 0.501 * values, mask)
        assert (result.pixels[mask] == 128).all()
        assert np.array_equal(result.pixels[~mask], stored[~mask]) and np.array_equal(result.alpha, stored[..., 0])
        ramp = np.linspace(-0.7, 1.7, len(values), dtype=np.float32)
        beyond = filled(picture, ramp[:, None] * values, mask).pixels[mask]  # in raster order
        assert np.array_equal(beyond, np.rint(ramp.clip(0, 1) * 255).astype(np.uint8)[:, None].repeat(channels, 1))
        soft = mask * np.float32(0.25)
        mixed = filled(picture, values, mask, soft).pixels
        assert np.array_equal(mixed[mask], np.rint(stored[mask] * 0.75 + 255 * 0.25).astype(np.uint8))
        assert np.array_equal(mixed[~mask], stored[~mask])
    with pytest.raises(ValueError, match=r"expected a mask of \[31, 47\] and values \[43, 3\]"):
        filled(picture, values[:, :1], mask)
