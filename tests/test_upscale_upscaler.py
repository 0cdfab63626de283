"""Enlarging pixels and alpha: sizes, seeds, strips, devices, mostly with networks of random weights."""

from copy import deepcopy
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from psal_cli import errors
from psal_cli import weights as stored
from psal_cli.memory_fallback import RunMode, run_modes
from psal_cli.networks.csnln import CSNLN
from psal_cli.networks.residual_psal import ResidualPSAL
from psal_cli.networks.upscaling import UpscalingNetwork, reduced
from psal_cli.verbs.upscale import upscaler as module
from psal_cli.verbs.upscale.networks import network_of, networks_for, weights_of
from psal_cli.verbs.upscale.options import MODELS
from psal_cli.verbs.upscale.upscaler import Upscaler
from psal_cli.weights import manifest

ARCHITECTURES = (ResidualPSAL, UpscalingNetwork)


def network(scale, architecture=ResidualPSAL, **options):
    torch.manual_seed(scale)
    return architecture(scale, 8, 3, 1, **options).eval().requires_grad_(False)


def plain(scale):
    """One that adds nothing: the cubic kernel."""
    made = network(scale, cross=False)
    torch.nn.init.zeros_(made.tail.weight)
    torch.nn.init.zeros_(made.tail.bias)
    return made


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("scales", [(2,), (3,), (4,), (2, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_size_depth_and_channels(scales, dtype, channels, architecture):
    pixels, alpha = noise(7, 9, channels, dtype=dtype), noise(7, 9, dtype=dtype)
    out, share = Upscaler([network(scale, architecture) for scale in scales])(pixels, alpha)
    times = np.prod(scales)
    assert out.shape == (7 * times, 9 * times, channels) and share.shape == (7 * times, 9 * times)
    assert out.dtype == share.dtype == dtype


def test_sixteen_bits_are_more_than_eight():
    ramp = np.linspace(30_000, 30_400, 16).astype(np.uint16)[None, :, None].repeat(12, 0)
    out, _ = Upscaler([plain(4)])(ramp)
    assert len(np.unique(out)) > 40 and abs(int(out[0, 32, 0]) - 30_200) < 20


def test_grey_is_that_of_equal_channels():
    pixels = noise(9, 11, 1) // 4 + 96  # far from black and white, to which channels are clipped
    made = network(2)
    grey, _ = Upscaler([made])(pixels)
    colours, _ = Upscaler([made])(pixels.repeat(3, 2))
    assert np.abs(grey[..., 0] - colours.mean(2)).max() <= 1


def test_alpha_that_is_flat_stays_exactly_so_and_edges_are_enlarged():
    alpha = np.zeros((24, 30), np.uint8)
    alpha[:, 15:] = 255
    _, out = Upscaler([network(2)])(noise(24, 30, 3), alpha)
    assert not out[:, :24].any() and (out[:, 36:] == 255).all()
    assert 0 < out[:, 24:36].mean() < 255


def test_what_is_under_full_transparency_does_not_show():
    alpha = np.full((20, 20), 255, np.uint8)
    alpha[:8] = 0
    first, second = noise(20, 20, 3), noise(20, 20, 3)
    second[:8] = 255 - second[:8]
    made = Upscaler([network(2)])
    a, b = (made(pixels, alpha)[0] for pixels in (first, second))
    np.testing.assert_array_equal(a, b)
    for height, width, hidden in ((20, 20, 8), (1, 40, 20), (400, 16, 300), (100, 6, 40)):
        edge, alpha = np.full((height, width, 3), 200, np.uint8), np.full((height, width), 255, np.uint8)
        part = np.s_[:, :hidden] if width > height else np.s_[:hidden]
        edge[part] = alpha[part] = 0
        out, _ = Upscaler([plain(2)])(edge, alpha)
        assert (out == 200).all()  # no dark rim


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_seed_counts_and_threads_do_not(architecture):
    pixels = noise(40, 44, 3)
    made = network(2, architecture, k=1, iterations=1)
    threads = torch.get_num_threads()
    try:
        results = []
        for seed, count in ((0, 1), (0, 2), (7, 2)):
            torch.set_num_threads(count)
            results.append(Upscaler([made], seed=seed, largest=600)(pixels)[0])
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).any()


def test_the_mean_of_eight_is_the_same_for_a_turned_picture():
    """Of the ways a picture can be turned and mirrored none is preferred; full attention, for a search has a seed."""
    pixels = noise(12, 16, 3)
    made = Upscaler([network(2, attention="full")], ensemble=True)
    expected = made(pixels)[0].astype(int)
    for turned in (lambda x: x[::-1], lambda x: x.swapaxes(0, 1), lambda x: np.rot90(x)):
        assert np.abs(made(np.ascontiguousarray(turned(pixels)))[0] - turned(expected)).max() <= 1
    alone = Upscaler(made.networks)
    assert np.abs(alone(pixels[::-1])[0][::-1].astype(int) - alone(pixels)[0]).max() > 1


def test_strips_are_told_one_by_one():
    told, networks = [], [network(2), network(3)]
    Upscaler(networks, largest=16 * 20)(noise(40, 16, 3), None, lambda share, text: told.append((share, text)))
    shares = np.array([share for share, _ in told])
    assert {text for _, text in told} == {"96x240"}
    assert shares[0] == 0 and (np.diff(shares) >= 0).all() and shares[-1] == pytest.approx(1, abs=0.02)
    assert len(set(shares)) > 2 * 10  # 40 rows by 20, then 80 of twice the width by 10, and inside these
    assert not any(layer._forward_hooks for each in networks for layer in each.modules())


class Short(UpscalingNetwork):
    """Has memory for so many rows at a time only, on a device."""

    most = 20

    def parts(self, image, rows):
        if rows > self.most:
            raise torch.OutOfMemoryError
        assert image.shape[2] >= image.shape[3]  # strips are short
        yield from super().parts(image, rows)


def test_short_memory_of_a_device_is_logged_and_smaller_strips_are_tried(monkeypatch, caplog):
    monkeypatch.setattr(module, "FEWEST", 320)
    made = Short(2, 8, 3, 1).eval()
    upscaler = Upscaler([made], largest=1000)
    upscaler.modes = [RunMode("cpu", False, 1000), RunMode("cpu", False, 640), RunMode("cpu", False, 320)]
    pixels = noise(40, 16, 3)
    np.testing.assert_array_equal(upscaler(pixels)[0], Upscaler([made], largest=320)(pixels)[0])
    assert len(caplog.messages) == 2 and "320 pixels at a time" in caplog.messages[1]
    upscaler.networks[0].most = 1
    with pytest.raises(torch.OutOfMemoryError):
        upscaler(pixels)


@pytest.mark.parametrize("largest", [module.LARGEST, 4096])
def test_a_gpu_has_ways_to_fall_back_to_each_no_larger(largest):
    modes = Upscaler([plain(2)], "cuda:1", largest=largest).modes
    assert [(mode.device, mode.half) for mode in modes] == [("cuda:1", False), ("cuda:1", True), ("cuda:1", True), ("cpu", False)]
    assert modes[2].largest == min(largest, module.FEWEST) and all(mode.largest <= largest for mode in modes)
    assert run_modes("cpu", 7, 3) == [RunMode("cpu", False, 7)]


def test_half_precision_gives_about_the_same_picture():
    pixels = noise(20, 24, 3) // 2 + 64
    for made in (network(2), CSNLN(2, 8, 1).eval().requires_grad_(False)):
        whole = Upscaler([made])
        half = Upscaler([made])
        half.modes = [RunMode("cpu", True, module.LARGEST)]
        assert np.median(np.abs(half(pixels)[0].astype(int) - whole(pixels)[0])) <= 1


def test_a_wide_picture_is_a_tall_one_that_lies():
    pixels = noise(10, 60, 3)
    made = network(2)
    np.testing.assert_array_equal(Upscaler([made])(pixels)[0].swapaxes(0, 1), Upscaler([made])(pixels.swapaxes(0, 1))[0])


def test_sides_that_the_search_cannot_count_are_refused():
    for networks, side in (((network(2),), 65_535), ((network(2), network(4)), 40_000)):
        with pytest.raises(errors.InputError, match="to be enlarged: cut it in parts"):
            Upscaler(networks)(np.zeros((1, side, 1), np.uint8))


@pytest.mark.parametrize(("scale", "depth"), [(2, 3), (3, 2), (4, 1)])
def test_published_checkpoints_load_by_their_shapes(tmp_path, scale, depth):
    torch.manual_seed(0)
    made = CSNLN(scale, 8, depth).eval()
    torch.save(made.state_dict(), tmp_path / "model.pt")
    loaded = network_of(str(tmp_path / "model.pt"), scale)
    assert (loaded.scale, loaded.depth, loaded.white) == (scale, depth, 1)
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), made(image), atol=1e-6, rtol=0)


