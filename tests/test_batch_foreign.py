"""Results in places that the user has not named, or cannot write to, are refused before any work."""

import os
import shutil
from pathlib import Path

import pytest

from psal_cli import files

from .photos import psal, tree

ARGS = ("--engine", "patch", "--mask", "mask.png")


@pytest.fixture
def folder(photos):
    """photos/ with three pictures in a tree; archive/photos, beside the working directory, with the same."""
    top = photos(3)
    shutil.copytree("photos", "work/photos")
    shutil.copytree("photos", "archive/photos")
    shutil.copy("mask.png", "work")
    os.chdir(top / "work")  # monkeypatch of `photos` goes back at the end
    return top


def refused(done, *words):
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    return True


@pytest.mark.parametrize("given", ["linked", "linked/", "linked/000.png", "linked/deep/002.png"])
def test_results_beside_pictures_behind_a_link_are_refused(folder, given):
    Path("linked").symlink_to("../archive/photos")
    before = tree(folder / "archive")
    done = psal("inpaint", "photos/000.png", given, "-r", *ARGS)
    assert refused(done, f"linked is a link to {folder}/archive/photos: write to another folder with -o", "_inpainted.png")
    assert tree(folder / "archive") == before and not Path("photos/000_inpainted.png").exists()


def test_so_are_they_by_an_absolute_name_from_elsewhere(folder, monkeypatch):
    Path("linked").symlink_to("../archive/photos")
    monkeypatch.chdir(folder / "archive")
    for given in ("linked", "linked/deep/002.png"):
        done = psal("inpaint", folder / "work" / given, "-r", "--engine", "patch", "--mask", folder / "mask.png", "--dry-run")
        if given == "linked":
            assert refused(done, f"{folder}/work/linked is a link to {folder}/archive/photos")
        else:  # a folder that is none itself: what lies above it is the system's affair
            assert done.exit_code == 0, done.stderr


def test_the_cure_works_and_keeps_the_pictures(folder):
    Path("linked").symlink_to("../archive/photos")
    before = tree(folder / "archive")
    said = psal("inpaint", "linked/000.png", *ARGS).stderr
    cure = said.strip().rpartition("there with ")[2].split()
    assert cure == ["-o", "linked/", "--suffix", "_inpainted"]
    assert psal("inpaint", "linked/000.png", *ARGS, *cure).exit_code == 0
    after = tree(folder / "archive")
    assert after.keys() - before.keys() == {"photos/000_inpainted.png"} and all(after[name] == before[name] for name in before)


def test_links_that_stay_inside_and_files_that_are_links_are_fine(folder):
    Path("latest").symlink_to("photos")  # both lie in the working directory
    Path("photos/copy.png").symlink_to(folder / "archive/photos/000.png")  # its result is beside the link
    done = psal("inpaint", "latest", *ARGS)
    assert done.exit_code == 0, done.stderr
    assert Path("photos/copy_inpainted.png").exists() and Path("photos/000_inpainted.png").exists()
    assert not Path(folder, "archive/photos/copy_inpainted.png").exists()


def test_an_output_folder_that_is_a_link_was_named_by_the_user(folder):
    Path("out").symlink_to("../archive")
    assert psal("inpaint", "photos", *ARGS, "-o", "out").exit_code == 0
    assert Path(folder, "archive/000.png").exists()


@pytest.mark.parametrize("link", ["out/deep", "out/000.png"])
def test_links_that_lead_out_of_the_output_folder_are_refused(folder, link):
    Path("out").mkdir()
    target = folder / "archive" / ("photos/deep" if link == "out/deep" else "new.png")
    Path(link).symlink_to(target)
    before = tree(folder / "archive")
    done = psal("inpaint", "photos", "-r", *ARGS, "-o", "out", "--force")
    assert refused(done, f"leads to {target}", "outside of out: remove the link, or write to another folder with -o")
    assert tree(folder / "archive") == before and tree("out") == {}
    beside = psal("inpaint", "photos", *ARGS, "-o", "out2", "--save-offsets", "out", "-r", "--force")
    assert refused(beside, "outside of out")


def test_pictures_that_are_skipped_are_not_looked_at(folder):
    Path("linked").symlink_to("../archive/photos")
    done = psal(
        "inpaint", "linked", "photos/000.png", "--engine", "patch", "--mask", "masks/{stem}.png", "--if-masked", "--dry-run"
    )
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("kind", ["read-only", "foreign", "own"])
def test_folders_that_cannot_be_written_are_named_with_the_reason(folder, monkeypatch, kind):
    able = os.access
    monkeypatch.setattr(files.os, "access", lambda path, mode: "photos" not in str(path) and able(path, mode))
    if kind == "read-only":
        monkeypatch.setattr(files.os, "statvfs", lambda path: os.statvfs_result((0,) * 8 + (os.ST_RDONLY, 0)))
    if kind == "foreign":
        monkeypatch.setattr(files.os, "geteuid", lambda: os.getuid() + 1)
    words = {
        "read-only": "photos is on a read-only file system: write to another folder with -o",
        "foreign": "photos belongs to another user, and you have no permission to write in it: write to another folder with -o",
        "own": "no permission to write in {}: change it, or write to another folder with -o",
    }[kind].format(Path("photos").resolve())
    for more in ([], ["--dry-run"]):
        done = psal("inpaint", "photos", "-r", *ARGS, *more)
        assert done.exit_code == 1 and words in done.stderr and len(done.stderr.splitlines()) == 1
    assert psal("inpaint", "photos", "-r", *ARGS, "-o", "out").exit_code == 0
