"""TIFF files of floating-point numbers: every layout that is read, what is written, and what upscale makes of them."""

import struct
import zlib

import cv2
import numpy as np
import pytest

import psal_cli
from psal_cli.errors import InputError
from psal_cli.image import read_header, read_picture, write_picture
from psal_cli.image.metadata import Metadata
from psal_cli.image.picture import Picture

from .metadata_blocks import SRGB, exif_block
from .photos import psal
from .pictures import TURNED


def floats(height=21, width=37, channels=3):
    """Values from -0.5 to 2.5."""
    return (np.random.default_rng(0).random((height, width, channels)) * 3 - 0.5).astype(np.float32)


def predicted(rows, predictor, order):
    """Bytes of rows [N, W, samples], as libtiff lays them out."""
    size = rows.itemsize
    if predictor == 3:
        planes = np.ascontiguousarray(rows.astype(rows.dtype.newbyteorder(">"))).view(np.uint8)
        planes = planes.reshape(len(rows), -1, size).swapaxes(1, 2).reshape(len(rows), -1, rows.shape[2])
        return np.diff(planes, axis=1, prepend=np.uint8(0)).tobytes()
    if predictor == 2:
        numbers = rows.view(f"u{size}")
        return np.diff(numbers, axis=1, prepend=numbers.dtype.type(0)).astype(f"{order}u{size}").tobytes()
    return rows.astype(rows.dtype.newbyteorder(order)).tobytes()


