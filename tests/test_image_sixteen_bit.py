"""Pictures of 16 bits a channel: every bit of them, in and out of PNG and TIFF, from whatever wrote the file."""

import struct
import subprocess
import sys
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from psal_cli.errors import InputError
from psal_cli.image import Metadata, Picture, read_header, read_picture, read_region, write_picture
from psal_cli.patchmatch.pyramid import floats
from psal_cli.viz.drawing import draw_field, side_by_side

from .pictures import filled
from .raw_files import png_file, tiff_file


def numbers(channels, height=37, width=53):
    """Noise over all 65536 values, with a plain corner, so that compression and filters have something to do."""
    out = np.random.default_rng(channels).integers(0, 65536, (height, width, channels), dtype=np.uint16)
    out[:9, :20] = 4660
    return out


def check(path, expected, alpha=None):
    picture, header = read_picture(path), read_header(path)
    assert picture.pixels.dtype == np.uint16 and np.array_equal(picture.pixels, expected)
    assert alpha is picture.alpha is None or (picture.alpha.dtype == np.uint16 and np.array_equal(picture.alpha, alpha))
    assert header[1:] == (*picture.size, expected.shape[2], 16, alpha is not None)
    return picture


def split(array):
    return (array[..., :-1], array[..., -1]) if array.shape[2] in (2, 4) else (array, None)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_any_kind(tmp_path, channels, interlaced):
    (tmp_path / "in.png").write_bytes(png_file(numbers(channels), interlaced))
    check(tmp_path / "in.png", *split(numbers(channels)))


@pytest.mark.parametrize("channels", [1, 3])
def test_one_transparent_colour(tmp_path, channels):
    """Its neighbours, equal but for the low byte, are opaque."""
    array = numbers(channels)
    array[20:, :, 0] ^= 1
    array[20:30] = array[0, 0] + np.uint16(1)
    key = struct.pack(f">{channels}H", *array[0, 0].tolist())
    (tmp_path / "in.png").write_bytes(png_file(array, chunks=[(b"tRNS", key)]))
    check(tmp_path / "in.png", array, np.where((array == array[0, 0]).all(2), 0, 65535))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_one_transparent_grey_of_few_bits(tmp_path, bits):
    top = 2**bits - 1
    file = bytearray(png_file(np.array([[[(top << (8 - bits)) & 0xFF]], [[0]]], np.uint8), chunks=[(b"tRNS", bytes([0, top]))]))
    file[24] = bits
    file[29:33] = struct.pack(">I", zlib.crc32(file[12:29]))
    (tmp_path / "in.png").write_bytes(file)
    picture = read_picture(tmp_path / "in.png")
    assert picture.pixels.ravel().tolist() == [255, 0] and picture.alpha.ravel().tolist() == [0, 255]


TIFFS = [
    {},
    {"compression": 8},
    {"tile": 16},
    {"tile": 16, "compression": 8},
]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", TIFFS, ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_in_both_byte_orders(tmp_path, channels, kind, order):
    extra = 2 if channels in (2, 4) else None
    (tmp_path / "in.tif").write_bytes(tiff_file(numbers(channels), order, extra=extra, **kind))
    check(tmp_path / "in.tif", *split(numbers(channels)))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [1, 8])
