"""OpenEXR files: every bit of their numbers, what they say beside them, what their colours mean elsewhere, refusals."""

import io
import logging
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from psal_cli.errors import InputError
from psal_cli.image import read_header, read_picture, write_picture
from psal_cli.image.cielab import encoded_beyond
from psal_cli.image.colour import meaning_of, to_srgb
from psal_cli.image.exr import linear
from psal_cli.image.light import linear_profile, to_encoded
from psal_cli.image.metadata import Metadata
from psal_cli.image.picture import Picture
from psal_cli.image.srgb import as_srgb

from .photos import psal
from .raw_files import profile, prophoto_profile

OpenEXR = pytest.importorskip("OpenEXR", reason="pip install 'psal[exr]'")

SIZE = (40, 30)  # width, height
ACES = (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)  # the primaries of ACEScg


def numbers(dtype=np.float32, channels=3, seed=0):
    """With a lamp and a place below black."""
    made = np.random.default_rng(seed).random((*SIZE[::-1], channels)).astype(dtype)
    made[3:6, 4:9], made[20, 20] = 950.5, -0.25
    return made


def write(path, planes, compression="ZIP", **header):
    header = {"compression": getattr(OpenEXR, f"{compression}_COMPRESSION"), "type": OpenEXR.scanlineimage} | header
    with OpenEXR.File(header, {name: np.ascontiguousarray(plane) for name, plane in planes.items()}) as file:
        file.write(str(path))
    return path


def rgb(array, names="RGB", **planes):
    return dict(zip(names, np.moveaxis(array, 2, 0), strict=True)) | planes


def channels_of(path):
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: channel.pixels for name, channel in file.channels().items()}, dict(file.header())


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("compression", ["NO", "RLE", "ZIPS", "ZIP", "PIZ"])
def test_numbers_come_out_as_they_went_in(tmp_path, dtype, compression):
    made = numbers(dtype)
    path = write(tmp_path / "a.exr", rgb(made), compression)
    picture = read_picture(path)
    assert picture.pixels.dtype == np.float32 and np.array_equal(picture.pixels, made.astype(np.float32))
    head = read_header(path)
    assert (head.width, head.height, head.channels, head.bits, head.alpha) == (*SIZE, 3, 32, False)
    write_picture(picture, tmp_path / "b.exr")
    planes, _ = channels_of(tmp_path / "b.exr")
    assert planes["G"].dtype == dtype and np.array_equal(planes["G"], made[..., 1])


