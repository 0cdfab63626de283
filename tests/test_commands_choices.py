"""-n and --sheet of `psal inpaint`: names and seeds of several fills, and the sheet that shows them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from psal_cli.image.arrays import replaced
from psal_cli.verbs.inpaint import api

from .photos import lines, psal, tree
from .pictures import pixels_of

SIZE = (200, 160)  # width, height
HOLE = np.s_[60:80, 90:120]
TILE = np.s_[28:112, 58:152]  # the hole with 32 pixels around it


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """photo.png and mask.png. In the place of the library: the hole becomes a grey of ten times the seed."""
    monkeypatch.chdir(tmp_path)
    rows, columns = np.indices(SIZE[::-1])
    Image.fromarray(np.stack([rows, columns, rows], 2).astype(np.uint8)).save("photo.png")
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[HOLE] = 255
    Image.fromarray(mask).save("mask.png")

    def fill(image, mask, options, *, source_mask, progress=None):
        grey = np.full((np.count_nonzero(mask), 3), options.seed * 10 / 255, np.float32)
        return api.InpaintResult(replaced(image, mask, grey), mask, None, None)

    monkeypatch.setattr(api, "inpaint", fill)
    return tmp_path


def test_fills_are_numbered_and_so_are_their_seeds():
    done = psal("inpaint", "photo.png", "--mask", "mask.png", "-n", 3, "--seed", 5, "--json")
    assert done.exit_code == 0, done.stderr
    assert [record["seed"] for record in lines(done)] == [5, 6, 7]
    names = [f"photo_inpainted_{number}.png" for number in (1, 2, 3)]
    assert [record["output"] for record in lines(done)] == names
    assert [int(pixels_of(name)[70, 100, 0]) for name in names] == [50, 60, 70]


def test_the_sheet_shows_what_is_around_the_hole_before_and_after():
    done = psal("inpaint", "photo.png", "--mask", "mask.png", "-n", 3, "-o", "out/", "--sheet", "sheet.png")
    assert done.exit_code == 0, done.stderr
    sheet = pixels_of("sheet.png")
    height, width = 84, 94  # and 32 rows for the seeds
    assert sheet.shape == (2 * (height + 32) + 8, 2 * width + 8, 3)
    names = ["photo.png", *(f"out/photo_{number}.png" for number in (1, 2, 3))]
    corners = [(top, left) for top in (0, height + 40) for left in (0, width + 8)]
    for (top, left), name in zip(corners, names, strict=True):
        np.testing.assert_array_equal(sheet[top : top + height, left : left + width], pixels_of(name)[TILE])
    labels = [sheet[top + height : top + height + 32, left : left + width] for top, left in corners]
    assert all(label.min() < 60 for label in labels) and len({label.tobytes() for label in labels}) == 4


def test_each_picture_has_a_row_on_the_sheet_and_those_without_a_mask_none():
    for folder, names in (("photos", "abc"), ("masks", "ac")):
        Path(folder).mkdir()
        for name in names:
            Image.open("photo.png" if folder == "photos" else "mask.png").save(f"{folder}/{name}.png")
    done = psal("inpaint", "photos", "--mask", "masks", "--if-masked", "-n", 2, "-o", "out/", "--sheet", "sheet.png")
    assert done.exit_code == 0 and len(tree("out")) == 4, done.stderr
    assert pixels_of("sheet.png").shape == (2 * (84 + 32) + 8, 3 * 94 + 16, 3)


def test_refusals():
    for options, text in (
        (("-n", 2, "-o", "one.png"), "a folder"),
        (("-n", 2, "--seed", 2**32 - 1), "end at 2^32 - 1"),
        (("-o", "-", "--sheet", "sheet.png"), "name a file with -o"),
        (("--sheet", "photo.png", "--force"), "another file of the same command"),
    ):
        done = psal("inpaint", "photo.png", "--mask", "mask.png", *options)
        assert done.exit_code == 2 and text in done.stderr, done.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["mask.png", "photo.png"]
