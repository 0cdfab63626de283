"""The recipes: the same pairs for the same numbers, runs that go on as if never stopped, errors where they are meant."""

import hashlib
import json
import os
import signal
import tomllib
from collections import Counter
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from psal_cli.image.cielab import lab
from psal_cli.networks.colorization import ColorizationNetwork, grey
from psal_cli.networks.embedding import EmbeddingNetwork
from psal_cli.training import colorization, descriptor, export, fusion, loop
from psal_cli.training.colorization import FRAME, tensors, window_error
from psal_cli.training.pairs import HELD_OUT, Pair, Pairs
from psal_cli.verbs.colorize.descriptors import CHANNELS, MEASURES, measures
from psal_cli.verbs.colorize.options import COARSE
from psal_cli.verbs.colorize.paper import layer, network_of
from psal_cli.verbs.colorize.prior import pooled


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with two clips for training, one held out, two of one place, and two photographs."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for number, clip in enumerate(("car", "cups", "asl_one", "asl_two", HELD_OUT[0])):
        (folder / "video" / clip).mkdir(parents=True)
        for frame in range(7):
            picture = np.full((40, 60, 3), 40 * number, np.uint8)
            picture[..., 0] = 10 * frame  # which clip and frame a picture is of can be read off its pixels
            Image.fromarray(picture).save(folder / "video" / clip / f"{frame:05}.webp", lossless=True)
    (folder / "photos").mkdir()
    for number in range(2):
        Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8)).resize((600, 450)).save(
            folder / "photos" / f"{number}.webp"
        )
    return folder


@pytest.fixture(scope="module")
def pairs(data):
    return Pairs(data, (24, 32))


def clip_and_frame(picture):
    red, green, _ = np.rint(picture[0, 0] * 255).astype(int)
    return green // 40, red // 10


def of_clips(pairs, numbers):
    """The pairs of them that are of clips: their frames are flat."""
    pairs_of_clips = [pairs.pair(number) for number in numbers]
    return [pair for pair in pairs_of_clips if not np.ptp(pair.target, (0, 1)).any()]


def test_a_number_always_gives_the_same_pair(data, pairs):
    again, other = Pairs(data, (24, 32)), Pairs(data, (24, 32), seed=1)
    for number in (5, 2, 11):
        for first, second in zip(pairs.pair(number), again.pair(number), strict=True):
            np.testing.assert_array_equal(first, second)
            assert first.shape == (24, 32, 3) and first.dtype == np.float32 and 0 <= first.min() <= first.max() <= 1
    differs = [not np.array_equal(pairs.pair(n).target, other.pair(n).target) for n in range(20)]
    assert sum(differs) > 15


def test_pairs_are_near_frames_of_one_clip_and_never_of_what_is_held_out(pairs):
    pairs_of_clips = of_clips(pairs, range(200))
    assert 120 < len(pairs_of_clips) < 180
    for pair in pairs_of_clips:
        (clip, first), (other, second) = map(clip_and_frame, pair)
        assert clip == other < 4 and 1 <= abs(first - second) <= 4
    assert {clip_and_frame(pair.target)[0] for pair in pairs_of_clips} == {0, 1, 2, 3}
    assert {clip_and_frame(picture)[0] for pair in pairs.validation(5) for picture in pair} == {4}


def test_pairs_of_photographs_show_one_scene_in_another_light(pairs):
    photographs = [pairs.pair(n) for n in range(60)]
    photographs = [pair for pair in photographs if np.ptp(pair.target, (0, 1)).any()]
    assert len(photographs) > 5
    brighter = [float(np.log(pair.reference.mean() / pair.target.mean())) for pair in photographs]
    assert np.std(brighter) > 0.02 and max(map(abs, brighter)) < 1
    assert all(not np.array_equal(*pair) for pair in photographs)


def test_strangers_are_of_two_clips_of_a_place(pairs):
    clips = [tuple(clip_and_frame(x)[0] for x in pairs.stranger(n)) for n in range(10)]
    assert set(clips) == {(2, 3), (3, 2)}


def test_a_mixture_has_so_large_shares_of_each_kind(pairs, monkeypatch):
    for kind in ("parts", "crops", "stranger", "pair"):
        monkeypatch.setattr(Pairs, kind, lambda self, number, kind=kind: kind)
    kinds = Counter(pairs.mixed(0, (at + 0.5) / 100, 0.3, 0.25, 0.05) for at in range(100))
    assert kinds == {"parts": 30, "crops": 25, "stranger": 5, "pair": 40}


