"""Holes and pictures at the edges of what is allowed: nearly nothing known, many holes, hairlines, 16 bits, transparency."""

import numpy as np
import pytest
from PIL import Image

from psal_cli import inpaint
from psal_cli.verbs.inpaint.transparency import covered

from .photos import psal

ENGINES = pytest.mark.parametrize("engine", ["combined", "patch"])


def ramp(height, width, dtype=np.uint16):
    """[H, W, 3]: a gradient in both directions that repeats nowhere along a row or a column."""
    rows, columns = np.mgrid[:height, :width]
    values = 0.2 + 0.3 * rows / height + 0.3 * columns / width
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    return np.repeat((values * white)[..., None], 3, 2).astype(dtype)


def hole_of(shape, *boxes):
    mask = np.zeros(shape[:2], bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def filled(pixels, mask, **options):
    """[H, W, C] float32, the picture filled; checks that all else is as it was."""
    image = inpaint(pixels, mask, **options).image
    assert image.dtype == pixels.dtype and np.array_equal(image[~mask], pixels[~mask])
    return image / np.float32(1 if pixels.dtype == np.float32 else np.iinfo(pixels.dtype).max)


@pytest.mark.slow
@ENGINES
def test_a_hole_that_touches_three_borders_goes_on_with_what_is_known(engine):
    pixels = ramp(120, 160)
    mask = hole_of(pixels.shape, (0, 40, 0, 160))
    image = filled(pixels, mask, engine=engine)
    assert np.abs(np.diff(image, axis=0)[:41]).max() < 0.03  # no seam, neither inside nor at the hole's edge
    assert np.abs(image[mask] - pixels[mask] / 65535).max() < 0.15


@pytest.mark.slow
@ENGINES
def test_a_hole_of_nine_tenths_is_filled_without_seams(engine):
    pixels = ramp(200, 260)
    mask = hole_of(pixels.shape, (5, 195, 7, 253))
    assert mask.mean() > 0.89
    image = filled(pixels, mask, engine=engine)
    assert max(np.abs(np.diff(image, axis=axis)).max() for axis in (0, 1)) < 0.03
    assert np.abs(image[mask] - pixels[mask] / 65535).max() < 0.15


@pytest.mark.slow
def test_five_hundred_holes_are_each_filled_from_around_them():
    rows, columns = np.mgrid[:600, :800]
    waves = [128 + 100 * np.sin(columns / 40), 128 + 100 * np.sin(rows / 30), 100 + 0 * rows]
    pixels = np.stack(waves, 2).round().astype(np.uint8)
    places = [divmod(number, 25) for number in range(500)]
    mask = hole_of(pixels.shape, *((10 + 28 * r, 14 + 28 * r + r % 5, 10 + 30 * c, 15 + 30 * c) for r, c in places))
    image = filled(pixels, mask)
    assert np.abs(image[mask] * 255 - pixels[mask]).max() < 10


@pytest.mark.slow
def test_hairlines_across_a_large_picture_go():
    """Two scratches of a pixel, upright and slanting: what is left of them is less than the picture's own texture."""
    height, width = 1200, 1800
    rng = np.random.default_rng(0)
    pixels = (ramp(height, width, np.float32) * 255 + rng.normal(0, 4, (height, width, 1))).clip(0, 255).astype(np.uint8)
    mask = hole_of(pixels.shape, (50, 1150, 900, 901))
    along = np.arange(100, 1700)
    mask[100 + along // 2, along] = True
    torn = np.where(mask[..., None], np.uint8(255), pixels)
    image = filled(torn, mask) * 255
    error = image[mask] - pixels[mask]
    assert np.abs(error.mean(0)).max() < 1 and error.std() < 8  # noise of 4 beside noise of 4


@ENGINES
def test_a_gradient_of_16_bits_has_no_bands(engine):
    """Its steps, of 75 of 65535 levels, are too fine for 8 bits: none is flattened and none is doubled."""
    pixels = ramp(200, 260)
    mask = hole_of(pixels.shape, (60, 140, 70, 190))
    image = filled(pixels, mask, engine=engine)
    for axis in (0, 1):
        steps = np.diff(np.rint(image[50:150, 60:200, 0] * 65535), axis=axis)
        true = np.diff(pixels[50:150, 60:200, 0].astype(float), axis=axis)
        assert np.abs(steps - true).max() < 0.2 * true.mean()


def test_origin_says_where_the_texture_of_a_joined_fill_comes_from():
    """Joining changes the light of the copies, smoothly, and nothing of where they are from."""
    pixels = np.random.default_rng(0).random((96, 128, 3)).astype(np.float32) * 0.2 + ramp(96, 128, np.float32)
    mask = hole_of(pixels.shape, (30, 60, 40, 80))
    joined, copies = (inpaint(pixels, mask, blend=blend) for blend in (True, False))
    assert np.array_equal(joined.origins, copies.origins) and (joined.image != copies.image).any()
    assert np.corrcoef(joined.image[mask].flatten(), copies.image[mask].flatten())[0, 1] > 0.9


def test_one_patch_suffices_as_a_source():
    pixels = np.random.default_rng(0).random((128, 160, 3)).astype(np.float32)
    mask, source = hole_of(pixels.shape, (60, 100, 80, 120)), hole_of(pixels.shape, (50, 57, 20, 27))
    result = inpaint(pixels, mask, source_mask=source, blend=False)
    row, column = result.origins.T
    assert source[row, column].all() and np.array_equal(result.image[mask], pixels[row, column])
    changed = pixels.copy()
    changed[50:57, 27] = 0  # beside the patch, not beside the hole: no step into it may count
    first, second = (inpaint(x, mask, source_mask=source).image[mask] for x in (pixels, changed))
    assert np.array_equal(first, second)


def test_transparent_colours_leave_no_fringe_at_an_alpha_edge(tmp_path):
    """A light layer ends in the middle of the picture, and of the hole; beyond it the pixels are black and cannot be seen."""
    pixels = np.zeros((80, 120, 4), np.uint8)
    pixels[:, :60] = 200, 190, 180, 255
    pixels[:, :60, :3] += np.random.default_rng(0).integers(0, 20, (80, 60, 3), np.uint8)
    mask = hole_of(pixels.shape, (30, 50, 40, 75))
    Image.fromarray(pixels).save(tmp_path / "layer.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    arguments = ["inpaint", tmp_path / "layer.png", "--mask", tmp_path / "mask.png", "-o", tmp_path / "out.png"]
    done = psal(*arguments)
    assert done.exit_code == 0, done.output
    out = np.array(Image.open(tmp_path / "out.png"))
    assert np.array_equal(out[~mask], pixels[~mask]) and np.array_equal(out[..., 3], pixels[..., 3])
    shown = mask & (pixels[..., 3] > 0)
    assert out[shown][:, :3].min() > 160


def test_only_what_is_hidden_near_a_hole_is_covered():
    pixels, visible = np.full((300, 300, 3), 7, np.uint8), np.ones((300, 300), bool)
    visible[:, 150:] = False
    pixels[:, 150:] = 99
    mask = hole_of(pixels.shape, (10, 30, 130, 160))
    out = covered(pixels, visible, mask)
    assert (out[:94, 160:224] == 7).all() and (out[100:, 150:] == 99).all() and (out[mask] == pixels[mask]).all()
    assert covered(pixels, np.ones_like(visible), mask) is pixels
