"""The engines: what they promise of every fill, and that a fill looks like its surroundings."""

import re

import numpy as np
import pytest
import torch

from psal_cli.errors import MemoryLimitError
from psal_cli.patchmatch import pyramid, regions, synthesis
from psal_cli.verbs.inpaint import completion
from psal_cli.verbs.inpaint.api import ENGINES, inpaint, plan
from psal_cli.verbs.inpaint.hole import Hole, peel


def stripes(height=96, width=128, period=8):
    """[1, 3, H, W]: diagonal stripes in two colours, of which every part can be found elsewhere exactly."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    on = ((rows + columns) % period < period // 2).float()
    return torch.stack([on * 0.8 + 0.1, 0.7 - on * 0.4, torch.full_like(on, 0.3)])[None]


def noise(height=96, width=128, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def hole_of(image, *boxes):
    mask = torch.zeros(image.shape[2:], dtype=torch.bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


COPYING = pytest.mark.parametrize("engine", ["combined", "patch"])


@COPYING
@pytest.mark.parametrize("boxes", [[(30, 60, 40, 80)], [(0, 20, 0, 25)], [(5, 12, 5, 120), (60, 96, 100, 128), (40, 41, 40, 41)]])
def test_pixels_outside_the_mask_are_the_inputs_and_inside_the_sources(boxes, engine):
    image = noise()
    mask = hole_of(image, *boxes)
    filled = inpaint(image, mask, blend=False, engine=engine)
    assert torch.equal(filled.image[0][:, ~mask], image[0][:, ~mask])
    row, column = filled.nnf[mask].long().unbind(1)
    assert torch.equal(filled.image[0][:, mask], image[0][:, row, column])
    assert not mask[row, column].any()
    assert (filled.nnf[~mask] == -1).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_what_lies_in_the_hole_does_not_matter(engine):
    image, other = stripes(), stripes()
    mask = hole_of(image, (30, 60, 40, 80))
    other[0][:, mask] = 0.5
    one, two = (inpaint(x, mask, engine=engine).values for x in (image, other))
    assert torch.equal(one, two)


@COPYING
def test_a_regular_texture_is_continued_exactly(engine):
    image = stripes()
    mask = hole_of(image, (30, 58, 40, 75))
    assert (inpaint(image, mask, blend=False, engine=engine).image - image).abs().mean() * mask.numel() / mask.sum() < 0.02


@COPYING
def test_the_same_seed_gives_the_same_picture_for_any_number_of_threads(engine):
    image = noise()
    mask = hole_of(image, (30, 60, 40, 80))
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            results.append(inpaint(image, mask, seed=5, engine=engine))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one.nnf, results[0].nnf) for one in results)
    assert not torch.equal(inpaint(image, mask, seed=6, engine=engine).nnf, results[0].nnf)


def test_only_the_source_mask_is_copied_from():
    image = noise()
    mask = hole_of(image, (30, 60, 40, 80))
    source = hole_of(image, (0, 96, 90, 128))
    origin = inpaint(image, mask, source_mask=source).nnf[mask].long()
    assert source[origin[:, 0], origin[:, 1]].all()


def test_grey_pictures_keep_one_channel():
    image = noise()[:, :1]
    assert inpaint(image, hole_of(image, (30, 60, 40, 80))).image.shape == image.shape


def test_hidden_pixels_never_reach_a_known_pixel_of_the_pyramid():
    image, mask = noise()[0].permute(1, 2, 0).numpy(), hole_of(noise(), (31, 60, 41, 80)).numpy()
    other = np.where(mask[..., None], np.float32(1e3), image)
    holes = [mask]
    for _ in range(3):
        holes.append(pyramid.halve_mask(holes[-1]))
    one, two = pyramid.Pyramid(image, holes), pyramid.Pyramid(other, holes)
    for number, hole in enumerate(holes):
        features = one.features(number)
        assert torch.equal(features, two.features(number))
        assert (features[0][:, hole] == 0).all()
        assert (features[0][:, ~hole] > 0).any(0).all()


def test_levels_made_in_strips_are_those_made_whole(monkeypatch):
    image, mask = noise(61, 47)[0].permute(1, 2, 0).numpy(), hole_of(noise(61, 47), (20, 33, 10, 21)).numpy()
    holes = [mask, pyramid.halve_mask(mask), pyramid.halve_mask(pyramid.halve_mask(mask))]
    whole = pyramid.Pyramid(image, holes)
    monkeypatch.setattr(pyramid, "STRIP", 6 * 47)
    strips = pyramid.Pyramid(image, holes)
    for number in range(3):
        for energy in (False, True):
            assert torch.equal(whole.features(number, energy), strips.features(number, energy))
    plain = whole.features(0)[0, :, :-1]
    steps = (plain[:3, 1:] - plain[:3, :-1]).mean(0).abs() * pyramid.TEXTURE_WEIGHT
    apart = ~(mask[1:] | mask[:-1])[:-1]
    assert torch.allclose(plain[3, :-1][torch.from_numpy(apart)], steps[torch.from_numpy(apart)], atol=1e-5)


def test_upsampled_matches_keep_their_place_in_their_pixel():
    coarse = torch.tensor([[5, 6], [7, -1]], dtype=torch.int32)
    nnf = torch.stack([coarse, torch.where(coarse < 0, -1, coarse + 10)])[None, None]
    similarity = torch.tensor([[[[-1.0, -2.0], [-3.0, -torch.inf]]]])
    fine, similar = pyramid.upsample_field(nnf, similarity, (4, 8, 2, 6), (2, 4, 1, 3), (100, 100), 3)
    assert fine[0, 0, 0].tolist() == [[10, 10, 12, 12], [11, 11, 13, 13], [14, 14, -1, -1], [15, 15, -1, -1]]
    assert fine[0, 0, 1].tolist() == [[30, 31, 32, 33], [30, 31, 32, 33], [34, 35, -1, -1], [34, 35, -1, -1]]
    assert similar[0, 0].tolist() == 2 * [[-1, -1, -2, -2]] + 2 * [[-3, -3, -torch.inf, -torch.inf]]


def test_the_first_estimate_is_made_of_source_colours():
    """Peeling compares only what is known of a patch: a hole between two plain halves keeps both."""
    image = torch.zeros(1, 3, 64, 64)
    image[..., 32:] = 1.0
    mask = hole_of(image, (20, 40, 20, 44)).numpy()
    (holes, _, keys), (box,) = completion._masks(mask, mask, 7), regions.part_boxes(mask, 7)
    key = synthesis.Key(pyramid.Pyramid(image[0].permute(1, 2, 0).numpy(), holes[:1]).features(0, energy=True), 5, *keys[0])
    one = Hole.of(mask, box, 7)
    peel(one, key, 7, "exact", 0)
    found = one.features[0, 0][one.unknown]
    assert set(found.unique().tolist()) == {0.0, 1.0}
    assert abs(found.mean() - 0.5) < 0.2


def test_the_third_quartile_is_torchs():
    for size in (1, 2, 3, 4, 10, 101, 1000, 70001):
        values = noise(1, size)[0, 0, 0] ** 3
        assert synthesis.third_quartile(values.numpy().copy()) == values.quantile(0.75)


@pytest.mark.parametrize("seed", range(4))
def test_boxes_are_united_until_none_overlap(seed):
    rng = np.random.default_rng(seed)
    corner, size = rng.integers(0, 200, (60, 2)), rng.integers(1, 25, (60, 2))
    boxes = [(int(y), int(y + h), int(x), int(x + w)) for (y, x), (h, w) in zip(corner, size, strict=True)]
    out = regions.merged(boxes)
    taken = np.zeros((230, 230), int)
    for top, bottom, left, right in out:
        taken[top:bottom, left:right] += 1
    assert taken.max() == 1
    assert all(taken[top:bottom, left:right].all() for top, bottom, left, right in boxes)
    assert 1 < len(out) < 60
    assert sorted(regions.merged(boxes[::-1])) == sorted(out)


@pytest.mark.parametrize(("dtype", "white"), [(torch.uint8, 255), (torch.uint16, 65535)])
def test_integer_pictures_are_filled_as_their_floats_are(dtype, white):
    whole = (noise() * white).round()
    pixels = whole.to(torch.int32).to(dtype)
    mask = hole_of(whole, (30, 60, 40, 80), (0, 9, 0, 9))
    one, two = inpaint(pixels, mask), inpaint(whole / white, mask)
    assert torch.equal(one.values, two.values)
    assert torch.equal(one.image, two.image)
    assert torch.equal(one.nnf, two.nnf)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image": torch.rand(1, 3, 32, 32).double()},
            "image is torch.float64, expected torch.float32, torch.uint8 or torch.uint16",
        ),
        ({"image": torch.rand(3, 32, 32)}, r"image has shape \[3, 32, 32\], expected \[1, C, H, W\]"),
        ({"mask": torch.zeros(16, 32, dtype=torch.bool)}, r"mask is torch.bool \[16, 32\], expected torch.bool \[32, 32\]"),
        ({"mask": torch.zeros(32, 32, dtype=torch.bool)}, "mask is empty"),
        ({"mask": torch.ones(32, 32, dtype=torch.bool)}, "mask covers the whole picture"),
        ({"patch_size": 4}, "patch_size is 4, expected an odd number from 3 to 31"),
        ({"source_mask": torch.zeros(32, 32, dtype=torch.bool)}, "nothing is left to copy from"),
        ({"patch_size": 31}, "nothing is left to copy from"),
    ],
)
def test_refusals_name_the_value(change, message):
    arguments = {"image": torch.rand(1, 3, 32, 32), "mask": hole_of(torch.empty(1, 3, 32, 32), (10, 20, 10, 20)), **change}
    with pytest.raises(ValueError, match=message):
        inpaint(arguments.pop("image"), arguments.pop("mask"), **arguments)


def test_progress_names_every_level_once():
    image, seen = noise(), []
    inpaint(image, hole_of(image, (20, 76, 30, 90)), progress=lambda *level: seen.append(level))
    assert [level for level, _, _ in seen] == list(range(1, seen[0][1] + 1))
    assert seen[-1][2] == "128x96"


def test_a_hole_as_wide_as_the_picture_is_filled():
    image = torch.from_numpy(np.tile(np.linspace(0, 1, 80, dtype=np.float32), (60, 1)))[None, None]
    mask = hole_of(image, (25, 35, 0, 80))
    filled = inpaint(image, mask, blend=False).image
    assert (filled - image).abs().max() < 0.1


HOLES = (10, 22, 14, 30), (60, 75, 90, 110), (0, 6, 100, 112)  # the last at the border


def test_a_reach_of_the_whole_picture_changes_nothing():
    image, mask = noise(), hole_of(noise(), *HOLES)
    whole = inpaint(image, mask, seed=3)
    reached = inpaint(image, mask, seed=3, reach=128)
    assert torch.equal(reached.image, whole.image)
    assert torch.equal(reached.nnf, whole.nnf)


def test_within_a_reach_nothing_further_away_counts(threads):
    """A hole's patches begin 6 pixels around it, so that with a reach of 20 what is 26 pixels away counts."""
    image, mask = noise(), hole_of(noise(), *HOLES)
    around = [(max(top - 26, 0), bottom + 26, max(left - 26, 0), right + 26) for top, bottom, left, right in HOLES]
    other = torch.where(hole_of(image, *around), image, 0.5)
    threads(1)
    one = inpaint(image, mask, reach=20, blend=False)
    threads(2)
    assert torch.equal(one.nnf, inpaint(other, mask, reach=20, blend=False).nnf)
    row, column = one.nnf[mask].long().unbind(1)
    assert torch.equal(one.values, image[0][:, row, column].T)
    assert not mask[row, column].any()
    for hole, (top, bottom, left, right) in zip(HOLES, around, strict=True):
        inside = hole_of(image, hole)
        row, column = one.nnf[inside].unbind(1)
        assert row.min() >= top and row.max() < bottom and column.min() >= left and column.max() < right
        assert torch.equal(one.nnf[inside], inpaint(image, inside, reach=20, blend=False).nnf[inside])


