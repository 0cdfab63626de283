"""Masks: what counts as white, how it grows and fades, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from psal_cli.errors import InputError
from psal_cli.image import read_mask, read_region

SIZE = (40, 30)  # width, height


def spot(rows=slice(10, 15), columns=slice(20, 30)):
    hole = np.zeros(SIZE[::-1], bool)
    hole[rows, columns] = True
    return hole


def save(path, array, mode=None, **arguments):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **arguments)
    return path


def layer(colour, under, hole, alpha=255):
    """A layer painted in `colour` where the hole is, transparent with the colour `under` elsewhere."""
    out = np.zeros((*hole.shape, 4), np.uint8)
    out[...] = (*under, 0)
    out[hole] = (*colour, alpha)
    return out


KINDS = {
    "png": ["L", "RGB", "RGBA", "P", "1", "LA"],
    "tif": ["L", "RGB", "RGBA", "P", "1", "LA", "CMYK"],
    "webp": ["L", "RGB", "RGBA"],
    "bmp": ["L", "RGB", "P", "1"],
    "jpg": ["L", "RGB", "CMYK"],
}


@pytest.mark.parametrize(("suffix", "mode"), [(suffix, mode) for suffix, modes in KINDS.items() for mode in modes])
def test_white_is_hole_in_any_kind_of_picture(tmp_path, suffix, mode):
    path = save(tmp_path / f"m.{suffix}", spot().astype(np.uint8) * 255, mode)
    assert np.array_equal(read_region(path, SIZE), spot())


def test_threshold_is_at_half(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (2, 1))
    assert np.array_equal(read_region(save(tmp_path / "m.png", ramp), (256, 2)), ramp >= 128)
    deep = np.tile(np.arange(32768 - 2, 32768 + 2, dtype=np.uint16), (2, 1))
    assert read_region(save(tmp_path / "deep.png", deep), (4, 2))[0].tolist() == [False, False, True, True]


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 0, 0)])
@pytest.mark.parametrize("under", [(0, 0, 0), (255, 255, 255), (200, 0, 0)])
def test_a_layer_painted_in_one_colour_is_read_from_its_alpha(tmp_path, caplog, colour, under):
    path = save(tmp_path / "m.png", layer(colour, under, spot()))
    assert np.array_equal(read_region(path, SIZE), spot())
    assert "alpha channel: opaque = white" in caplog.text
    half = save(tmp_path / "half.png", layer(colour, under, spot(), alpha=127))
    assert not read_region(half, SIZE).any()


def test_transparency_is_black_where_the_colours_differ(tmp_path):
    painted = layer((255, 255, 255), (255, 255, 255), spot(slice(5, 20)))
    painted[spot()] = (0, 0, 0, 255)
    assert np.array_equal(read_region(save(tmp_path / "m.png", painted), SIZE), spot(slice(5, 20)) & ~spot())
    opaque = np.zeros((*SIZE[::-1], 4), np.uint8) + np.uint8([0, 0, 0, 255])
    opaque[spot()] = 255  # alpha varies nowhere
    assert np.array_equal(read_region(save(tmp_path / "opaque.png", opaque), SIZE), spot())


@pytest.mark.parametrize(
    ("pixel", "white"), [((0, 0, 0, 255), 0), ((255, 255, 255, 255), 1), ((255, 255, 255, 0), 0), ((0, 0, 0, 200), 0)]
)
def test_a_single_pixel_value_says_nothing_by_its_alpha_unless_it_is_transparent(tmp_path, pixel, white):
    path = save(tmp_path / "m.png", np.zeros((*SIZE[::-1], 4), np.uint8) + np.uint8(pixel))
    assert (read_region(path, SIZE) == bool(white)).all()


def test_orientation_is_applied(tmp_path):
    stored = np.rot90(spot(), 1).astype(np.uint8) * 255
    exif = Image.Exif()
    exif[0x0112] = 6
    assert np.array_equal(read_region(save(tmp_path / "m.png", stored, exif=exif), SIZE), spot())


def test_invert_and_a_grey_mask_is_named(tmp_path, caplog):
    path = save(tmp_path / "m.png", spot().astype(np.uint8) * 255)
    assert np.array_equal(read_mask(path, SIZE, invert=True).hole, ~spot())
    assert caplog.text == ""
    photograph = np.random.default_rng(0).integers(0, 256, SIZE[::-1], dtype=np.uint8)
    read_mask(save(tmp_path / "photo.png", photograph), SIZE)
    assert "is not black and white" in caplog.text


def discs(hole, radius):
    """All pixels within `radius` of the hole, found by looking at every pair."""
    rows, columns = np.indices(hole.shape)
    inside = np.argwhere(hole)
    return (np.hypot(rows[..., None] - inside[:, 0], columns[..., None] - inside[:, 1]).min(-1)) <= radius + 1e-4


@pytest.mark.parametrize("hole", [spot(), spot(slice(0, 2), slice(38, 40)), spot() | spot(slice(27, 30), slice(0, 3))])
@pytest.mark.parametrize("dilate", [1, 5, 12])
def test_dilate_is_round_and_stops_at_the_border(tmp_path, hole, dilate):
    path = save(tmp_path / "m.png", hole.astype(np.uint8) * 255)
    mask = read_mask(path, SIZE, dilate=dilate)
    assert np.array_equal(mask.hole, discs(hole, dilate)) and mask.soft is None


def test_feather_fades_around_the_mask(tmp_path):
    path = save(tmp_path / "m.png", spot().astype(np.uint8) * 255)
    assert read_mask(path, SIZE).soft is None
    hole, soft = read_mask(path, SIZE, dilate=1, feather=4)
    assert soft.dtype == np.float32
    assert np.array_equal(hole, discs(spot(), 5))
    assert (soft[discs(spot(), 1)] == 1).all()
    assert (soft[~hole] == 0).all() and (soft[hole] > 0).all()
    outwards = soft[12, 29:36]  # from the last pixel of the mask to the right
    assert (np.diff(outwards[1:6]) < 0).all() and outwards[0] == outwards[1] == 1 and outwards[6] == 0


def test_refusals(tmp_path):
    empty = read_mask(save(tmp_path / "empty.png", np.zeros(SIZE[::-1], np.uint8)), SIZE, dilate=3, feather=3)
    assert not empty.hole.any() and empty.soft is None  # the caller copies the picture
    full = save(tmp_path / "full.png", np.full(SIZE[::-1], 255, np.uint8))
    small = save(tmp_path / "small.png", np.zeros((30, 41), np.uint8))
    turned = save(tmp_path / "turned.png", np.zeros(SIZE, np.uint8))
    small.write_bytes(small.read_bytes()[:45])  # the header alone: nothing that could be decoded
    text = tmp_path / "text.png"
    text.write_text("white")
    refusals = [
        (full, {}, "covers the whole picture, nothing is left to fill from.*inverted"),
        (tmp_path / "empty.png", {"invert": True}, "covers the whole picture"),
        (
            save(tmp_path / "spot.png", spot().astype(np.uint8) * 255),
            {"dilate": 60},
            "dilated and feathered, covers the whole picture",
        ),
        (small, {}, "is 41x30, the picture is 40x30: give a mask of the same size"),
        (turned, {}, r"is 30x40, the picture is 40x30 \(turned by 90 degrees it would fit\)"),
        (text, {}, "is not a picture that psal reads"),
        (tmp_path / "none.png", {}, "no such file"),
    ]
    for path, arguments, words in refusals:
        with pytest.raises(InputError, match=words) as refusal:
            read_mask(path, SIZE, **arguments)
        assert str(path) in str(refusal.value)
