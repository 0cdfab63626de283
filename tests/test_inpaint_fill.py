"""The engines: what they promise of every fill, and that a fill looks like its surroundings."""

import numpy as np
import pytest
import torch

from psal_cli import inpaint, memory
from psal_cli.errors import MemoryLimitError
from psal_cli.patchmatch import pyramid, regions, synthesis
from psal_cli.verbs.inpaint import completion, memory_model
from psal_cli.verbs.inpaint.completion import NothingToCopyError
from psal_cli.verbs.inpaint.fill import fill
from psal_cli.verbs.inpaint.guide import ColourGuide
from psal_cli.verbs.inpaint.hole import Hole, peel
from psal_cli.verbs.inpaint.options import ENGINES, InpaintOptions

from .pictures import hole_of, noise


def stripes(height=96, width=128, period=8):
    """float32 [H, W, 3]: diagonal stripes in two colours, of which every part can be found elsewhere exactly."""
    on = (np.indices((height, width)).sum(0) % period < period // 2).astype(np.float32)
    return np.stack([on * 0.8 + 0.1, 0.7 - on * 0.4, np.full_like(on, 0.3)], 2)


def drawn_by(painter, image, mask, **options):
    options = InpaintOptions(**options)
    return fill(image, mask, mask, options, painter if options.engine == "network" or painter is None else ColourGuide(painter))


COPYING = pytest.mark.parametrize("engine", ["combined", "patch"])


@COPYING
@pytest.mark.parametrize("boxes", [[(30, 60, 40, 80)], [(0, 20, 0, 25)], [(5, 12, 5, 120), (60, 96, 100, 128), (40, 41, 40, 41)]])
def test_pixels_outside_the_mask_are_the_inputs_and_inside_the_sources(boxes, engine):
    image = noise()
    mask = hole_of(image, *boxes)
    filled = inpaint(image, mask, blend=False, engine=engine)
    np.testing.assert_array_equal(filled.image[~mask], image[~mask])
    sources = filled.field.sources[0]
    row, column = sources[:, mask]
    np.testing.assert_array_equal(filled.image[mask], image[row, column])
    assert not mask[row, column].any()
    assert (sources[:, ~mask] == -1).all() and filled.field.source_size == ((96, 128),)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_lies_in_the_hole_does_not_matter(engine):
    image, other = stripes(), stripes()
    mask = hole_of(image, (30, 60, 40, 80))
    other[mask] = 0.5
    first, second = (inpaint(x, mask, engine=engine).image[mask] for x in (image, other))
    np.testing.assert_array_equal(first, second)


@COPYING
def test_a_regular_texture_is_continued_exactly(engine):
    image = stripes()
    mask = hole_of(image, (30, 58, 40, 75))
    assert np.abs(inpaint(image, mask, blend=False, engine=engine).image - image)[mask].mean() < 0.02


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
    assert all(np.array_equal(result.origins, results[0].origins) for result in results)
    assert all(np.array_equal(result.image, results[0].image) for result in results)
    assert (inpaint(image, mask, seed=6, engine=engine).origins != results[0].origins).any()


def test_only_the_source_mask_is_copied_from():
    image = noise()
    mask = hole_of(image, (30, 60, 40, 80))
    source = hole_of(image, (0, 96, 90, 128))
    row, column = inpaint(image, mask, source_mask=source).origins.T
    assert source[row, column].all()


def test_the_first_estimate_is_made_of_source_colours():
    """Peeling compares only what is known of a patch: a hole between two plain halves keeps both."""
    image = np.zeros((64, 64, 3), np.float32)
    image[:, 32:] = 1.0
    mask = hole_of(image, (20, 40, 20, 44))
    levels, (box,) = completion.Levels.of(mask, mask, 7), regions.part_boxes(mask, 7)
    key = synthesis.Key(pyramid.Pyramid(image, levels.holes[:1]).features(0, energy=True), 5, levels.keys[0])
    part = Hole.of(mask, box, 7)
    peel(part, key, 7, "exact", 0)
    estimate = part.features[0, 0][part.unknown]
    assert set(estimate.unique().tolist()) == {0.0, 1.0}
    assert abs(estimate.mean() - 0.5) < 0.2


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_integer_pictures_are_filled_as_their_floats_are(dtype, white):
    whole = np.rint(noise() * white)
    mask = hole_of(whole, (30, 60, 40, 80), (0, 9, 0, 9))
    integers, reals = inpaint(whole.astype(dtype), mask), inpaint(whole / np.float32(white), mask)
    np.testing.assert_array_equal(integers.image, np.rint(reals.image * np.float32(white)))
    np.testing.assert_array_equal(integers.origins, reals.origins)


@pytest.mark.parametrize(("patch_size", "source"), [(31, None), (7, np.zeros((32, 32), bool))])
def test_a_picture_without_a_whole_patch_to_copy_is_refused(patch_size, source):
    image = noise(32, 32)
    with pytest.raises(NothingToCopyError, match=f"a whole patch of {patch_size}x{patch_size} pixels outside of it") as caught:
        inpaint(image, hole_of(image, (10, 20, 10, 20)), source_mask=source, patch_size=patch_size)
    assert (caught.value.patch_size, caught.value.reach) == (patch_size, None)


def test_progress_names_every_level_once():
    image, seen = noise(), []
    inpaint(image, hole_of(image, (20, 76, 30, 90)), progress=lambda _, text: seen.append(text))
    levels = [text for text in dict.fromkeys(seen) if text.startswith("level")]
    assert levels == ["level 1 of 2, 64x48", "level 2 of 2, 128x96"]
    assert seen[0] == "128x96" and seen[-1] == "joining the copies"


def test_progress_moves_inside_the_last_level():
    image, seen = noise(), []
    inpaint(image, hole_of(image, *HOLES), progress=lambda share, text: seen.append((share, text)))
    last = [share for share, text in seen if text.endswith("128x96")]
    assert len(set(last)) > len(HOLES)  # after each of its holes


def test_a_hole_as_wide_as_the_picture_is_filled():
    image = np.tile(np.linspace(0, 1, 80, dtype=np.float32), (60, 1))
    mask = hole_of(image, (25, 35, 0, 80))
    filled = inpaint(image, mask, blend=False).image
    assert np.abs(filled - image).max() < 0.1


HOLES = (10, 22, 14, 30), (60, 75, 90, 110), (0, 6, 100, 112)  # the last at the border


def test_a_reach_of_the_whole_picture_changes_nothing():
    image, mask = noise(), hole_of(noise(), *HOLES)
    whole = inpaint(image, mask, seed=3)
    reached = inpaint(image, mask, seed=3, reach=128)
    np.testing.assert_array_equal(reached.image, whole.image)
    np.testing.assert_array_equal(reached.origins, whole.origins)
    assert (reached.reach, whole.reach) == (128, None)


def test_within_a_reach_nothing_further_away_counts(threads):
    """A hole's patches begin 6 pixels around it, so that with a reach of 20 what is 26 pixels away counts."""
    image, mask = noise(), hole_of(noise(), *HOLES)
    around = [(max(top - 26, 0), bottom + 26, max(left - 26, 0), right + 26) for top, bottom, left, right in HOLES]
    other = np.where(hole_of(image, *around)[..., None], image, np.float32(0.5))
    threads(1)
    result = inpaint(image, mask, reach=20, blend=False)
    threads(2)
    np.testing.assert_array_equal(result.origins, inpaint(other, mask, reach=20, blend=False).origins)
    row, column = result.origins.T
    np.testing.assert_array_equal(result.image[mask], image[row, column])
    assert not mask[row, column].any()
    for hole, (top, bottom, left, right) in zip(HOLES, around, strict=True):
        inside = hole_of(image, hole)
        row, column = places = result.field.sources[0][:, inside]
        assert row.min() >= top and row.max() < bottom and column.min() >= left and column.max() < right
        np.testing.assert_array_equal(places, inpaint(image, inside, reach=20, blend=False).origins.T)


def test_progress_within_a_reach_names_the_part():
    image, seen = noise(), []
    inpaint(image, hole_of(image, *HOLES), reach=12, progress=lambda *step: seen.append(step))
    parts = [text.rpartition(", ")[2] for _, text in seen]
    assert list(dict.fromkeys(parts)) == [f"part {number} of 3" for number in (1, 2, 3)]
    assert [share for share, _ in seen] == sorted(share for share, _ in seen)


def test_nothing_to_copy_within_a_reach_is_a_want_of_memory_where_memory_chose_it(monkeypatch):
    image, mask = noise(), hole_of(noise(), (30, 40, 30, 40))
    source = hole_of(image, (0, 96, 100, 128))
    inpaint(image, mask, source_mask=source)
    with pytest.raises(NothingToCopyError, match="a whole patch of 7x7 pixels in the 20 pixels around it") as caught:
        inpaint(image, mask, source_mask=source, reach=20)
    assert caught.value.reach == 20
    monkeypatch.setattr(memory_model, "plan", lambda *_, **__: memory.Plan(10**8, 20, ""))
    with pytest.raises(MemoryLimitError, match="the memory allowed suffices for 20 pixels around each hole: "):
        inpaint(image, mask, source_mask=source, max_memory=10**8)


def three_bands():
    """float32 [96, 192, 3]: noise, dark on the left, grey in the middle half, light on the right."""
    image = np.float32(0.2) * noise(96, 192)
    for level, columns in ((0.1, slice(48)), (0.4, slice(48, 144)), (0.7, slice(144, 192))):
        image[:, columns] += level
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
        filled = drawn_by(draw, image, mask, blend=False)
        row, column = filled.origins.T
        assert np.array_equal(filled.values, image[row, column]) and not mask[row, column].any()
        assert np.isin(column[deep], columns).mean() > 0.75
        (known, hole), *more = asked
        assert not more and known.shape == (48, 96, 3) and hole.shape == (48, 96) and not known[hole].any()


@pytest.mark.slow
def test_large_holes_are_drawn_where_they_are_a_few_pixels_wide():
    sizes = {}
    for side in (40, 150, 300):
        draw, asked = expecting(0.5)
        image = noise(600, 640)[..., :1]
        drawn_by(draw, image, hole_of(image, (100, 100 + side, 100, 100 + side)), iterations=1)
        [(known, _)] = asked
        sizes[side] = known.shape
    assert sizes == {40: (300, 320, 1), 150: (75, 80, 1), 300: (38, 40, 1)}


@pytest.mark.parametrize(("engine", "box"), [("combined", (40, 54, 20, 90)), ("patch", (20, 76, 60, 130))])
def test_a_narrow_hole_needs_no_drawing_and_the_patch_engine_none_at_all(engine, box):
    draw, asked = expecting(0.5)
    image = stripes()
    mask = hole_of(image, box)
    filled = drawn_by(draw, image, mask, engine=engine)
    assert not asked and np.array_equal(filled.values, drawn_by(None, image, mask, engine="patch").values)


def test_the_network_engine_fills_the_hole_with_what_is_drawn():
    draw, asked = expecting(1.5)
    image = noise()
    mask = hole_of(image, (30, 60, 40, 80))
    filled = drawn_by(draw, image, mask, engine="network")
    assert filled.origins is None and (filled.values == 1).all()
    assert asked[0][0].shape == (96, 128, 3)
    assert inpaint(image, mask, engine="network").field is None


@pytest.mark.slow
def test_engines_fill_with_the_weights_that_ship():
    """A gradient goes on through the hole: what is drawn is near it, what is copied as well."""
    rows, columns = np.mgrid[0.2:0.8:120j, 0.1:0.9:160j].astype(np.float32)
    image = np.stack([rows, columns, (rows + columns) / 2], 2)
    mask = hole_of(image, (40, 75, 60, 100))
    for engine, most in (("network", 0.06), ("combined", 0.15)):
        filled = inpaint(image, mask, engine=engine)
        assert np.abs(filled.image - image)[mask].mean() < most
        np.testing.assert_array_equal(inpaint(image, mask, engine=engine).image, filled.image)
