"""`psal inpaint` over many pictures: what a shell script can rely on."""

import gc
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import click
import pytest
from PIL import Image

from psal_cli import files
from psal_cli.commands import inpaint
from psal_cli.image import Picture, write_picture

from .photos import ENV, SIZE, lines, process, psal, texture, tree


def test_a_folder_goes_through_with_its_tree(photos):
    photos(6)
    done = psal("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out", "--json")
    assert done.exit_code == 0, done.stderr
    assert tree("out").keys() == tree("photos").keys()
    for record in lines(done):
        assert record["status"] == "done" and record["error"] is None and record["seconds"] > 0
        assert record["output"] == record["input"].replace("photos", "out")
        assert record["peak_memory_bytes"] > 10_000_000 and record["device"] == "cpu" and record["seed"] == 0
        assert record["sha256"] == hashlib.sha256(Path(record["output"]).read_bytes()).hexdigest()
    *each, summary = done.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in each] == [
        f"[{n}/6] {record['output']}" for n, record in enumerate(lines(done), 1)
    ]
    assert summary.startswith("psal: 6 done, 0 failed in ")
    assert psal("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out2", "-q").output == ""


@pytest.mark.slow
def test_the_same_file_gives_the_same_pixels_anywhere_in_a_batch(photos):
    photos(5)
    alone = {}
    for path in sorted(Path("photos").rglob("*.png")):
        assert psal("inpaint", path, "--mask", "mask.png", "-o", "alone.png", "--force").exit_code == 0
        alone[path.name] = Path("alone.png").read_bytes()
    paths = sorted(map(str, Path("photos").rglob("*.png")))
    for number, (order, jobs) in enumerate(((paths, 1), (paths[::-1], 1), (paths, 4), (paths[::-1], 2))):
        assert psal("inpaint", *order, "--mask", "mask.png", "-o", f"out{number}", "--jobs", jobs).exit_code == 0
        assert tree(f"out{number}") == alone


BAD = {
    "truncated": "is damaged or cut off",
    "text": "is not a picture that psal reads",
    "empty": "is empty, expected a picture",
    "huge": "more than the limit",
    "wrong_mask": "the picture is 40x30",
    "no_mask": "each picture needs its --mask",
    "full_mask": "covers the whole picture",
    "text_mask": "is not a picture that psal reads",
    "forbidden": "no permission to read it",
    "corrupt": "is damaged or cut off",
}


def spoil(name, path, mask):
    whole = path.read_bytes()
    if name == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif name == "text":
        path.write_text("not a picture")
    elif name == "empty":
        path.write_bytes(b"")
    elif name == "huge":  # a header that promises 100,000 x 100,000 pixels
        header = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + whole[24:29]
        path.write_bytes(whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:])
    elif name == "corrupt":
        path.write_bytes(whole[:50] + bytes(len(whole) - 50))
    elif name == "wrong_mask":
        Image.new("L", (7, 7)).save(mask)
    elif name == "no_mask":
        mask.unlink()
    elif name == "full_mask":
        Image.new("L", SIZE, 255).save(mask)
    elif name == "text_mask":
        mask.write_text("not a mask")


