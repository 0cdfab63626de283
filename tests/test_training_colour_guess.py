"""The recipe of the network that guesses colours: its grid, its loss, its crops."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from psal_cli.networks.colour_guess import COLOURS, ColourGuessNetwork, colours, shares
from psal_cli.training import colour_guess
from psal_cli.training.photographs import EVERY
from psal_cli.training.precision import Setting
from psal_cli.training.scene_crops import FAR, SceneCrops


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with scenes, each of one colour that tells its number, and one that the bench measures by."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    folder.mkdir()
    for number in range(EVERY + 2):
        colour = (200, 10 * number + 10, 30)
        Image.new("RGB", (90, 80), colour).save(folder / f"{number + 5000}.webp", lossless=True)
    Image.new("RGB", (90, 80), (0, 0, 255)).save(folder / "0003.webp", lossless=True)
    return folder.parent


def sources(crops, numbers):
    return {round(np.median(crops.crop(number)[..., 1]) / 10) - 1 for number in numbers}


def test_held_out_and_measured_scenes_are_not_learned(data):
    crops = SceneCrops(data, 32, 0)
    training, validation = sources(crops, range(150)), sources(crops, range(FAR, FAR + 10))
    assert validation == {0, EVERY} and training == set(range(EVERY + 2)) - validation  # of the measured one it would be -1
    np.testing.assert_array_equal(crops.crop(5), SceneCrops(data, 32, 0).crop(5))


def test_shares_of_the_grid_have_the_chroma_as_their_mean():
    chroma = torch.rand(2, 2, 5, 6, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.6
    share = shares(chroma)
    assert share.shape == (2, COLOURS, 5, 6)
    torch.testing.assert_close(share.sum(1), torch.ones(2, 5, 6))
    torch.testing.assert_close(torch.einsum("bnhw,nc->bchw", share, colours()), chroma)


def test_rare_colours_count_more():
    weight = torch.ones(COLOURS)
    chroma = torch.zeros(1, 2, 1, 4)
    chroma[..., 3] = 0.3
    logits = torch.zeros(1, COLOURS, 1, 4)
    logits[:, COLOURS // 2] = 5.0  # grey everywhere
    even = colour_guess.cross_entropy(logits, chroma, weight)
    weight[shares(chroma)[0, :, 0, 3] > 0] = 10
    assert colour_guess.cross_entropy(logits, chroma, weight) > 2 * even


def test_pictures_are_aged_each_in_its_own_way():
    light = torch.full((4, 1, 40, 40), 0.5)
    aged = colour_guess.aged(light, torch.Generator().manual_seed(0))
    means, noise = aged.mean((1, 2, 3)), aged.std((1, 2, 3))
    assert means.unique().numel() == 4 and (means - 0.5).abs().max() < 0.16  # 0.5^1.5 = 0.35
    assert noise.unique().numel() == 4 and noise.max() < 0.035


def test_the_network_is_small_and_looks_at_a_quarter_of_the_size():
    network = ColourGuessNetwork()
    assert network(torch.rand(1, 1, 48, 62)).shape == (1, COLOURS, 12, 16)
    assert sum(x.numel() for x in network.state_dict().values()) * 2 < 3e6  # bytes, as float16


@pytest.mark.slow
def test_the_recipe_learns_the_colour_of_pictures_that_have_one(data, tmp_path, monkeypatch):
    for name, value in (("SIDE", 32), ("COUNTED", 4), ("HELD_OUT", 2)):
        monkeypatch.setattr(colour_guess, name, value)
    monkeypatch.setattr(colour_guess.precision, "fastest", lambda *_: Setting("float32", channels_last=False))
    options = ["--data", data, "--output", tmp_path, "--batch", 2, "--steps", 60, "--rate", 3e-3]
    done = CliRunner().invoke(colour_guess.main, list(map(str, options)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    state = torch.load(tmp_path / "colour_guess.pt", weights_only=True)
    network = ColourGuessNetwork()
    network.load_state_dict(state["model"])
    guess = colours()[network(torch.full((1, 1, 32, 32), 0.5))[0].argmax(0)]
    assert state["step"] == 60 and (guess[..., 0] > 0.2).float().mean() > 0.9  # they are red, orange or yellow
