"""--box and --polygon as a shell sees them: alone, beside a mask, in batches and pipes, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .photos import lines, psal, texture

FAST = ("--engine", "patch", "--dilate", 0)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """photo.png, 40x30 pixels with a white rectangle at BOX; mask.png marks another place."""
    monkeypatch.chdir(tmp_path)
    photo = texture(3)
    photo[10:16, 12:20] = 255
    Image.fromarray(photo).save("photo.png")
    mask = np.zeros((30, 40), np.uint8)
    mask[2:6, 30:36] = 255
    Image.fromarray(mask).save("mask.png")
    return tmp_path


BOX = "12,10,8,6"
WHITE = np.s_[10:16, 12:20]


def filled(*args, photo="photo.png"):
    """The hole that `psal inpaint` hands to the library."""
    from psal_cli.verbs.inpaint import api

    seen = []
    work = api.inpaint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            api, "inpaint", lambda image, mask, *rest, **options: (seen.append(mask), work(image, mask, *rest, **options))[1]
        )
        done = psal("inpaint", photo, *FAST, "-o", "out.png", "--force", *args)
    assert done.exit_code == 0, done.stderr
    return seen[0]


def region(*slices):
    out = np.zeros((30, 40), bool)
    for part in slices:
        out[part] = True
    return out


def test_a_box_is_filled_and_nothing_else():
    assert np.array_equal(filled("--box", BOX), region(WHITE))
    before, after = (np.asarray(Image.open(path)) for path in ("photo.png", "out.png"))
    assert np.array_equal(after[~region(WHITE)], before[~region(WHITE)])
    assert not (after[WHITE] == 255).all(2).any()


def test_shapes_and_mask_add_up():
    shapes = ("--box", BOX, "--box", "0,0,2,3", "--polygon", "5,20 9,20 9,24 5,24")
    marked = [WHITE, np.s_[0:3, 0:2], np.s_[20:24, 5:9]]
    assert np.array_equal(filled(*shapes), region(*marked))
    assert np.array_equal(filled(*shapes, "--mask", "mask.png"), region(*marked, np.s_[2:6, 30:36]))


def test_several_shapes_in_one_environment_variable(monkeypatch):
    monkeypatch.setenv("PSAL_INPAINT_BOX", f"{BOX};0,0,2,3")
    monkeypatch.setenv("PSAL_INPAINT_POLYGON", "5,20 9,20 9,24 5,24;20,2 24,2 24,4 20,4")
    assert np.array_equal(filled(), region(WHITE, np.s_[0:3, 0:2], np.s_[20:24, 5:9], np.s_[2:4, 20:24]))


def test_defaults_that_a_mask_goes_with_do_no_harm_without_one(monkeypatch):
    monkeypatch.setenv("PSAL_INPAINT_IF_MASKED", "1")
    monkeypatch.setenv("PSAL_INPAINT_MASK_INVERT", "1")
    assert np.array_equal(filled("--box", BOX), region(WHITE))


def test_a_mask_is_inverted_and_shapes_are_not():
    Image.fromarray(255 - np.asarray(Image.open("mask.png"))).save("black.png")
    assert np.array_equal(filled("--box", BOX, "--mask", "black.png", "--mask-invert"), region(WHITE, np.s_[2:6, 30:36]))


def test_shapes_grow_as_masks_do():
    assert np.array_equal(filled("--box", BOX, "--dilate", 1), region(np.s_[9:17, 12:20], np.s_[10:16, 11:21]))


def test_coordinates_are_those_of_the_upright_picture():
    stored = np.rot90(np.asarray(Image.open("photo.png")), 1)  # orientation 6: turn it to the right to see it upright
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(np.ascontiguousarray(stored)).save("turned.png", exif=exif)
    assert np.array_equal(filled("--box", BOX, photo="turned.png"), region(WHITE))


def test_pipes_carry_picture_or_mask():
    done = psal("inpaint", "-", *FAST, "--box", BOX, stdin=Path("photo.png").read_bytes())
    assert done.exit_code == 0, done.stderr
    filled("--box", BOX)
    assert done.stdout_bytes == Path("out.png").read_bytes()
    both = psal("inpaint", "photo.png", *FAST, "--box", BOX, "--mask", "-", "-o", "b.png", stdin=Path("mask.png").read_bytes())
    assert both.exit_code == 0, both.stderr
    filled("--box", BOX, "--mask", "mask.png")
    assert Path("b.png").read_bytes() == Path("out.png").read_bytes()


def test_a_batch_fails_where_the_shape_misses_and_its_plan_says_so():
    Path("in").mkdir()
    Image.open("photo.png").save("in/a.png")
    Image.open("photo.png").crop((0, 0, 12, 30)).save("in/b.png")
    for more in (["--dry-run"], []):
        done = psal("inpaint", "in", *FAST, "--box", BOX, "-o", "out", "--json", *more)
        first, second = lines(done)
        assert done.exit_code == 1 and (first["error"], second["status"]) == (None, "refuse" if more else "failed")
        assert "--box is '12,10,8,6', expected a shape with a pixel of the picture in it, which is 12x30" in second["error"]
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png"]


REFUSED = {
    "no shape and no mask": ([], "Missing option '--mask', '--box' or '--polygon': say what to fill, e.g. --box 100,80,50,40"),
    "three numbers": (["--box", "1,2,3"], "'1,2,3' is not a rectangle: left, top, width and height in pixels, e.g. 100,80,50,40"),
    "words": (["--box", "a,b,c,d"], "'a,b,c,d' is not a rectangle"),
    "no width": (["--box", "1,2,0,5"], "'1,2,0,5' holds no pixel: give a width and a height above 0"),
    "outside": (["--box", "40,2,9,5"], "--box is '40,2,9,5', expected a shape with a pixel of the picture in it, which is 40x30"),
    "two corners": (
        ["--polygon", "1,2 3,4"],
        "'1,2 3,4' is not a polygon: give at least 3 corners, not 2, e.g. '10,10 90,20 50,80'",
    ),
    "unquoted": (["--polygon", "1,2,3,4,5,6"], "'1,2,3,4,5,6' is not a polygon: pairs X,Y of pixels with blanks between them"),
    "a line": (["--polygon", "1,1 9,9 5,5"], "--polygon is '1,1 9,9 5,5', expected a shape with a pixel of the picture in it"),
    "everything": (["--box", "0,0,99,99"], "the shapes cover the whole picture, nothing is left to fill from: give smaller ones"),
    "a box as a mask": (["--mask", "1,2,3,4"], "--mask 1,2,3,4: there is no such file; a rectangle is --box 1,2,3,4"),
    "invert": (["--box", BOX, "--mask-invert"], "--mask-invert requires --mask"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_in_one_line(case):
    args, words = REFUSED[case]
    done = psal("inpaint", "photo.png", *FAST, "-o", "no.png", *args)
    assert done.exit_code == 2 and not Path("no.png").exists()
    assert words in done.stderr and len(done.stderr.splitlines()) == 1


def test_generate_keeps_boxes_and_polygons_in_place():
    options = ("--method", "psin", "--levels", 1, "--iterations", 1, "--patch-size", 5, "-o", "made.png", "--force")
    done = psal("generate", "photo.png", *options, "--box", BOX, "--polygon", "5,20 9,20 9,24 5,24", "--keep", "mask.png")
    assert done.exit_code == 0, done.stderr
    before, after = (np.asarray(Image.open(path)) for path in ("photo.png", "made.png"))
    kept = region(WHITE, np.s_[20:24, 5:9], np.s_[2:6, 30:36])
    assert np.array_equal(after[kept], before[kept]) and not np.array_equal(after, before)
    assert (psal("generate", "photo.png", *options, "--box", "0,0,40,30").exit_code) == 2