LOSSY = {"B44", "B44A", "DWAA", "DWAB", "LJ2K", "PXR24"}
COMPRESSIONS = sorted(name.removesuffix("_COMPRESSION") for name in dir(OpenEXR) if name.endswith("_COMPRESSION"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_of_the_package_is_read(tmp_path, dtype, compression):
    made = np.tile(np.linspace(0, 2, SIZE[0] * 3, dtype=dtype).reshape(-1, 3), (600, 1, 1))  # several chunks in each
    made += np.random.default_rng(0).random(made.shape).astype(dtype) / 50
    path = write(tmp_path / "a.exr", rgb(made), compression)
    pixels, by_package = read_picture(path).pixels, channels_of(path)[0]
    assert np.array_equal(pixels, np.stack([by_package[letter] for letter in "RGB"], 2))
    assert np.abs(pixels - made.astype(np.float32)).max() <= (0.1 if compression in LOSSY else 0)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_file_cut_off_is_refused_with_one_line_by_any_compression(tmp_path, compression, capfd):
    whole = write(tmp_path / "a.exr", rgb(np.tile(numbers(), (20, 1, 1))), compression).read_bytes()
    for share in (0.3, 0.9, 0.999):
        (tmp_path / "cut.exr").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match="it is cut off"):
            read_picture(tmp_path / "cut.exr")
    assert capfd.readouterr() == ("", "")


def test_tiles_grey_and_the_layers_of_a_renderer_are_read(tmp_path, caplog):
    made = numbers()
    tiled = write(tmp_path / "tiled.exr", rgb(made), type=OpenEXR.tiledimage, tiles=OpenEXR.TileDescription())
    assert np.array_equal(read_picture(tiled).pixels, made)
    grey = read_picture(write(tmp_path / "grey.exr", {"Y": made[..., 0]}))
    assert np.array_equal(grey.pixels[..., 0], made[..., 0]) and read_header(tmp_path / "grey.exr").channels == 1
    assert not caplog.records
    names = [f"View.Combined.{letter}" for letter in "RGB"]
    layered = write(tmp_path / "layers.exr", rgb(made, names) | {"View.Depth.Z": made[..., 0]})
    assert np.array_equal(read_picture(layered).pixels, made) and "View.Depth.Z" in caplog.text


def test_the_first_of_several_pictures_is_read(tmp_path, caplog):
    planes = [{name: plane.copy() for name, plane in rgb(numbers(seed=seed)).items()} for seed in (1, 2)]
    with OpenEXR.File([OpenEXR.Part({"name": name}, part) for name, part in zip("ab", planes, strict=True)]) as file:
        file.write(str(tmp_path / "two.exr"))
    assert np.array_equal(read_picture(tmp_path / "two.exr").pixels, numbers(seed=1)) and "only the first" in caplog.text


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_alpha_keeps_colours_to_the_bit_where_it_is_whole_or_none(tmp_path, dtype):
    made, alpha = numbers(dtype), np.ones(SIZE[::-1], dtype)
    alpha[10:], alpha[20:] = 0.5, 0
    path = write(tmp_path / "a.exr", rgb(made, A=alpha))
    picture = read_picture(path)
    np.testing.assert_allclose(picture.pixels[10:20], 2 * made[10:20].astype(np.float32))  # not multiplied by alpha
    write_picture(picture, tmp_path / "b.exr")
    planes, _ = channels_of(tmp_path / "b.exr")
    assert np.array_equal(planes["A"], alpha)
    for letter, before in zip("RGB", np.moveaxis(made, 2, 0), strict=True):
        whole = np.ones_like(alpha, bool) if dtype == np.float16 else alpha != 0.3
        assert np.array_equal(planes[letter][whole], before[whole])


def test_what_a_file_says_is_kept_and_its_windows_while_the_size_is(tmp_path):
    said = {"comments": "lamp", "owner": "us", "exposure": 2.5, "pixelAspectRatio": 2.0, "chromaticities": ACES}
    window = (np.array([5, 6], np.int32), np.array([SIZE[0] + 4, SIZE[1] + 5], np.int32))
    path = write(tmp_path / "a.exr", rgb(numbers()), dataWindow=window, **said)
    picture = read_picture(path)
    write_picture(picture, tmp_path / "b.exr")
    _, header = channels_of(tmp_path / "b.exr")
    assert {name: header[name] for name in ("comments", "owner", "exposure", "pixelAspectRatio")} == dict(list(said.items())[:4])
    np.testing.assert_allclose(header["chromaticities"], ACES, rtol=1e-6)
    assert np.array_equal(header["dataWindow"], window)
    write_picture(picture.with_array(picture.pixels[:-1]), tmp_path / "c.exr")
    assert channels_of(tmp_path / "c.exr")[1]["dataWindow"][0].tolist() == [0, 0]


def test_other_formats_get_the_colours_that_the_numbers_mean(tmp_path, caplog):
    made = np.random.default_rng(0).random((*SIZE[::-1], 3), np.float32)
    picture = read_picture(write(tmp_path / "a.exr", rgb(made), comments="lost"))
    write_picture(picture, tmp_path / "a.png")
    assert "comments" in caplog.text
    expected = np.rint(encoded_beyond(made) * 65535)
    assert np.abs(read_picture(tmp_path / "a.png").pixels.astype(float) - expected).max() <= 1
    with Image.open(tmp_path / "a.png") as image:
        assert meaning_of(image.info["icc_profile"], 3) == "sRGB"
    write_picture(picture, tmp_path / "a.tif")
    again = read_picture(tmp_path / "a.tif")
    assert np.array_equal(again.pixels, made) and again.metadata.icc == linear_profile(3)
    write_picture(again, tmp_path / "b.exr")
    assert np.array_equal(read_picture(tmp_path / "b.exr").pixels, made)


def test_wider_primaries_are_converted(tmp_path):
    made = 0.25 + 0.5 * np.random.default_rng(0).random((*SIZE[::-1], 3), np.float32)
    picture = read_picture(write(tmp_path / "a.exr", rgb(made), chromaticities=ACES))
    write_picture(picture, tmp_path / "a.jpg")
    levels = np.rint(made * 255)
    by_pillow = to_srgb(levels.astype(np.uint8), picture.metadata.icc).astype(int)
    ours = np.rint(to_encoded((levels / 255).astype(np.float32), picture.metadata.icc) * 255).clip(0, 255)
    assert np.abs(ours - by_pillow).max() <= 1


@pytest.mark.parametrize(
    "icc", [None, profile(gamma=1.8), profile(turned=True), prophoto_profile(4)], ids=["none", "1.8", "turned", "ProPhoto"]
)
def test_pictures_of_other_formats_become_linear_light(tmp_path, icc):
    levels = np.random.default_rng(0).integers(60, 200, (*SIZE[::-1], 3), np.uint8)
    write_picture(Picture(levels, None, Metadata(icc=icc)), tmp_path / "a.exr")
    planes, header = channels_of(tmp_path / "a.exr")
    assert planes["R"].dtype == np.float32 and "chromaticities" not in header
    meant = levels if icc is None else to_srgb(levels, icc)
    made = np.stack([planes[letter] for letter in "RGB"], 2)
    inside = ((made > 0.001) & (made < 0.999)).all(2)
    assert np.abs(np.rint(encoded_beyond(made) * 255) - meant)[inside].max() <= 2 and inside.mean() > 0.2


def test_floats_in_a_profile_are_colourized_as_what_they_mean():
    light = np.random.default_rng(0).random((8, 9, 1), np.float32) * 2
    made = as_srgb(Picture(light, None, Metadata(icc=profile("GRAY", gamma=1.0))))
    np.testing.assert_allclose(made, encoded_beyond(light), rtol=1e-5)


def test_without_metadata_the_numbers_are_the_same(tmp_path):
    from psal_cli.image import Encoding

    made = numbers()
    picture = read_picture(write(tmp_path / "a.exr", rgb(made), comments="lost", chromaticities=ACES))
    write_picture(picture, tmp_path / "b.exr", encoding=Encoding(strip_metadata=True))
    planes, header = channels_of(tmp_path / "b.exr")
    assert np.array_equal(planes["B"], linear(picture, tmp_path).pixels[..., 2]) and "comments" not in header


LAMP = np.s_[3:6, 4:9]


@pytest.mark.slow
def test_inpaint_keeps_every_bit_outside_and_fills_sensibly(tmp_path):
    made = numbers(np.float16)
    path = write(tmp_path / "a.exr", rgb(made), owner="us")
    done = psal("inpaint", path, "--box", "10,10,6,5", "-o", tmp_path / "b.exr")
    assert done.exit_code == 0, done.stderr
    planes, header = channels_of(tmp_path / "b.exr")
    after, hole = np.stack([planes[letter] for letter in "RGB"], 2), np.zeros(SIZE[::-1], bool)
    hole[10:15, 10:16] = True
    assert header["owner"] == "us" and after.dtype == np.float16
    assert np.array_equal(after[~hole], made[~hole]) and after[LAMP].min() > 900
    assert (after[hole] != made[hole]).any() and after[hole].max() < 2


@pytest.mark.slow
def test_all_verbs_take_it(tmp_path, quick_colours):
    made = numbers().clip(0, 1)
    path = write(tmp_path / "a.exr", rgb(made))
    grey = write(tmp_path / "grey.exr", {"Y": made[..., 0]})
    runs = {
        "colorize": [grey, "--ref", path],
        "upscale": [path, "-x", "2"],
        "generate": [path, "--size", "32x24"],
        "reconstruct": [path, "--from", path],
    }
    for verb, arguments in runs.items():
        done = psal(verb, *arguments, "-o", tmp_path / f"{verb}.exr")
        assert done.exit_code == 0, done.stderr
        pixels = read_picture(tmp_path / f"{verb}.exr").pixels
        assert pixels.shape[2] == 3 and np.isfinite(pixels).all() and pixels.std() > 0.01
    light = made[..., 0]
    colored = read_picture(tmp_path / "colorize.exr").pixels
    assert np.abs(colored @ np.array([0.2126, 0.7152, 0.0722], np.float32) - light).mean() < 0.01  # the luminance is kept


def bad_files(folder):
    made = numbers()
    good = write(folder / "good.exr", rgb(made)).read_bytes()
    with_nan = made.copy()
    with_nan[2, 2, 1] = np.nan
    whole = (made[..., 0] * 100).clip(0, 1000).astype(np.uint32)
    return {
        "cut off": good[: len(good) // 2],
        "header": good[:60],
        "zeros": good[:8] + bytes(300),
        "nan": write(folder / "nan.exr", rgb(with_nan)).read_bytes(),
        "depth": write(folder / "z.exr", {"Z": made[..., 0]}).read_bytes(),
        "whole": write(folder / "whole.exr", {"R": whole, "G": whole, "B": whole}).read_bytes(),
        "version": good[:4] + b"\x01" + good[5:],
        "no end": good[:8] + b"comments\0string\0\xff\xff\xff\x7f" + good[8:],
    }


WORDS = {
    "cut off": "cut off",
    "header": "cut off",
    "zeros": "names no channels",
    "nan": "NaN or infinity",
    "depth": "has the channels Z: psal reads R, G and B, or Y",
    "whole": "integer channels",
    "version": "version 1",
    "no end": "cut off",
}


@pytest.mark.parametrize("name", WORDS)
def test_a_file_that_cannot_be_read_is_refused_with_one_line(tmp_path, name, capfd):
    (tmp_path / "bad.exr").write_bytes(bad_files(tmp_path)[name])
    with pytest.raises(InputError, match=WORDS[name]) as refused:
        read_picture(tmp_path / "bad.exr")
    assert "\n" not in str(refused.value) and capfd.readouterr() == ("", "")


def test_deep_data_is_refused_and_ignored_behind_a_picture(tmp_path, caplog, capfd):
    deep = np.empty(SIZE[::-1], object)
    deep.fill(np.array([1, 2], np.float32))
    kind = {"type": OpenEXR.deepscanline, "compression": OpenEXR.ZIPS_COMPRESSION}
    flat = {name: plane.copy() for name, plane in rgb(numbers()).items()}
    parts = {"flat": ({}, flat), "deep": (kind, dict.fromkeys("RGBA", deep))}
    for first, second in (("flat", "deep"), ("deep", "flat")):
        made = [OpenEXR.Part({"name": name} | parts[name][0], dict(parts[name][1])) for name in (first, second)]
        with OpenEXR.File(made) as file:
            file.write(str(tmp_path / f"{first}.exr"))
    assert np.array_equal(read_picture(tmp_path / "flat.exr").pixels, numbers()) and "only the first" in caplog.text
    for reads in (read_header, read_picture):
        with pytest.raises(InputError, match="holds deep data"):
            reads(tmp_path / "deep.exr")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["scanlineimage", "tiledimage"])
@pytest.mark.parametrize(
    ("side", "said"), [(20_000, r"damaged or cut off \("), (5_000_000, "more than the limit of 600"), (2**31 - 1, "no size")]
)
def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path, kind, side, said, capfd):
    tiles = {"tiles": OpenEXR.TileDescription()} if kind == "tiledimage" else {}
    data = bytearray(write(tmp_path / "a.exr", rgb(numbers()), type=getattr(OpenEXR, kind), **tiles).read_bytes())
    for name in (b"dataWindow", b"displayWindow"):
        struct.pack_into("<4i", data, data.index(name + b"\0box2i\0") + len(name) + 11, 0, 0, side - 1, side - 1)
    (tmp_path / "claims.exr").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(InputError, match=said):
        read_picture(tmp_path / "claims.exr")
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 100 << 20 and capfd.readouterr() == ("", "")