def test_unusual_tiff(tmp_path, caplog, order, compression):
    def written(array, **arguments):
        (tmp_path / "in.tif").write_bytes(tiff_file(array, order, compression=compression, **arguments))
        return tmp_path / "in.tif"

    check(written(numbers(1), white_is_zero=True), 65535 - numbers(1))
    for channels in (2, 4):
        array = numbers(channels)
        alpha = array[..., -1:]
        array[..., :-1] = np.minimum(array[..., :-1], alpha)  # multiplied, a colour cannot be above its alpha
        divided = (array[..., :-1].astype(np.int64) * 65535 + alpha // 2) // np.maximum(alpha, 1)
        check(written(array, extra=1), divided, alpha[..., 0])
        caplog.clear()
        check(written(array, extra=0), array[..., :-1])
        assert "a channel beside its colours that it does not explain" in caplog.text
    with pytest.raises(InputError, match="each colour in a plane of its own"):
        read_picture(written(numbers(3), planes=True))
    with pytest.raises(InputError, match="is CMYK with 16 bits"):
        read_picture(written(numbers(4)))
    with pytest.raises(InputError, match="signed numbers of 16 bits"):
        read_picture(written(numbers(1).astype(np.int16)))
    assert read_picture(written(np.ones((4, 5, 3), np.float16))).pixels.dtype == np.float32


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_opencv_writes(tmp_path, suffix, channels):
    array = numbers(channels)
    for compression in (1, 5, 8) if suffix == "tif" else (None,):  # none, LZW, deflate
        swapped = array[..., 0] if channels == 1 else np.ascontiguousarray(array[..., [2, 1, 0, 3][:channels]])
        arguments = [cv2.IMWRITE_TIFF_COMPRESSION, compression] if compression else []
        cv2.imwrite(str(tmp_path / f"in.{suffix}"), swapped, arguments)
        check(tmp_path / f"in.{suffix}", *split(array))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_psal_writes(tmp_path, suffix, channels):
    """OpenCV, which reads no grey with alpha, reads it as it was meant; the picture spans several strips and bands."""
    pixels, alpha = split(numbers(channels, 700, 901))
    write_picture(Picture(pixels, alpha), tmp_path / f"out.{suffix}")
    check(tmp_path / f"out.{suffix}", pixels, alpha)
    if channels != 2:
        again = cv2.imread(str(tmp_path / f"out.{suffix}"), cv2.IMREAD_UNCHANGED)
        again = again[..., None] if channels == 1 else again[..., [2, 1, 0, 3][:channels]]
        assert np.array_equal(again, numbers(channels, 700, 901))


def test_metadata_comes_along(tmp_path):
    rich = Metadata(exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", xmp=b"<x:xmpmeta/>", dpi=(300.0, 300.0))
    write_picture(Picture(numbers(3), metadata=rich), tmp_path / "out.png")
    again = read_picture(tmp_path / "out.png").metadata
    assert (again.exif, again.xmp) == (rich.exif, rich.xmp) and again.dpi == pytest.approx(rich.dpi, abs=0.1)


def test_every_value_comes_back_from_floats_and_the_rest_stays():
    array = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    for picture in (Picture(array), Picture(array.repeat(3, 2), alpha=array[..., 0])):
        channels = picture.pixels.shape[2]
        result = filled(picture, floats(picture.pixels).reshape(-1, channels), np.ones((256, 256), bool))
        assert result.pixels.dtype == np.uint16 and np.array_equal(result.pixels, picture.pixels)
        mask = np.zeros((256, 256), bool)
        mask[10:20, 30:40] = True
        result = filled(picture, np.full((100, channels), 0.50001, np.float32), mask)
        assert (result.pixels[mask] == 32768).all() and np.array_equal(result.pixels[~mask], picture.pixels[~mask])


@pytest.mark.parametrize("suffix", ["jpg", "webp", "bmp", "avif", "heic", "jxl"])
def test_formats_of_8_bits_get_it_rounded(tmp_path, caplog, suffix):
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64, 1).repeat(3, 2)
    write_picture(Picture(ramp), tmp_path / f"out.{suffix}")
    assert "is written with 8 bits a channel, the picture has 16: it is rounded" in caplog.text
    again = read_picture(tmp_path / f"out.{suffix}").pixels
    assert again.dtype == np.uint8
    assert np.abs(again - ramp / 257).max() <= (0.5 if suffix in ("webp", "bmp", "heic", "jxl") else 3.5)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_masks(tmp_path, channels):
    array = np.full((4, 6, channels), 32767, np.uint16)
    array[1:3, 2:5] = 32768
    if channels in (2, 4):
        array[..., -1] = 65535
    (tmp_path / "in.png").write_bytes(png_file(array))
    assert np.array_equal(read_region(tmp_path / "in.png", (6, 4)), array[..., 0] == 32768)


def test_drawings_are_rounded_to_8_bits():
    picture = Picture(np.full((30, 40, 3), 32896 + 100, np.uint16), alpha=np.full((30, 40), 65535, np.uint16))
    mask = np.zeros((30, 40), bool)
    mask[5:9, 5:9] = True
    drawn = side_by_side(picture, replace(picture, alpha=None), mask)
    assert drawn.pixels.dtype == np.uint8 and (drawn.pixels[20, 20] == 128).all() and (drawn.pixels[20, -1] == 128).all()
    wheel = draw_field(np.where(mask, 0, -1).astype(np.int32)[None].repeat(2, 0), [(30, 40)], picture)
    assert wheel.pixels.dtype == np.uint8 and (wheel.pixels[20, 20] == int(128 * 0.35)).all()


@pytest.mark.subprocess
def test_damaged_files_are_refused_in_one_line(tmp_path):
    """In a process of its own, to see what the C libraries print: nothing."""
    files = {"a.png": png_file(numbers(3)), "b.png": png_file(numbers(4), interlaced=True)}
    files |= {f"{order}.tif": tiff_file(numbers(3), sign, compression=8) for order, sign in (("II", "<"), ("MM", ">"))}
    for name, whole in files.items():
        (tmp_path / f"cut_{name}").write_bytes(whole[: len(whole) // 2])
        changed = bytearray(whole)
        changed[200:240] = b"\xff" * 40
        (tmp_path / f"changed_{name}").write_bytes(changed)
    code = """if True:
        import sys
        from psal_cli.errors import InputError
        from psal_cli.image import read_picture
        for path in sys.argv[1:]:
            try:
                read_picture(path)
            except InputError as error:
                print(error)
    """
    paths = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run([sys.executable, "-P", "-c", code, *paths], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(" is damaged or cut off")[0] for line in done.stdout.splitlines()] == paths
