"""The bench of `psal colorize` between different photographs: its pairs and what it counts."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def faults(load):
    return load("colour_faults")


def test_no_photograph_is_in_both_parts(load):
    pairs = load("colour_pairs")
    sources = [{file.partition("#")[0] for _, *both in pairs.listed(part) for file in both} for part in pairs.PARTS]
    assert not sources[0] & sources[1]
    assert sum(len(pairs.listed(part)) for part in pairs.PARTS) >= 40


def test_halves_of_a_photograph_and_files_of_repositories_are_read(load, tmp_path, monkeypatch):
    pairs = load("colour_pairs")
    picture = np.zeros((60, 100, 3), np.uint8)
    picture[:, 50:] = 200
    for place in (tmp_path / "data/scenes/1.png", tmp_path / "kept/owner/name/views/2.png"):
        place.parent.mkdir(parents=True)
        Image.fromarray(picture).save(place)
    sides, place = '["sides", "scenes/1.png#right", "scenes/1.png#left"]', '["place", "owner/name:views/2.png", "scenes/3.png"]'
    (tmp_path / "pairs.toml").write_text(f"report = [{sides}, {place}]")
    monkeypatch.setattr(pairs, "PAIRS", tmp_path / "pairs.toml")
    read = pairs.photograph_pairs("report", tmp_path / "data", tmp_path / "kept")
    pair = next(read)
    assert pair.kind == "sides" and max(pair.target.shape) == pairs.SIDE
    assert pair.target.min() == 200 and pair.reference.max() == 0
    with pytest.raises(FileNotFoundError, match=r"3\.png is missing: see --data"):
        next(read)


def test_wrong_hues_are_those_of_what_has_colour_in_both(faults):
    red, yellow, green, grey = ([0.3, 0.0], [0.2, 0.22], [-0.3, 0.0], [0.01, 0.01])
    truth = np.float32([[red, red, red, red, grey]])
    chroma = np.float32([[red, yellow, green, grey, green]])  # 48 degrees are too many, no colour is no hue
    assert faults.wrong_hue(truth, chroma) == pytest.approx(2 / 5)


def test_an_edge_of_colour_is_lost_where_less_than_half_of_it_is_there(faults):
    truth = np.zeros((40, 60, 2), np.float32)
    truth[:, 30:, 0] = 0.4
    kept = truth.copy()
    kept[20:] = 0.2  # in the lower half the colour has bled over
    assert faults.lost_edges(truth, truth) == 0
    assert faults.lost_edges(truth, kept) == pytest.approx(0.5)
    assert faults.lost_edges(np.zeros_like(truth), kept) == 0  # nothing to lose


def test_grey_has_no_colourfulness_and_two_colours_have_more_than_one(faults):
    grey = np.random.default_rng(0).integers(0, 256, (20, 20, 1), np.uint8).repeat(3, 2)
    one = np.full((20, 20, 3), (200, 100, 100), np.uint8)
    two = one.copy()
    two[10:] = 100, 100, 200
    assert faults.colourfulness(grey) == 0
    assert 0 < faults.colourfulness(one) < faults.colourfulness(two)
