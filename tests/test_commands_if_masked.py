"""`psal inpaint --if-masked`: pictures without a mask are left out and counted, everything else fails as ever."""

import re
import shutil
from pathlib import Path

import pytest

from .photos import lines, psal, tree


@pytest.fixture
def folder(photos):
    """photos/ with four pictures in a tree; masks/ with a mask for two of them, one in the subfolder."""
    photos(4)
    Path("masks/deep").mkdir(parents=True)
    for name in ("000", "deep/002"):
        shutil.copy("mask.png", f"masks/{name}.png")


ARGS = ("inpaint", "photos", "-r", "--engine", "patch", "--mask", "masks", "-o", "out")


def test_pictures_without_a_mask_are_left_out_and_counted(folder):
    done = psal(*ARGS, "--if-masked", "--failed-list", "failed.txt", "--json")
    assert done.exit_code == 0, done.stderr
    assert sorted(tree("out")) == ["000.png", "deep/002.png"]
    assert "psal: 2 done, 0 failed, 2 skipped (2 without a mask) in " in done.stderr
    assert Path("failed.txt").read_text() == ""
    left = {record["input"]: record for record in lines(done) if record["status"] == "skipped"}
    assert sorted(left) == ["photos/001.png", "photos/003.png"]
    assert all((record["reason"], record["output"], record["error"]) == ("no mask", None, None) for record in left.values())


def test_without_the_option_they_fail(folder):
    done = psal(*ARGS)
    assert done.exit_code == 1 and done.stderr.count("each picture needs its --mask") == 2


def test_existing_results_are_counted_apart(folder):
    psal(*ARGS, "--if-masked")
    Path("out/000.png").unlink()
    done = psal(*ARGS, "--if-masked", "--skip-existing", "--json")
    assert done.exit_code == 0 and "1 done, 0 failed, 3 skipped (2 without a mask)" in done.stderr
    assert sorted(str(record.get("reason")) for record in lines(done)) == ["None", "exists", "no mask", "no mask"]


def test_the_plan_says_the_same(folder):
    done = psal(*ARGS, "--if-masked", "--dry-run")
    assert done.exit_code == 0 and not Path("out").exists()
    assert "skip: photos/001.png (no mask)" in done.stdout.splitlines()
    assert re.search(r"dry run: 2 to do, about .*, 2 skipped \(2 without a mask\), 0 refused", done.stderr)
    plans = {plan["input"]: plan for plan in lines(psal(*ARGS, "--if-masked", "--dry-run", "--json"))}
    assert (plans["photos/003.png"]["status"], plans["photos/003.png"]["reason"]) == ("skip", "no mask")


def test_no_mask_at_all_is_no_failure(folder):
    shutil.rmtree("masks/deep")
    Path("masks/000.png").unlink()
    done = psal(*ARGS, "--if-masked")
    assert done.exit_code == 0 and "0 done, 0 failed, 4 skipped (4 without a mask)" in done.stderr
    alone = psal("inpaint", "photos/001.png", "--mask", "{stem}_mask.png", "--if-masked")
    assert alone.exit_code == 0 and alone.stderr == "psal: photos/001.png has no mask: skipped\n"


def test_masks_are_not_counted_as_pictures(folder):
    for name in ("000", "deep/002"):
        shutil.copy("mask.png", f"photos/{name}_mask.png")
    done = psal("inpaint", "photos", "-r", "--mask", "{stem}_mask.png", "--if-masked", "--dry-run")
    assert re.search(r"2 to do, about .*, 2 skipped \(2 without a mask\)", done.stderr), done.stdout


def test_masks_in_a_folder_below_that_belong_to_no_picture_are_not_counted(folder):
    shutil.copytree("masks", "photos/masks")
    shutil.copy("mask.png", "photos/masks/unused.png")
    done = psal("inpaint", "photos", "-r", "--mask", "photos/masks", "--if-masked", "--dry-run")
    assert re.search(r"2 to do, about .*, 2 skipped \(2 without a mask\)", done.stderr), done.stdout


def test_what_else_is_wrong_still_fails(folder):
    for name in ("000.tif", "000.bmp"):  # two masks fit
        shutil.copy("mask.png", f"masks/{name}")
    Path("masks/000.png").unlink()
    Path("masks/deep/002.png").write_text("no picture")
    done = psal(*ARGS, "photos/none.png", "--if-masked")
    assert done.exit_code == 1
    for words in ("both fit", "is not a picture that psal reads", "photos/none.png: no such file or folder"):
        assert words in done.stderr
    assert "0 done, 3 failed, 2 skipped (2 without a mask)" in done.stderr


def test_shapes_are_added_to_the_pictures_that_have_a_mask(folder):
    done = psal(*ARGS, "--if-masked", "--box", "0,0,3,3")
    assert done.exit_code == 0 and sorted(tree("out")) == ["000.png", "deep/002.png"]
    refused = psal("inpaint", "photos", "-r", "--box", "0,0,3,3", "--if-masked", "-o", "no")
    assert refused.exit_code == 2 and "--if-masked requires --mask" in refused.stderr


def test_results_that_are_not_made_do_not_collide(folder):
    Path("photos/deep/001.png").write_bytes(Path("photos/001.png").read_bytes())
    both = ["photos/000.png", "photos/001.png", "photos/deep/001.png"]
    done = psal("inpaint", *both, "--mask", "masks", "--if-masked", "-o", "flat")
    assert done.exit_code == 0 and sorted(tree("flat")) == ["000.png"]
