"""`psal inpaint` over many pictures: what a shell script can rely on."""

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
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import psal_cli
from psal_cli import files, image, memory
from psal_cli.commands import main
from psal_cli.tasks import inpaint as task

ENV = os.environ | {"PYTHONPATH": str(Path(psal_cli.__file__).parent.parent)}
SIZE = (40, 30)  # width, height


def psal(*args, stdin=None):
    files._read_stdin.cache_clear()
    return CliRunner().invoke(main, [str(arg) for arg in args], input=stdin)


def process(*args, **options):
    """psal as a process of its own; stdin, stdout and stderr as given to Popen."""
    command = [sys.executable, "-P", "-c", "from psal_cli.commands import main; main()", *map(str, args)]
    return subprocess.Popen(command, env=ENV, **options)


def texture(number):
    rows, columns = np.indices(SIZE[::-1])
    return np.stack([rows % 5 * 40, (columns + number) % 7 * 30, (rows + columns) % 3 * (number % 8) * 10], 2).astype(np.uint8)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A function that fills photos/ with so many pictures, every third one in a subfolder; mask.png fits all."""
    monkeypatch.chdir(tmp_path)
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[10:16, 12:20] = 255
    Image.fromarray(mask).save("mask.png")

    def make(count):
        for number in range(count):
            path = Path("photos", *(["deep"] if number % 3 == 2 else []), f"{number:03}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(texture(number)).save(path)
        return tmp_path

    return make


@pytest.fixture
def stopped(monkeypatch):
    """A function that makes the task call something for the picture of that number, before it does its work."""

    def at(number, act):
        work, calls = task.inpaint, []

        def counted(*args, **options):
            calls.append(0)
            if len(calls) == number:
                act()
            return work(*args, **options)

        monkeypatch.setattr(task, "inpaint", counted)

    return at


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


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
    "text": "is no picture that psal reads",
    "empty": "is no picture that psal reads",
    "huge": "more than the limit",
    "wrong_mask": "the picture is 40x30",
    "no_mask": "name one mask for it",
    "full_mask": "covers the whole picture",
    "text_mask": "is no picture that psal reads",
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


@pytest.mark.parametrize("jobs", [1, 3])
def test_ten_bad_pictures_of_200_are_named_and_the_rest_is_done(photos, monkeypatch, jobs):
    root = photos(200)
    for path in Path("photos").rglob("*.png"):
        mask = Path("masks", path.relative_to("photos"))
        mask.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("mask.png", mask)
    paths = sorted(Path("photos").rglob("*.png"))
    bad = dict(zip(paths[5::19], BAD, strict=False))
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
    assert "190 done, 10 failed in" in done.stderr.splitlines()[-1]
    assert len(tree("out")) == 190 and not [name for name in tree(".") if ".part" in name]
    assert Path("failed.txt").read_text().splitlines() == [f"photos/./{path.relative_to('photos')}" for path in bad]
    monkeypatch.undo()
    monkeypatch.chdir(root)
    again = psal("inpaint", "--from-file", "failed.txt", "--mask", "mask.png", "-o", "out", "--failed-list", "failed.txt")
    assert "5 done, 5 failed in" in again.stderr.splitlines()[-1], again.stderr
    assert len(tree("out")) == 195 and len(Path("failed.txt").read_text().splitlines()) == 5


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
        "photos -o out --mask {stm}.png": "a pattern may hold",
        "photos photos/deep -o -": "- would be written for",
        "- - -o out.png": "Missing option",
        "photos/000.png -o out.png --format jpg": "--format jpg, but -o out.png ends otherwise",
        "photos/000.png -o out.png --suffix _x": "--suffix _x, but -o out.png is the whole name",
        "photos -o out --background nocolour": "nocolour is no colour",
        "fotos/ -o out/ --mask photos": "fotos: no such file or folder",
        "photos/000.png -o - --json": "--json and the picture would both go to stdout",
        "- --json": "would both go to stdout",
        "photos -o out --max-pixels none": "no number of pixels",
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


def test_dry_run_tells_and_does_nothing(photos):
    photos(3)
    Path("photos/001.png").write_text("no picture")
    before = tree(".")
    run = ("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out", "--dry-run")
    done = psal(*run)
    assert done.exit_code == 1 and tree(".") == before
    assert done.stdout.splitlines()[0].startswith("do: photos/000.png -> out/000.png (40x30, ")
    assert done.stdout.splitlines()[0].endswith(" GB, mask mask.png)")
    assert done.stdout.splitlines()[1] == "refuse: photos/001.png -> out/001.png (mask mask.png)"
    assert "photos/001.png is no picture" in done.stderr
    assert done.stderr.splitlines()[-1] == "psal: dry run: 2 to do, 0 skipped, 1 refused"
    record = lines(psal(*run, "--json"))[0]
    assert (record["width"], record["height"], record["status"], record["mask"]) == (40, 30, "do", "mask.png")
    assert 10**8 < record["memory_bytes"] < 10**9
    Path("out").mkdir()
    shutil.copy("mask.png", "out/000.png")
    assert "skip: photos/000.png" in psal(*run, "--skip-existing").stdout
    shutil.copy("mask.png", "out/001.png")
    done = psal(*run, "--skip-existing")  # what is left out is not looked at
    assert done.exit_code == 0 and done.stderr == "psal: dry run: 1 to do, 2 skipped, 0 refused\n"
    assert psal("inpaint", "photos", "--mask", "mask.png", "-o", "out", "--dry-run", "--skip-existing").exit_code == 3


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


AT_THE_START = """
import atexit, os, signal
from psal_cli.commands import inpaint, main
atexit.register(print, "taken down")
inpaint.Inpaint.start = lambda self: os.kill(os.getpid(), signal.SIGTERM)
main()
"""


def test_a_signal_before_the_first_picture_leaves_the_list_and_waits_for_nothing(photos):
    photos(3)
    run = ("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out", "--json", "--failed-list", "failed.txt")
    done = subprocess.run([sys.executable, "-P", "-c", AT_THE_START, *run], env=ENV, capture_output=True, text=True)
    assert done.returncode == 130 and "0 done, 0 failed, 3 not reached" in done.stderr
    assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == ["not reached"] * 3
    assert len(Path("failed.txt").read_text().splitlines()) == 3 and not Path("out").exists()
    one = ("inpaint", "photos/000.png", "--mask", "mask.png")
    done = subprocess.run([sys.executable, "-P", "-c", AT_THE_START, *one], env=ENV, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "psal: interrupted, nothing half-written is left\n")


def test_stdin_and_stdout(photos):
    photos(1)
    source = Path("photos/000.png").read_bytes()
    assert psal("inpaint", "photos/000.png", "--mask", "mask.png", "-o", "file.png").exit_code == 0
    with process("inpaint", "-", "--mask", "mask.png", "-q", stdin=-1, stdout=-1, stderr=-1) as piped:
        out, err = piped.communicate(source)
    assert (out, err, piped.returncode) == (Path("file.png").read_bytes(), b"", 0)
    with Path("photos/000.png").open("rb") as stdin, Path("out.jpg").open("wb") as stdout:
        piped = process("inpaint", "-", "--mask", "mask.png", "-o", "-", "--format", "jpg", stdin=stdin, stdout=stdout, stderr=-1)
        assert piped.wait(60) == 0, piped.stderr.read()
        piped.stderr.close()
    with Image.open("out.jpg") as image:
        assert image.format == "JPEG" and image.size == SIZE
    assert psal("inpaint", "-", "--mask", "mask.png", "-o", "named.tif", stdin=source).exit_code == 0
    assert (
        psal("inpaint", "photos/000.png", "--mask", "-", "-o", "masked.png", stdin=Path("mask.png").read_bytes()).exit_code == 0
    )
    assert Path("masked.png").read_bytes() == Path("file.png").read_bytes()
    listed = psal("inpaint", "--from-file", "-", "--mask", "mask.png", "-o", "out", stdin=b"photos/000.png\n")
    assert listed.exit_code == 0 and Path("out/000.png").read_bytes() == Path("file.png").read_bytes()


def test_an_empty_mask_copies_as_the_options_say(photos):
    photos(1)
    Image.new("L", SIZE).save("empty.png")
    with Image.open("photos/000.png") as photo:
        photo.save("exif.png", exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x0f\1\2\0\4\0\0\0abc\0\0\0\0\0")
    for name, option, format, kept in (
        ("a.png", "-q", "PNG", 1),
        ("b.png", "--strip-metadata", "PNG", 0),
        ("c.tif", "-q", "TIFF", 1),
    ):
        assert psal("inpaint", "exif.png", "--mask", "empty.png", "-o", name, option).exit_code == 0
        with Image.open(name) as copy:
            assert copy.format == format and (0x010F in copy.getexif()) == kept


def test_an_empty_mask_copies_what_comes_from_stdin(photos):
    photos(1)
    Image.new("L", SIZE).save("empty.png")
    source = Path("photos/000.png").read_bytes()
    with process("inpaint", "-", "--mask", "empty.png", stdin=-1, stdout=-1, stderr=-1) as piped:
        out, err = piped.communicate(source)
    assert out == source and b"is copied" in err


def test_a_reader_that_has_gone_is_one_line(photos):
    photos(1)
    read, write = os.pipe()
    os.close(read)
    gone = process("inpaint", "photos/000.png", "--mask", "mask.png", "-o", "-", stdout=write, stderr=-1, text=True)
    os.close(write)
    gone_line = "cannot write stdout: the program that was to read it has ended"
    with gone:
        assert gone.stderr.read().splitlines()[-1] == f"psal: photos/000.png: {gone_line}"
        assert gone.wait(60) == 1


def test_encoding_options(photos):
    photos(1)
    with Image.open("photos/000.png") as photo:
        Image.merge("RGBA", [*photo.split(), Image.new("L", SIZE, 100)]).save("layer.png")
        photo.save("exif.png", exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x0f\1\2\0\4\0\0\0abc\0\0\0\0\0")
    args = ("--mask", "mask.png", "--background", "#204060", "-o", "flat.jpg")
    done = psal("inpaint", "layer.png", *args)
    assert done.exit_code == 0 and "flat.jpg" in done.stderr
    assert psal("inpaint", "layer.png", "--mask", "mask.png", "-o", "x.jpg").exit_code == 2
    assert "--background" in psal("inpaint", "layer.png", "--mask", "mask.png", "-o", "x.jpg").stderr
    for quality in (20, 90):
        assert (
            psal(
                "inpaint", "photos", "--mask", "mask.png", "-o", f"{quality}/", "--format", "jpg", "--quality", quality
            ).exit_code
            == 0
        )
    assert 1.5 * Path("20/000.jpg").stat().st_size < Path("90/000.jpg").stat().st_size
    assert psal("inpaint", "20/000.jpg", "--mask", "mask.png", "-o", "-", "-q").stdout_bytes[:3] == b"\xff\xd8\xff"
    for format in ("png", "tif", "webp", "avif", "bmp", "heic", "jxl"):
        planned = psal("inpaint", "photos", "--mask", "mask.png", "-o", "new", "--format", format, "--dry-run")
        assert planned.exit_code == 0 and f"-> new/000.{format} " in planned.stdout
    sizes = []
    for level in (0, 9):
        assert psal("inpaint", "layer.png", "--mask", "mask.png", "--compression", level, "-o", f"{level}.tif").exit_code == 0
        sizes.append(Path(f"{level}.tif").stat().st_size)
    assert sizes[1] < sizes[0]
    for option, kept in (([], True), (["--strip-metadata"], False)):
        assert psal("inpaint", "exif.png", "--mask", "mask.png", "-o", f"{kept}.png", *option).exit_code == 0
        with Image.open(f"{kept}.png") as result:
            assert bool(result.getexif()) == kept
    assert psal("inpaint", "photos", "--mask", "mask.png", "-o", "webp", "--format", "webp", "--suffix", "_x").exit_code == 0
    assert list(tree("webp")) == ["000_x.webp"]
    assert psal("inpaint", "photos/000.png", "--mask", "mask.png", "-o", "bare", "--format", "webp").exit_code == 0
    with Image.open("bare") as result:
        assert result.format == "WEBP"


def test_results_about_the_result_go_to_folders_too(photos):
    photos(2)
    done = psal("inpaint", "photos", "--mask", "mask.png", "-o", "out", "--compare", "cmp", "--save-offsets", "field/")
    assert done.exit_code == 0, done.stderr
    assert tree("out").keys() == tree("cmp").keys() == tree("field").keys() == {"000.png", "001.png"}


def test_memory_that_runs_out_concerns_one_picture(photos, stopped):
    photos(3)

    def short():
        raise MemoryError

    stopped(2, short)
    done = psal("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out")
    assert done.exit_code == 4 and "photos/001.png: out of memory" in done.stderr and "2 done, 1 failed" in done.stderr
    assert "the estimate was 0." in done.stderr and "--max-memory" in done.stderr


def test_several_reasons_are_exit_1_and_only_short_memory_speaks_of_an_estimate(photos, stopped):
    photos(3)
    spoil("corrupt", Path("photos/000.png"), None)  # found when it is decoded, after the estimate

    def short():
        raise MemoryError

    stopped(1, short)
    done = psal("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out", "--json")
    assert done.exit_code == 1 and "1 done, 2 failed" in done.stderr
    assert ["the estimate was" in (record["error"] or "") for record in lines(done)] == [False, True, False]


def test_memory_that_is_not_there_is_found_before_decoding(photos, monkeypatch):
    photos(1)
    Image.fromarray(texture(0)).save("cut.jpg")
    Path("cut.jpg").write_bytes(Path("cut.jpg").read_bytes()[:-300])
    monkeypatch.setattr(memory, "resident", lambda: 1 << 20)
    for room, code in ((0, 4), (1 << 34, 2), (None, 2)):
        monkeypatch.setattr(memory, "available", lambda room=room: room)
        assert psal("inpaint", "cut.jpg", "--mask", "mask.png").exit_code == code
    monkeypatch.setattr(memory, "available", lambda: 3 << 20)
    assert "give --max-memory 3M for a smaller plan" in psal("inpaint", "cut.jpg", "--mask", "mask.png").stderr
    assert psal("inpaint", "photos/000.png", "--mask", "mask.png", "--max-memory", "4G").exit_code == 0  # who says so knows
    memory.check_available(4 << 20)  # what is held counts
    with pytest.raises(memory.MemoryLimitError):
        memory.check_available((4 << 20) + 1)


def test_the_estimate_counts_how_results_are_written():
    def estimate(**formats):
        return task.plan((3000, 4000), 3, 1, **formats).bytes

    assert estimate(reads="PNG", writes="WEBP") > estimate(reads="JPEG", writes="WEBP")  # without loss
    assert estimate(writes="PNG", draws="AVIF") > estimate(writes="PNG")


def test_with_a_limit_of_memory_one_picture_is_held_at_a_time(photos, stopped, monkeypatch):
    photos(3)
    order, read, work = [], image.read_picture, task.inpaint
    monkeypatch.setattr(image, "read_picture", lambda *args: [order.append("read"), read(*args)][1])
    monkeypatch.setattr(task, "inpaint", lambda *args, **options: [order.append("work"), work(*args, **options)][1])
    run = ("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out", "--jobs", 4)
    assert psal(*run, "--max-memory", "4G").exit_code == 0 and order == ["read", "work"] * 3


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


@pytest.fixture
def engine(monkeypatch):
    """Stands in for the task: fills with white; `calls` holds the masks that it was given."""
    calls = []

    def fill(picture, mask, *, source_mask, **_):
        calls.append((mask.numpy(), source_mask.numpy() if source_mask is not None else None))
        count = int(mask.sum())
        return task.Filled(torch.ones(count, picture.shape[1]), torch.zeros(count, 2).int(), picture, mask)

    monkeypatch.setattr(task, "inpaint", fill)
    return calls


def test_what_may_be_copied_from_is_in_the_source_mask_and_visible(photos, engine):
    photos(1)
    alpha, allowed = np.full(SIZE[::-1], 100, np.uint8), np.zeros(SIZE[::-1], np.uint8)
    alpha[:, :10], allowed[:12] = 0, 255
    Image.fromarray(np.dstack([texture(0), alpha])).save("layer.png")
    Image.fromarray(allowed).save("allowed.png")
    assert psal("inpaint", "layer.png", "--mask", "mask.png", "--source-mask", "allowed.png").exit_code == 0
    assert np.array_equal(engine[0][1], (allowed > 0) & (alpha > 0))


def test_dilate_is_filled_and_feather_fades(photos, engine):
    photos(1)
    run = ("inpaint", "photos/000.png", "--mask", "mask.png", "-o", "out.png")
    assert psal(*run, "--dilate", 1, "--feather", 5).exit_code == 0
    with Image.open("out.png") as result:
        row = np.asarray(result)[12, :, 2]  # the mask ends before column 20
    before = texture(0)[12, :, 2]
    assert (row[12:21] == 255).all() and (row[22:25] < 255).all() and (row[22:25] > before[22:25]).all()
    assert np.array_equal(row[26:], before[26:])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a process")
def test_a_limit_of_memory_is_kept_and_the_estimate_is_what_is_held(photos):
    """The libraries take a third of a gigabyte, this picture 0.3 at once."""
    photos(0)
    large = np.random.default_rng(5).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    Image.fromarray(large).save("large.png", compress_level=1)
    mask = np.zeros(large.shape[:2], np.uint8)
    mask[1000:1060, 2000:2090] = 255
    Image.fromarray(mask).save("large_mask.png", compress_level=1)
    run = ("inpaint", "large.png", "--mask", "large_mask.png", "--force", "--json", "-v", "--max-memory")
    for limit, how, beside in (
        ("3GB", "the whole picture at once", []),
        ("580MB", "pixels around each hole", ["--save-offsets", "field.png", "--compare", "both.jpg"]),
    ):
        with process(*run, limit, *beside, stdout=-1, stderr=-1, text=True) as done:
            out, err = done.communicate()
        estimate, peak = re.search(rf"large.png: ([\d.]+) GB.* {how}", err), json.loads(out)["peak_memory_bytes"]
        assert done.returncode == 0 and 0.8 < 1e9 * float(estimate[1]) / peak < 1.25
    assert peak < 580e6
    before = tree(".")
    done = psal(*run, "100MB")
    assert done.exit_code == 4 and "are allowed: allow more with --max-memory" in done.stderr and tree(".") == before


def test_max_pixels(photos):
    photos(2)
    done = psal("inpaint", "photos", "--mask", "mask.png", "-o", "out", "--max-pixels", "1.1k")
    assert done.exit_code == 1 and "photos/000.png is 40x30" in done.stderr and "--max-pixels" in done.stderr
    assert psal("inpaint", "photos/000.png", "--mask", "mask.png", "--max-pixels", 1100).exit_code == 2
    assert psal("inpaint", "photos/000.png", "--mask", "mask.png", "--max-pixels", "0.0012M").exit_code == 0
    for width, refused in ((25_000, False), (30_001, True)):  # headers alone
        header = b"IHDR" + width.to_bytes(4) + (20_000).to_bytes(4) + bytes([8, 2, 0, 0, 0])
        whole = Path("photos/000.png").read_bytes()
        Path("large.png").write_bytes(whole[:12] + header + zlib.crc32(header).to_bytes(4) + whole[33:])
        done = psal("inpaint", "large.png", "--mask", "mask.png")
        assert done.exit_code == 2 and ("more than the limit of 600" in done.stderr) == refused


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    script = psal("completion", shell)
    assert script.exit_code == 0 and f"_PSAL_COMPLETE={shell}_complete" in script.stdout
    words = {"bash": ("COMP_WORDS", "COMP_CWORD"), "zsh": ("COMP_WORDS", "COMP_CWORD"), "fish": ("COMP_WORDS", "COMP_CWORD")}
    for line, number, expected in (("psal inp", "1", "inpaint"), ("psal inpaint --skip", "2", "--skip-existing")):
        word = line.split()[-1] if shell == "fish" else number
        env = ENV | {"_PSAL_COMPLETE": f"{shell}_complete", words[shell][0]: line, words[shell][1]: word}
        code = "from psal_cli.commands import main; main(prog_name='psal')"
        done = subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True)
        assert expected in done.stdout, done.stderr
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=script.stdout, text=True).returncode == 0


def test_help_says_what_help_says():
    for verb in ("inpaint", "doctor"):
        assert psal("help", verb).stdout == psal(verb, "--help").stdout != ""
    assert psal("help").stdout == psal("--help").stdout
    assert psal("help", "nothing").exit_code == 2
    for code in ("0 all done", "2 usage", "3 nothing to do", "4 out of memory", "130 interrupted"):
        assert code in " ".join(psal("--help").stdout.split())
