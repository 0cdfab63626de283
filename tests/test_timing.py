"""Estimates of time: what they follow, how they are told, that each verb has one."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from psal_cli import timing
from psal_cli.image import Header

from .photos import lines, psal, texture


def head(width=1000, height=1000, format="PNG", channels=3, bits=8, alpha=False):
    return Header(format, width, height, channels, bits, alpha)


def test_threads_share_the_parallel_part_only(monkeypatch):
    monkeypatch.setattr(timing, "slowness", lambda: 2.0)
    monkeypatch.setattr(timing.os, "cpu_count", lambda: 4)
    cost = timing.Cost(3.0, 10.0) + timing.Cost(1.0, 0.0)
    assert timing.seconds(cost, 1) == pytest.approx(2 * 14)
    assert timing.seconds(cost, 2) == pytest.approx(2 * (4 + 10 / 1.8))
    assert timing.seconds(cost, 64) == timing.seconds(cost, 4)  # no more than there are cores


def test_the_probe_is_quick_and_leaves_the_threads_alone(threads, monkeypatch):
    threads(2)
    seen = []
    monkeypatch.setattr(timing, "_probe", lambda seed: seen.append(seed) or (0.03, 0.01, 0.02, 0.05)[seed])
    timing.slowness.cache_clear()
    assert timing.slowness() == timing.slowness() == 0.01 / timing.PROBE
    assert len(seen) == 4
    timing.slowness.cache_clear()
    import torch

    assert torch.get_num_threads() == 2


def test_files_take_what_their_pixels_and_formats_do():
    small, large = timing.reading(head(100, 100)), timing.reading(head(2000, 1000))
    assert large.serial - timing.OPENED == pytest.approx(200 * (small.serial - timing.OPENED))
    assert timing.reading(head(bits=16)).serial > timing.reading(head()).serial > timing.reading(head(channels=1)).serial
    png, heic = (timing.writing(10**6, 3, head(), {"output": name}).serial for name in ("PNG", "HEIF"))
    assert heic > 10 * png
    assert timing.writing(10**6, 3, head(), {"output": "PNG", "compare": "PNG"}).serial > 2 * png


WORDS = {
    0.04: "about 0.04 s",
    0.31: "about 0.3 s",
    4.4: "about 4 s",
    33: "about 35 s",
    99: "about 100 s",
    700: "about 12 min",
    9000: "about 2 h",
}


@pytest.mark.parametrize(("seconds", "words"), WORDS.items())
def test_words(seconds, words):
    assert timing.in_words(seconds) == words


VERBS = {
    "inpaint": ("--box", "12,10,8,6"),
    "colorize": ("--ref", "other.png"),
    "upscale": ("-x", 2),
    "generate": ("--method", "psin"),
    "reconstruct": ("--from", "other.png"),
}
ENGINES = {
    "inpaint": [("--engine", "network")],
    "colorize": [("--engine", "paper")],
    "upscale": [("--ensemble",)],
    "generate": [("--method", "psinot")],
    "reconstruct": [("--attention", "full"), ("--attention", "aggregation")],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(timing, "slowness", lambda: 1.0)
    for name, times in (("photo.png", 1), ("other.png", 1), ("large.png", 12)):
        Image.fromarray(texture(3)).resize((40 * times, 30 * times)).save(name)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_estimates_seconds_that_grow_with_the_picture(folder, verb):
    done = psal(verb, "photo.png", "large.png", *VERBS[verb], "-o", "out", "--dry-run", "--json")
    assert done.exit_code == 0, done.stderr
    small, large = (plan["seconds"] for plan in lines(done))
    assert 0 < small < large < 100
    assert re.search(r"dry run: 2 to do, about \S+ (s|min), 0 skipped", done.stderr)
    text = psal(verb, "large.png", *VERBS[verb], "-o", "out.png", "--dry-run").stdout
    assert timing.in_words(large) in text and not Path("out").exists()
    wide = ("--box", "50,50,200,200") if verb == "inpaint" else ()
    estimates = [
        lines(psal(verb, "large.png", *VERBS[verb], *wide, *engine, "-o", "out.png", "--dry-run", "--json"))[0]["seconds"]
        for engine in [(), *ENGINES[verb]]
    ]
    assert min(estimates) > 0 and len(set(estimates)) == len(estimates), estimates  # each engine has its own


def test_more_of_a_hole_takes_longer_and_an_empty_one_only_its_files(folder):
    Image.fromarray(np.zeros((360, 480), np.uint8)).save("empty.png")
    estimates = [
        lines(psal("inpaint", "large.png", *mask, "-o", "out.png", "--dry-run", "--json"))[0]["seconds"]
        for mask in (("--mask", "empty.png"), ("--box", "100,100,40,40"), ("--box", "100,100,200,200"))
    ]
    assert estimates == sorted(estimates) and estimates[2] > 2 * estimates[1] > 2 * estimates[0]