@pytest.mark.slow
@pytest.mark.parametrize(("count", "jobs"), [(200, 3), (30, 1)])
def test_ten_bad_pictures_of_many_are_named_and_the_rest_is_done(photos, monkeypatch, count, jobs):
    root = photos(count)
    for path in Path("photos").rglob("*.png"):
        mask = Path("masks", path.relative_to("photos"))
        mask.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("mask.png", mask)
    paths = sorted(Path("photos").rglob("*.png"))
    bad = dict(zip(paths[2 :: count // 10 - 1], BAD, strict=False))
    assert len(bad) == len(BAD) == 10
    for path, name in bad.items():
        spoil(name, path, Path("masks", path.relative_to("photos")))
    forbidden = next(path for path, name in bad.items() if name == "forbidden")

    def guarded(path):  # as root, no mode forbids reading
        if path == forbidden:
            raise PermissionError(13, "Permission denied")
        return opened(path)

    opened = files.open_input
    monkeypatch.setattr("psal_cli.image.reading.open_input", guarded)
    run = ("inpaint", "photos", "-r", "--mask", "masks", "-o", "out", "--json", "--jobs", jobs)
    done = psal(*run, "--failed-list", "failed.txt", "--iterations", 1)
    assert done.exit_code == 1
    assert [Path(record["input"]) for record in lines(done)] == paths
    failed = {record["input"]: record["error"] for record in lines(done) if record["status"] == "failed"}
    assert failed.keys() == {str(path) for path in bad}
    for path, name in bad.items():
        assert BAD[name] in failed[str(path)] and failed[str(path)] in done.stderr
    assert f"{count - 10} done, 10 failed in" in done.stderr.splitlines()[-1]
    assert len(tree("out")) == count - 10 and not [name for name in tree(".") if ".part" in name]
    assert Path("failed.txt").read_text().splitlines() == [f"photos/./{path.relative_to('photos')}" for path in bad]
    monkeypatch.undo()
    monkeypatch.chdir(root)
    again = psal("inpaint", "--from-file", "failed.txt", "--mask", "mask.png", "-o", "out", "--failed-list", "failed.txt")
    assert "5 done, 5 failed in" in again.stderr.splitlines()[-1], again.stderr
    assert len(tree("out")) == count - 5 and len(Path("failed.txt").read_text().splitlines()) == 5


def test_fail_fast_and_the_list_of_what_was_not_reached(photos):
    photos(6)
    Path("photos/001.png").write_text("no picture")
    run = ("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out", "--failed-list", "failed.txt")
    done = psal(*run, "--fail-fast")
    assert done.exit_code == 1
    assert "1 done, 1 failed, 4 not reached in" in done.stderr and "listed in failed.txt" in done.stderr
    assert list(tree("out")) == ["000.png"]
    assert len(Path("failed.txt").read_text().splitlines()) == 5
    assert psal("inpaint", "--from-file", "failed.txt", "--mask", "mask.png", "-o", "out").exit_code == 1
    assert sorted(tree("out")) == ["000.png", "003.png", "004.png", "deep/002.png", "deep/005.png"]
    Image.fromarray(texture(1)).save("photos/001.png")
    done = psal(*run, "--skip-existing", "--json")
    assert done.exit_code == 0 and "1 done, 0 failed, 5 skipped" in done.stderr
    assert [record["status"] for record in lines(done)] == ["skipped"] * 5 + ["done"]
    assert Path("failed.txt").read_text() == ""


def test_nothing_to_do_is_exit_3(photos):
    photos(2)
    Path("void").mkdir()
    Path("void.txt").write_text("\n")
    assert psal("inpaint", "photos", "--mask", "mask.png", "-o", "out").exit_code == 0
    for args, words in (
        (["photos", "-o", "out", "--skip-existing"], "0 done, 0 failed, 2 skipped"),
        (["photos/000.png", "-o", "out/000.png", "--skip-existing"], "out/000.png exists: skipped"),
        (["void", "-o", "out"], "no picture in void; -r looks into subfolders too"),
        (["--from-file", "void.txt", "-o", "out"], "no picture in the list"),
    ):
        done = psal("inpaint", *args, "--mask", "mask.png")
        assert done.exit_code == 3 and words in done.stderr and done.stderr.count("\n") == 1


def test_refusals_come_before_any_work(photos):
    photos(4)
    refusals = {
        "photos -o out.png": "for a folder write",
        "photos -o out --mask {stm}.png": "--mask is {stm}.png, expected a pattern, which may hold",
        "photos photos/deep -o -": "- would be written for",
        "- - -o out.png": "Missing option",
        "photos/000.png -o out.png --format jpg": "--format jpg, but -o out.png ends otherwise",
        "photos/000.png -o out.png --suffix _x": "--suffix _x, but -o out.png is the whole name",
        "photos -o out --background nocolour": "--background is nocolour, expected a colour",
        "fotos/ -o out/ --mask photos": "fotos: no such file or folder",
        "photos -o out/ --mask none.png": "--mask is none.png, which does not exist",
        "photos/000.png -o out.png --compare -": "--compare -: only the picture itself goes to stdout",
        "photos/000.png -o - --json": "--json and the picture would both go to stdout",
        "- --json": "would both go to stdout",
        "photos -o out --max-pixels none": "is not a number of pixels",
        "photos -o out --jobs 0": "not in the range",
        "photos -o out --format gif": "'gif' is not one of",
        "--from-file none.txt -o out": "none.txt: the list of files cannot be read",
    }
    before = tree(".")
    for args, words in refusals.items():
        mask = [] if "--mask" in args or words == "Missing option" else ["--mask", "mask.png"]
        done = psal("inpaint", *args.split(), *mask)
        assert done.exit_code == 2 and words in done.stderr and done.stderr.count("\n") == 1, (args, done.stderr)
    done = psal("inpaint", "-", "--mask", "-", "-o", "out.png")
    assert done.exit_code == 2 and "stdin more than once" in done.stderr
    done = psal("inpaint", "-", "--from-file", "-", "--mask", "mask.png", "-o", "out")
    assert done.exit_code == 2 and "stdin more than once" in done.stderr
    assert tree(".") == before


@pytest.mark.subprocess
def test_dry_run_tells_and_does_nothing(photos):
    photos(3)
    Path("photos/001.png").write_text("no picture")
    before = tree(".")
    run = ("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out", "--dry-run")
    done = psal(*run)
    assert done.exit_code == 1 and tree(".") == before
    assert done.stdout.splitlines()[0].startswith("do: photos/000.png -> out/000.png (40x30, ")
    assert re.search(r" GB, about \S+ s, mask mask.png\)$", done.stdout.splitlines()[0])
    assert done.stdout.splitlines()[1] == "refuse: photos/001.png -> out/001.png (mask mask.png)"
    assert "photos/001.png is not a picture" in done.stderr
    assert re.fullmatch(r"psal: dry run: 2 to do, about \S+ s, 0 skipped, 1 refused", done.stderr.splitlines()[-1])
    alone = process(*run, "--json", stdout=subprocess.PIPE, text=True)  # what this process holds of other tests would count
    record = json.loads(alone.communicate()[0].splitlines()[0])
    assert (record["width"], record["height"], record["status"], record["mask"]) == (40, 30, "do", "mask.png")
    assert 10**8 < record["memory_bytes"] < 10**9
    Path("out").mkdir()
    shutil.copy("mask.png", "out/000.png")
    assert "skip: photos/000.png" in psal(*run, "--skip-existing").stdout
    shutil.copy("mask.png", "out/001.png")
    done = psal(*run, "--skip-existing")  # what is left out is not looked at
    assert done.exit_code == 0 and re.fullmatch(r"psal: dry run: 1 to do, about \S+ s, 2 skipped, 0 refused\n", done.stderr)
    assert psal("inpaint", "photos", "--mask", "mask.png", "-o", "out", "--dry-run", "--skip-existing").exit_code == 3
    Path("masks").mkdir()  # nor is its mask
    assert psal("inpaint", "photos", "--mask", "masks", "-o", "out", "--dry-run", "--skip-existing").exit_code == 3
    assert psal("inpaint", "photos", "--mask", "mask.png", "-o", "new", "--dry-run", "--device", "cuda:99").exit_code == 2


def test_dry_run_looks_at_the_masks(photos):
    photos(3)
    Path("masks").mkdir()
    shutil.copy("mask.png", "masks/000.png")
    Image.new("L", (7, 7)).save("masks/001.png")
    run = ("inpaint", "photos", "--dry-run", "--json", "--mask")
    first, second = lines(psal(*run, "masks"))
    assert first["status"] == "do" and second["status"] == "refuse" and "the picture is 40x30" in second["error"]
    Path("masks/001.png").unlink()
    second = lines(psal(*run, "masks"))[1]
    assert second["status"] == "refuse" and "no masks/001 with any suffix" in second["error"]
    more = lines(psal(*run, "mask.png", "--source-mask", "mask.png"))[0]
    assert more["memory_bytes"] > lines(psal(*run, "mask.png"))[0]["memory_bytes"] and more["source_mask"] == "mask.png"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_reports_and_resumes(photos, stopped, monkeypatch, number):
    root = photos(6)
    run = ("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out", "--json")
    stopped(3, lambda: os.kill(os.getpid(), number))
    done = psal(*run, "--failed-list", "failed.txt")
    monkeypatch.undo()
    monkeypatch.chdir(root)
    assert done.exit_code == 130
    assert [record["status"] for record in lines(done)] == ["done", "done", "interrupted", *["not reached"] * 3]
    assert "2 done, 0 failed, 1 interrupted, 3 not reached in" in done.stderr
    assert len(Path("failed.txt").read_text().splitlines()) == 4
    first = tree("out")
    assert len(first) == 2
    again = psal(*run, "--skip-existing")
    assert again.exit_code == 0 and first.items() <= tree("out").items() and len(tree("out")) == 6


def test_what_another_process_writes_meanwhile_is_skipped(photos, stopped):
    photos(3)
    names = [Path("out", name) for name in ("000.png", "001.png", "deep/002.png")]
    Path("out").mkdir()
    stopped(1, lambda: [name.write_bytes(b"another's") for name in names[:2]])
    done = psal("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out", "--json", "--skip-existing")
    assert [record["status"] for record in lines(done)] == ["skipped", "skipped", "done"]
    assert done.exit_code == 0 and "1 done, 0 failed, 2 skipped" in done.stderr
    assert [name.read_bytes() == b"another's" for name in names] == [True, True, False]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_a_long_batch_keeps_no_descriptors_and_no_pictures(photos, monkeypatch):
    """tests/bench/bench_leaks.py does the same with 300 pictures, and looks at the memory of the process."""
    photos(0)
    Path("many").mkdir()
    for number, suffix in enumerate(("png", "jpg", "tif", "webp", "bmp", "avif", "heic", "jxl") * 2):
        write_picture(Picture(texture(number)), Path(f"many/{number:02}.{suffix}"))
    seen, write = [], inpaint.Inpaint.write

    def noting(self, *given):
        done = write(self, *given)
        gc.collect()
        seen.append((len(os.listdir("/proc/self/fd")), sum(type(thing) is Picture for thing in gc.get_objects())))
        return done

    monkeypatch.setattr(inpaint.Inpaint, "write", noting)
    gc.freeze()  # what was there before is not looked through again and again
    try:
        done = psal("inpaint", "many", "--box", "9,9,5,5", "-o", "out", "--engine", "patch")
    finally:
        gc.unfreeze()
    assert done.exit_code == 0, done.stderr
    assert len(seen) == 16 and max(seen[8:]) <= max(seen[:8])


AT_THE_START = """
import atexit, os, signal
from psal_cli.commands import inpaint, main
atexit.register(print, "taken down")
inpaint.Inpaint.start = lambda self: os.kill(os.getpid(), signal.SIGTERM)
main()
"""


@pytest.mark.subprocess
def test_a_signal_before_the_first_picture_leaves_the_list_and_waits_for_nothing(photos):
    photos(3)
    run = ("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out", "--json", "--failed-list", "failed.txt")
    done = subprocess.run([sys.executable, "-P", "-c", AT_THE_START, *run], env=ENV, capture_output=True, text=True)
    assert done.returncode == 130 and "0 done, 0 failed, 3 not reached" in done.stderr
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["not reached"] * 3
    assert len(Path("failed.txt").read_text().splitlines()) == 3 and not Path("out").exists()
    arguments = ("inpaint", "photos/000.png", "--mask", "mask.png")
    done = subprocess.run([sys.executable, "-P", "-c", AT_THE_START, *arguments], env=ENV, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "psal: interrupted, nothing half-written is left\n")


def test_several_reasons_are_exit_1_and_only_short_memory_speaks_of_an_estimate(photos, stopped):
    photos(3)
    spoil("corrupt", Path("photos/000.png"), None)  # found when it is decoded, after the estimate

    def short():
        raise MemoryError

    stopped(1, short)
    done = psal("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out", "--json")
    assert done.exit_code == 1 and "1 done, 2 failed" in done.stderr
    assert ["the estimate was" in (record["error"] or "") for record in lines(done)] == [False, True, False]


def test_records_that_cannot_be_written_are_exit_1(photos, monkeypatch):
    photos(2)
    said, echo = [], click.echo

    def full(text=None, err=False, **options):
        if not err:
            said.append(text)
            raise OSError(28, "No space left on device")
        echo(text, err=True, **options)

    monkeypatch.setattr(click, "echo", full)
    run = ("inpaint", "photos", "--mask", "mask.png", "-o", "out", "--json")
    for more in (["--dry-run"], []):
        done = psal(*run, *more)
        assert done.exit_code == 1 and done.stderr.count("cannot write stdout: the disk is full") == 1
    assert len(said) == 2 and len(tree("out")) == 2  # once a command
