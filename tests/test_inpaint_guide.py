"""What guides the search of patches: features of places, known and hidden, as far around a hole as they are asked for."""

import numpy as np
import pytest
import torch
from torch import nn

from psal_cli import inpaint
from psal_cli.memory_fallback import RunMode
from psal_cli.networks.contextual_attention import InpaintingNetwork
from psal_cli.networks.learned_copying import CopyingNetwork
from psal_cli.patchmatch.pyramid import Guide, Pyramid, halve_mask
from psal_cli.verbs.inpaint import completion
from psal_cli.verbs.inpaint.fill import fill
from psal_cli.verbs.inpaint.guide import FEATURE_WEIGHT, MARGIN, TILE, ColourGuide, FeatureGuide, guide_for, network_for, tiles
from psal_cli.verbs.inpaint.options import InpaintOptions


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).random((height, width, channels), np.float32)


def hole_of(size, *boxes):
    mask = np.zeros(size, bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


class Marking(nn.Module):
    """Instead of a network: the feature of a known place is its column's share of the width, of a hidden one `wanted`."""

    features = 1

    def __init__(self, wanted, width):
        super().__init__()
        self.wanted, self.width, self.asked = nn.Parameter(torch.tensor(float(wanted))), width, []

    def forward(self, image, mask):
        self.asked.append(tuple(mask.shape[2:]))
        columns = torch.linspace(0, 1, mask.shape[3]).expand_as(mask)
        return image, mask, 100 / FEATURE_WEIGHT * torch.where(mask > 0, self.wanted, columns)


@pytest.mark.parametrize("wanted", [0.1, 0.9])
def test_what_is_copied_has_the_features_of_the_hole(wanted):
    image, mask = 0.1 * noise(96, 240), hole_of((96, 240), (34, 62, 106, 134))
    guide = FeatureGuide(Marking(wanted, 240))
    filled = fill(image, mask, mask, InpaintOptions(), guide)
    deep = hole_of((96, 240), (44, 52, 116, 124))[mask]
    assert np.median(np.abs(filled.origins[deep, 1] / 240 - wanted)) < 0.15
    assert not mask[tuple(filled.origins.T)].any()


class Nothing(ColourGuide):
    """Tells nothing of the places."""

    radius, reach, features, cost = 24.0, 128, 1, 1.0

    def __init__(self, nearness):
        self.nearness = nearness

    def __call__(self, known, hole):
        return np.zeros((*hole.shape, 1), np.float32)


def test_where_nothing_fits_better_what_is_near_is_copied():
    image, mask = noise(200, 400), hole_of((200, 400), (86, 114, 186, 214))
    far, near = (
        np.abs(fill(image, mask, mask, InpaintOptions(), Nothing(nearness)).origins - np.argwhere(mask)).max(1)
        for nearness in (0.0, FeatureGuide.nearness)
    )
    assert np.median(near) < 45 and np.median(far) > 80


def test_nearness_is_measured_in_sides_of_the_hole():
    """A long hole is filled from before its ends rather than from across the edge that it lies on."""
    pyramid = Pyramid(noise(96, 400), [hole_of((96, 400), (40, 64, 100, 300)), hole_of((48, 200), (20, 32, 50, 150))])
    pyramid.guide(1, Nothing(1.0))
    places = pyramid.guides[1][..., 2:4]
    np.testing.assert_allclose(places[32, 150] - places[20, 50], (12 / 16, 1), rtol=1e-5)  # no side counts as less than 16 pixels
    np.testing.assert_allclose(places[25:27, 99:101].mean((0, 1)), 0, atol=1e-6)  # 0 in the middle of the hole


def test_a_guide_is_asked_about_the_surroundings_of_a_hole_at_the_level_where_it_is_narrow():
    """What is made of a 4-megapixel picture follows from the hole: 2 x 128 pixels of the second level around 28 / 2."""
    image, asked = np.zeros((2000, 2100, 1), np.float32), []
    image[:] = noise(2000, 2100, 1)

    class Asked(ColourGuide):
        radius, reach = FeatureGuide.radius, FeatureGuide.reach

        def __call__(self, known, hole):
            asked.append((known.shape, int(hole.sum())))
            assert not known[hole].any()
            return known

    mask = hole_of((2000, 2100), (1000, 1028, 1000, 1028))
    completion.complete(image, mask, mask, 7, 1, 0, guide=Asked(None))
    assert asked == [((270, 270, 1), 14 * 14)]


def test_places_that_are_not_described_are_not_copied_at_guided_levels(monkeypatch):
    """Two holes far apart: what lies between their surroundings is in the box of both, and is barred there."""
    image = noise(400, 900, 1)
    mask = hole_of((400, 900), (190, 220, 40, 70), (190, 220, 830, 860))
    searched = {}
    alternate = completion.Hole.alternate

    def spied(self, key, *more, **named):
        valid = key.valid.valid[0]
        searched[tuple(valid.shape)] = valid.any(0).nonzero()[[0, -1], 0].tolist(), int((~valid.any(0)).sum())
        return alternate(self, key, *more, **named)

    monkeypatch.setattr(completion.Hole, "alternate", spied)

    class Near(ColourGuide):
        radius, reach, features, cost = 24.0, 32, 1, 1.0

        def __call__(self, known, hole):
            return known

    parts = completion.complete(image, mask, mask, 7, 1, 0, guide=Near(None))
    assert searched[400, 900] == ([3, 896], 6)  # the finest level: all of it
    guided = max(size for size in searched if size != (400, 900))
    assert guided[1] > 400 and searched[guided][1] > 300  # columns of 430 or so
    for box, origin in parts:
        known = ~mask[origin[:, 0], origin[:, 1]]
        assert known.all() and len(origin) == mask[box[0] : box[1], box[2] : box[3]].sum()


def test_where_a_source_mask_leaves_nothing_of_what_is_described_the_rest_is_copied():
    image, mask = noise(300, 500), hole_of((300, 500), (130, 170, 30, 70))
    source = hole_of((300, 500), (0, 300, 420, 500))

    class Near(ColourGuide):
        radius, reach, features, cost = 24.0, 16, 1, 1.0

        def __call__(self, known, hole):
            return known

    parts = completion.complete(image, mask, ~source, 7, None, 0, guide=Near(None))
    ((_, origin),) = parts
    assert source[origin[:, 0], origin[:, 1]].all()


def test_a_level_is_cut_with_the_coarser_ones():
    image = noise(90, 122, 1)
    holes = [hole_of((90, 122), (40, 60, 50, 80))]
    for _ in range(3):
        holes.append(halve_mask(holes[-1]))
    whole, cut = Pyramid(image, list(holes)), Pyramid(image, list(holes))
    cut.keep(1, (8, 45, 12, 61))
    for level, view in ((1, np.s_[8:45, 12:61]), (2, np.s_[4:23, 6:31]), (3, np.s_[2:12, 3:16])):
        np.testing.assert_array_equal(cut.coarse[level], whole.coarse[level][view])
        np.testing.assert_array_equal(cut.holes[level], holes[level][view])
    assert cut.holes[0] is holes[0]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CopyingNetwork((8, 8), 4).eval().requires_grad_(False)


def test_tiles_cover_a_window_once_and_see_around_themselves():
    size = 2 * TILE + 30, TILE
    seen = np.zeros(size, int)
    for core, view in tiles(size, TILE):
        seen[core[0] : core[1], core[2] : core[3]] += 1
        assert view[0] == max(core[0] - MARGIN, 0) and view[1] == min(core[1] + MARGIN, size[0])
    assert (seen == 1).all()


def test_in_tiles_or_at_once_the_features_are_the_same(network):
    """Of a network that sees no further than the margin, where no tile has a hole at its border."""
    known, hole = noise(96, 160), hole_of((96, 160), (30, 50, 60, 90))
    known[hole] = 0
    guide = FeatureGuide(network)
    whole = guide(known, hole)
    guide.modes = [RunMode("cpu", False, 64)]
    assert whole.shape == (96, 160, 4) and isinstance(guide, Guide)
    np.testing.assert_allclose(guide(known, hole), whole, atol=1e-5)
    grey = guide(known[..., :1].copy(), hole)
    np.testing.assert_array_equal(grey, guide(known[..., :1].repeat(3, 2), hole))


def test_the_features_are_the_same_for_any_number_of_threads(threads):
    known, hole = noise(150, 170), hole_of((150, 170), (60, 90, 60, 110))
    features = []
    for count in (1, 2, 3):
        threads(count)
        features.append(guide_for(InpaintOptions())(known, hole))
    assert all(np.array_equal(each, features[0]) for each in features)


def test_the_network_is_the_one_that_the_options_name(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(network.state_dict(), "guide.pt")
    torch.save(InpaintingNetwork().state_dict(), "published.pt")
    assert isinstance(network_for(InpaintOptions()), CopyingNetwork)
    assert network_for(InpaintOptions(weights="guide.pt")).features == 4
    for options in ({"weights": "published.pt"}, {"attention": "original"}, {"engine": "network"}):
        assert isinstance(network_for(InpaintOptions(**options)), InpaintingNetwork)
    assert network_for(InpaintOptions(engine="patch")) is None
    assert isinstance(guide_for(InpaintOptions(weights="published.pt")), ColourGuide)


def test_the_features_that_ship_find_the_other_half_of_a_square():
    """A square is half hidden; on plain ground beside it lies another one."""
    image = np.full((128, 128, 3), 0.7, np.float32) + 0.02 * noise(128, 128)
    image[24:56, 16:48], image[72:104, 64:96] = (0.2, 0.3, 0.6), (0.2, 0.3, 0.6)
    truth, mask = image.copy(), hole_of((128, 128), (60, 116, 80, 112))
    image[mask] = 0
    filled = inpaint(image, mask).image
    assert np.sqrt(((filled - truth)[mask] ** 2).mean()) < 0.15
