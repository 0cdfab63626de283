"""The recipe of the guide of `psal inpaint`: its crops, its synthetic scenes, its expected error of copying."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image

from psal_cli.networks.learned_copying import RADIUS, CopyingNetwork
from psal_cli.training import learned_copying, precision, synthetic
from psal_cli.training.inpainting_crops import FAR, Crops
from psal_cli.training.learned_copying import copy_errors, likelihood
from psal_cli.training.photographs import EVERY


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with photographs and scenes, each of one colour, which tells its number: red of photographs, blue of scenes."""
    folder = tmp_path_factory.mktemp("data")
    for name, channel in (("photos", 0), ("scenes", 2)):
        (folder / name).mkdir()
        for number in range(EVERY + 2):
            picture = np.zeros((420, 500, 3), np.uint8)
            picture[..., channel], picture[..., 1] = 10 + 10 * number, 100
            Image.fromarray(picture).save(folder / name / f"{number:02}.webp", lossless=True)
    return folder


def sources(crops, numbers):
    """(folder, number) of what crops are of."""
    names = set()
    for number in numbers:
        red, _, blue = np.median(crops.crop(number)[0], (0, 1)).astype(int)
        names.add(("photos", red // 10 - 1) if red else ("scenes", blue // 10 - 1))
    return names


def test_photographs_and_scenes_that_are_held_out_only_validate(data):
    crops = Crops(data, 64, 0, synthetic=0.0)
    training, validation = sources(crops, range(200)), sources(crops, range(FAR, FAR + 100))
    assert validation == {(folder, number) for folder in ("photos", "scenes") for number in (0, EVERY)}
    assert not training & validation and len(training) == 2 * EVERY


def test_a_number_always_gives_the_same_crop_and_hole(data):
    crops, again, other = (Crops(data, 64, seed) for seed in (0, 0, 1))
    for number in (0, 1, 2, FAR + 1):
        for first, two in zip(crops.crop(number), again.crop(number), strict=True):
            np.testing.assert_array_equal(first, two)
    assert any(not np.array_equal(crops.crop(n)[1], other.crop(n)[1]) for n in range(3))
    assert np.array_equal(crops.crop(FAR)[1], other.crop(FAR)[1])  # all runs are validated alike


@pytest.mark.slow
def test_so_large_a_share_of_the_crops_is_synthetic(data):
    """The photographs are flat, so what has edges is synthetic."""
    crops = Crops(data, 48, 0, synthetic=0.4)
    edges = [np.ptp(crops.crop(number)[0], (0, 1)).max() > 20 for number in range(200)]
    assert 0.3 < np.mean(edges) < 0.5
    assert not any(np.ptp(crops.crop(FAR + number)[0], (0, 1)).max() > 20 for number in range(40))


@pytest.mark.parametrize("kind", ["_leaves", "_planes", "_perspective"])
def test_synthetic_scenes_have_straight_or_round_edges_in_colours_of_photographs(kind, monkeypatch):
    """Between edges the scenes are as flat as the photographs that fill them."""
    monkeypatch.setattr(synthetic, "GRADIENT", 0.0)
    photograph = np.full((64, 64, 3), (200, 120, 40), np.uint8)
    shares = []
    for seed in range(12):
        scene = getattr(synthetic, kind)(np.random.default_rng(seed), 128, lambda: photograph)
        assert scene.shape == (128, 128, 3) and scene.dtype == np.uint8
        shares.append((np.abs(np.diff(scene.astype(int), axis=1)).max(2) > 8).mean())
    assert 0 < np.median(shares) < 0.2


def pattern(seed=0):
    """A picture of 16 colours in blocks, in which a hole hides some."""
    colours = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    truth = colours.repeat_interleave(12, 2).repeat_interleave(12, 3).repeat(1, 1, 2, 2)
    mask = torch.zeros(1, 1, 96, 96)
    mask[..., 20:60, 20:60] = 1
    return truth, mask


def test_features_that_tell_nothing_choose_at_random_and_the_truth_chooses_itself():
    truth, mask = pattern()
    random = np.random.default_rng(0)
    ((nothing, at_random),) = copy_errors(torch.zeros(1, 4, 96, 96), truth, mask, random)
    torch.testing.assert_close(nothing, at_random)
    ((best, at_random),) = copy_errors(1000 * truth, truth, mask, np.random.default_rng(0), keys=10_000)
    assert best < 0.25 * at_random


@pytest.mark.slow
def test_only_known_patches_are_copied_and_only_hidden_ones_are_wanted(monkeypatch):
    """What is known is black and what is hidden is white, so an error is what of the patch around a hidden pixel is white."""
    monkeypatch.setattr(learned_copying, "TEXTURE", 0.0)
    _, mask = pattern()
    places = {"keys": 10_000, "queries": 10_000}
    ((error, _),) = copy_errors(torch.zeros(1, 1, 96, 96), mask.repeat(1, 3, 1, 1), mask, np.random.default_rng(0), **places)
    white = 49 * F.avg_pool2d(mask, 7, 1, 3)[mask > 0]
    torch.testing.assert_close(error, (3 * white / (5 * 49) + 1e-5).sqrt().mean())


def test_a_hedge_between_two_sources_costs_what_both_do():
    """The error is expected over the choice: the mean of two wrong sources is not better than either."""
    truth, mask = torch.full((1, 3, 32, 32), 0.5), torch.zeros(1, 1, 32, 32)
    mask[..., 12:20, 12:20] = 1
    truth[..., :8], truth[..., 24:] = 0.0, 1.0  # half of the sources too dark, half too bright by as much
    ((error, _),) = copy_errors(torch.zeros(1, 1, 32, 32), truth, mask, np.random.default_rng(0))
    assert error > 0.2


def test_a_smooth_source_costs_more_than_another_patch_of_the_texture():
    generator = torch.Generator().manual_seed(0)
    truth, mask = 0.5 + 0.2 * (torch.rand(1, 3, 48, 96, generator=generator) - 0.5), torch.zeros(1, 1, 48, 96)
    truth[..., 64:] = 0.5
    mask[..., 16:32, 24:40] = 1
    errors = []
    for textured in (1.0, 0.0):  # what is left or what is right of the picture is as the hole
        features = torch.zeros(1, 1, 48, 96)
        features[..., :64] = 100
        features[mask > 0] = 100 * textured
        ((error, _),) = copy_errors(features, truth, mask, np.random.default_rng(0))
        errors.append(error)
    assert errors[0] < errors[1]


def test_the_likelihood_is_that_of_a_laplace_distribution():
    truth, mask = torch.zeros(1, 3, 4, 4), torch.ones(1, 1, 4, 4)
    mask[..., 2:] = 0
    expected = torch.full((1, 3, 4, 4), 0.2)
    expected[..., 2:] = 9.0  # outside the hole
    scales = [float(likelihood(expected, torch.full((1, 1, 4, 4), np.log(b)), truth, mask)) for b in (0.1, 0.2, 0.4)]
    np.testing.assert_allclose(scales, [0.2 / b + np.log(b) for b in (0.1, 0.2, 0.4)], rtol=1e-5)
    assert min(scales) == scales[1]  # the scale that is as large as the error


def test_what_is_in_the_hole_is_not_seen():
    torch.manual_seed(0)
    network, (truth, mask) = CopyingNetwork((8, 8, 8)).eval(), pattern()
    other = torch.where(mask > 0, torch.rand_like(truth), truth)
    with torch.no_grad():
        for first, two in zip(network(truth, mask), network(other, mask), strict=True):
            assert torch.equal(first, two)


def test_features_are_bounded_and_keep_their_direction():
    """Training once made them grow until every choice was certain, and nothing was left to learn from."""
    torch.manual_seed(0)
    network, (truth, mask) = CopyingNetwork((8, 8)).eval(), pattern()
    with torch.no_grad():
        features = []
        for scale in (1.0, 1e6):
            network.matched.weight.mul_(scale), network.matched.bias.mul_(scale)
            features.append(network(truth, mask)[2])
    assert features[1].norm(dim=1).max() < RADIUS * (1 + 1e-5)
    assert F.cosine_similarity(*features, dim=1).min() > 1 - 1e-4


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_if_it_never_was(data, tmp_path, monkeypatch, threads):
    threads(1)
    monkeypatch.setattr(precision, "fastest", lambda *_: precision.Setting("float32", True))
    monkeypatch.setattr(learned_copying, "CopyingNetwork", lambda: CopyingNetwork((8, 8)))
    monkeypatch.setattr(learned_copying, "HELD_OUT", 4)

    def trained(output, *more):
        options = ["--data", str(data), "--output", str(output), "--side", "64", "--batch", "2", "--steps", "3", *more]
        assert CliRunner().invoke(learned_copying.main, options, catch_exceptions=False).exit_code == 0
        return torch.load(output / "learned_copying.pt", weights_only=True)

    whole = trained(tmp_path / "whole")
    for _ in range(3):
        parts = trained(tmp_path / "parts", "--minutes", "0")
    assert whole["step"] == parts["step"] == 3
    for name, x in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], x, rtol=0, atol=0)