def test_holes_that_share_their_surroundings_are_filled_together():
    boxes = [(10, 20, 10, 20), (10, 20, 40, 50), (60, 70, 100, 110)]
    assert regions.windows((80, 120), boxes, 9) == [(1, 29, 1, 29), (1, 29, 31, 59), (51, 79, 91, 119)]
    assert sorted(regions.windows((80, 120), boxes, 11)) == [(0, 31, 0, 61), (49, 80, 89, 120)]
    assert regions.windows((80, 120), boxes, 200) == regions.windows((80, 120), boxes, None) == [(0, 80, 0, 120)]


def test_progress_within_a_reach_names_the_part():
    image, seen = noise(), []
    inpaint(image, hole_of(image, *HOLES), reach=12, progress=lambda *level: seen.append(level))
    assert seen[-1][2].endswith(", part 3 of 3")


def test_nothing_to_copy_within_the_reach_is_a_want_of_memory():
    image, mask = noise(), hole_of(noise(), (30, 40, 30, 40))
    source = hole_of(image, (0, 96, 100, 128))
    inpaint(image, mask, source_mask=source)
    with pytest.raises(MemoryLimitError, match=r"no patch of 7x7 lies .* 20 pixels around: allow more with --max-memory"):
        inpaint(image, mask, source_mask=source, reach=20)


