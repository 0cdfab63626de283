"""Every format: recognised by its content, known before it is decoded, and with what it keeps, as examples/formats.md says."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from psal_cli.errors import InputError
from psal_cli.image import (
    READABLE,
    Metadata,
    Picture,
    check_format,
    jxl,
    read_header,
    read_mask,
    read_picture,
    read_region,
    write_picture,
)
from psal_cli.image.formats import WRITES, detect, load_plugin

from .pictures import TURNED, blocks, filled
from .raw_files import png_file, profile, tiff_file

ROOT = Path(__file__).parent.parent


LOSSLESS = {"png": (8, 16), "tif": (8, 16), "webp": (8,), "bmp": (8,), "heic": (8,), "jxl": (8,)}


NO_GREY = {"webp": (1, 2), "heic": (2,)}


HOLDS_NO_ALPHA = ("bmp",)


PROPERTY = settings(
    derandomize=True, deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "bench" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


format_table = load("format_table")


EXIF = format_table.FIELDS["exif"]


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool is not installed")
def test_no_pair_of_formats_loses_tags_without_a_notice():
    markdown, silent = load("foreign_pictures").sample_table()
    assert silent == []
    assert (ROOT / "examples/formats.md").read_text().split("<!-- pairs -->\n")[1].split("\n<!-- /pairs -->")[0] == markdown


@pytest.mark.slow
def test_the_table_in_the_guide_is_what_is_measured():
    text = (ROOT / "examples" / "formats.md").read_text()
    assert text.split("<!-- formats -->\n")[1].split("\n<!-- /formats -->")[0] == format_table.table()


# ----------------------------------------------------------------------------------------------- what goes in comes out
@st.composite
def pictures(draw, depths=(8, 16)):
    """A picture of any size up to 40, depth and channels, with metadata or none."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    channels, depth = draw(st.integers(1, 4)), draw(st.sampled_from(depths))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = random.integers(0, 1 << depth, (height, width, channels), dtype=f"uint{depth}")
    if draw(st.booleans()):
        values[...] = values[:1, :1]  # all one colour
    metadata = Metadata(
        icc=profile("RGB " if channels > 2 else "GRAY") if draw(st.booleans()) else None,
        exif=EXIF if draw(st.booleans()) else None,
        xmp=b"<x:xmpmeta/>" if draw(st.booleans()) else None,
    )
    alpha = channels in (2, 4)
    return Picture(values[..., : channels - alpha], values[..., -1] if alpha else None, metadata)


def description(block):
    exif = Image.Exif()
    exif.load(block or b"")
    return exif.get(0x010E)


def holding(picture):
    """The lossless formats that can hold a picture."""
    channels = picture.pixels.shape[2] + (picture.alpha is not None)
    bits = picture.pixels.itemsize * 8
    return [suffix for suffix in sorted(LOSSLESS) if bits in LOSSLESS[suffix] and channels not in NO_GREY.get(suffix, ())]


@pytest.mark.slow
@PROPERTY
@given(pictures(), st.data())
def test_lossless_formats_keep_all_that_they_hold(tmp_path, picture, data):
    suffix = data.draw(st.sampled_from(holding(picture)))
    if suffix in HOLDS_NO_ALPHA:
        picture = replace(picture, alpha=None)
    if suffix in ("bmp", "jxl"):
        picture = replace(picture, metadata=replace(picture.metadata, icc=None))
    path = tmp_path / f"out.{suffix}"
    write_picture(picture, path, force=True)
    header, again = read_header(path), read_picture(path)
    assert again.pixels.dtype == picture.pixels.dtype and np.array_equal(again.pixels, picture.pixels)
    assert again.alpha is picture.alpha is None or np.array_equal(again.alpha, picture.alpha)
    assert header[1:] == (*picture.size, picture.pixels.shape[2], 8 * picture.pixels.itemsize, picture.alpha is not None)
    if suffix != "bmp":
        assert again.metadata.xmp == picture.metadata.xmp
        assert description(again.metadata.exif) == description(picture.metadata.exif)
        assert suffix == "jxl" or again.metadata.icc == picture.metadata.icc


