"""The recipe of the inpainting network: its holes, its losses, and runs that go on as if never stopped."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from psal_cli.training import export, inpainting
from psal_cli.training.critic import Critic
from psal_cli.training.holes import AREA, hole
from psal_cli.training.inpainting import BLOCKS, DISCOUNT, discounted, discounts
from psal_cli.training.photographs import EVERY
from psal_cli.verbs.inpaint.painter import network_of


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with photographs, each of one colour, which tells its number, and some texture."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "photos").mkdir()
    for number in range(2 * EVERY):
        picture = np.full((420, 500, 3), 10 * number, np.uint8)
        picture[::8, :, 1] = 255
        Image.fromarray(picture).save(folder / "photos" / f"{number:02}.webp", lossless=True)
    return folder


def test_holes_leave_enough_to_copy_from():
    random = np.random.default_rng(0)
    for mask in [hole(random, 128) for _ in range(60)]:
        assert mask.shape == (128, 128) and AREA[0] / 2 <= mask.mean() <= 1.2 * AREA[1]
        free = np.lib.stride_tricks.sliding_window_view(~mask, (28, 28))[::4, ::4].all((2, 3))
        assert free.any()  # a patch of 7x7 features, each of 4x4 pixels


def test_an_error_counts_less_the_deeper_it_is_and_nothing_outside():
    holes = torch.zeros(2, 1, 32, 32)
    holes[0, :, 8:24, 8:24] = 1
    weights = discounts(holes)
    assert weights.shape == holes.shape and not weights[1].any() and not weights[holes == 0].any()
    inwards = weights[0, 0, 16, 8:16]  # from the edge to the middle
    torch.testing.assert_close(inwards[1:] / inwards[:-1], torch.full((7,), DISCOUNT), atol=0.005, rtol=0)


def test_errors_deep_inside_a_hole_count_less_and_those_outside_nothing():
    image, discount = torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    discount[..., 4:12, 4:12] = 0.9
    discount[..., 6:10, 6:10] = 0.5
    worse = {place: image.clone() for place in ((0, 0), (4, 4), (8, 8))}
    for (row, column), picture in worse.items():
        picture[..., row, column] = 1
    outside, edge, deep = (discounted(picture, image, discount, BLOCKS) for picture in worse.values())
    assert outside == 0 and edge / deep == pytest.approx(0.9 / 0.5)
    assert discounted(image + 0.25, image, discount) == pytest.approx(0.25)


def test_errors_that_cancel_in_a_square_count_once_and_those_that_do_not_in_each_size():
    image, discount = torch.zeros(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    checkered = image.clone()
    checkered[..., ::2, ::2] = checkered[..., 1::2, 1::2] = 1
    checkered[..., ::2, 1::2] = checkered[..., 1::2, ::2] = -1
    assert discounted(checkered, image, discount, BLOCKS) == pytest.approx(1)
    assert discounted(image + 1, image, discount, BLOCKS) == pytest.approx(len(BLOCKS))


@pytest.mark.slow
def test_the_critic_learns_to_tell_photographs_from_what_is_drawn():
    critic = Critic(8)
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
    mask = torch.zeros(4, 1, 32, 32)
    mask[..., 8:24, 8:24] = 1
    for _ in range(60):
        image = torch.rand(4, 3, 32, 32) * 2 - 1
        loss = critic.loss(image, image * (1 - mask), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1
    image = torch.rand(4, 3, 32, 32) * 2 - 1
    assert (critic(image, mask).mean((1, 2, 3)) > critic(image * (1 - mask), mask).mean((1, 2, 3))).all()


def trained(data, output, *more):
    options = ["--data", str(data), "--output", str(output), "--width", "4", "--side", "64", "--batch", "2", "--steps", "3"]
    done = CliRunner().invoke(inpainting.main, ["psal", *options, *more], catch_exceptions=False)
    assert done.exit_code == 0
    return torch.load(output / "inpaint_psal.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [["--fill", "diffused", "--residual"], ["--adversarial", "0.01"]], ids=["residual", "adversarial"]
)
def test_a_run_that_was_stopped_ends_as_if_it_never_was(data, tmp_path, threads, more):
    threads(1)
    whole = trained(data, tmp_path / "whole", *more)
    for _ in range(3):
        parts = trained(data, tmp_path / "parts", "--minutes", "0", *more)
    assert whole["step"] == parts["step"] == 3
    for part in ("model", "critic"):
        for name, x in whole[part].items():
            torch.testing.assert_close(parts[part][name], x, rtol=0, atol=0)


@pytest.mark.slow
def test_the_critic_is_trained_only_where_it_is_asked(data, tmp_path, threads):
    threads(1)
    without, with_it = trained(data, tmp_path / "a"), trained(data, tmp_path / "b", "--adversarial", "0.1")
    name = "layers.0.bias"
    assert not torch.equal(without["critic"][name], with_it["critic"][name])
    assert not torch.equal(
        without["model"]["coarse_generator.conv1.conv.weight"], with_it["model"]["coarse_generator.conv1.conv.weight"]
    )


@pytest.mark.slow
def test_the_best_checkpoint_is_kept_and_what_is_exported_runs(data, tmp_path, threads, monkeypatch):
    threads(1)
    trained(data, tmp_path, "--fill", "diffused", "--residual")
    best = torch.load(tmp_path / "inpaint_psal.best.pt", weights_only=True)
    rows = [json.loads(line) for line in (tmp_path / "inpaint_psal.jsonl").read_text().splitlines()]
    assert best["step"] == min(rows, key=lambda row: row["validation"])["step"]
    monkeypatch.setattr(export, "FOLDER", tmp_path)
    arguments = [str(tmp_path / "inpaint_psal.best.pt"), "inpaint-small", "--half"]
    assert CliRunner().invoke(export.main, arguments, catch_exceptions=False).exit_code == 0
    exported = network_of("original", str(tmp_path / "inpaint-small.safetensors"))
    assert (exported.fill, exported.residual, exported.coarse_generator.conv1.conv.out_channels) == ("diffused", True, 4)
    for name, x in exported.state_dict().items():
        torch.testing.assert_close(x, best["model"][name], atol=1e-3, rtol=1e-3)