LARGE = 6000, 8000


def large_mask(*boxes):
    return hole_of(torch.empty(1, 1, *LARGE), *boxes).numpy()


def test_the_largest_reach_that_a_limit_allows_is_planned():
    mask = large_mask((1000, 1200, 1000, 1300), (1500, 1600, 1000, 1050))
    assert plan(LARGE, 3, 1, mask).reach is None
    reaches = []
    for limit in range(24 * 10**8, 0, -(10**8)):
        try:
            found = plan(LARGE, 3, 1, mask, limit=limit)
        except MemoryLimitError as error:
            message = str(error)
            break
        assert found.bytes <= limit
        assert ("whole picture" if found.reach is None else f"{found.reach} pixels around") in found.text
        reaches.append(found.reach or 10**6)
    assert reaches[0] == 10**6 and len(set(reaches)) > 3
    assert reaches == sorted(reaches, reverse=True)
    least = float(re.fullmatch(r"8000x6000 takes (.*) GB at least, .* are allowed: allow more with --max-memory, .*", message)[1])
    assert limit < least * 1e9 < limit + 1.1e8
    assert plan(LARGE, 3, 1, mask, limit=round(least * 1e9)).reach >= 128  # what is said suffices
    assert MemoryLimitError.exit_code == 4


def test_the_least_reach_has_half_of_the_widest_hole():
    mask = large_mask((1000, 3000, 1000, 2900))
    with pytest.raises(MemoryLimitError) as refused:
        plan(LARGE, 3, 1, mask, limit=10**8)
    least = float(re.search(r"takes (.*?) GB", str(refused.value))[1]) * 1e9
    assert plan(LARGE, 3, 1, mask, limit=round(least)).reach == 1024