@pytest.mark.slow
@PROPERTY
@given(pictures(), st.integers(1, 8), st.sampled_from(["png", "late", "tif"]))
def test_any_orientation_at_any_depth_comes_out_upright(tmp_path, picture, orientation, kind):
    stored = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    path = tmp_path / "in"
    tag = Image.Exif()
    tag[0x0112] = orientation
    if kind == "tif":
        extra = 2 if picture.alpha is not None else None
        path.write_bytes(tiff_file(stored, extra=extra, tags=[(274, 3, [orientation])]))
    else:  # some programs write the block behind the pixels
        chunk = [(b"eXIf", tag.tobytes()[6:])]
        path.write_bytes(png_file(stored, chunks=chunk if kind == "png" else (), late=chunk if kind == "late" else ()))
    expected = TURNED[orientation](stored)
    again, header = read_picture(path), read_header(path)
    joined = again.pixels if again.alpha is None else np.dstack([again.pixels, again.alpha])
    assert joined.dtype == stored.dtype and np.array_equal(joined, expected)
    assert (header.width, header.height) == again.size
    write_picture(again, tmp_path / "out.png", force=True)
    assert read_picture(tmp_path / "out.png").size == again.size


def test_an_orientation_behind_the_end_of_a_png_file_counts_for_no_one(tmp_path):
    tag = Image.Exif()
    tag[0x0112] = 6
    whole = png_file(blocks(), late=[(b"eXIf", tag.tobytes()[6:])])
    end, chunk = whole[-12:], whole[whole.index(b"eXIf") - 4 : -12]
    (tmp_path / "in.png").write_bytes(whole.removesuffix(chunk + end) + end + chunk)
    assert read_header(tmp_path / "in.png")[1:3] == read_picture(tmp_path / "in.png").size == (64, 40)


@PROPERTY
@given(pictures(), st.data())
def test_nothing_outside_the_mask_changes(picture, data):
    height, width, channels = picture.pixels.shape
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    mask = random.random((height, width)) < data.draw(st.sampled_from([0, 0.1, 0.9, 1]))
    soft = random.random((height, width), np.float32) if data.draw(st.booleans()) else None
    values = random.normal(0.5, 1, (np.count_nonzero(mask), channels)).astype(np.float32)
    result = filled(picture, values, mask, soft)
    assert result.pixels.dtype == picture.pixels.dtype and np.array_equal(result.pixels[~mask], picture.pixels[~mask])
    if soft is None:
        assert np.array_equal(result.pixels[mask], np.rint(values * picture.white).clip(0, picture.white))


# --------------------------------------------------------------------------------------------------- which format it is
def written(tmp_path, suffix, picture=None):
    path = tmp_path / f"picture.{suffix}"
    write_picture(picture or Picture(blocks()), path, force=True)
    return path


@pytest.mark.parametrize("suffix", [suffix[1:] for suffix in WRITES])
def test_the_content_counts_not_the_name(tmp_path, suffix):
    name = WRITES[f".{suffix}"]
    path = written(tmp_path, suffix)
    assert f".{suffix}" in READABLE and detect(path.read_bytes()[:64]) == name
    wrong = path.rename(tmp_path / "photo.txt")
    assert read_header(wrong) == (name, 64, 40, 3, 32 if name == "EXR" else 8, False)
    assert read_picture(wrong).format == name