@pytest.mark.parametrize("cross", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_of_psals_own_load_by_their_shapes(tmp_path, architecture, cross):
    made = network(3, architecture, cross=cross)
    torch.save(made.state_dict(), tmp_path / "model.pt")
    loaded = network_of(str(tmp_path / "model.pt"), 3)
    assert type(loaded) is architecture and (loaded.scale, len(loaded.body), loaded.cross is not None) == (3, 3, cross)
    loaded.before = made.before  # of which the shapes do not tell
    image = torch.rand(1, 3, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), made(image), atol=1e-3, rtol=0)  # what is kept is rounded to float16


def test_the_field_leads_to_the_picture_reduced_by_two():
    made = Upscaler([network(4)])
    made(noise(20, 26, 3))
    assert made.field.sources.shape == (1, 2, 20, 26) and made.field.source_size == ((10, 13),)
    plain_trunk = Upscaler([network(4, cross=False)])
    plain_trunk(noise(20, 26, 3))
    assert plain_trunk.field is None


def test_weights_of_the_range_255_mean_the_same(tmp_path):
    """A network whose mean colour is that of 0 to 255 is given such values, and its result is divided."""
    torch.manual_seed(0)
    made = CSNLN(2, 8, 1).eval()
    state = made.state_dict()
    for name in ("sub_mean.bias", "add_mean.bias"):
        state[name] = state[name] * 255
    torch.save(state, tmp_path / "wide.pt")
    loaded = network_of(str(tmp_path / "wide.pt"), 2)
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        made.white = 255.0
        made.load_state_dict(state)
        torch.testing.assert_close(loaded(image), made(image))
        assert loaded(image).abs().max() < 10