def test_large_pictures_are_refused_before_they_are_decoded(tmp_path):
    path = write(tmp_path / "a.exr", rgb(numbers()))
    with pytest.raises(InputError, match="1200 pixels, more than the limit"):
        read_picture(path, max_pixels=1000)


def test_without_the_package_the_cure_is_said(tmp_path, monkeypatch):
    path = write(tmp_path / "a.exr", rgb(numbers()))
    monkeypatch.setitem(__import__("sys").modules, "OpenEXR", None)
    for act in (lambda: read_picture(path), lambda: write_picture(Picture(np.zeros((4, 4, 3), np.uint8)), tmp_path / "b.exr")):
        with pytest.raises(InputError, match=r"pip install 'psal\[exr\]'"):
            act()


def test_it_comes_through_a_pipe(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    made = numbers()
    content = write(tmp_path / "a.exr", rgb(made)).read_bytes()
    done = psal("inpaint", "-", "--box", "10,10,4,4", "--engine", "patch", "--format", "exr", "-o", "-", stdin=content)
    assert done.exit_code == 0, done.stderr
    with OpenEXR.File(io.BytesIO(done.stdout_bytes), separate_channels=True) as file:
        assert np.array_equal(file.channels()["R"].pixels[LAMP], made[LAMP][..., 0])