@pytest.mark.slow
def test_parts_are_the_two_sides_of_a_photograph(tmp_path):
    (tmp_path / "video" / "clip").mkdir(parents=True)
    Image.new("RGB", (60, 40)).save(tmp_path / "video" / "clip" / "0.webp")
    (tmp_path / "photos").mkdir()
    for number in range(3):  # where a pixel was can be read off it, and in which photograph
        y, x = np.mgrid[:480, :720]
        photo = np.stack([x * 255 // 719, y * 255 // 479, np.full_like(x, 100 * number)], 2)
        Image.fromarray(photo.astype(np.uint8)).save(tmp_path / "photos" / f"{number}.webp", lossless=True)
    pairs = Pairs(tmp_path, (24, 40))
    for held_out, photos in ((False, {1, 2}), (True, {0})):
        sides_of_photographs = [pairs.parts(number, held_out) for number in range(30)]
        assert {round(float(pair.target[0, 0, 2] * 2.55)) for pair in sides_of_photographs} == photos
        sides = [(pair.target[0, 0, 0] < 0.1, pair.target[0, -1, 0] > 0.9) for pair in sides_of_photographs]
        assert all(left != right for left, right in sides) and len(set(sides)) == 2
    for target, reference in sides_of_photographs:
        assert 0.45 < np.ptp(target[0, :, 0]) < 0.62 and np.abs(target[..., 0] - reference[..., 0]).mean() > 0.25
        assert target.shape == reference.shape == (24, 40, 3)
    np.testing.assert_array_equal(sides_of_photographs[7].target, pairs.parts(7, True).target)


def test_a_folder_without_clips_is_refused(tmp_path):
    (tmp_path / "video").mkdir()
    with pytest.raises(FileNotFoundError, match="no clips"):
        Pairs(tmp_path)


# ----------------------------------------------------------------------------------------------------------------- loop


def run(path, steps=12, stop=None, every=4, validation=lambda: 1.0, **more):
    """Trains a line through noise; raises KeyboardInterrupt before step `stop`."""
    torch.manual_seed(0)
    network = nn.Linear(2, 1)

    def errors(step, _):
        if step == stop:
            raise KeyboardInterrupt
        x = torch.randn(8, 2, generator=torch.Generator().manual_seed(step))
        loss = (network(x)[:, 0] - x.sum(1)).square().mean()
        return loss, loss.item()

    loop.train(path, network, {"steps": steps, "rate": 0.1}, errors, validation, every=every, **more)
    return network


def test_a_run_that_was_stopped_ends_as_if_it_never_was(tmp_path):
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", stop=9)
    parts = run(tmp_path / "parts")
    for first, second in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    rows = [[json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()] for name in ("whole", "parts")]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]] == [4, 8, 12]
    assert rows[0][2]["training"] == rows[1][2]["training"] < rows[0][0]["training"]


def test_a_run_that_has_ended_goes_on_for_another_cycle(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole", cycles=2)
    run(tmp_path / "parts")
    rates = []
    shared = loop._cosine
    monkeypatch.setattr(loop, "_cosine", lambda *arguments: rates.append(shared(*arguments)) or rates[-1])
    parts = run(tmp_path / "parts", cycles=2)
    assert len(rates) == 12 and rates[0] == 1 and rates == sorted(rates, reverse=True) and rates[-1] < 0.05
    torch.testing.assert_close(whole.weight, parts.weight, rtol=0, atol=0)


def test_the_checkpoint_of_the_smallest_error_is_kept_over_all_parts_of_a_run(tmp_path):
    errors = iter([3.0, 1.0, 2.0, 1.5])
    run(tmp_path / "x", steps=8, every=2, best=True, validation=lambda: next(errors))
    best = torch.load(tmp_path / "x.best.pt", weights_only=True)
    assert best["step"] == 4 and "optimizer" not in best
    errors = iter([1.2, 0.5])
    run(tmp_path / "x", steps=8, every=4, best=True, cycles=2, validation=lambda: next(errors))
    assert torch.load(tmp_path / "x.best.pt", weights_only=True)["step"] == 16


def test_a_run_of_hours_keeps_its_rate_until_the_last_fifth(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 36))  # CPU seconds: a hundredth of an hour a step, and one more call before validation ends
    monkeypatch.setattr(loop.time, "process_time", lambda: next(clock))
    seen = []
    shared = loop._trapezoid
    monkeypatch.setattr(loop, "_trapezoid", lambda step, share, warmup: seen.append((share, shared(step, share, warmup))) or 1)
    run(tmp_path / "x", steps=1, hours=1.0, every=1000, warmup=4)
    shares, rates = zip(*seen, strict=True)
    assert len(seen) == 100 and shares[50] == pytest.approx(0.5)
    assert rates[:4] == (0.25, 0.5, 0.75, 1) and set(rates[4:80]) == {1}
    assert rates[90] == pytest.approx(0.505) and rates[99] < 0.07
    (row,) = loop.rows(tmp_path / "x.jsonl")
    assert row["step"] == 100 and row["seconds"] == 3600