def test_plans_tell_of_what_they_know():
    small, wide = large_mask((1000, 1200, 1000, 1300)), large_mask((500, 2500, 500, 3500))

    def bytes_of(*arguments, **more):
        return plan(LARGE, *arguments, **more).bytes

    assert plan(LARGE, 3, 1).text.endswith("(for a small hole)") and "small" not in plan(LARGE, 3, 1, small).text
    assert bytes_of(1, 1) < bytes_of(3, 1) < bytes_of(3, 1, small) < bytes_of(3, 2, small)
    assert bytes_of(3, 1, small) + 5e8 < bytes_of(3, 1, wide)
    for more in ("alpha", "source", "soft"):
        assert bytes_of(3, 1) < bytes_of(3, 1, **{more: True})
    assert bytes_of(3, 1, writes="AVIF") > bytes_of(3, 1, writes="PNG")
    assert bytes_of(3, 1) > LARGE[0] * LARGE[1] * 5 * 4  # the features alone


@pytest.mark.parametrize("reach", [0, -5])
def test_a_reach_of_nothing_is_refused(reach):
    image = noise()
    with pytest.raises(ValueError, match=f"reach is {reach}, expected at least 1"):
        inpaint(image, hole_of(image, (30, 40, 30, 40)), reach=reach)


