"""Results of any size: which factors are taken, what is asked and what comes, the reduction itself."""

from math import prod

import numpy as np
import pytest
from PIL import Image

import psal_cli
from psal_cli import errors
from psal_cli import weights as stored
from psal_cli.image.reduction import reduced_to
from psal_cli.verbs.upscale import networks
from psal_cli.verbs.upscale.networks import network_of, networks_for, weights_of
from psal_cli.verbs.upscale.options import UpscaleOptions
from psal_cli.verbs.upscale.sizes import PASSES, factor_for, passes_of, size_wanted

from .photos import lines, psal
from .pictures import pixels_of


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, pair):
    monkeypatch.chdir(tmp_path)
    frame = (pair(128)[0][0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(frame[:24, :32]).save("in.png")


def test_factors_are_products_of_the_networks_and_twelve_is_three_then_four():
    assert sorted(PASSES) == [2, 3, 4, 6, 8, 9, 12, 16] and all(prod(x) == factor for factor, x in PASSES.items())
    assert networks_for(16) == (network_of(weights_of(4, "clean")),) * 2
    assert [x.scale for x in networks_for(12)] == [3, 4]
    assert passes_of(2) == {2: (2,), 4: (2, 2), 8: (2, 2, 2), 16: (2, 2, 2, 2)} and passes_of(8) == {8: (8,)}
    assert passes_of(20) == {20: (20,)}


@pytest.mark.parametrize(("needed", "factor"), [(1.5, 2), (2, 2), (2.01, 3), (3.5, 4), (5, 6), (7, 8), (10, 12), (15.9, 16)])
def test_the_nearest_larger_factor_is_taken(needed, factor):
    wanted = size_wanted((1000, 700), needed, UpscaleOptions())
    assert factor_for((1000, 700), wanted, PASSES, "scale") == factor


SIZES = {
    "a factor": ((101, 67), 1.5, {}, (152, 101)),
    "a width": ((101, 67), None, {"width": 333}, (333, 221)),
    "a height": ((101, 67), None, {"height": 100}, (151, 100)),
    "a box, narrower": ((101, 67), None, {"width": 200, "height": 1000}, (200, 133)),
    "a box, lower": ((101, 67), None, {"width": 1000, "height": 200}, (301, 200)),
    "a long side of one that lies": ((101, 67), None, {"long_side": 400}, (400, 265)),
    "a long side of one that stands": ((67, 101), None, {"long_side": 400}, (265, 400)),
    "megapixels": ((3000, 2000), None, {"megapixels": 24}, (6000, 4000)),
}


@pytest.mark.parametrize(("size", "scale", "options", "expected"), SIZES.values(), ids=SIZES)
def test_what_is_asked_is_what_comes(size, scale, options, expected):
    found = size_wanted(size, scale, UpscaleOptions(**options))
    assert found == expected
    factor = scale or min(new / old for new, old in zip(found, size, strict=True))
    for new, old in zip(found, size, strict=True):
        assert new <= old * max(factor, max(found) / max(size)) + 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "size", "name"),
    [
        (["-x", "1.5"], (48, 36), "in_x1.5.png"),
        (["--width", "77"], (77, 58), "in_w77.png"),
        (["--height", "50"], (67, 50), "in_h50.png"),
        (["--width", "77", "--height", "40"], (53, 40), "in_77x40.png"),
        (["--long-side", "100"], (100, 75), "in_long100.png"),
        (["--megapixels", "0.01"], (115, 87), "in_0.01mp.png"),
        (["-x", "5"], (160, 120), "in_x5.png"),
    ],
)
def test_the_command_writes_that_size_under_a_name_that_tells_it(options, size, name):
    plan = lines(psal("upscale", "in.png", *options, "--dry-run", "--json"))[0]
    done = psal("upscale", "in.png", *options, "--json", "--compare", "sheet.png")
    assert done.exit_code == 0, done.stderr
    assert pixels_of(name).shape[1::-1] == size and plan["output"] == name
    assert lines(done)[0]["scale"] == plan["scale"] == pytest.approx(max(size) / 32, abs=1e-3)
    back = np.asarray(Image.fromarray(pixels_of(name)).resize((32, 24), Image.Resampling.BOX)).astype(int)
    assert np.abs(back - pixels_of("in.png")).mean() < 5
    assert pixels_of("sheet.png").shape[1::-1] == (2 * size[0] + 8, size[1])