@pytest.mark.subprocess
def test_plugins_load_when_a_file_asks_for_them_and_say_how_to_get_them(tmp_path, monkeypatch):
    code = """if True:
        import sys
        from psal_cli.image import read_picture
        read_picture(sys.argv[1])
        print(*{"pillow_heif", "pillow_jxl", "OpenEXR", "torch", "cv2"} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-P", "-c", code, written(tmp_path, "jpg")], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
    for suffix, module, extra in (("heic", "pillow_heif", "heif"), ("jxl", "pillow_jxl", "jxl"), ("exr", "OpenEXR", "exr")):
        path = written(tmp_path, suffix)
        monkeypatch.setitem(sys.modules, module, None)  # an import then fails
        for action in (
            lambda path=path: read_header(path),
            lambda path=path: read_picture(path),
            lambda path=path: check_format(path),
        ):
            with pytest.raises(InputError, match=rf"{path} is .*pip install 'psal\[{extra}\]'"):
                action()


@pytest.mark.parametrize("suffix", [suffix[1:] for suffix in WRITES])
def test_the_size_limit_holds_before_decoding(tmp_path, suffix):
    """Of the file only the header is left: nothing could be decoded."""
    path = written(tmp_path, suffix, Picture(np.random.default_rng(0).integers(0, 256, (99, 120, 3), dtype=np.uint8)))
    whole = path.read_bytes()
    if suffix not in ("tif", "tiff", "webp", "avif", "heic", "heif"):  # these are opened whole, and decoded later
        path.write_bytes(whole[: max(60, len(whole) // 20)])
    for read in (read_header, read_picture):
        with pytest.raises(InputError, match=r"120x99, 11880 pixels, more than the limit of 11879: .*allow more pixels"):
            read(path, max_pixels=11_879)
    path.write_bytes(whole)
    assert read_header(path, max_pixels=11_880).width == 120


@pytest.mark.parametrize("suffix", [suffix[1:] for suffix in WRITES])
def test_a_file_that_is_cut_off_is_refused_in_one_line(tmp_path, suffix):
    whole = written(tmp_path, suffix).read_bytes()
    for end in range(64, len(whole) // 2, len(whole) // 40):
        (tmp_path / "cut").write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"^[^\n]*cut is damaged or cut off[^\n]*\Z") as refusal:
            read_picture(tmp_path / "cut")
        assert "libjxl" not in str(refusal.value)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_file_with_fewer_rows_than_its_header_promises(tmp_path, channels):
    """Rows of zeros are whole, however many they are and whatever lies in a pass."""
    path = tmp_path / "in.png"
    for depth in (np.uint8, np.uint16):
        for interlaced in (False, True):
            array = blocks(channels=channels)[:39].astype(depth) + depth(1)  # its last row is not of the last pass
            row = 1 + array[0].nbytes
            for cut in (1, row, 10 * row):
                path.write_bytes(png_file(array, interlaced, cut=cut))
                assert read_header(path).height == 39
                for read in (read_picture, lambda path: read_region(path, (64, 39))):
                    with pytest.raises(InputError, match=r"in.png is damaged or cut off"):
                        read(path)
            path.write_bytes(png_file(np.zeros((300, 1000, channels), depth), interlaced, cut=299_000))
            with pytest.raises(InputError, match=r"in.png is damaged.*too short for the 300 rows"):
                read_header(path)
            for height, width in ((1, 1), (1, 2), (2, 1), (5, 3), (9, 12), (300, 1000)):
                path.write_bytes(png_file(np.zeros((height, width, channels), depth), interlaced))
                assert read_picture(path).size == (width, height)
    for mode in ("1", "P"):
        Image.new(mode, (3001, 1000)).save(path, bits=1)
        assert read_picture(path).size == (3001, 1000)


def test_pixels_of_another_size_than_the_header_says_are_refused(tmp_path):
    """What the size limit and the memory estimate look at is the header."""
    path = written(tmp_path, "heic")  # encoded as 64x64
    data = bytearray(path.read_bytes())
    cut = data.index(b"clap") + 4
    data[cut + 20 : cut + 28] = bytes.fromhex("0000005790ffffe0")  # where the picture lies in that: far above
    path.write_bytes(data)
    assert read_header(path)[1:3] == (64, 40)
    for read in (read_picture, lambda path: read_region(path, (64, 40))):
        with pytest.raises(InputError, match=r"picture\.heic is damaged: its header says 64x40, its pixels are 64x64"):
            read(path)


@pytest.mark.parametrize("bits", [10, 12])
def test_more_bits_than_8_are_named(tmp_path, caplog, monkeypatch, bits):
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    deep = np.random.default_rng(0).integers(0, 65536, (40, 64, 3), dtype=np.uint16)
    pillow_heif.from_bytes("RGB;16", (64, 40), deep.tobytes()).save(tmp_path / "deep.heic", quality=90)
    assert read_picture(tmp_path / "deep.heic").pixels.dtype == np.uint8
    assert f"deep.heic has {bits} bits a channel: psal reads HEIC with 8" in caplog.text
    cv2.imwrite(str(tmp_path / "deep.avif"), deep >> (16 - bits), [cv2.IMWRITE_AVIF_DEPTH, bits])
    assert read_picture(tmp_path / "deep.avif").pixels.dtype == np.uint8
    assert f"deep.avif has {bits} bits a channel: psal reads AVIF with 8" in caplog.text


def test_a_grey_jpeg_xl_file_of_16_bits_is_read_whole(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (40, 64), dtype=np.uint16)
    load_plugin("JXL", tmp_path)
    Image.fromarray(deep).save(tmp_path / "deep.jxl", lossless=True)
    assert read_header(tmp_path / "deep.jxl") == ("JXL", 64, 40, 1, 16, False)
    assert np.array_equal(read_picture(tmp_path / "deep.jxl").pixels[..., 0], deep)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_file_packed_into_jpeg_xl(tmp_path, orientation):
    """It stays the JPEG file that it was, orientation and loss included."""
    load_plugin("JXL", tmp_path)
    tag = Image.Exif()
    tag[0x0112] = orientation
    Image.fromarray(blocks()).save(tmp_path / "in.jpg", exif=tag, quality=100, subsampling=0)
    with Image.open(tmp_path / "in.jpg") as image:
        image.save(tmp_path / "in.jxl", lossless_jpeg=True)
    header, picture = read_header(tmp_path / "in.jxl"), read_picture(tmp_path / "in.jxl")
    assert np.array_equal(picture.pixels, read_picture(tmp_path / "in.jpg").pixels)
    assert (header.width, header.height) == picture.size == ((40, 64) if orientation > 4 else (64, 40))
    assert not picture.lossless


def test_what_is_not_read_is_named(tmp_path, caplog, monkeypatch):
    (tmp_path / "in.tif").write_bytes(tiff_file(blocks(channels=4), extra=0))
    assert read_picture(tmp_path / "in.tif").alpha is None
    assert "in.tif has a channel beside its colours that it does not explain: it is not kept" in caplog.text
    path, read_head = written(tmp_path, "jxl"), jxl.read_head
    monkeypatch.setattr(jxl, "read_head", lambda file: read_head(file)._replace(animated=True))
    assert read_picture(path).size == (64, 40)
    assert "picture.jxl holds several pictures: only the first is used" in caplog.text


def test_masks_of_many_pixels_and_of_16_bits(tmp_path):
    """Colours are weighed as the eye does, a band of rows at a time; an alpha of a quarter is not painted."""
    rows = np.zeros((1100, 1000, 3), np.uint8)
    rows[500:] = (255, 120, 0)  # 147 of 255; with red and blue exchanged 100
    Image.fromarray(rows).save(tmp_path / "mask.png", compress_level=1)
    assert np.array_equal(read_region(tmp_path / "mask.png", (1000, 1100)), rows[..., 0] > 0)
    layer = np.full((40, 64, 2), 0x4000, np.uint16)
    layer[:20, :, 1] = 0xC000
    (tmp_path / "layer.png").write_bytes(png_file(layer))
    assert np.array_equal(read_region(tmp_path / "layer.png", (64, 40)), layer[..., 1] > 0x8000)


def test_an_inverted_mask_grows_where_it_is_filled(tmp_path):
    kept = np.zeros((40, 64), np.uint8)
    kept[10:30, 10:30] = 255
    Image.fromarray(kept).save(tmp_path / "mask.png")
    expected = np.ones((40, 64), bool)
    expected[13:27, 13:27] = False
    assert np.array_equal(read_mask(tmp_path / "mask.png", (64, 40), invert=True, dilate=3).hole, expected)


def test_memory_that_runs_out_is_no_damage(tmp_path, monkeypatch):
    path = written(tmp_path, "png")

    def short(*_):
        raise MemoryError

    monkeypatch.setattr("psal_cli.image.reading.load", short)
    with pytest.raises(MemoryError):
        read_picture(path)


@pytest.mark.subprocess
def test_several_pictures_are_read_at_once_and_pillow_is_silent(tmp_path):
    """Damaged metadata makes Pillow warn, print and log; psal silences that once, not around each file, and says its own."""
    paths = [str(tmp_path / f"{number}.jpg") for number in range(12)]
    for path in paths:
        Image.fromarray(blocks()).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    code = """if True:
        import sys
        from concurrent.futures import ThreadPoolExecutor
        from psal_cli.image import read_picture
        with ThreadPoolExecutor(4) as pool:
            print(set(pool.map(lambda path: read_picture(path).size, sys.argv[1:] * 3)))
    """
    done = subprocess.run([sys.executable, "-P", "-W", "default", "-c", code, *paths], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "{(64, 40)}\n")
    assert {line.split(": ")[0] for line in done.stderr.splitlines()} == set(paths)  # each line is psal's and names a file