def test_a_run_of_hours_counts_those_of_earlier_parts(tmp_path):
    run(tmp_path / "x", hours=1e-9)
    assert torch.load(tmp_path / "x.pt", weights_only=True)["step"] == 1  # one step takes longer than that
    run(tmp_path / "x", hours=1e-9)
    assert torch.load(tmp_path / "x.pt", weights_only=True)["step"] == 1


def test_sigterm_ends_a_run_after_the_step_with_a_checkpoint(tmp_path):
    def errors_after_a_signal():
        os.kill(os.getpid(), signal.SIGTERM)
        return 1.0

    before = signal.getsignal(signal.SIGTERM)
    run(tmp_path / "x", every=4, validation=errors_after_a_signal)
    assert torch.load(tmp_path / "x.pt", weights_only=True)["step"] == 5  # the signal came while step 4 was validated
    assert signal.getsignal(signal.SIGTERM) is before
    assert torch.load(tmp_path / "x.pt", weights_only=True)["seconds"] > 0


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_a_run_and_keeps_the_last_checkpoint(tmp_path):
    run(tmp_path / "x", steps=12, minutes=0)
    before = (tmp_path / "x.pt").read_bytes()
    network = nn.Linear(2, 1)
    with pytest.raises(loop.DivergedError, match="x: the loss of step 1 is nan"):
        loop.train(
            tmp_path / "x",
            network,
            {"steps": 12, "rate": 0.1},
            lambda *_: (network.weight.sum() * torch.nan, float("nan")),
            lambda: 1.0,
        )
    assert (tmp_path / "x.pt").read_bytes() == before


def test_an_error_that_grows_to_three_times_the_lowest_ends_a_run(tmp_path):
    network, errors = nn.Linear(2, 1), iter([2.0, 1.0, 2.9, 3.1])
    with pytest.raises(loop.DivergedError, match=r"the training error rose to 3.1 from 1; stopped at step 4"):
        loop.train(
            tmp_path / "x",
            network,
            {"steps": 12, "rate": 0.0},
            lambda *_: (network.weight.sum(), next(errors)),
            lambda: 1.0,
            every=1,
        )


def test_exported_weights_go_on_where_the_run_was(tmp_path, monkeypatch):
    """On a machine that has no checkpoint; those of another recipe are left alone."""
    monkeypatch.setattr(export, "FOLDER", tmp_path)
    run(tmp_path / "x", steps=12, minutes=0)
    state = torch.load(tmp_path / "x.pt", weights_only=True)
    path = export.export(tmp_path / "x.pt", "line", half=False)
    monkeypatch.setattr(loop, "_save", lambda path, parts, recipe, step, seconds: saved.append((step, seconds)))
    saved = []
    run(tmp_path / "y", steps=12, minutes=0, resume=path)
    assert saved[0][0] == 2 and saved[0][1] > round(state["seconds"])
    saved.clear()
    run(tmp_path / "z", steps=13, minutes=0, resume=path)
    assert saved[0][0] == 1


def test_a_checkpoint_of_another_recipe_is_kept(tmp_path):
    run(tmp_path / "x")
    before = (tmp_path / "x.pt").read_bytes()
    with pytest.raises(ValueError, match="another steps: use another folder"):
        run(tmp_path / "x", steps=20)
    assert (tmp_path / "x.pt").read_bytes() == before