def tiff(path, pixels, *, order="<", predictor=1, tile=None, orientation=1, extra=None, photometric=2, compressed=True, sample=3):
    """Writes a TIFF file by hand: strips of 8 rows, or tiles (height, width)."""
    height, width, samples = pixels.shape
    if tile:
        down, across = (-(-side // part) for side, part in zip((height, width), tile, strict=True))
        padded = np.pad(pixels, ((0, down * tile[0] - height), (0, across * tile[1] - width), (0, 0)))
        blocks = [padded[r * tile[0] :, c * tile[1] :][: tile[0], : tile[1]] for r in range(down) for c in range(across)]
    else:
        blocks = [pixels[top : top + 8] for top in range(0, height, 8)]
    content = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    places, lengths = [], []
    for block in blocks:
        data = predicted(np.ascontiguousarray(block), predictor, order)
        data = zlib.compress(data) if compressed else data
        places.append(len(content))
        lengths.append(len(data))
        content += data + bytes(len(data) % 2)
    bits = 8 * pixels.itemsize
    entries = {256: [width], 257: [height], 258: [bits] * samples, 259: [8 if compressed else 1], 262: [photometric]}
    entries |= {274: [orientation], 277: [samples], 284: [1], 317: [predictor], 339: [sample] * samples}
    entries |= {322: [tile[1]], 323: [tile[0]], 324: places, 325: lengths} if tile else {273: places, 278: [8], 279: lengths}
    entries |= {338: [extra]} if extra is not None else {}
    body = b""
    for tag, values in sorted(entries.items()):
        long = tag in (273, 279, 324, 325)
        data = struct.pack(f"{order}{len(values)}{'I' if long else 'H'}", *values)
        if len(data) > 4:
            place = len(content)
            content += data
            data = struct.pack(f"{order}I", place)
        body += struct.pack(f"{order}HHI", tag, 4 if long else 3, len(values)) + data.ljust(4, b"\0")
    content[4:8] = struct.pack(f"{order}I", len(content))
    path.write_bytes(content + struct.pack(f"{order}H", len(entries)) + body + bytes(4))
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_every_layout_is_read(tmp_path, order, kind, predictor, tile):
    pixels = floats().astype(kind)
    path = tiff(tmp_path / "a.tif", pixels, order=order, predictor=predictor, tile=tile)
    assert read_header(path)[1:] == (37, 21, 3, 32, False)
    found = read_picture(path)
    assert found.pixels.dtype == np.float32 and found.lossless
    np.testing.assert_array_equal(found.pixels, pixels.astype(np.float32))


@pytest.mark.parametrize("orientation", TURNED)
def test_they_are_turned_upright(tmp_path, orientation):
    pixels = floats()
    path = tiff(tmp_path / "a.tif", pixels, orientation=orientation)
    expected = TURNED[orientation](pixels)
    np.testing.assert_array_equal(read_picture(path).pixels, expected)
    assert read_header(path)[1:3] == expected.shape[1::-1]


def test_alpha_and_grey(tmp_path):
    pixels, alpha = floats(channels=1), np.linspace(0, 1, 21 * 37, dtype=np.float32).reshape(21, 37)
    both = np.dstack([pixels, alpha])
    found = read_picture(tiff(tmp_path / "a.tif", both, photometric=1, extra=2))
    np.testing.assert_array_equal(found.pixels, pixels)
    np.testing.assert_array_equal(found.alpha, alpha)
    multiplied = np.dstack([pixels * alpha[..., None], alpha])
    found = read_picture(tiff(tmp_path / "b.tif", multiplied, photometric=1, extra=1))
    np.testing.assert_allclose(found.pixels[1:], pixels[1:], rtol=1e-5)
    plain = read_picture(tiff(tmp_path / "c.tif", pixels, photometric=1, compressed=False))
    assert plain.alpha is None and plain.pixels.shape == (21, 37, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_read_by_others_and_by_psal(tmp_path, channels):
    pixels, path = floats(channels=channels), tmp_path / "a.tif"
    metadata = Metadata(icc=SRGB, exif=exif_block(), dpi=(300, 300))
    write_picture(Picture(pixels, metadata=metadata), path)
    other = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(other.reshape(pixels.shape)[..., ::-1], pixels)
    found = read_picture(path)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.metadata.icc == SRGB and found.metadata.dpi == (300, 300) and b"psal-cam" in found.metadata.exif


def test_other_formats_get_integers_with_a_notice(tmp_path, caplog):
    pixels = floats()
    write_picture(Picture(pixels), tmp_path / "a.png")
    assert "PNG holds no floating-point numbers: rounded to 16 bits a channel and clipped" in caplog.text
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, np.rint(pixels.clip(0, 1) * 65535))
    write_picture(Picture(pixels.clip(0, 1)), tmp_path / "a.bmp")
    assert "BMP holds no floating-point numbers: rounded to 8 bits a channel\n" in caplog.text
    np.testing.assert_array_equal(read_picture(tmp_path / "a.bmp").pixels, np.rint(pixels.clip(0, 1) * 255))


def test_what_is_no_number_is_refused(tmp_path):
    pixels = floats()
    pixels[3, 4] = np.nan
    with pytest.raises(InputError, match="contains NaN or infinity: replace them, or save it as a 16-bit"):
        read_picture(tiff(tmp_path / "a.tif", pixels))
    with pytest.raises(InputError, match="floating-point numbers"):  # colours that are not read
        read_picture(tiff(tmp_path / "b.tif", floats(), photometric=8))
    with pytest.raises(InputError, match="damaged or cut off"):
        path = tiff(tmp_path / "c.tif", floats())
        path.write_bytes(path.read_bytes().replace(b"\x78\x9c", b"\x00\x00"))
        read_picture(path)


def test_upscale_keeps_floats_and_what_is_beyond_white(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.full((24, 32, 3), 0.5, np.float32)
    pixels[8:16, 8:16] = 40
    pixels[18:22, 20:28] = -0.25
    write_picture(Picture(pixels), "in.tif")
    done = psal("upscale", "in.tif", "-x", 2, "-o", "out.tif")
    assert done.exit_code == 0, done.stderr
    out = read_picture("out.tif").pixels
    assert out.shape == (48, 64, 3) and out.dtype == np.float32
    np.testing.assert_allclose(out[22:26, 22:26], 40, rtol=0.02)  # the middle of the bright block
    assert abs(out[4, 4].mean() - 0.5) < 0.05 and out[40, 48].max() < -0.1 and out.min() > -0.5
    assert psal("upscale", "in.tif", "-x", 1.5, "-o", "any.tif").exit_code == 0
    assert read_picture("any.tif").pixels.max() > 38


def test_floats_within_white_are_as_the_library_makes_them(tmp_path):
    pixels = floats(16, 20).clip(0, 1)
    whole = psal_cli.upscale(pixels, 2).image
    pixels[0, 0] = 1.5
    beyond = psal_cli.upscale(pixels, 2).image
    assert whole.max() <= 1 and beyond.max() > 1.2
    pixels[0, 0] = 1
    near = np.zeros(beyond.shape[:2], bool)
    near[:8, :8] = True
    np.testing.assert_array_equal(beyond[~near], psal_cli.upscale(pixels, 2).image[~near])