REFUSED = {
    "of another scale": (lambda: CSNLN(3, 8, 1).state_dict(), "scale is 2, expected 3, by which"),
    "of psal's own, of another scale": (lambda: network(4).state_dict(), "scale is 2, expected 4, by which"),
    "of another network": (lambda: torch.nn.Linear(2, 2).state_dict(), "is not a network that psal or spandrel knows"),
    "half of it": (lambda: {"SEM.down_sample_1.0.weight": torch.zeros(8, 8, 6, 6)}, "is not a network for super-resolution"),
}


@pytest.mark.parametrize(("state", "message"), REFUSED.values(), ids=REFUSED)
def test_weights_that_do_not_fit_are_refused(tmp_path, state, message):
    torch.save(state(), tmp_path / "odd.pt")
    with pytest.raises(errors.InputError, match=message):
        network_of(str(tmp_path / "odd.pt"), 2)


def test_eight_is_two_then_four_and_the_second_sees_a_clean_picture():
    first, second = networks_for(8, "photo")
    assert first is network_of(weights_of(2, "photo"), 2, "psal") and second is network_of(weights_of(4, "clean"), 4, "psal")


def test_six_networks_ship_each_with_its_attention_and_small():
    names = [name for name in manifest() if name.startswith("upscale-")]
    assert sorted(names) == sorted(weights_of(scale, model) for scale in (2, 3, 4) for model in MODELS)
    for name in names:
        state, recipe = stored.resolve(name)
        assert (stored.FOLDER / manifest()[name]["file"]).stat().st_size <= 15_000_000
        assert recipe["degraded"] == name.endswith("-photo") and any(key.startswith("cross.") for key in state)


def small_and_truth(pair, scale, quality=None):
    """A video frame reduced, as JPEG of a quality leaves it, and the frame."""
    truth = (pair(192)[0][0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    image = reduced(torch.from_numpy(truth).permute(2, 0, 1)[None].float(), scale)
    small = image[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    if quality:
        Image.fromarray(small).save(file := BytesIO(), "JPEG", quality=quality)
        small = np.asarray(Image.open(file))
    return small, truth


def error(network, small, truth):
    return float(np.square(Upscaler([network])(small)[0].astype(float) - truth).mean())


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_what_ships_is_better_than_the_cubic_kernel_and_keeps_what_is_constant(model, scale, pair):
    made = network_of(weights_of(scale, model), scale)
    small, truth = small_and_truth(pair, scale)
    assert error(made, small, truth) < (0.97 if model == "photo" else 0.9) * error(plain(scale), small, truth)
    grey = np.full((24, 24, 3), 90, np.uint8)
    assert np.abs(Upscaler([made])(grey)[0].astype(int) - 90).max() <= 1
    without = deepcopy(made)
    without.cross = None
    assert not np.array_equal(Upscaler([made])(small)[0], Upscaler([without])(small)[0])


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_compressed_picture_is_not_made_worse_by_the_model_for_photographs(scale, pair):
    small, truth = small_and_truth(pair, scale, 50)
    clean, photo = (error(network_of(weights_of(scale, model), scale), small, truth) for model in MODELS)
    assert photo < 0.97 * clean and photo < 0.97 * error(plain(scale), small, truth)
