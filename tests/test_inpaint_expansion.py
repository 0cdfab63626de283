"""Outpainting: the canvas grows, old pixels stay, what is new is filled; in Python and by `psal inpaint --expand`."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import psal_cli
from psal_cli import InvalidValueError, Margins
from psal_cli.image import Picture, read_picture, write_picture
from psal_cli.image.metadata import Metadata

from .metadata_blocks import SRGB, exif_block
from .photos import lines, psal
from .pictures import pixels_of

SIZE = (48, 64)  # height, width
PATCH = ("--engine", "patch")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(stripes()).save("photo.png")
    return tmp_path


def stripes(dtype=np.uint8, channels=3):
    """Diagonal stripes, which go on beyond the border in one way only."""
    wave = (np.indices(SIZE).sum(0) % 8 * 30).astype(dtype)
    return np.repeat(wave[..., None], channels, 2)


def continued(margins):
    height, width = margins.applied(SIZE)
    return (np.indices((height, width)).sum(0) - margins.top - margins.left) % 8 * 30


@pytest.mark.parametrize(
    ("margins", "size"),
    [
        (Margins(1, 2, 3, 4), (52, 70)),
        (Margins.to_size(SIZE, (51, 64)), (51, 64)),
        (Margins.to_aspect(SIZE, Fraction(16, 9)), (48, 85)),
        (Margins.to_aspect(SIZE, Fraction(1)), (64, 64)),
        (Margins.to_aspect(SIZE, Fraction(4, 3)), SIZE),
    ],
)
def test_the_canvas_has_the_size_that_was_asked_for(margins, size):
    assert margins.applied(SIZE) == size
    assert abs(margins.left - margins.right) <= 2 and abs(margins.top - margins.bottom) <= 2


def test_margins_that_cannot_be_are_refused():
    for make, value in (
        (lambda: Margins(left=-1), "0, 0, 0, -1"),
        (lambda: Margins.to_size(SIZE, (48, 60)), "60x48"),
        (lambda: Margins(left=65535).applied(SIZE), "65599x48"),
        (lambda: psal_cli.outpaint(stripes(), Margins()), "0 at all sides"),
    ):
        with pytest.raises(InvalidValueError) as caught:
            make()
        assert caught.value.what == "margins" and value in caught.value.value


def test_what_is_new_goes_on_as_the_picture_does():
    margins = Margins(8, 9, 6, 12)
    result = psal_cli.outpaint(stripes(), margins, engine="patch")
    np.testing.assert_array_equal(result.image[8:56, 12:76], stripes())
    np.testing.assert_allclose(result.image[..., 0], continued(margins), atol=2)
    assert result.filled.sum() == result.filled.size - 48 * 64


def test_a_mask_is_that_of_the_picture_as_it_is_and_filled_too():
    mask, source = np.zeros(SIZE, bool), np.ones(SIZE, bool)
    mask[20:26, 30:38], source[:, :20] = True, False
    spoilt = np.where(mask[..., None], np.uint8(255), stripes())
    margins = Margins(right=10)
    result = psal_cli.outpaint(spoilt, margins, mask=mask, source_mask=source, engine="patch")
    np.testing.assert_allclose(result.image[..., 0], continued(margins), atol=2)
    assert result.origins[:, 1].min() >= 20 and result.origins[:, 1].max() < 64
    soft = psal_cli.outpaint(spoilt, margins, mask=mask.astype(np.float32) / 2, engine="patch").image
    assert soft[22, 33, 0] == pytest.approx((255 + int(stripes()[22, 33, 0])) / 2, abs=2) and soft[22, 70, 0] < 212


@pytest.mark.parametrize("kind", ["L", "LA", "RGBA", "RGB16", "RGB16A"])
def test_depth_alpha_profile_and_metadata_stay_and_tell_the_new_size(kind):
    dtype = np.uint16 if "16" in kind else np.uint8
    pixels = stripes(dtype, 1 if kind.startswith("L") else 3) * (257 if dtype == np.uint16 else 1)
    alpha = np.full(SIZE, np.iinfo(dtype).max, dtype)
    alpha[:, :8] = 0  # the border of a cutout
    metadata = Metadata(icc=None if kind.startswith("L") else SRGB, exif=exif_block())
    write_picture(Picture(pixels, alpha if kind.endswith("A") else None, metadata), "deep.png")
    done = psal("inpaint", "deep.png", "--expand", "6,10,0,4", "-o", "out.png", *PATCH)
    assert done.exit_code == 0, done.stderr
    out = read_picture("out.png")
    assert out.size == (78, 54) and out.pixels.dtype == dtype and out.metadata.icc == metadata.icc
    np.testing.assert_array_equal(out.pixels[6:, 4:68], pixels)
    if kind.endswith("A"):
        np.testing.assert_array_equal(out.alpha[6:, 4:68], alpha)
        assert not out.alpha[:, :12].any() and (out.alpha[:, 12:] == alpha.max()).all()
    with Image.open("out.png") as image:
        exif = image.getexif().get_ifd(0x8769)
    assert (exif[0xA002], exif[0xA003]) == (78, 54)


@pytest.mark.slow
def test_forms_of_the_option_lead_to_the_same_canvas():
    for form in ("0,11,0,10", "85x48", "16:9"):
        done = psal("inpaint", "photo.png", "--expand", form, "-o", "out.png", "--force", *PATCH)
        assert done.exit_code == 0, done.stderr
        expected = psal_cli.outpaint(stripes(), Margins(0, 11, 0, 10), engine="patch").image
        np.testing.assert_array_equal(pixels_of("out.png"), expected)


@pytest.mark.slow
def test_outpaint_is_the_same_without_a_mask():
    for options in (("--expand", "0,11,0,10"), ("--expand", "0,11,0,10", "-n", 2, "--seed", 3, "--sheet", "sheet.png")):
        assert psal("outpaint", "photo.png", *options, *PATCH, "-o", "a/", "--force").exit_code == 0
        assert psal("inpaint", "photo.png", *options, *PATCH, "-o", "b/", "--force").exit_code == 0
    for name in ("photo.png", "photo_1.png", "photo_2.png"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()
    assert Path("sheet.png").exists()
    assert psal("outpaint", "photo.png", "--expand", "0,11,0,10", *PATCH).exit_code == 0
    np.testing.assert_array_equal(pixels_of("photo_outpainted.png")[:, 10:-11], pixels_of("photo.png"))
    done = psal("outpaint", "photo.png")
    assert done.exit_code == 2 and "Missing option '--expand'" in done.stderr
    assert psal("outpaint", "photo.png", "--expand", "4:3", "--mask", "photo.png").exit_code == 2


def test_masks_and_shapes_are_filled_beside_what_is_new():
    done = psal("inpaint", "photo.png", "--expand", "0,0,0,10", "--box", "30,20,8,6", "--save-offsets", "field.npy", *PATCH)
    assert done.exit_code == 0, done.stderr
    moved = np.load("field.npy")[0].any(0)
    assert moved[:, :10].all() and moved[20:26, 40:48].all() and moved.sum() == 480 + 48
    done = psal("inpaint", "photo.png", "--expand", "0,0,0,10", "-o", "out.png", "--dry-run", "--json")
    assert [(line["width"], line["height"]) for line in lines(done)] == [(74, 48)]


def test_a_canvas_as_large_as_the_picture_is_a_copy():
    done = psal("inpaint", "photo.png", "--expand", "4:3", "-o", "out.png")
    assert done.exit_code == 0 and "--expand adds nothing" in done.stderr
    assert Path("out.png").read_bytes() == Path("photo.png").read_bytes()


def test_refusals_name_the_option():
    for options, text in (
        (("--expand", "60x40"), "--expand is 60x40, expected at least the size of the picture, 64x48"),
        (("--expand", "0,0,0,0"), "is not a larger canvas"),
        (("--expand", "16:0"), "is not a larger canvas"),
        (("--expand", "0,99999,0,0"), "65535"),
        (("--expand", "4000x4000", "--max-pixels", "1M"), "--max-pixels"),
        (("--expand", "17000x48", "-o", "out.webp"), "out.webp"),
        ((), "Missing option"),
    ):
        done = psal("inpaint", "photo.png", *options)
        assert done.exit_code == 2 and text in done.stderr, done.stderr
