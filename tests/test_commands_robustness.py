"""Slips of the hand and strange names: nothing is lost, nothing hides, and the rest goes on."""

import codecs
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from psal_cli.commands import main
from psal_cli.commands.console import Console
from psal_cli.errors import printable

from . import photos as batches
from .photos import ENV, process


def psal(*args, stdin=None):
    return batches.psal("inpaint", *args, stdin=stdin)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder to work in: photos/{a,b}.png and mask.png."""
    monkeypatch.chdir(tmp_path)
    mask = np.zeros((30, 40), np.uint8)
    mask[10:16, 12:20] = 255
    Image.fromarray(mask).save("mask.png")
    Path("photos").mkdir()
    for name in "ab":
        Image.fromarray(np.indices((30, 40)).sum(0).astype(np.uint8) % 7 * 30).save(f"photos/{name}.png")
    return tmp_path


def everything():
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


NAMES = ["photos/a.png", "mask.png", "mask", "linked", "out/a.png", "new.jpg", "-", "photos", "photos/a.png/x.txt"]


@pytest.mark.parametrize("name", NAMES)
def test_a_list_of_failures_takes_no_other_place(photos, name):
    shutil.copy("mask.png", "mask")
    Path("linked").symlink_to("photos/a.png")
    before = everything()
    done = psal("photos", "--mask", "mask" if name == "mask" else "mask.png", "-o", "out", "--failed-list", name)
    assert done.exit_code == 2 and name in done.stderr and done.stderr.count("\n") == 1
    assert everything() == before


def test_a_list_of_failures_makes_its_folder_and_replaces_an_older_list(photos):
    Path("photos/c.png").write_text("no picture")
    for _ in range(2):
        done = psal("photos", "--mask", "mask.png", "-o", "out", "--force", "--failed-list", "lists/failed.txt")
        assert done.exit_code == 1 and "2 done, 1 failed" in done.stderr
        assert Path("lists/failed.txt").read_text() == "photos/./c.png\n"


def test_a_name_that_ends_with_a_slash_is_a_folder_for_one_picture_too(photos):
    assert psal("photos/a.png", "--mask", "mask.png", "-o", "new/deep/").exit_code == 0
    assert Path("new/deep/a.png").exists()


def test_a_file_that_is_no_picture_stops_no_other(photos):
    Path("photos/Thumbs.db").touch()
    done = psal("photos/Thumbs.db", "photos/a.png", "photos/b.png", "--mask", "mask.png", "-o", "out")
    assert done.exit_code == 1 and "2 done, 1 failed" in done.stderr and "Thumbs.db has the extension .db" in done.stderr


@pytest.mark.parametrize("args", [["", "-r"], ["photos", "-o", ""], ["photos/a.png", "--compare", ""]])
def test_an_empty_name_is_no_folder(photos, args):
    before = everything()
    done = psal(*args, "--mask", "mask.png", "--force", "--suffix", "")
    assert done.exit_code == 2 and "the name is empty" in done.stderr
    assert everything() == before


@pytest.mark.parametrize("suffix", ["/../x", "a/b", "\0"])
def test_a_suffix_is_part_of_a_name(photos, suffix):
    done = psal("photos", "--mask", "mask.png", "--suffix", suffix)
    assert done.exit_code == 2 and "goes between name and extension" in done.stderr and not done.stderr.count("\n") > 1


def test_names_that_the_system_cannot_look_up(photos):
    long = "x" * 5000 + ".png"
    for args in ([long, "--mask", "mask.png"], ["photos/a.png", "--mask", long], ["photos/a.png", "--mask", "{stem:>300}.png"]):
        done = psal(*args)
        assert done.exit_code in (1, 2) and done.stderr.count("\n") == 1 and "internal error" not in done.stderr
    for name in ("photos/a.png", "mask.png"):  # a picture in place of a list
        done = psal("--from-file", name, "--mask", "mask.png", "-o", "out")
        assert done.exit_code == 2 and f"{name} is a picture: --from-file takes a list of file names" in done.stderr
    Path("long.txt").write_text("y" * 5000)
    done = psal("--from-file", "long.txt", "--mask", "mask.png", "-o", "out")
    assert done.exit_code == 2 and "long.txt is not a list of file names" in done.stderr


def test_folders_that_cannot_be_made(photos):
    for folder in (f"{'x' * 300}/", f"{'x' * 300}/y/"):
        for option in ("-o", "--failed-list"):
            where = [option, f"{folder}list.txt", "-o", "out"] if option == "--failed-list" else ["-o", folder]
            done = psal("photos", "--mask", "mask.png", *where)
            assert done.exit_code == 1 and "File name too long" in done.stderr and "internal error" not in done.stderr
            assert done.stderr.count("\n") == 1


@pytest.mark.subprocess
def test_a_closed_stdout_loses_no_picture(photos):
    script = f'"{sys.executable}" -P -c "from psal_cli.commands import main; main()" "$@" >&-'
    command = ["sh", "-c", script, "sh", "inpaint", "photos", "--mask", "mask.png", "-o", "out", "--json"]
    done = subprocess.run(command, env=ENV, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("cannot write stdout") == 1 and "internal error" not in done.stderr
    assert len(list(Path("out").iterdir())) == 2


def test_lists_from_other_systems(photos):
    for start, text in ((codecs.BOM_UTF8, b"photos/a.png\r\nphotos/b.png\r\n"), (b"", b"photos/a.png\n\nphotos/b.png")):
        Path("list.txt").write_bytes(start + text)
        done = psal("--from-file", "list.txt", "--mask", "mask.png", "-o", "out", "--force")
        assert done.exit_code == 0 and "2 done" in done.stderr, done.stderr
    Path("list.txt").write_text("photos/a.png\n", "utf-16")
    done = psal("--from-file", "list.txt", "--mask", "mask.png", "-o", "out", "--force")
    assert done.exit_code == 2 and "is a list in UTF-16: save it as UTF-8" in done.stderr


@pytest.mark.parametrize("name", ["two\nlines.png", "cr\rx.png", "esc\x1b[31m.png", "two  spaces.png", "w\udcff.png"])
def test_strange_names_are_shown_on_one_line_and_fed_back(photos, name):
    Path("photos", name).write_text("no picture")
    done = psal("photos", "--mask", "mask.png", "-o", "out", "--failed-list", "failed.txt")
    assert done.exit_code == 1 and "2 done, 1 failed" in done.stderr
    lines = done.stderr.split("\n")
    assert f"psal: photos/{printable(name)} is not a picture" in done.stderr and len(lines) == 5 and "\x1b" not in done.stderr
    Path("photos/a.png").rename(Path("photos", name))
    again = psal("--from-file", "failed.txt", "--mask", "mask.png", "-o", "out", "--dry-run")
    assert again.exit_code == 0 and again.stdout.split("\n")[0].startswith(f"do: photos/{printable(name)} -> out/")
    done = psal("--from-file", "failed.txt", "--mask", "mask.png", "-o", "out")
    assert done.exit_code == 0 and len(done.stderr.split("\n")) == 3 and "\x1b" not in done.stderr
    assert Path("out", name).exists()


def test_a_dumb_terminal_gets_lines_instead_of_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    for kind, has_bar in (("dumb", False), ("xterm", True)):
        monkeypatch.setenv("TERM", kind)
        with click.Context(main), Console(False, 0, False) as talk, talk.bar(2):
            assert bool(talk.live) == has_bar


def test_quiet_says_nothing_of_what_is_lost(photos):
    Image.fromarray(np.zeros((30, 40), np.uint16)).save("deep.png")
    for option, said in (("-v", True), ("-q", False)):
        done = psal("deep.png", "--mask", "mask.png", "-o", "out.jpg", "--force", option)
        assert done.exit_code == 0 and ("it is rounded" in done.stderr) == said == bool(done.stderr)


def test_nothing_in_a_list_is_no_matter_of_subfolders(photos):
    Path("void.txt").write_text("\n")
    done = psal("--from-file", "void.txt", "--mask", "mask.png", "-o", "out")
    assert done.exit_code == 3 and done.stderr == "psal: nothing to do: no picture in the list\n"


def test_a_new_folder_below_the_pictures_is_no_collision_with_them(photos, monkeypatch):
    monkeypatch.chdir("photos")
    done = psal("a.png", "b.png", "--mask", "../mask.png", "-o", "new")
    assert done.exit_code == 0, done.stderr
    assert sorted(path.name for path in Path("new").iterdir()) == ["a.png", "b.png"]


def test_results_that_are_left_out_are_one_line(photos):
    assert psal("photos", "--mask", "mask.png").exit_code == 0
    done = psal("photos", "--mask", "mask.png", "--skip-existing")
    assert done.exit_code == 3 and done.stderr.count("\n") == 2
    assert "photos/a_inpainted.png and 1 more are results of other pictures here: left out" in done.stderr


@pytest.mark.subprocess
@pytest.mark.parametrize("end", ["no reader", "full disk"])
def test_a_stdout_that_takes_no_more_loses_no_picture(photos, end):
    Path("photos/c.png").write_text("no picture")
    read, write = os.pipe()
    os.close(read)
    with Path("/dev/full").open("wb") as full:
        out = full if end == "full disk" else write
        run = ("inpaint", "photos", "--mask", "mask.png", "-o", "out", "--json", "--failed-list", "failed.txt")
        with process(*run, stdout=out, stderr=-1, text=True) as done:
            said = done.stderr.read().splitlines()
    os.close(write)
    assert done.returncode == 1 and sum("cannot write stdout" in line for line in said) == 1
    assert "2 done, 1 failed" in said[-1] and len(said) == 5
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "b.png"]
    assert Path("failed.txt").read_text() == "photos/./c.png\n"


@pytest.mark.subprocess
def test_a_stderr_that_takes_nothing_stops_nothing(photos):
    with Path("/dev/full").open("wb") as full, process("inpaint", "photos", "--mask", "mask.png", "-o", "1", stderr=full) as done:
        assert done.wait(60) == 0
    script = f'"{sys.executable}" -P -c "from psal_cli.commands import main; main()" "$@" 2>&-'
    closed = subprocess.run(["sh", "-c", script, "sh", "inpaint", "photos", "--mask", "mask.png", "-o", "2"], env=ENV)
    assert closed.returncode == 0
    assert len(list(Path("1").iterdir())) == len(list(Path("2").iterdir())) == 2


@pytest.mark.subprocess
@pytest.mark.parametrize("args", [["--help"], ["doctor"], ["help", "inpaint"], ["completion", "bash"]])
def test_text_that_cannot_be_written_is_one_line(args):
    with Path("/dev/full").open("wb") as full, process(*args, stdout=full, stderr=-1, text=True) as done:
        assert done.stderr.read().splitlines() == [
            "psal: cannot write stdout: the disk is full: free space, or write to another disk"
        ]
    assert done.returncode == 1