def three_bands():
    """[1, 3, 96, 192]: noise, dark on the left, grey in the middle half, light on the right."""
    image = 0.2 * noise(96, 192)
    for level, columns in ((0.1, slice(48)), (0.4, slice(48, 144)), (0.7, slice(144, 192))):
        image[..., columns] += level
    return image


def expecting(colour):
    """A painter that expects one colour everywhere, and says what it was asked."""
    asked = []

    def draw(known, hole):
        asked.append((known.copy(), hole))
        return np.full((int(hole.sum()), known.shape[2]), colour, np.float32)

    return draw, asked


def test_the_combined_engine_copies_what_fits_what_is_expected():
    image = three_bands()
    mask = hole_of(image, (28, 68, 76, 116))
    deep = hole_of(image, (40, 56, 88, 104))[mask]  # nearer to the edge what is seen counts more than what is expected
    for colour, columns in ((0.2, range(48)), (0.5, range(48, 144)), (0.8, range(144, 192))):
        draw, asked = expecting(colour)
        filled = inpaint(image, mask, engine="combined", painter=draw, blend=False)
        row, column = filled.origin.long().unbind(1)
        assert torch.equal(filled.values.T, image[0][:, row, column]) and not mask[row, column].any()
        assert np.isin(column[deep].numpy(), columns).mean() > 0.75
        (known, hole), *more = asked
        assert not more and known.shape == (48, 96, 3) and hole.shape == (48, 96) and not known[hole].any()


def test_large_holes_are_drawn_where_they_are_a_few_pixels_wide():
    sizes = {}
    for side in (40, 150, 300):
        draw, asked = expecting(0.5)
        image = torch.rand(1, 1, 600, 640)
        inpaint(image, hole_of(image, (100, 100 + side, 100, 100 + side)), engine="combined", painter=draw, iterations=1)
        [(known, _)] = asked
        sizes[side] = known.shape
    assert sizes == {40: (300, 320, 1), 150: (75, 80, 1), 300: (38, 40, 1)}


@pytest.mark.parametrize(("engine", "box"), [("combined", (40, 54, 20, 90)), ("patch", (20, 76, 60, 130))])
def test_a_narrow_hole_needs_no_drawing_and_the_patch_engine_none_at_all(engine, box):
    draw, asked = expecting(0.5)
    image = stripes()
    mask = hole_of(image, box)
    filled = inpaint(image, mask, engine=engine, painter=draw)
    assert not asked and torch.equal(filled.values, inpaint(image, mask, engine="patch").values)


def test_the_network_engine_fills_the_hole_with_what_is_drawn():
    draw, asked = expecting(1.5)
    image = noise()
    mask = hole_of(image, (30, 60, 40, 80))
    filled = inpaint(image, mask, engine="network", painter=draw)
    assert filled.origin is None and filled.nnf is None
    assert torch.equal(filled.image[0][:, ~mask], image[0][:, ~mask]) and (filled.values == 1).all()
    assert asked[0][0].shape == (96, 128, 3)


def test_engines_fill_with_the_weights_that_ship():
    """A gradient goes on through the hole: what is drawn is near it, what is copied as well."""
    rows, columns = torch.meshgrid(torch.linspace(0.2, 0.8, 120), torch.linspace(0.1, 0.9, 160), indexing="ij")
    image = torch.stack([rows, columns, (rows + columns) / 2])[None]
    mask = hole_of(image, (40, 75, 60, 100))
    for engine, most in (("network", 0.06), ("combined", 0.15)):
        filled = inpaint(image, mask, engine=engine)
        assert (filled.image - image).abs()[0][:, mask].mean() < most
        assert torch.equal(inpaint(image, mask, engine=engine).values, filled.values)


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="engine is 'lama', expected one of combined, patch, network"):
        inpaint(noise(), hole_of(noise(), (3, 9, 3, 9)), engine="lama")