# --------------------------------------------------------------------------------------------------------- the recipes


def random_pair(size=(48, 56)):
    return Pair(*(np.random.default_rng(n).random((*size, 3), np.float32) for n in (1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["psal3", "aggregation", "full", "local"])
def test_error_of_a_window_is_that_of_the_whole_picture_there(name):
    network, pair = ColorizationNetwork(layer(name)), random_pair()
    if name not in ("full", "local"):
        network.attention.schedule = "exact"  # the search of a window is another one: here it must find the same
    with torch.no_grad():
        target, reference = tensors(pair)
        squared = (network(grey(target), reference) - target).square()
        whole = window_error(network, pair, 0, np.random.default_rng(0), "cpu")
        torch.testing.assert_close(whole, squared[:, :, FRAME:-FRAME, FRAME:-FRAME].mean())
        window = window_error(network, pair, 10, np.random.default_rng(0), "cpu")
    draws = np.random.default_rng(0)
    top, left = (int(draws.integers(FRAME, size - FRAME - 10 + 1)) for size in (48, 56))
    torch.testing.assert_close(window, squared[:, :, top : top + 10, left : left + 10].mean())


class FewSamples(fusion.Samples):
    """Samples whose pairs are all frames or warped photographs."""

    def __init__(self, pairs):
        self.seed, self.pairs = 0, pairs

    def training(self, number):
        return self.pairs.pair(number), True

    def held_out(self):
        return self.pairs.validation(2)


def test_fusion_prepares_each_pair_once(tmp_path, pairs, monkeypatch):
    done, work = [], fusion.prepared

    def counted(target, references, number, temperature):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(number)
        return work(target, references, number, temperature)

    monkeypatch.setattr(fusion, "prepared", counted)
    with pytest.raises(KeyboardInterrupt):
        fusion.prepare(FewSamples(pairs), tmp_path, 5)
    monkeypatch.setattr(fusion, "prepared", lambda *arguments: done.append(arguments[2]) or work(*arguments))
    held_out, training = fusion.prepare(FewSamples(pairs), tmp_path, 5)
    assert done == [0, 1, 0, 1, 2, 3, 4] and len(held_out) == 2
    right = lab(np.rint(pairs.pair(1).target * 255).astype(np.uint8))[..., 1:].transpose(2, 0, 1)
    np.testing.assert_allclose(np.load(training[1])[-2:], right, atol=1e-3)


def test_one_in_four_pairs_of_fusion_has_a_reference_of_another_scene_beside(pairs, monkeypatch):
    samples = FewSamples(pairs)
    monkeypatch.setattr(fusion, "prepared", lambda target, references, seed, temperature: references)
    references = [samples.prepared(number) for number in range(200)]
    assert 30 < sum(len(both) == 2 for both in references) < 70
    for number, both in enumerate(references):
        assert any(np.array_equal(one, pairs.pair(number).reference) for one in both)


def test_pairs_of_fusion_are_of_all_kinds(pairs, monkeypatch):
    for kind in ("pair", "parts", "stranger"):
        monkeypatch.setattr(Pairs, kind, lambda self, number, kind=kind: kind)
    samples = FewSamples(pairs)
    samples.scenes = SimpleNamespace(alike=lambda number: "alike", parts=lambda number: "parts of scenes")
    drawn = [fusion.Samples.training(samples, number) for number in range(1000)]
    shares = {kind: count / 1000 for (kind, _), count in Counter(drawn).items()}
    right = {"pair": 0.4, "alike": 0.22, "stranger": 0.05, "parts": 0.2, "parts of scenes": 0.13}
    assert shares == {kind: pytest.approx(share, abs=0.04) for kind, share in right.items()}
    assert {kind for kind, seen in drawn if not seen} == {"alike", "parts of scenes"}  # the embedding has not seen scenes


def test_recolouring_turns_what_is_known_and_leaves_the_guess():
    x = np.random.default_rng(0).normal(0, 0.2, (fusion.CUES + 2, 30, 40)).astype(np.float16)
    x[1:3] = x[5:7] = x[-2:]
    again = fusion.recoloured(x, np.random.default_rng(1))
    for first in (1, 5):
        np.testing.assert_array_equal(again[first : first + 2], again[-2:])
    kept = [*range(8, 15), 0, 16, 17, 18]
    np.testing.assert_array_equal(again[kept], np.float32(x[kept]))
    scale = np.linalg.norm(again[-2:], axis=0) / np.linalg.norm(np.float32(x[-2:]), axis=0)
    assert np.ptp(scale) < 1e-4 and 0.3 < scale.mean() < 3 and abs(scale.mean() - 1) > 0.01
    turn = np.angle((again[-2] + 1j * again[-1]) / (np.float32(x[-2]) + 1j * np.float32(x[-1])))
    assert np.ptp(turn) < 1e-4 and abs(turn.mean()) > 0.01
    np.testing.assert_allclose(again[7], np.float32(x[7]) * scale.mean(), rtol=1e-4)
    error = 4 * np.abs(again[12:14] - again[-2:]).mean()
    assert np.ptp(again[15]) == 0 and 0.5 < again[15, 0, 0] / error < 2


@pytest.mark.slow
def test_embedding_learns_which_texture_has_which_colour():
    """Stripes along are red, stripes across are green: of one lightness, and each picture has them elsewhere."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    network = EmbeddingNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    errors = []
    for _ in range(60):
        sides = []
        for _ in range(2):
            along = cv2.resize(random.integers(0, 2, (3, 4)).astype(np.float32), (64, 48), interpolation=cv2.INTER_NEAREST) > 0
            light = np.where(along, np.arange(48)[:, None] // 2 % 2, np.arange(64) // 2 % 2) * 0.3 + 0.4
            colours = np.where(along[..., None], [0.3, 0.2], [-0.3, 0.2])
            light, colours = (torch.from_numpy(x).float()[None] for x in (light[None], colours.transpose(2, 0, 1)))
            sides.append((light, *pooled(colours, torch.ones_like(light, dtype=torch.bool))))
        (target, right, _), reference = sides
        error = (network.attended(target, [reference])[:, :2] - right[:, :2]).abs().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert np.mean(errors[-5:]) < 0.3 * np.mean(errors[:5])


@pytest.mark.slow
def test_fusion_goes_on_from_weights(tmp_path, monkeypatch, threads):
    threads(1)
    pair = np.random.default_rng(0).normal(0, 0.2, (fusion.CUES + 2, 64, 64)).astype(np.float16)
    np.save(tmp_path / "pair.npy", pair)
    monkeypatch.setattr(fusion, "Samples", lambda *_: None)
    monkeypatch.setattr(fusion, "prepare", lambda *_: ([tmp_path / "pair.npy"], [tmp_path / "pair.npy"]))
    monkeypatch.setattr(fusion, "HELD_OUT", {"frames": 1})
    torch.manual_seed(1)
    given = fusion.FusionNetwork()
    torch.save(given.state_dict(), tmp_path / "given.pt")
    folders = ["--data", str(tmp_path), "--output", str(tmp_path / "out")]
    options = [*folders, "--steps", "1", "--rate", "1e-3", "--start", str(tmp_path / "given.pt")]
    assert CliRunner().invoke(fusion.main, options, catch_exceptions=False).exit_code == 0
    after = torch.load(tmp_path / "out" / "fusion.pt", weights_only=True)["model"]
    moved = [float((after[name] - x).abs().max()) for name, x in given.state_dict().items()]
    assert 0 < max(moved) < 1e-4  # the first of a hundred steps of warm-up


@pytest.mark.slow
def test_fusion_learns_to_reject_what_is_said_to_be_wrong():
    """Half of the matches have a wrong colour, and a cue that says so.

    Gradients are clipped as in the recipe, and the error is that of 16 new pictures: without either, rounding that differs
    from machine to machine decides how the last step ends.
    """
    torch.manual_seed(0)
    network = fusion.FusionNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    random = np.random.default_rng(0)

    def stored():
        x = np.zeros((fusion.CUES + 2, 64, 64), np.float32)
        right, wrong = random.random((64, 64)) < 0.5, random.normal(0, 0.4, (2, 1, 1))
        x[0], x[-2:] = 0.5, random.normal(0, 0.3, (2, 1, 1))
        x[1:3] = x[3:5] = x[5:7] = x[12:14] = np.where(right, x[-2:], wrong)
        x[8] = right
        return x

    for _ in range(100):
        loss, _ = fusion.losses(network, stored())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    pictures = [stored() for _ in range(16)]
    with torch.no_grad():
        errors = [fusion.losses(network, x)[1].item() for x in pictures]
    assert np.mean(errors) < 0.3 * np.mean([np.abs(x[1:3] - x[-2:]).mean() * 100 for x in pictures])


@pytest.mark.slow
def test_a_run_starts_from_the_weights_that_ship_for_another_layer(data, tmp_path, threads):
    options = ["psal7", "--data", str(data), "--output", str(tmp_path), "--steps", "1", "--rate", "1e-7", "--start", "psal3"]
    threads(1)
    assert CliRunner().invoke(colorization.main, options, catch_exceptions=False).exit_code == 0
    state = torch.load(tmp_path / "colorization_psal7_from_psal3.pt", weights_only=True)
    assert state["recipe"]["start"] == "psal3"
    for name, x in network_of("psal3").state_dict().items():
        torch.testing.assert_close(state["model"][name], x, rtol=0, atol=1e-6)


def test_a_layer_begins_with_few_matches(data, tmp_path, monkeypatch):
    matches = []

    def train(path, network, recipe, errors, validation, **_):
        for share in (0.0, 0.3, 0.4, 1.0):
            errors(0, share)
            matches.append(network.attention.k)

    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(colorization, "window_error", lambda *_: torch.zeros(()))
    options = ["--data", str(data), "--output", str(tmp_path), "--first", "3"]
    assert CliRunner().invoke(colorization.main, ["psal7", *options], catch_exceptions=False).exit_code == 0
    assert matches == [3, 3, 7, 7]
    for name, has in (("psal1", "1"), ("full", "no")):
        refused = CliRunner().invoke(colorization.main, [name, *options])
        assert refused.exit_code == 2 and f"--first is 3, {name} has {has} matches" in refused.output


def test_exported_weights_are_those_of_the_checkpoint_and_say_how_they_were_made(tmp_path, monkeypatch):
    network = run(tmp_path / "x")
    monkeypatch.setattr(export, "FOLDER", tmp_path)
    (tmp_path / "manifest.toml").write_text('["zebra"]\nfile = "zebra.safetensors"\nsha256 = "0"\n')
    for _ in range(2):
        done = CliRunner().invoke(export.main, [str(tmp_path / "x.pt"), "a-line"], catch_exceptions=False)
        assert done.exit_code == 0
    path = tmp_path / "a-line.safetensors"
    for name, x in load_file(path).items():
        torch.testing.assert_close(x, network.state_dict()[name], rtol=0, atol=0)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entries = tomllib.loads((tmp_path / "manifest.toml").read_text())
    assert entries["a-line"] == {"file": "a-line.safetensors", "sha256": digest} and list(entries) == ["a-line", "zebra"]
    with safe_open(path, "pt") as file:
        arguments = file.metadata()
    assert arguments["architecture"] == "Linear" and json.loads(arguments["sizes"]) == {"weight": [1, 2], "bias": [1]}
    assert json.loads(arguments["recipe"]) == {"steps": 12, "rate": 0.1} and arguments["steps"] == "12" and arguments["revision"]


@pytest.mark.slow
def test_descriptor_keeps_the_directions_in_which_photographs_differ_most(data, tmp_path, monkeypatch):
    monkeypatch.setattr(descriptor, "SAMPLES", 500)
    done = CliRunner().invoke(descriptor.main, ["--data", str(data), "--output", str(tmp_path)], catch_exceptions=False)
    kept = float(done.output.split()[-4])
    projection = torch.load(tmp_path / "descriptor.pt", weights_only=True)["model"]["projection"]
    torch.testing.assert_close(projection.T @ projection, torch.eye(CHANNELS), atol=1e-4, rtol=0)
    assert projection.shape == (MEASURES, CHANNELS) and 0.9 < kept <= 1
    grey = cv2.imread(str(data / "photos" / "0.webp"), cv2.IMREAD_GRAYSCALE)
    grey = cv2.resize(grey, (COARSE, COARSE * 3 // 4), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    spread = (measures(grey).rows(0, len(grey)).T @ projection.numpy()).var(0)
    assert spread[0] > spread[8] > spread[24] > spread[47]
