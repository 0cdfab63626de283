"""Pictures of floats that go beyond white and below black, in every verb: what is kept, and what is made of them."""

import numpy as np
import pytest

import psal_cli
from psal_cli.image import read_picture, write_picture
from psal_cli.image.cielab import luminance
from psal_cli.image.extended_range import compressed, expanded, limits
from psal_cli.image.picture import Picture

from .photos import lines, psal

SIZE = (48, 64)
HOLE = np.zeros(SIZE, bool)
HOLE[16:30, 20:36] = True


@pytest.fixture
def scene(pair):
    """A function: number 0 or 1 -> a video frame whose lightest pixels shine, up to a few hundred, the darkest below 0."""

    def make(number=0):
        frame = pair(64)[number][0].permute(1, 2, 0).numpy()[: SIZE[0]]
        shining = np.where(frame > 0.8, 0.8 * np.exp((frame.clip(0.8, 1) - 0.8) * 30), frame)
        return np.float32(np.where(frame < 0.1, frame - 0.1, shining))

    return make


def test_compressing_keeps_what_is_within_white_and_comes_back():
    values = np.array([-30, -0.5, 0, 0.25, 1, 1.001, 7, 65504], np.float32)
    small = compressed(values)
    np.testing.assert_array_equal(small[2:5], values[2:5])
    assert (np.diff(small) > 0).all() and small.max() < 13 and small.min() > -4
    np.testing.assert_allclose(expanded(small), values, rtol=3e-6)
    within = np.linspace(0, 1, 7, dtype=np.float32)
    assert compressed(within) is within and expanded(within) is within  # no copy
    assert limits(np.array([0, 255], np.uint8)) == (0, 1) == limits(within) and limits(values) == (-30, 65504)


@pytest.mark.parametrize("engine", ["combined", "patch", "network"])
def test_inpaint_keeps_every_bit_outside_and_fills_sensibly(engine, scene):
    picture = scene()
    spoiled = np.where(HOLE[..., None], np.float32(1e6), picture)
    filled = psal_cli.inpaint(spoiled, HOLE, engine=engine).image
    assert picture.max() > 100 and picture.min() < 0
    np.testing.assert_array_equal(filled[~HOLE].view(np.int32), picture[~HOLE].view(np.int32))
    assert np.isfinite(filled).all() and filled.max() <= picture.max()  # what lay in the hole is not copied
    # A fill of a scene within white, with the same structure, is the same but for what shines.
    usual = psal_cli.inpaint(spoiled.clip(0, 1), HOLE, engine=engine).image
    assert np.median(np.abs(filled[HOLE].clip(0, 1) - usual[HOLE])) < 0.1


def test_a_lamp_beside_a_hole_lights_none_of_it():
    """Means and gradients of raw values would spread it."""
    noise = np.random.default_rng(0).random((*SIZE, 3), np.float32) * 0.1 + 0.4
    noise[10:14, 24:30] = 5000  # six rows above the hole
    filled = psal_cli.inpaint(noise, HOLE, engine="patch").image[HOLE]
    assert np.median(filled) < 0.6 and np.quantile(filled, 0.9) < 1


def test_a_hole_in_a_sky_of_a_thousand_gets_a_thousand():
    sky = np.float32(1000) + np.random.default_rng(0).random((*SIZE, 1), np.float32) * 50
    filled = psal_cli.inpaint(sky[..., 0], HOLE, engine="patch").image[HOLE]
    assert filled.min() > 950 and filled.max() < 1100 and filled.std() > 2


def test_unblended_fills_are_copies_of_single_pixels(scene):
    picture = scene()
    result = psal_cli.inpaint(picture, HOLE, blend=False)
    np.testing.assert_array_equal(result.image[HOLE], picture[result.origins[:, 0], result.origins[:, 1]])


def test_generate_keeps_the_range_and_what_is_held(scene):
    picture, keep = scene(), ~HOLE
    made = psal_cli.generate(picture, keep=keep, method="psin", patch_size=5, levels=2).image
    np.testing.assert_array_equal(made[keep], picture[keep])
    free = psal_cli.generate(picture, method="psin", patch_size=5, levels=2).image
    for image in (made, free):
        assert image.max() > 20 and image.max() <= picture.max() * 1.001 and image.min() >= picture.min() - 1e-6


def test_reconstruct_finds_what_shines(scene):
    picture = scene()
    rebuilt = psal_cli.reconstruct(picture, picture[:, ::-1].copy(), k=1)
    rows, columns = rebuilt.field.sources[0]
    np.testing.assert_array_equal(rebuilt.image, picture[:, ::-1][rows, columns])  # k = 1: single pixels, beyond white too
    bright = picture.max(2) > 2
    assert np.median(rebuilt.image[bright] / picture[bright]) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("engine", ["psal", "paper"])
def test_colorize_keeps_the_luminance_beyond_white(engine, scene, quick_colours):
    grey = scene().mean(2)
    out = psal_cli.colorize(grey, [scene(1)], engine=engine).image
    beyond = (grey > 1) | (grey < 0)
    np.testing.assert_allclose(out[beyond], grey[beyond][:, None].repeat(3, 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(luminance(out), luminance(grey[..., None]), rtol=1e-3, atol=1e-4)
    assert np.ptp(out[~beyond], axis=1).max() > 0.05  # the others have colours


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_float_tiff_goes_through_every_verb(channels, scene, tmp_path, monkeypatch, quick_colours):
    monkeypatch.chdir(tmp_path)
    picture = scene() if channels == 3 else scene()[..., :1]
    write_picture(Picture(picture), "in.tif")
    write_picture(Picture(scene(1)), "other.tif")
    write_picture(Picture(np.uint8(255) * HOLE[..., None]), "hole.png")
    write_picture(Picture(np.float32(HOLE)[..., None]), "hole.tif")
    for name, *command in (
        ("a", "inpaint", "in.tif", "--mask", "hole.png", "--compare", "compare.png"),
        ("b", "inpaint", "in.tif", "--mask", "hole.tif"),
        ("c", "colorize", "in.tif", "--ref", "other.tif"),
        ("d", "generate", "in.tif", "--method", "psin", "--patch-size", 5),
        ("e", "reconstruct", "in.tif", "--from", "other.tif"),
    ):
        done = psal(*command, "-o", f"{name}.tif", "--json")
        assert done.exit_code == 0, done.stderr
        assert lines(done)[0]["status"] == "done"
        made = read_picture(f"{name}.tif").pixels
        assert made.dtype == np.float32 and made.shape[:2] == SIZE and made.max() > 2
    filled = read_picture("a.tif").pixels
    np.testing.assert_array_equal(filled[~HOLE].view(np.int32), picture[~HOLE].view(np.int32))
    np.testing.assert_array_equal(filled, read_picture("b.tif").pixels)  # a mask of floats is a mask
