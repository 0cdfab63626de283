"""The recipe of the networks for super-resolution: its crops, its kernel, runs that go on as if never stopped."""

import json
from itertools import product

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from psal_cli.networks.residual_psal import ResidualPSAL
from psal_cli.networks.upscaling import UpscalingNetwork
from psal_cli.training import export, precision, super_resolution, upscaling_crops
from psal_cli.training.photographs import EVERY
from psal_cli.training.upscaling_crops import BSDS, HELD_OUT_SIDE, Crops, degraded, luminance, smaller

SIZES = ((24, 3), (32, 2))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with photographs of noise, whose blue tells their number."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    (folder / "photos").mkdir()
    side = HELD_OUT_SIDE * 4 + 8
    for number in range(EVERY + 1):
        picture = random.integers(0, 256, (side // 8, side // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        picture[..., 2] = 16 * number
        Image.fromarray(picture).save(folder / "photos" / f"{number:02}.webp", lossless=True)
    return folder


@pytest.fixture
def crops(data):
    return Crops(data, 2, 0, sizes=SIZES)


@pytest.mark.slow
def test_a_number_always_gives_the_same_batch_reduced_from_its_own(data, crops):
    again, other = Crops(data, 2, 0, sizes=SIZES), Crops(data, 2, 1, sizes=SIZES)
    for number in (3, 0):
        for left, right in zip(crops.batch(number), again.batch(number), strict=True):
            assert torch.equal(left, right)
    assert not torch.equal(crops.batch(3)[0], other.batch(3)[0])
    shapes = set()
    for number in range(12):
        small, large = crops.batch(number)
        shapes.add(tuple(small.shape))
        assert large.shape == (len(small), 3, 2 * small.shape[2], 2 * small.shape[3])
        inner = (slice(None), slice(4, -4), slice(4, -4))  # at its border the crop lacks what is around it
        for left, whole in zip(small, large, strict=True):
            again_small = smaller((whole * 255).round().byte(), 2).float() / 255
            assert (again_small[inner] - left[inner]).abs().max() <= 1.01 / 255
    assert shapes == {(count, 3, side, side) for side, count in SIZES}


def photo(picture):
    return round(float(picture[2].median()) * 255 / 16)


@pytest.mark.slow
def test_held_out_photographs_only_validate(crops):
    training = {photo(small) for n in range(60) for small in crops.batch(n)[0]}
    validation = {photo(crops.validation(n)[0][0]) for n in range(len(crops.held_out))}
    assert validation == {0, EVERY} and not training & validation and len(training) > EVERY - 3
    small, large = crops.validation(0)
    assert small.shape == (1, 3, HELD_OUT_SIDE, HELD_OUT_SIDE) and large.shape[3] == 2 * HELD_OUT_SIDE


def test_photographs_are_only_seen_reduced(data):
    """They are compressed: at their own size they would teach the traces of that."""
    sizes = {large.shape[1] for _, large in Crops(data, 2, 0, sizes=SIZES).training}
    side = HELD_OUT_SIDE * 4 + 8
    assert sizes == {side // 2, side // 3 // 2 * 2, side // 4 // 2 * 2}


def test_public_pictures_are_taken_whole_but_for_set5s_woman(data, tmp_path):
    for part in ("train", "test", "val"):
        (tmp_path / BSDS / part).mkdir(parents=True)
        for name in (f"{part}1", "302003"):
            grey = np.full((200, 300, 3), {"train": 30, "test": 60, "val": 90}[part], np.uint8)
            Image.fromarray(grey).save(tmp_path / BSDS / part / f"{name}.jpg", quality=100)
    alone, more = (Crops(data, 2, 0, public=public, sizes=SIZES) for public in (None, tmp_path))
    added = [int(large.float().mean()) for _, large in more.training][len(alone.training) :]
    assert sorted(added) == [30, 60] and more.training[-1][1].shape == (3, 200, 300)


def test_reduced_pictures_are_kept_until_the_files_change(data, tmp_path, monkeypatch):
    first = Crops(data, 2, 0, cache=tmp_path, sizes=SIZES)
    monkeypatch.setattr(upscaling_crops, "_pairs", lambda *_: pytest.fail("made again"))
    again = Crops(data, 2, 0, cache=tmp_path, sizes=SIZES)
    assert torch.equal(first.batch(5)[1], again.batch(5)[1])
    with pytest.raises(pytest.fail.Exception):
        Crops(data, 4, 0, cache=tmp_path, sizes=SIZES)


def test_crops_lie_in_all_eight_ways(crops):
    """Of a photograph that grows to the right and, less, downwards."""
    rows, columns = torch.meshgrid(torch.arange(200), torch.arange(200), indexing="ij")
    ramp = (columns + rows // 4).clamp(max=255).byte().expand(3, -1, -1)
    crops.training, crops.of_side = [(smaller(ramp, 2), ramp)], {24: [0], 32: [0]}
    ramps = [(large[0] * 255).round().int() for number in range(40) for large in crops.batch(number)[1]]
    steps = [(int(x[0, -1] - x[0, 0]), int(x[-1, 0] - x[0, 0])) for x in ramps]  # to the right, downwards
    assert {(a > 0, b > 0, abs(a) > abs(b)) for a, b in steps} == set(product((False, True), repeat=3))


def test_the_kernel_is_the_cubic_one_of_twice_the_width():
    """Of an impulse, halved: the weights of a = -1/2 at distances of a quarter, three quarters and so on, over two."""
    line = torch.zeros(3, 32, 32, dtype=torch.uint8)
    line[:, :, 16] = 200
    expected = np.array([-3, 29, 111, -9]) / 128 / 2 * 200  # of the pixels 6 to 9, which lie 1.75, .75, .25 and 1.25 away
    response = smaller(line, 2)[0, 8].numpy().astype(int)
    np.testing.assert_allclose(response[[6, 7, 8, 9]], expected.clip(0), atol=0.51)
    assert torch.equal(smaller(line, 1), line) and smaller(line[:, :31], 3).shape == (3, 10, 10)


def test_degraded_crops_are_noisy_or_compressed_and_some_are_neither(crops):
    clean = crops.training[0][0][:, :24, :24]
    kept = clean.clone()
    gaps = [float((degraded(clean, np.random.default_rng(n)).float() - clean.float()).square().mean().sqrt()) for n in range(200)]
    assert 1 <= sum(gap == 0 for gap in gaps) <= 20 and np.median(gaps) > 3 and max(gaps) < 60
    assert torch.equal(degraded(clean, np.random.default_rng(5)), degraded(clean, np.random.default_rng(5)))
    assert torch.equal(clean, kept)


def test_degraded_crops_keep_their_colours():
    """A channel order mixed up by the JPEG codec would swap red and blue."""
    red = torch.zeros(3, 32, 32, dtype=torch.uint8)
    red[0] = 200
    for n in range(20):
        means = degraded(red, np.random.default_rng(n)).float().mean((1, 2))
        assert means[0] > 180 and means[2] < 30


def test_luminance_is_that_of_the_benchmarks():
    white, black, green = torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1), torch.tensor([0.0, 1, 0]).view(1, 3, 1, 1)
    levels = [float(luminance(x)[0, 0, 0]) * 255 for x in (white, black, green)]
    np.testing.assert_allclose(levels, [235, 16, 16 + 128.553], atol=0.01)


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no photographs"):
        Crops(tmp_path, 2, 0)


# ----------------------------------------------------------------------------------------------------------- the recipe


@pytest.fixture
def trained(data, monkeypatch, threads):
    """Runs the recipe for x2 on small crops; returns the checkpoint."""
    threads(1)
    monkeypatch.setattr(precision, "fastest", lambda *_: precision.Setting("float32", True))
    monkeypatch.setattr(Crops.__init__, "__kwdefaults__", Crops.__init__.__kwdefaults__ | {"sizes": SIZES})
    cv2.setNumThreads(1)

    def run(output, *more, steps=3):
        sizes = ["--features", "4", "--blocks", "2", "--before", "1", "--steps", str(steps)]
        options = ["--data", str(data), "--output", str(output), *sizes, *more]
        done = CliRunner().invoke(super_resolution.main, ["2", *options], catch_exceptions=False)
        assert done.exit_code == 0
        return torch.load(output / "upscale_x2.pt", weights_only=True)

    return run


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_if_it_never_was(trained, tmp_path):
    whole = trained(tmp_path / "whole")
    for _ in range(3):
        parts = trained(tmp_path / "parts", "--minutes", "0")
    assert whole["step"] == parts["step"] == 3
    for part in ("model", "average"):
        for name, x in whole[part].items():
            torch.testing.assert_close(parts[part][name], x, rtol=0, atol=0)


@pytest.mark.slow
def test_the_kept_weights_are_the_mean_and_make_a_network(trained, tmp_path, monkeypatch):
    last = trained(tmp_path, steps=4)
    best = torch.load(tmp_path / "upscale_x2.best.pt", weights_only=True)
    assert not torch.equal(best["model"]["head.weight"], last["model"]["head.weight"])
    assert torch.equal(best["model"]["head.weight"], last["average"]["module.head.weight"])
    (row,) = [json.loads(line) for line in (tmp_path / "upscale_x2.jsonl").read_text().splitlines()]
    assert row["validation"] < 0  # minus decibels
    monkeypatch.setattr(export, "FOLDER", tmp_path)
    ResidualPSAL(2, 4, 2, 1).load_state_dict(load_file(export.export(tmp_path / "upscale_x2.best.pt", "small", half=False)))


@pytest.mark.slow
def test_a_run_takes_what_fits_from_a_trunk_without_attention(trained, tmp_path):
    trained(tmp_path / "first", "--no-cross")
    first = torch.load(tmp_path / "first" / "upscale_x2.best.pt", weights_only=True)
    assert not any(name.startswith("cross.") for name in first["model"])
    start = str(tmp_path / "first" / "upscale_x2.best.pt")
    state = trained(tmp_path / "then", "--start", start, "--rate", "1e-9", steps=1)
    for name, x in first["model"].items():
        torch.testing.assert_close(state["model"][name], x, atol=1e-7, rtol=0)
    assert any(name.startswith("cross.") for name in state["model"])


@pytest.mark.slow
def test_a_run_starts_from_some_blocks_of_a_longer_trunk(trained, tmp_path):
    """The longer one adds nothing in the other blocks, so the result must be the same picture."""
    torch.manual_seed(0)
    longer = UpscalingNetwork(2, 4, 4, cross=False)
    with torch.no_grad():
        for number in (0, 2):
            longer.body[number].second.weight.zero_()
            longer.body[number].second.bias.zero_()
    torch.save(longer.state_dict(), tmp_path / "longer.pt")
    more = ["--no-cross", "--start", str(tmp_path / "longer.pt"), "--keep", "1,3", "--rate", "1e-9"]
    shorter = ResidualPSAL(2, 4, 2, 1, cross=False)
    shorter.load_state_dict(trained(tmp_path, *more, steps=1)["model"])
    image = torch.rand(1, 3, 12, 14)
    with torch.no_grad():
        torch.testing.assert_close(shorter(image), longer(image), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_run_ends_with_the_squared_error(trained, tmp_path, monkeypatch):
    """With the L2 error alone from the start, the first step differs."""
    usual = trained(tmp_path / "a", steps=1)
    monkeypatch.setattr(super_resolution, "L2_FROM", 0.0)
    squared = trained(tmp_path / "b", steps=1)
    assert not torch.equal(usual["model"]["tail.weight"], squared["model"]["tail.weight"])
