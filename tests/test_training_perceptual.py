"""The recipe of the networks for photographs: its distance of features, its loss, what it starts from."""

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from psal_cli.errors import InputError
from psal_cli.networks.residual_psal import ResidualPSAL
from psal_cli.networks.upscaling import UpscalingNetwork
from psal_cli.training import perceptual, precision
from psal_cli.training.photographs import EVERY
from psal_cli.training.upscaling_crops import HELD_OUT_SIDE
from psal_cli.verbs.colorize import semantics
from psal_cli.verbs.upscale.networks import trunk_of


class Stub(nn.Module):
    """Stands in for EfficientNet-Lite0: its parts by name, of random weights, with its strides."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        strides = {1: 2, 3: 2, 5: 2}
        self._conv_stem, self._bn0, self._swish = nn.Conv2d(3, 8, 3, 2, 1), nn.Identity(), nn.ReLU()
        self._blocks = nn.ModuleList(nn.Conv2d(8, 8, 3, strides.get(n, 1), 1) for n in range(max(perceptual.STAGES) + 1))


@pytest.fixture(autouse=True)
def stub(monkeypatch):
    monkeypatch.setattr(semantics, "network", lambda: Stub().requires_grad_(False))


def test_the_distance_of_features_grows_with_blur_and_has_a_gradient():
    picture = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    right = torch.from_numpy(picture).permute(2, 0, 1)[None]
    blurred = [torch.from_numpy(cv2.GaussianBlur(picture, (0, 0), sigma)).permute(2, 0, 1)[None] for sigma in (0.5, 2.0)]
    features = perceptual.Features()
    assert [tuple(x.shape[2:]) for x in features(right)] == [(16, 16), (8, 8), (4, 4)]
    assert features.distance(right, right) == 0
    assert 0 < features.distance(blurred[0], right) < features.distance(blurred[1], right) <= 4
    drawn = blurred[1].requires_grad_()
    features.distance(drawn, right).backward()
    assert drawn.grad is not None and drawn.grad.abs().sum() > 0


@pytest.fixture
def run(tmp_path, monkeypatch, threads):
    """Runs the recipe for x2 for a step; returns the weights it started from, and its checkpoint."""
    threads(1)
    random, side = np.random.default_rng(0), HELD_OUT_SIDE * 4 + 8
    (tmp_path / "photos").mkdir()
    for number in range(EVERY + 1):
        picture = random.integers(0, 256, (side // 8, side // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(picture).save(tmp_path / "photos" / f"{number:02}.webp")
    monkeypatch.setattr(precision, "fastest", lambda *_: precision.Setting("float32", True))
    monkeypatch.setattr(perceptual, "SIZES", {2: (16, 2)})
    torch.manual_seed(1)
    start = ResidualPSAL(2, cross=False).state_dict()
    torch.save({"model": start}, tmp_path / "trunk.pt")

    def run(name, steps=1):
        folders = ["--data", tmp_path, "--output", tmp_path]
        options = ["--start", tmp_path / "trunk.pt", *folders, "--name", name, "--steps", steps]
        done = CliRunner().invoke(perceptual.main, ["2", *map(str, options)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return start, torch.load(tmp_path / f"{name}.pt", weights_only=True)

    return run


@pytest.mark.slow
def test_the_features_count_in_the_loss(run, monkeypatch):
    start, usual = run("usual")
    monkeypatch.setattr(perceptual, "FEATURES", 0.0)
    _, without = run("without")
    moved = float((usual["model"]["tail.weight"] - start["tail.weight"]).abs().max())
    assert 0 < moved < 1e-3  # one step from the weights given
    assert not torch.equal(usual["model"]["tail.weight"], without["model"]["tail.weight"])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_grid_of_dots_is_told_from_texture(scale):
    torch.manual_seed(0)
    texture = 0.5 + 0.1 * torch.randn(1, 3, 40 * scale, 40 * scale)
    dotted = texture.clone()
    dotted[..., : 8 * scale : scale, : 8 * scale : scale] += 0.05  # in one of the squares
    plain, dots = perceptual.grid(texture, scale), perceptual.grid(dotted, scale)
    assert plain.shape == (1, scale**2, 5, 5) and dots[..., 0, 0].abs().mean() > 1.5 * plain[..., 0, 0].abs().mean()
    assert perceptual.grid(texture.new_ones(texture.shape), scale).abs().max() < 1e-6
    gap = (dots - plain)[0]
    assert gap[:, 0, 0].argmax() == 0 and gap[0, 0, 0] > 0.03  # the first place of each cell
    assert gap[:, 2:, 2:].abs().max() < 1e-6


@pytest.mark.slow
def test_the_features_see_the_crops_from_changing_places(run, monkeypatch):
    """From a fixed place, the strides of the feature network reward a grid of dots."""
    seen = []
    distance = perceptual.Features.distance
    monkeypatch.setattr(
        perceptual.Features, "distance", lambda self, x, y: (seen.append((x.shape, y.shape)), distance(self, x, y))[1]
    )
    run("short", steps=6)
    sizes = {x for x, _ in seen if x[0] == 2}  # of the batches, not of the held-out pictures
    assert all(x == y for x, y in seen) and len(sizes) > 3 and all(32 - 8 < side <= 32 for x in sizes for side in x[2:])


def test_training_begins_with_the_trunk_of_weights(tmp_path):
    torch.manual_seed(0)
    whole = UpscalingNetwork(2, 8, 3, 1)
    torch.save({"params": whole.state_dict()}, tmp_path / "x.pth")
    trunk = trunk_of(str(tmp_path / "x.pth"), 2)
    assert trunk.cross is None and not any(name.startswith("cross") for name in trunk.state_dict())
    picture = torch.rand(1, 3, 12, 16)
    torch.testing.assert_close(trunk(picture), without_attention(whole)(picture))
    with pytest.raises(InputError, match=r"x\.pth enlarges 2 times, not 3 times"):
        trunk_of(str(tmp_path / "x.pth"), 3)
    torch.save({"other.weight": torch.zeros(1)}, tmp_path / "y.pth")
    with pytest.raises(InputError, match=r"y\.pth is not a network of psal's own"):
        trunk_of(str(tmp_path / "y.pth"), 2)


def without_attention(network):
    network.cross = None
    return network.eval()


def test_the_last_crop_of_a_batch_becomes_one_colour():
    small, large = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 16, 16)
    first, second = perceptual.with_flat(small, large, np.random.default_rng(0))
    assert first.shape == small.shape and second.shape == large.shape
    assert torch.equal(first[:2], small[:2]) and torch.equal(second[:2], large[:2])
    colour = first[2, :, :1, :1]
    assert (first[2] == colour).all() and (second[2] == colour).all() and colour.unique().numel() == 3
