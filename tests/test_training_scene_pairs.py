"""Pairs of scenes for the embedding of `psal colorize`."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from psal_cli.training import embedding, scene_pairs
from psal_cli.training.pairs import Pairs
from psal_cli.training.photographs import EVERY
from psal_cli.training.scene_pairs import ScenePairs

SCENES = 4 * EVERY


@pytest.fixture
def scenes(tmp_path, monkeypatch):
    """Scenes whose blue tells their number, whose red tells the column. Each is said to look like one that follows later."""
    (tmp_path / "scenes").mkdir()
    for number in range(SCENES):
        picture = np.full((96, 128, 3), 5 * number, np.uint8)
        picture[..., 0] = np.arange(128) * 2
        Image.fromarray(picture).save(tmp_path / "scenes" / f"{number + 5000}.webp", lossless=True)
    monkeypatch.setattr(scene_pairs, "NEIGHBOURS", 1)
    monkeypatch.setattr(scene_pairs, "_mean_features", lambda file: np.eye(SCENES, dtype=np.float32)[kind(int(file.stem) - 5000)])
    return ScenePairs(tmp_path, 0, tmp_path / "cache")


def kind(number):
    """Two scenes have it, those held out (0, 12, 24, 36) among themselves."""
    return number // (2 * EVERY) if number % EVERY == 0 else 10 + (number - number // EVERY) // 2


def number_of(picture):
    return round(float(np.median(picture[..., 2])) * 51)


@pytest.mark.slow
def test_alike_scenes_are_two_of_one_kind_and_none_is_held_out(scenes):
    for held_out in (False, True):
        pairs = [scenes.alike(number, held_out) for number in range(40)]
        numbers = [(number_of(pair.target), number_of(pair.reference)) for pair in pairs]
        assert all(first != second and kind(first) == kind(second) for first, second in numbers)
        assert {number % EVERY == 0 for pair in numbers for number in pair} == {held_out}
    assert len({pair.target.shape for pair in pairs}) > 10
    np.testing.assert_array_equal(scenes.alike(3).target, scenes.alike(3).target)


@pytest.mark.slow
def test_parts_are_of_one_scene_and_those_held_out_its_two_sides(scenes):
    for number in range(20):
        target, reference = scenes.parts(number, held_out=True)
        assert number_of(target) % EVERY == 0
        spans = sorted((side[..., 0].min(), side[..., 0].max()) for side in (target, reference))
        assert spans[0][0] < 0.1 < 0.25 < spans[1][0]  # the left side begins at the border, the right one near the middle
    numbers = [number_of(scenes.parts(number).target) for number in range(60)]
    assert all(number % EVERY for number in numbers) and len(set(numbers)) > 20


def test_a_table_of_neighbours_is_made_once(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(scene_pairs, "_mean_features", None)
    np.testing.assert_array_equal(ScenePairs(tmp_path, 0, tmp_path / "cache").near[0], scenes.near[0])


def test_a_third_of_the_steps_take_videos_and_a_third_alike_scenes(scenes, monkeypatch):
    monkeypatch.setattr(ScenePairs, "alike", lambda self, number: "alike")
    monkeypatch.setattr(ScenePairs, "parts", lambda self, number: "parts")
    monkeypatch.setattr(Pairs, "mixed", lambda self, *_: [np.zeros((1, 1))] * 2)
    videos = Pairs.__new__(Pairs)
    videos.seed = 0
    drawn = Counter(x if isinstance(x := embedding.sample(videos, scenes, number), str) else "video" for number in range(1000))
    assert drawn["video"] == pytest.approx(350, abs=50) and drawn["alike"] == pytest.approx(350, abs=50)
