"""--save-offsets in every verb: numbers, colours and arrows."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from psal_cli.errors import InputError
from psal_cli.image import read_picture
from psal_cli.image.picture import Picture
from psal_cli.networks.pasting import Pasting
from psal_cli.verbs.colorize.coarse_to_fine import colorize
from psal_cli.verbs.upscale.networks import networks_for
from psal_cli.viz import drawing
from psal_cli.viz.field import Field, between

from .photos import psal
from .pictures import pixels_of

SIZE = 48, 64


@pytest.fixture(autouse=True)
def folder(tmp_path, pair_of_files, quick_colours):
    """query.png, key.png and other.png, 64x48; tall.png is the first turned; mask.png has a hole of 12x10."""
    Image.fromarray(pixels_of("key.png")[8:, :40]).save("other.png")
    Image.fromarray(pixels_of("query.png").swapaxes(0, 1)).save("tall.png")
    hole = np.zeros(SIZE, np.uint8)
    hole[20:30, 25:37] = 255
    Image.fromarray(hole).save("mask.png")
    return tmp_path


# ----------------------------------------------------------------------------------------------------------------- numbers


def test_offsets_of_a_field_are_places_less_own_places():
    nnf = np.stack(np.indices((4, 6)))[None].repeat(2, 0).astype(np.int32)
    nnf[1] += np.array([2, -3])[:, None, None]
    offsets = between(nnf, [(4, 6)])
    assert offsets.dtype == np.int32 and offsets.shape == (2, 2, 4, 6)
    assert not offsets[0].any() and (offsets[1, 0] == 2).all() and (offsets[1, 1] == -3).all()


def test_a_source_of_another_size_lies_over_the_picture():
    nnf = (np.stack(np.indices((4, 6))) * 3 + 1)[None].astype(np.int32)  # the middle of each 3x3 of a source thrice as large
    assert not between(nnf, [(12, 18)]).any()
    number = np.zeros((4, 6), np.int32)
    number[:, 3:] = 1
    offsets = between(nnf, [(12, 18), (12, 36)], number)
    assert offsets.shape == (1, 3, 4, 6) and (offsets[0, 2] == number).all() and not offsets[0, :2, :, :3].any()
    np.testing.assert_array_equal(offsets[0, 1, 0, 3:], [10 - 21, 13 - 27, 16 - 33])


def some_field():
    generator = np.random.default_rng(0)
    sources = generator.integers(0, 30, (2, 2, 20, 30), np.int32)
    sources[:, :, 5:9, 7:15] = -1
    index, score = generator.integers(0, 2, (20, 30), np.int32), generator.random((2, 20, 30), np.float32)
    return Field(sources, ((30, 40), (33, 33)), index, score)


def test_a_saved_field_comes_back_and_its_offsets_are_those_of_the_array():
    field = some_field()
    field.save("field.npz")
    field.save("field.npy")
    again = Field.load("field.npz")
    for name in ("sources", "source_index", "score"):
        np.testing.assert_array_equal(getattr(again, name), getattr(field, name))
    assert again.source_size == field.source_size and again.pixelwise is False
    np.testing.assert_array_equal(np.load("field.npy"), field.offsets())
    assert field.offsets().shape == (2, 3, 20, 30) and not field.offsets()[:, :2, 5:9, 7:15].any()
    alone = Field(field.sources[:1], ((30, 40),), pixelwise=True)
    alone.save("alone.npz")
    again = Field.load("alone.npz")
    assert again.pixelwise and again.source_index is None and again.score is None
    np.savez("other.npz", nnf=field.sources)
    with pytest.raises(ValueError, match=r"expected a field that was saved as \.npz"):
        Field.load("other.npz")


def test_pixelwise_offsets_do_not_scale_the_source():
    sources = np.stack(np.indices((4, 6), np.int32))[None] + 2
    assert (Field(sources, ((8, 12),), pixelwise=True).offsets() == 2).all()
    scaled = Field(sources, ((8, 12),)).offsets()
    assert scaled[0, 0, 0, 0] == 2 - 1 and scaled[0, 1, 0, 5] == 7 - 11


def drawn_hole(origin, mask, picture, **options):
    """The drawing of a field that has sources, [n, 2], for the pixels in mask alone."""
    sources = np.full((2, *mask.shape), -1, np.int32)
    sources[:, mask] = origin.T
    return drawing.draw_field(sources, [mask.shape], picture, **options)


def test_a_field_with_gaps_is_drawn_where_it_has_sources():
    mask = np.zeros((60, 50), bool)
    mask[10:30, 5:40] = True
    picture = Picture(np.random.default_rng(0).integers(0, 255, (60, 50, 3), np.uint8))
    origin = np.random.default_rng(1).integers(0, 50, (np.count_nonzero(mask), 2), np.int32)
    sources = np.full((1, 2, 60, 50), -1, np.int32)
    sources[0][:, mask] = origin.T
    field = Field(sources, ((60, 50),))
    wheel, arrows = (field.draw(picture, arrows=arrows)[:60, :50] for arrows in (False, True))
    np.testing.assert_array_equal(field.draw(picture.pixels)[:60, :50], wheel)
    grey = np.ptp(wheel.astype(int), 2) == 0
    assert grey[~mask].all() and grey[mask].mean() < 0.05 and (arrows != wheel).any()
    offsets = field.offsets()[0]
    np.testing.assert_array_equal(offsets[:, mask], (origin - np.argwhere(mask)).T)
    assert not offsets[:, ~mask].any()
    field.save("drawn.png", picture)
    np.testing.assert_array_equal(pixels_of("drawn.png"), field.draw(picture))
    with pytest.raises(InputError, match="exists"):
        field.save("drawn.png")


def test_a_field_is_drawn_on_black_or_on_floats():
    field = some_field()
    assert not field.draw()[5:9, 7:15].any() and field.draw()[:5].any()
    shares = np.full((20, 30), 0.5, np.float32)
    np.testing.assert_array_equal(field.draw(shares), field.draw(np.full((20, 30), 128, np.uint8)))


def test_inpaint_writes_whence_each_filled_pixel_came():
    done = psal("inpaint", "query.png", "--mask", "mask.png", "-o", "out.png", "--engine", "patch", "--save-offsets", "f.npy")
    assert done.exit_code == 0, done.stderr
    offsets, hole = np.load("f.npy"), pixels_of("mask.png") > 0
    assert offsets.shape == (1, 2, *SIZE) and offsets.dtype == np.int32
    assert not offsets[0][:, ~hole].any()
    source = np.indices(SIZE) + offsets[0]
    rows, columns = source[:, hole]
    assert rows.min() >= 0 and columns.min() >= 0 and rows.max() < SIZE[0] and columns.max() < SIZE[1]
    assert not hole[rows, columns].any()


@pytest.mark.slow
def test_colorize_writes_the_reference_too():
    done = psal("colorize", "query.png", "--ref", "key.png", "--ref", "other.png", "-o", "out.png", "--save-offsets", "f.npy")
    assert done.exit_code == 0, done.stderr
    references = [pixels_of("key.png"), pixels_of("other.png")]
    origin = colorize(pixels_of("query.png"), references).origin
    offsets = np.load("f.npy")
    assert offsets.shape == (1, 3, *origin.shape[:2])
    np.testing.assert_array_equal(offsets[0, 2], origin[..., 0])
    rows, columns = np.indices(origin.shape[:2])
    for number, reference in enumerate(references):  # the place in the reference is the offset and the own place, scaled
        here = origin[..., 0] == number
        for axis, own in enumerate((rows, columns)):
            scaled = (own + 0.5) * reference.shape[axis] // origin.shape[axis]
            np.testing.assert_array_equal((offsets[0, axis] + scaled)[here], origin[..., 1 + axis][here])
    assert 0.05 < origin[..., 0].mean() < 0.95  # both are used
    done_alone = psal("colorize", "query.png", "--ref", "key.png", "-o", "o.png", "--save-offsets", "one.npy")
    assert done_alone.exit_code == 0 and np.load("one.npy").shape[1] == 2


def test_reconstruct_writes_all_neighbours():
    done = psal("reconstruct", "query.png", "--from", "query.png", "-o", "out.png", "--save-offsets", "f.npy", "-k", 4)
    assert done.exit_code == 0, done.stderr
    offsets = np.load("f.npy")
    assert offsets.shape == (4, 2, *SIZE)
    inside = offsets[:, :, 3:-3, 3:-3]
    assert (inside[0] == 0).all(0).mean() > 0.9 and inside[1:].any(1).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["query", "tall"])
@pytest.mark.parametrize("option", ["-q", "--ensemble"])
def test_upscale_writes_where_the_picture_repeats_at_another_scale(monkeypatch, name, option):
    """The field that the attention uses, of the whole picture and upright, whichever way the strips lie."""
    seen = []
    search = Pasting._psal

    def watched(self, query, key, value):
        told, self.matched = self.matched, lambda nnf: seen.append(nnf.clone()) or (told and told(nnf))
        try:
            return search(self, query, key, value)
        finally:
            self.matched = told

    monkeypatch.setattr(Pasting, "_psal", watched)
    done = psal("upscale", f"{name}.png", "-x", 2, "-o", "out.png", "--save-offsets", "f.npy", option)
    assert done.exit_code == 0, done.stderr
    height, width = pixels_of(f"{name}.png").shape[:2]
    tall = next(nnf for nnf in seen if tuple(nnf.shape[2:]) == (64, 48))  # strips lie across the longer side
    nnf = tall[0].numpy() if name == "tall" else tall[0].numpy().swapaxes(1, 2)[::-1]
    own = np.stack(np.indices((height, width))) // 2
    np.testing.assert_array_equal(np.load("f.npy")[0], nnf - own)
    assert nnf.min() >= 0 and nnf[0].max() < height // 2 and nnf[1].max() < width // 2
    assert all(layer.matched is None for x in networks_for(2, "clean") for layer in x.modules() if isinstance(layer, Pasting))


def test_upscale_has_no_field_to_write_with_full_attention():
    done = psal("upscale", "query.png", "-x", 2, "--attention", "full", "--save-offsets", "f.npy")
    assert done.exit_code == 2 and "--save-offsets requires --attention psal" in done.stderr


def test_numbers_are_written_whole_or_not_at_all():
    Path("f.npy").write_bytes(b"mine")
    args = ["reconstruct", "query.png", "--from", "key.png", "-o", "out.png", "--save-offsets", "f.npy"]
    done = psal(*args)
    assert done.exit_code == 2 and "f.npy exists: --force" in done.stderr and Path("f.npy").read_bytes() == b"mine"
    assert psal(*args, "--force").exit_code == 0 and np.load("f.npy").shape == (3, 2, *SIZE)
    assert psal("reconstruct", "query.png", "--from", "key.png", "-o", "out.npy").exit_code == 2  # no picture


# ----------------------------------------------------------------------------------------------------------------- arrows


@pytest.mark.parametrize(
    "args",
    [
        ["inpaint", "query.png", "--mask", "mask.png", "--engine", "patch"],
        ["colorize", "query.png", "--ref", "key.png"],
        ["upscale", "query.png", "-x", 2],
        ["reconstruct", "query.png", "--from", "key.png"],
    ],
    ids=lambda args: args[0],
)
def test_arrows_are_drawn_on_the_dimmed_picture(args):
    drawn = {}
    for name, option in (("wheel", "-q"), ("arrows", "--arrows")):
        done = psal(*args, "-o", f"{name}_out.png", "--save-offsets", f"{name}.png", option)
        assert done.exit_code == 0, done.stderr
        drawn[name] = read_picture(Path(f"{name}.png")).pixels
    wheel, arrows = drawn.values()
    assert wheel.shape == arrows.shape and (wheel != arrows).any()
    grey = np.ptp(arrows.astype(int), 2) == 0
    assert 0.02 < 1 - grey[: arrows.shape[0] - 64].mean() < 0.98  # arrows on grey
    done = psal(*args, "-o", "none.png", "--arrows")
    assert done.exit_code == 2 and "--arrows is drawn by --save-offsets" in done.stderr and not Path("none.png").exists()


def test_an_arrow_points_from_a_pixel_to_its_source():
    picture, mask = Picture(np.zeros((180, 180, 3), np.uint8)), np.zeros((180, 180), bool)
    mask[100, 40] = True
    drawn = drawn_hole(np.array([[100, 140]], np.int32), mask, picture, arrows=True).pixels[:180, :180]
    rows, columns = np.nonzero(drawn.any(2))
    assert rows.min() > 90 and rows.max() < 110 and columns.min() >= 38 and columns.max() <= 142 and np.ptp(columns) > 95
    head, shaft = (np.count_nonzero(drawn[:, part].any(2)) / 10 for part in (np.s_[132:142], np.s_[60:70]))
    assert head > 1.5 * shaft
    assert drawn[100, 90, 0] > 200 and drawn[100, 90, 1:].max() < 60  # right is red


def test_one_arrow_starts_in_each_cell_that_has_pixels(monkeypatch):
    starts = []
    monkeypatch.setattr(drawing.cv2, "arrowedLine", lambda _, start, *__, **___: starts.append(start))
    mask = np.zeros((180, 360), bool)
    mask[:, :100] = True
    rows, columns = np.nonzero(mask)
    drawn_hole(np.stack([rows, columns + 9], 1), mask, Picture(np.zeros((180, 360, 3), np.uint8)), arrows=True)
    side = 360 // drawing.ARROWS
    assert len(starts) == len(set(starts)) == (180 // side) * (100 // side)
    assert all(x % side == side // 2 and y % side == side // 2 for x, y in starts)


def test_a_field_drawn_in_bands_is_the_one_drawn_at_once(monkeypatch):
    generator = np.random.default_rng(0)
    picture = Picture(generator.integers(0, 255, (60, 50, 3), np.uint8))
    mask = np.zeros((60, 50), bool)
    mask[[3, 20, 21, 40, 59]] = generator.random((5, 50)) < 0.5  # whole bands have none
    origin = generator.integers(0, 50, (np.count_nonzero(mask), 2), np.int32)
    nnf, which = generator.integers(0, 30, (2, 60, 50), np.int32), generator.integers(0, 2, (60, 50), np.int32)

    def drawn():
        dense = drawing.draw_field(nnf, [(30, 40), (90, 90)], picture, which)
        return np.stack([drawn_hole(origin, mask, picture).pixels, dense.pixels])

    once = drawn()
    monkeypatch.setattr(drawing, "BAND", 7)
    np.testing.assert_array_equal(drawn(), once)
    colour = np.ptp(once[0, :60, :50].astype(int), 2) > 0
    assert colour[mask].mean() > 0.95 and not colour[~mask].any()
    second = drawing.draw_field(nnf, [(30, 40), (90, 90)], picture, np.ones_like(which)).pixels
    np.testing.assert_array_equal(second, drawing.draw_field(nnf, [(90, 90)], picture).pixels)
    assert (second != drawing.draw_field(nnf, [(30, 40)], picture).pixels).any()


def test_a_large_picture_of_the_size_of_its_field_is_dimmed_pixel_by_pixel():
    stripes = np.zeros((40, 1600, 3), np.uint8)
    stripes[:, ::2] = 200
    mask = np.zeros((40, 1600), bool)
    mask[20, 20] = True
    drawn = drawn_hole(np.array([[0, 0]]), mask, Picture(stripes)).pixels[:20, :1600]
    assert (drawn[:, ::2] == 70).all() and not drawn[:, 1::2].any()