@pytest.mark.slow
def test_a_picture_that_is_larger_is_reduced_and_one_that_fits_is_copied():
    done = psal("upscale", "in.png", "--long-side", "16", "-o", "small.png")
    assert done.exit_code == 0 and "it was larger than asked: reduced to 16x12" in done.stderr
    np.testing.assert_array_equal(pixels_of("small.png"), reduced_to(pixels_of("in.png"), (16, 12)))
    assert psal("upscale", "in.png", "--width", "32", "-o", "same.png").exit_code == 0
    np.testing.assert_array_equal(pixels_of("same.png"), pixels_of("in.png"))


def test_what_was_typed_beats_a_default_of_another_size(tmp_path):
    (tmp_path / "a.toml").write_text("[upscale]\nscale = 3\n")
    assert psal("upscale", "in.png", "--config", "a.toml", "--width", "40").exit_code == 0
    assert pixels_of("in_w40.png").shape == (30, 40, 3)


def test_eight_by_a_network_of_two_is_three_times_that_network(monkeypatch):
    once = network_of("upscale-x2")
    found, size = networks.prepared((32, 24), 8, UpscaleOptions(weights="upscale-x2"))
    assert found == (once,) * 3 and size == (256, 192)
    found, size = networks.prepared((32, 24), None, UpscaleOptions(weights="upscale-x2", long_side=100))
    assert found == (once,) * 2 and size == (100, 75)
    assert networks.prepared((32, 24), None, UpscaleOptions(weights="upscale-x2"))[1] == (64, 48)


def test_alpha_is_reduced_with_the_colours():
    image = np.zeros((24, 32, 4), np.uint8)
    image[:, 16:] = 255
    out = psal_cli.upscale(image, 1.5).image
    assert out.shape == (36, 48, 4) and not out[:, :20, 3].any() and (out[:, 28:, 3] == 255).all()


# --------------------------------------------------------------------------------------------------------------- the reduction


def noise(height, width, channels=3):
    return np.random.default_rng(0).random((height, width, channels), np.float32)


@pytest.mark.parametrize("size", [(50, 37), (99, 20), (13, 70), (1, 1)])
def test_it_is_the_antialiased_cubic_kernel(size):
    image = noise(70, 100, 1)
    expected = np.asarray(Image.fromarray(image[..., 0]).resize(size, Image.Resampling.BICUBIC))
    np.testing.assert_allclose(reduced_to(image, size)[..., 0], expected, atol=2e-6)


def test_bands_do_not_show_and_depths_stay(monkeypatch):
    image = (noise(70, 100) * 65535).astype(np.uint16)
    whole = reduced_to(image, (61, 43))
    monkeypatch.setattr("psal_cli.image.reduction.BAND", 2000)
    np.testing.assert_array_equal(reduced_to(image, (61, 43)), whole)
    assert whole.dtype == np.uint16 and whole.shape == (43, 61, 3)
    np.testing.assert_array_equal(reduced_to(image, (100, 70)), image)
    with pytest.raises(ValueError, match="expected at most 100x70"):
        reduced_to(image, (101, 70))


def test_fine_stripes_become_grey_instead_of_coarse_ones():
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(reduced_to(stripes, (21, 64))[:, 2:-2].astype(int)) < 12


def test_a_size_out_of_reach_names_what_was_asked():
    with pytest.raises(errors.InvalidValueError) as caught:
        psal_cli.upscale(np.zeros((8, 8), np.uint8), megapixels=1)
    assert (caught.value.what, caught.value.expected) == ("megapixels", "at most 16 times")


def test_a_strength_needs_both_models(monkeypatch):
    both = stored.manifest()
    assert networks.prepared((32, 24), 2, UpscaleOptions(strength=0.5))[0] == networks.networks_for(2, "photo")
    monkeypatch.setattr(stored, "manifest", lambda: {name: both[name] for name in both if name != "upscale-x2-photo"})
    with pytest.raises(errors.InputError, match="upscale-x2-photo does not ship: leave the strength out"):
        networks.prepared((32, 24), 2, UpscaleOptions(strength=0.5))
