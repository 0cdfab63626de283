"""Guided colorization: the parts, and colours that come back from a reference."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from psal_cli.image.cielab import coloured, lab, lightness, tone
from psal_cli.image.picture import Picture
from psal_cli.networks.colorization import ColorizationNetwork, grey
from psal_cli.networks.fusion import CUES, FusionNetwork
from psal_cli.verbs.colorize import descriptors, matching
from psal_cli.verbs.colorize.coarse_to_fine import ChromaEstimate, _mixed, applied, colorize, is_grey
from psal_cli.verbs.colorize.joint_bilateral import JointBilateralUpsampling
from psal_cli.verbs.colorize.paper import LAYERS, _levelled, layer
from psal_cli.verbs.colorize.paper import colorize as by_paper
from psal_cli.verbs.hooks import Meter
from psal_cli.viz import drawing

NAMES = {
    **{f"conv{x}.0.{part}": shape for x in "qkv" for part, shape in (("weight", (16, 3, 3, 3)), ("bias", (16,)))},
    "final.0.weight": (3, 19, 3, 3),
    "final.0.bias": (3,),
}


def frame(pair, number, size=(96, 128)):
    """uint8 [H, W, 3]: one of the two video frames of the tests."""
    picture = pair(160)[number][0, :, : size[0], : size[1]]
    return (picture * 255).round().to(torch.uint8).permute(1, 2, 0).numpy().copy()


def without_colours(picture):
    return coloured(picture, np.zeros((*picture.shape[:2], 2), np.float32))[..., :1]


def described(light):
    out = np.empty((*light.shape, descriptors.CHANNELS), np.float32)
    descriptors.describe(light, out)
    return out


def error(estimate, truth):
    """Mean squared error of chroma, in the units of CIE Lab."""
    return float(((lab(applied(without_colours(truth), estimate)) - lab(truth))[..., 1:] ** 2).mean() * 1e4)


def variance(truth):
    return float(lab(truth)[..., 1:].var((0, 1)).mean() * 1e4)


def test_network_of_the_paper_has_the_published_names_and_shapes():
    network = ColorizationNetwork(layer("psal3"))
    assert {name: tuple(x.shape) for name, x in network.state_dict().items()} == NAMES
    assert sum(x.numel() for x in network.parameters()) == 1860


def test_network_of_the_paper_is_what_figure_3_draws():
    class Middle(torch.nn.Module):
        def forward(self, query, key, value, query_mask=None, key_mask=None):
            self.seen = query, key, value
            return value.mean((2, 3), keepdim=True).expand(-1, -1, *query.shape[2:])

    network, target, reference = ColorizationNetwork(Middle()), grey(torch.rand(1, 3, 9, 11)), torch.rand(1, 3, 8, 7)
    with torch.no_grad():
        out = network(target, reference)
        query, key, value = network.attention.seen
        for features, conv, picture in (
            (query, network.convq, target),
            (key, network.convk, reference),
            (value, network.convv, reference),
        ):
            right = torch.nn.functional.conv2d(picture, conv[0].weight, conv[0].bias, padding=1).relu()
            torch.testing.assert_close(features, right)
        attended = value.mean((2, 3), keepdim=True).expand(-1, -1, 9, 11)
        right = torch.nn.functional.conv2d(
            torch.cat([target, attended], 1), network.final[0].weight, network.final[0].bias, padding=1
        )
        torch.testing.assert_close(out, right.sigmoid())


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_plugs_in_and_learns_where_it_can(name):
    network = ColorizationNetwork(layer(name))
    network(grey(torch.rand(1, 3, 24, 24)), torch.rand(1, 3, 24, 24)).square().sum().backward()
    learns = {part: bool(x.grad.any()) for part, x in network.named_parameters() if part.endswith("weight")}
    attends = name != "psal1"  # k = 1 without aggregation: the weights are constant (section 3.4.1)
    assert learns == {"convq.0.weight": attends, "convk.0.weight": attends, "convv.0.weight": True, "final.0.weight": True}


def test_descriptors_of_a_shifted_picture_are_shifted(pair):
    light = lightness(frame(pair, 0, (160, 160)))
    whole, part = described(light), described(light[16:, 24:])
    inside = np.s_[70:90, 70:90]  # as far from the border as the largest scale sees
    np.testing.assert_allclose(whole[16:, 24:][inside], part[inside], atol=0.15)
    assert np.abs(whole[16:, 24:][inside] - whole[:144, :136][inside]).mean() > 0.2


def test_descriptors_do_not_depend_on_the_strips(pair, monkeypatch):
    light = lightness(frame(pair, 0))
    whole = described(light)
    monkeypatch.setattr(descriptors, "STRIP", 1000)
    np.testing.assert_allclose(described(light), whole, atol=1e-5)


def test_matches_point_to_the_reference_that_holds_the_place(pair):
    first, second = frame(pair, 0, (64, 160)), frame(pair, 0, (160, 160))[96:, :]
    references = matching.atlas_of([(lab(first), None), (lab(second), None)])
    assert references.places == [(0, 160, 64), (160, 160, 64)]
    for picture, left in ((first, 0), (second, 160)):
        matches = matching.match(lightness(picture), references)
        row, column = matches.nnf[0, 0].numpy()
        right = (np.abs(row - np.arange(64)[:, None]) <= 1) & (np.abs(column - np.arange(160) - left) <= 1)
        assert right.mean() > 0.97
        assert (matching.agreement(matches) <= 2).float().mean() > 0.95


def test_what_is_not_visible_is_never_matched(pair):
    picture = frame(pair, 0)
    visible = np.ones(picture.shape[:2], bool)
    visible[:, 50:] = False
    matches = matching.match(lightness(picture), matching.atlas_of([(lab(picture), visible)]))
    assert matches.nnf[0, 0, 1].max() < 50


def test_hidden_colours_have_no_vote_and_are_mixed_into_nothing(pair, quick_colours):
    picture = frame(pair, 0)
    visible = np.ones(picture.shape[:2], bool)
    visible[:, 64::2] = False
    hidden = np.where(visible[..., None], picture, np.uint8([0, 255, 0]))
    estimates = [colorize(without_colours(picture), [x], visible=[visible]) for x in (picture, hidden)]
    np.testing.assert_array_equal(estimates[0].chroma, estimates[1].chroma)


def test_a_finer_level_starts_from_the_coarser_one(pair):
    picture = frame(pair, 0, (160, 160))
    coarse, fine = lab(picture[::2, ::2]), lab(picture)
    first = matching.match(coarse[..., 0], matching.atlas_of([(coarse, None)]))
    second = matching.match(fine[..., 0], matching.atlas_of([(fine, None)]), coarser=first)
    here = np.stack(np.mgrid[:160, :160])
    assert (np.abs(second.nnf[0, 0].numpy() - here).max(0) <= 1).mean() > 0.97


def known(nnf, back, size):
    """Matches of a field that is given, [2, h, w] each, as `match` would return them."""
    none = torch.zeros(1, matching.REDUCED, *size)
    similarity = torch.full((1, 1, *size), -2.0)
    return matching.Matches(nnf[None, None].int(), back[None, None].int(), similarity, none, none)


def grid(height, width):
    return torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))


def test_each_cue_of_a_known_field():
    """Everything has moved down by 3 and right by 2; one pixel, (20, 21), is matched with (5, 30), whose own match is not it."""
    here, shift = grid(40, 50), torch.tensor([3, 2])[:, None, None]
    size = torch.tensor([[[39]], [[49]]])
    nnf, back = torch.minimum(here + shift, size), (here - shift).clamp_min(0)
    nnf[:, 20, 21] = torch.tensor([5, 30])
    random = np.random.default_rng(0)
    light, reference, likely, guess = (random.random((40, 50, *more), np.float32) for more in ((), (3,), (3,), (3,)))
    matches = known(nnf, back, (40, 50))
    cues = matching.cues(light, matching.atlas_of([(reference, None)]), matches, likely, guess, 0.05)[0].numpy()
    apart = matching.agreement(matches).numpy()
    assert apart[10, 10] == 0 and apart[20, 21] == pytest.approx(np.hypot(20 - 2, 21 - 28))
    np.testing.assert_array_equal(cues[0], light)
    np.testing.assert_array_equal(cues[1:3, 10, 10], reference[13, 12, 1:])
    np.testing.assert_array_equal(cues[1:3, 20, 21], reference[5, 30, 1:])
    np.testing.assert_allclose(cues[3:5, 10, 10], reference[13, 12, 1:], atol=1e-6)  # all around vote for the same place
    votes = (24 * reference[23, 23, 1:] + reference[5, 30, 1:]) / 25
    np.testing.assert_allclose(cues[3:5, 20, 21], votes, atol=1e-6)
    np.testing.assert_array_equal(cues[5:8], likely.transpose(2, 0, 1))
    np.testing.assert_allclose(cues[8], np.exp(-apart / 4), atol=1e-6)
    np.testing.assert_allclose(cues[9], np.exp(-0.5), atol=1e-6)
    assert cues[10, 10, 10] == pytest.approx(4 * (reference[13, 12, 0] - light[10, 10]), abs=1e-5)
    assert cues[11, 10, 10] == 1 and cues[11, 20, 21] == 0 and cues[11, 19, 21] == 7 / 8
    np.testing.assert_array_equal(cues[12:15], guess.transpose(2, 0, 1))
    for cue, right in zip(cues[15:], (0.2, cues[8].mean(), np.exp(-0.5), cues[11].mean()), strict=True):
        np.testing.assert_allclose(cue, right, atol=1e-6)


def test_two_levels_are_mixed_by_the_error_that_each_expects():
    coarse, fine = np.full((2, 3, 2), 0.4, np.float32), np.full((4, 6, 2), 0.1, np.float32)
    for before, after, expected in ((1.0, 0.0, 0.1), (0.0, 1.0, 0.4), (0.2, 0.2, 0.25), (0.1, 0.3, 0.37)):
        errors = np.full((2, 3, 1), before, np.float32), np.full((4, 6, 1), after, np.float32)
        chroma, error = _mixed((coarse, errors[0]), (fine, errors[1]))
        np.testing.assert_allclose(chroma, np.full((4, 6, 2), expected), atol=1e-6)
        np.testing.assert_allclose(error, np.full((4, 6, 1), min(before, after)), atol=1e-6)


def test_confidence_is_low_where_the_reference_lacks_the_thing(pair, quick_colours):
    picture = frame(pair, 0)
    visible = np.ones(picture.shape[:2], bool)
    visible[:, 64:] = False
    estimate = colorize(without_colours(picture), [picture], visible=[visible])
    known, unknown = estimate.confidence[:, :48].mean(), estimate.confidence[:, 64:].mean()
    assert known > unknown + 0.2


def test_origins_are_places_in_each_references_own_pixels(pair, quick_colours):
    picture = frame(pair, 0)
    large = cv2.resize(picture, (384, 288), interpolation=cv2.INTER_CUBIC)
    stranger = np.random.default_rng(0).integers(0, 256, (80, 70, 3), np.uint8)
    for references, expected in (([stranger, large], 1), ([large, stranger], 0)):
        number, row, column = np.moveaxis(colorize(without_colours(picture), references).origin, 2, 0)
        assert (number == expected).mean() > 0.95
        assert (row[number != expected] < 80).all() and (column[number != expected] < 70).all()
        y, x = (np.mgrid[: len(number), : number.shape[1]] + 0.5) * (288 / len(number))  # in pixels of the large one
        assert (np.hypot(row - y, column - x)[number == expected] < 4).mean() > 0.9


@pytest.mark.parametrize("strip", [7, 1000])
def test_colours_of_a_large_picture_stop_where_its_edge_is(strip, monkeypatch):
    monkeypatch.setattr("psal_cli.verbs.colorize.coarse_to_fine.rows_within", lambda most, width: strip)
    chroma, guide = np.full((8, 16, 2), -0.2, np.float32), np.full((8, 16), 0.45, np.float32)
    chroma[:, 8:], guide[:, 8:] = 0.2, 0.65
    chroma[4:] /= 2
    picture = np.full((40, 80, 1), 107, np.uint8)  # L* 45
    picture[:, 42:] = 158  # L* 65
    colours = lab(applied(picture, ChromaEstimate(chroma, guide, None, None)))[..., 1]
    assert np.abs(colours[:15, 44:] - 0.2).max() < 0.07 and np.abs(colours[:15, :39] + 0.2).max() < 0.07
    assert np.abs(colours[25:, 44:] - 0.1).max() < 0.05 and np.abs(colours[25:, :39] + 0.1).max() < 0.05
    assert (colours[:10, 42:] > 0).all() and (colours[:10, :41] < 0).all()
    pale = lab(applied(picture, ChromaEstimate(chroma, guide, None, None), 0.5))[..., 1]
    np.testing.assert_allclose(pale[:15, 60:], 0.1, atol=0.02)


def test_levelled_references_have_the_mean_that_their_light_has_as_a_grey(pair):
    levelled = _levelled(frame(pair, 0))
    np.testing.assert_allclose(levelled.mean(2), tone(frame(pair, 0)), atol=1e-6)
    spread = levelled - levelled.mean(2, keepdims=True)
    shares = frame(pair, 0) / 255
    np.testing.assert_allclose(spread, shares - shares.mean(2, keepdims=True), atol=1e-6)


def test_wheel_is_white_where_a_larger_reference_has_the_same_place(monkeypatch):
    far = []
    legend = drawing._legend
    monkeypatch.setattr(drawing, "_legend", lambda side, distance: far.append(distance) or legend(side, distance))
    picture, reference = (Picture(np.full((h, 2 * h, 3), 90, np.uint8)) for h in (100, 300))
    same = np.mgrid[:50, :100] * 6 + 3  # what is worked at: half the picture, a sixth of it
    wheel = drawing.draw_field(same, [reference.pixels.shape[:2]], picture).pixels[:50, :100]
    assert (wheel == 255).all()
    moved = same + np.array([0, 60])[:, None, None]  # 10 pixels to the right, 20 of the picture's
    wheel = drawing.draw_field(moved, [reference.pixels.shape[:2]], picture).pixels[:50, :80]
    assert (wheel == [255, 0, 0]).all() and far[-1] == pytest.approx(20)


def test_share_map_is_white_where_all_is_and_has_the_pictures_size():
    share = np.zeros((4, 6), np.float32)
    share[:, 3:] = 1
    grey = drawing.share_map(share, (60, 40)).pixels
    assert grey.shape == (40, 60, 1) and (grey[:, :20] == 0).all() and (grey[:, -20:] == 255).all()


def test_fusion_gives_colours_between_those_of_the_matches():
    network, cues = FusionNetwork(), torch.rand(1, CUES, 70, 90)
    with torch.no_grad():
        chroma, expected = network(cues)
    assert chroma.shape == (1, 2, 70, 90) and expected.shape == (1, 1, 70, 90) and (expected > 0).all()
    for axis in (0, 1):
        known = torch.cat([cues[:, 1 + axis], cues[:, 3 + axis], cues[:, 5 + axis]])
        assert known.min() - 1e-4 <= chroma[:, axis].min() and chroma[:, axis].max() <= known.max() + 1e-4


@pytest.mark.slow
def test_colours_come_back_from_the_picture_itself(pair):
    picture = frame(pair, 0)
    estimate = colorize(without_colours(picture), [picture])
    assert error(estimate, picture) < 0.15 * variance(picture)
    assert estimate.confidence.shape == (336, 448) and 0 <= estimate.confidence.min() <= estimate.confidence.max() <= 1
    number, row, column = estimate.origin.reshape(-1, 3).T
    assert (number == 0).all() and (row < 96).all() and (column < 128).all()


@pytest.mark.slow
def test_colours_come_from_the_next_frame(pair, device):
    picture, reference = frame(pair, 0, (160, 160)), frame(pair, 1, (160, 160))
    estimate = colorize(without_colours(picture), [reference], device=str(device))
    apart = lab(applied(without_colours(picture), estimate))[..., 1:] - lab(picture)[..., 1:]
    assert (np.hypot(apart[..., 0], apart[..., 1]) < 0.1).mean() > 0.65
    assert error(estimate, picture) < 0.65 * variance(picture)  # the train has moved on


@pytest.mark.slow
def test_one_side_of_a_photograph_colours_the_other_without_speckles(load):
    faults = load("colour_faults")
    photo = cv2.imread(str(Path(__file__).parents[1] / "examples" / "dandelions.jpg"))[..., ::-1]
    photo = cv2.resize(photo, (900, round(900 * photo.shape[0] / photo.shape[1])), interpolation=cv2.INTER_AREA)
    picture, reference = np.ascontiguousarray(photo[:, :450]), np.ascontiguousarray(photo[:, 450:])
    estimate = colorize(without_colours(picture), [reference])
    assert error(estimate, picture) < 0.75 * variance(picture)
    chroma = lab(applied(without_colours(picture), estimate))[..., 1:]
    assert faults.speckles(chroma) < 0.001
    assert faults.stray_edges(lightness(picture), chroma) < 0.001


def test_of_two_references_the_one_that_knows_is_used(pair, quick_colours):
    picture = frame(pair, 0)
    stranger = np.random.default_rng(0).integers(0, 256, (80, 70, 3), np.uint8)
    estimate = colorize(without_colours(picture), [stranger, picture])
    assert (estimate.origin[..., 0] == 1).mean() > 0.95
    assert error(estimate, picture) < 0.2 * variance(picture)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [((96, 128), (288, 384)), ((288, 384), (96, 128)), ((384, 288), (96, 72))])
def test_a_reference_of_another_size_is_as_good(pair, quick_colours, sizes):
    whole = frame(pair, 0, (144, 144)) if sizes[0][0] > sizes[0][1] else frame(pair, 0)
    picture, reference = (cv2.resize(whole, size[::-1], interpolation=cv2.INTER_CUBIC) for size in sizes)
    estimate = colorize(without_colours(picture), [reference])
    assert error(estimate, picture) < 0.15 * variance(picture)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "times", "width"), [((32, 128), 1, 448), ((33, 150), 6, 896)], ids=["one level", "two levels"])
def test_same_seed_same_colours_for_any_number_of_threads(pair, threads, size, times, width):
    picture, reference = (frame(pair, number, size).repeat(times, 0).repeat(times, 1) for number in (0, 1))
    estimates = []
    for count in (1, 3):
        threads(count)
        estimates.append(colorize(without_colours(picture), [reference], seed=3))
    assert estimates[0].chroma.shape[1] == width
    for other in estimates[1:]:
        np.testing.assert_array_equal(estimates[0].origin, other.origin)
        np.testing.assert_array_equal(estimates[0].chroma, other.chroma)
        np.testing.assert_array_equal(estimates[0].confidence, other.confidence)


@pytest.mark.slow
def test_larger_pictures_are_looked_at_twice(pair, quick_colours):
    picture = frame(pair, 0, (160, 160)).repeat(2, 0).repeat(2, 1)  # 320: more than twice the coarse level
    steps = []
    estimate = colorize(picture, [picture], longest=250, meter=Meter(lambda _, text: steps.append(text), 1.0))
    assert list(dict.fromkeys(steps)) == ["level 1 of 2, 56x56", "level 2 of 2, 168x168"]
    assert estimate.chroma.shape == (168, 168, 2)
    assert error(estimate, picture) < 0.1 * variance(picture)


@pytest.mark.parametrize("size", [(64, 48), (63, 50), (16, 12), (61, 129)])
def test_colours_of_an_even_picture_are_enlarged_as_cubic_interpolation_does(size):
    chroma = np.random.default_rng(0).random((16, 12, 2), np.float32)
    even = JointBilateralUpsampling(chroma, np.zeros((16, 12), np.float32), size)
    rows = [
        even.rows(top, min(top + 7, size[0]), np.zeros((min(7, size[0] - top), size[1]), np.float32))
        for top in range(0, size[0], 7)
    ]
    np.testing.assert_allclose(np.concatenate(rows), cv2.resize(chroma, size[::-1], interpolation=cv2.INTER_CUBIC), atol=1e-5)


def test_enlarged_colours_stop_at_an_edge_of_lightness():
    """Two colours side by side; in the picture, five times larger, the edge is two fifths of a coarse pixel further right."""
    chroma, guide = np.full((8, 16, 2), -0.4, np.float32), np.full((8, 16), 0.2, np.float32)
    chroma[:, 8:], guide[:, 8:] = 0.4, 0.9
    light = np.full((40, 80), 0.2, np.float32)
    light[:, 42:] = 0.9
    sharp = JointBilateralUpsampling(chroma, guide, (40, 80)).rows(0, 40, light)
    right = np.where(np.arange(80) < 42, -0.4, 0.4)
    soft = cv2.resize(chroma, (80, 40), interpolation=cv2.INTER_CUBIC)
    assert np.abs(sharp[..., 0] - right).mean() < 0.6 * np.abs(soft[..., 0] - right).mean()


def test_refusals():
    picture = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ValueError, match="no reference"):
        colorize(picture, [])
    with pytest.raises(ValueError, match="visible"):
        colorize(picture, [picture], visible=[np.zeros((20, 20), bool)])


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (7, 1000), (2000, 3)])
def test_any_size_is_coloured(size):
    random = np.random.default_rng(0)
    picture, reference = random.integers(0, 256, (*size, 1), np.uint8), random.integers(0, 256, (5, 4, 3), np.uint8)
    result = applied(picture, colorize(picture, [reference]))
    assert result.shape == (*size, 3)


@pytest.mark.parametrize("attention", ["psal3", "aggregation"])
def test_paper_engine_colours_from_the_visible_parts_of_references(pair, attention):
    picture = frame(pair, 0)
    wrong = np.concatenate([picture, np.full_like(picture, 255)], 1)
    visible = np.ones(wrong.shape[:2], bool)
    visible[:, 128:] = False
    alone = by_paper(without_colours(picture), [picture], attention=attention)
    assert error(alone, picture) < 0.5 * variance(picture)
    masked = by_paper(without_colours(picture), [wrong], visible=[visible], attention=attention)
    assert np.abs(masked.chroma - alone.chroma).mean() < 0.02


def test_grey_is_told_from_colour(pair):
    picture = frame(pair, 0)
    assert not is_grey(picture)
    assert is_grey(without_colours(picture)) and is_grey(without_colours(picture).repeat(3, 2))
    noisy = np.clip(without_colours(picture).repeat(3, 2) + np.random.default_rng(0).integers(-1, 2, picture.shape), 0, 255)
    assert is_grey(noisy.astype(np.uint8))
    half = np.zeros(picture.shape[:2], bool)
    half[:, :60] = True
    beside = np.where(half[..., None], without_colours(picture), picture)
    assert is_grey(beside, half) and not is_grey(beside, ~half) and not is_grey(beside)
