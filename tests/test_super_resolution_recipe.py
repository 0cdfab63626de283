"""The recipe of the networks for super-resolution: its crops, its kernel, runs that go on as if never stopped."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from psal_cli.training import export, super_resolution
from psal_cli.training.photographs import EVERY
from psal_cli.training.super_resolution import FAR, HELD_OUT, HELD_OUT_SIDE, REDUCED, Crops, degraded, luminance, smaller
from psal_cli.verbs.upscale.networks import network_of


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with photographs of noise, whose blue tells their number."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    (folder / "photos").mkdir()
    side = HELD_OUT_SIDE * 4 * max(REDUCED) + 8
    for number in range(EVERY + 1):
        picture = random.integers(0, 256, (side // 8, side // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        picture[..., 2] = 16 * number
        Image.fromarray(picture).save(folder / "photos" / f"{number:02}.webp", lossless=True)
    return folder


@pytest.fixture(scope="module")
def crops(data):
    return Crops(data, 2, 24, 0)


def test_a_number_always_gives_the_same_crop_reduced_from_its_own(data, crops):
    again = Crops(data, 2, 24, 0)
    for number in (3, 0, FAR + 1):
        for one, two in zip(crops.crop(number), again.crop(number), strict=True):
            assert torch.equal(one, two)
    for number in range(12):
        small, large = crops.crop(number)
        assert small.shape == (3, 24, 24) and large.shape == (3, 48, 48)
        inner = (slice(None), slice(4, -4), slice(4, -4))  # at its border the crop alone lacks what is around it
        assert (smaller(large, 2)[inner].int() - small[inner].int()).abs().max() <= 1


def test_held_out_photographs_only_validate(crops):
    def photo(number):
        return round(float(crops.crop(number)[0][2].float().median()) / 16)

    training, validation = {photo(n) for n in range(60)}, {photo(FAR + n) for n in range(len(crops.held_out) * HELD_OUT)}
    assert validation == {0, EVERY} and not training & validation and len(training) > EVERY - 3
    assert crops.crop(FAR)[0].shape == (3, HELD_OUT_SIDE, HELD_OUT_SIDE)


def test_crops_lie_in_all_eight_ways(crops):
    """Of a photograph that grows to the right and, less, downwards."""
    rows, columns = torch.meshgrid(torch.arange(200), torch.arange(200), indexing="ij")
    ramp = (columns + rows // 4).clamp(max=255).byte().expand(3, -1, -1)
    known, crops.training = crops.training, [(smaller(ramp, 2), ramp)]
    try:
        found = [crops.crop(number)[1][0].int() for number in range(80)]
    finally:
        crops.training = known
    steps = [(int(x[0, -1] - x[0, 0]), int(x[-1, 0] - x[0, 0])) for x in found]  # to the right, downwards
    assert {(a > 0, b > 0, abs(a) > abs(b)) for a, b in steps} == set(product((False, True), repeat=3))


def test_the_kernel_is_the_cubic_one_of_twice_the_width():
    """Of an impulse, halved: the weights of a = -1/2 at distances of a quarter, three quarters and so on, over two."""
    line = torch.zeros(3, 32, 32, dtype=torch.uint8)
    line[:, :, 16] = 200
    expected = np.array([-3, 29, 111, -9]) / 128 / 2 * 200  # of the pixels 6 to 9, which lie 1.75, .75, .25 and 1.25 away
    found = smaller(line, 2)[0, 8].numpy().astype(int)
    np.testing.assert_allclose(found[[6, 7, 8, 9]], expected.clip(0), atol=0.51)
    assert torch.equal(smaller(line, 1), line) and smaller(line[:, :31], 3).shape == (3, 10, 10)


def test_degraded_crops_are_noisy_or_compressed_and_some_are_neither(crops):
    clean = crops.crop(0)[0]
    gaps = [float((degraded(clean, np.random.default_rng(n)).float() - clean.float()).square().mean().sqrt()) for n in range(80)]
    assert 2 <= sum(gap == 0 for gap in gaps) <= 20 and np.median(gaps) > 3 and max(gaps) < 60
    assert torch.equal(degraded(clean, np.random.default_rng(5)), degraded(clean, np.random.default_rng(5)))
    assert torch.equal(clean, crops.crop(0)[0])


def test_luminance_is_that_of_the_benchmarks():
    white, black, green = torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1), torch.tensor([0.0, 1, 0]).view(1, 3, 1, 1)
    found = [float(luminance(x)[0, 0, 0]) * 255 for x in (white, black, green)]
    np.testing.assert_allclose(found, [235, 16, 16 + 128.553], atol=0.01)


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no photographs"):
        Crops(tmp_path, 2, 24, 0)


def trained(data, output, *more, steps=3):
    sizes = ["--features", "4", "--blocks", "2", "--before", "1", "--side", "16", "--batch", "2", "--steps", str(steps)]
    options = ["--data", str(data), "--output", str(output), *sizes, *more]
    done = CliRunner().invoke(super_resolution.main, ["2", *options], catch_exceptions=False)
    assert done.exit_code == 0
    return torch.load(output / "upscale_x2.pt", weights_only=True)


def test_a_run_that_was_stopped_ends_as_if_it_never_was(data, tmp_path, threads):
    threads(1)
    whole = trained(data, tmp_path / "whole")
    for _ in range(3):
        parts = trained(data, tmp_path / "parts", "--minutes", "0")
    assert whole["step"] == parts["step"] == 3
    for part in ("model", "average"):
        for name, x in whole[part].items():
            torch.testing.assert_close(parts[part][name], x, rtol=0, atol=0)


def test_what_is_kept_is_the_mean_of_the_weights_and_runs(data, tmp_path, threads, monkeypatch):
    threads(1)
    last = trained(data, tmp_path, steps=4)
    best = torch.load(tmp_path / "upscale_x2.best.pt", weights_only=True)
    assert not torch.equal(best["model"]["head.weight"], last["model"]["head.weight"])
    assert torch.equal(best["model"]["head.weight"], last["average"]["module.head.weight"])
    (row,) = [json.loads(line) for line in (tmp_path / "upscale_x2.jsonl").read_text().splitlines()]
    assert row["validation"] < 0  # minus decibels
    monkeypatch.setattr(export, "FOLDER", tmp_path)
    arguments = [str(tmp_path / "upscale_x2.best.pt"), "upscale-small"]
    assert CliRunner().invoke(export.main, arguments, catch_exceptions=False).exit_code == 0
    found = network_of(str(tmp_path / "upscale-small.safetensors"), 2)
    assert (found.scale, found.before, len(found.body), found.head.out_channels) == (2, 1, 2, 4)
    assert torch.equal(found.head.weight, best["model"]["head.weight"])


def test_a_run_takes_what_fits_from_another_scale(data, tmp_path, threads):
    threads(1)
    trained(data, tmp_path / "first", "--no-cross")
    first = torch.load(tmp_path / "first" / "upscale_x2.best.pt", weights_only=True)
    found = trained(data, tmp_path / "then", "--start", str(tmp_path / "first" / "upscale_x2.best.pt"), "--rate", "1e-9", steps=1)
    for name in ("head.weight", "body.1.second.weight", "tail.weight"):
        torch.testing.assert_close(found["model"][name], first["model"][name], atol=1e-7, rtol=0)
    assert any(name.startswith("cross.") for name in found["model"])


def test_a_run_takes_the_trunk_of_one_and_the_attention_of_another(data, tmp_path, threads):
    threads(1)
    whole = trained(data, tmp_path / "whole")
    trunk = trained(data, tmp_path / "trunk", "--no-cross", "--seed", "1")
    start = [x for name in ("whole", "trunk") for x in ("--start", str(tmp_path / name / "upscale_x2.pt"))]
    found = trained(data, tmp_path / "then", *start, "--only-cross", "--rate", "1e-9", steps=1)
    for name, x in found["model"].items():
        expected = (whole if name.startswith("cross.") else trunk)["model"][name]
        torch.testing.assert_close(x, expected, atol=1e-7, rtol=0)
