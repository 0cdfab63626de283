"""Colours guessed without a reference: where they come from, what overrules them, that they are called guesses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import psal_cli
from psal_cli.errors import InvalidValueError
from psal_cli.image.cielab import lab
from psal_cli.networks.colour_guess import COLOURS, colours
from psal_cli.verbs.colorize import guess
from psal_cli.verbs.colorize.coarse_to_fine import guessed
from psal_cli.verbs.colorize.matching import atlas_of

from .photos import lines, psal

EXAMPLES = Path(__file__).parents[1] / "examples"
SIZE = (48, 80)
RED, BLUE = (0.5, 0.3), (0.1, -0.5)


def cell(colour):
    """The number of a colour of the grid."""
    return int((colours() - torch.tensor(colour)).square().sum(1).argmin())


class Halves(nn.Module):
    """Sees red on the left, and on the right either red or blue with equal shares."""

    weight = torch.ones(COLOURS)

    def forward(self, light):
        height, width = ((side + 3) // 4 for side in light.shape[2:])
        logits = torch.full((1, COLOURS, height, width), -1e4)
        logits[:, cell(RED)] = 0
        logits[:, cell(BLUE), :, width // 2 :] = 0
        return logits


@pytest.fixture
def halves(monkeypatch):
    monkeypatch.setattr(guess, "network", lambda device: Halves())


@pytest.fixture
def grey():
    return np.tile(np.linspace(90, 160, SIZE[1]).astype(np.uint8), (SIZE[0], 1))


def test_colours_are_the_mean_of_the_distribution(halves, grey):
    estimate = guessed(grey[..., None])
    middle = estimate.chroma.shape[1] // 2
    assert np.abs(estimate.chroma[:, : middle - 40] - RED).max() < 2e-3
    assert np.abs(estimate.chroma[:, middle + 40 :] - np.mean([RED, BLUE], 0)).max() < 2e-3
    assert estimate.chroma.shape[:2] == estimate.light.shape and not estimate.confidence.any()


@pytest.mark.parametrize("counted", [1.0, 4.0])
def test_a_colour_that_is_likelier_counts_more_and_one_that_counted_more_in_training_less(counted, grey, monkeypatch):
    class Uneven(Halves):
        def forward(self, light):
            logits = torch.full((1, COLOURS, 48, 80), -1e4)
            logits[:, cell(RED)], logits[:, cell(BLUE)] = 0, 1
            return logits

    network = Uneven()
    network.weight = network.weight.clone()
    network.weight[cell(BLUE)] = counted
    monkeypatch.setattr(guess, "network", lambda device: network)
    odds = np.exp((1 - guess.UNDONE * np.log(counted)) / guess.TEMPERATURE)
    right = (odds * np.array(BLUE) + np.array(RED)) / (1 + odds)
    np.testing.assert_allclose(guessed(grey[..., None]).chroma[100, 100], right, atol=2e-3)


def test_hints_overrule_a_guess_up_to_an_edge(halves, grey):
    picture = grey.copy()
    picture[:, 30:] += 60
    hints = np.zeros((*SIZE, 4), np.uint8)
    hints[20:26, 8:16] = (40, 70, 220, 255)
    result = psal_cli.colorize(picture, hints=hints, auto=True)
    chroma = lab(result.image)[..., 1:]
    assert chroma[:, :20, 1].max() < 0 < chroma[:, 34:38, 1].min()  # blue, then red as guessed
    assert result.overruled == 0 and result.field is None


def test_the_deviation_of_a_guess_tells_how_much_colours_differ(halves, grey):
    deviation = guess.colour_guess(grey.astype(np.float32) / 255).chroma[..., 2]
    middle = deviation.shape[1] // 2
    assert deviation[:, :middle].max() < 1e-3
    spread = np.linalg.norm(np.subtract(RED, BLUE)) / 2
    np.testing.assert_allclose(deviation[:, middle:], spread, atol=2e-3)


def test_the_misfit_is_the_error_of_guesses_on_what_references_lend(halves):
    """Where nothing is lent, there are colours that would count."""
    colours = np.full((48, 64, 3), 0.5, np.float32)
    colours[..., 1:] = RED
    colours[:, 24:, 1] += 0.2
    lent = np.zeros((48, 64), bool)
    lent[:, :16] = True
    assert guess.misfit(atlas_of([(colours, lent)])) == pytest.approx(0, abs=2e-3)
    lent[:, 24:28] = True
    assert guess.misfit(atlas_of([(colours, lent)])) == pytest.approx(0.1 * 4 / 20, abs=2e-3)
    other = np.full((32, 48, 3), 0.5, np.float32)
    other[..., 1:] = RED
    other[..., 2] += 0.4
    both = guess.misfit(atlas_of([(colours, lent), (other, np.arange(48) < 8 + np.zeros((32, 1)))]))
    assert both == pytest.approx((0.1 * 4 * 48 + 0.2 * 8 * 32) / (20 * 48 + 8 * 32), abs=2e-3)


def test_references_of_another_scene_leave_the_colours_to_the_guess():
    """The shipped networks: noise in red tells nothing of a pagoda."""
    picture = np.asarray(Image.open(EXAMPLES / "pagoda.jpg").convert("RGB").resize((224, 160)))
    noise = np.random.default_rng(0).integers(60, 200, (160, 224, 1), np.uint8)
    stranger = np.concatenate([noise, noise // 4, noise // 4], 2)
    alone, beside = (lab(psal_cli.colorize(picture, *given, auto=True).image)[..., 1:] for given in ((), ([stranger],)))
    right = lab(psal_cli.colorize(picture, [picture]).image)[..., 1:]
    red = lab(stranger)[..., 1:].mean((0, 1))
    assert np.linalg.norm(beside - alone, axis=2).mean() < 0.5 * np.linalg.norm(beside - red, axis=2).mean()
    assert np.abs(right - lab(picture)[..., 1:]).mean() < 0.02  # and a reference that fits is believed


def test_any_number_of_threads_guesses_the_same():
    grey = np.asarray(Image.open(EXAMPLES / "interior_grey.jpg").convert("L"))
    threads = torch.get_num_threads()
    try:
        made = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            made.append(guessed(grey[..., None]).chroma)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


def test_engine_paper_does_not_guess(grey):
    with pytest.raises(InvalidValueError, match='auto is True, expected engine "psal" with it'):
        psal_cli.colorize(grey, auto=True, engine="paper")


def test_the_command_says_that_it_guesses(tmp_path, monkeypatch, halves, grey):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(grey).save("grey.png")
    done = psal("colorize", "grey.png", "--auto", "--json", "-o", "out.png")
    assert done.exit_code == 0 and lines(done)[0]["guessed"] == 1
    assert "grey.png: the colours of 100% of it are guesses" in done.stderr
    np.testing.assert_array_equal(np.asarray(Image.open("out.png")), psal_cli.colorize(grey, auto=True).image)
