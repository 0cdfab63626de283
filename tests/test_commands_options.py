"""`psal inpaint`: what its options do to one picture or many, streams, memory, help."""

import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from psal_cli import image, memory
from psal_cli.image.arrays import replaced
from psal_cli.verbs.inpaint import api
from psal_cli.verbs.inpaint.memory_model import plan

from .photos import ENV, SIZE, lines, process, psal, texture, tree


@pytest.mark.subprocess
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


@pytest.mark.subprocess
def test_an_empty_mask_copies_what_comes_from_stdin(photos):
    photos(1)
    Image.new("L", SIZE).save("empty.png")
    source = Path("photos/000.png").read_bytes()
    with process("inpaint", "-", "--mask", "empty.png", stdin=-1, stdout=-1, stderr=-1) as piped:
        out, err = piped.communicate(source)
    assert out == source and b"is copied byte for byte" in err


@pytest.mark.subprocess
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
    assert re.search(r"the estimate was \d+\.\d\d GB", done.stderr) and "--max-memory" in done.stderr


def test_memory_that_is_not_there_is_found_before_decoding(photos, monkeypatch):
    photos(1)
    Image.fromarray(texture(0)).save("cut.jpg")
    Path("cut.jpg").write_bytes(Path("cut.jpg").read_bytes()[:-300])
    monkeypatch.setattr(memory, "resident", lambda: 1 << 20)
    for room, code in ((0, 4), (1 << 34, 2), (None, 2)):
        monkeypatch.setattr(memory, "available", lambda room=room: room)
        assert psal("inpaint", "cut.jpg", "--mask", "mask.png").exit_code == code
    monkeypatch.setattr(memory, "available", lambda: 3 << 20)
    refused = psal("inpaint", "cut.jpg", "--mask", "mask.png").stderr
    assert "of memory at least, 4194304 bytes are available: close other programs, or give a smaller picture" in refused
    assert psal("inpaint", "photos/000.png", "--mask", "mask.png", "--max-memory", "4G").exit_code == 0  # who says so knows
    memory.check_available(4 << 20)  # what is held counts
    with pytest.raises(memory.MemoryLimitError):
        memory.check_available((4 << 20) + 1)


@pytest.mark.parametrize(
    "verb", [("inpaint", "--box", "5,5,20,20"), ("colorize", "--ref", "another.jpg"), ("upscale", "--scale", "2")]
)
def test_the_limit_that_is_advised_is_accepted(photos, monkeypatch, verb):
    photos(0)
    for name in ("large.jpg", "another.jpg"):
        Image.new("RGB", (2000, 1600)).save(name)
    run = (verb[0], "large.jpg", *verb[1:])
    monkeypatch.setattr(memory, "resident", lambda: 1 << 20)
    whole = lines(psal(*run, "--dry-run", "--json"))[0]["memory_bytes"]
    monkeypatch.setattr(memory, "available", lambda: whole - 10_000_000)
    advised = re.search(r"--max-memory (\d+M) picks a smaller plan", psal(*run, "--dry-run").stderr)[1]
    assert lines(psal(*run, "--dry-run", "--json", "--max-memory", advised))[0]["status"] == "do"
    monkeypatch.setattr(memory, "available", lambda: 20_000_000)
    refused = psal(*run, "--dry-run")
    assert refused.exit_code == 4 and "of memory at least" in refused.stderr and "--max-memory" not in refused.stderr


def test_the_estimate_counts_how_results_are_written():
    def estimate(**formats):
        return plan(image.Header(formats.pop("reads", "JPEG"), 4000, 3000, 3, 8, False), formats).bytes

    assert estimate(reads="PNG", output="WEBP") > estimate(reads="JPEG", output="WEBP")  # without loss
    assert estimate(output="PNG", save_offsets="AVIF") > estimate(output="PNG")


def test_with_a_limit_of_memory_one_picture_is_held_at_a_time(photos, stopped, monkeypatch):
    photos(3)
    order, read, work = [], image.read_picture, api.inpaint
    monkeypatch.setattr(image, "read_picture", lambda *args: [order.append("read"), read(*args)][1])
    monkeypatch.setattr(api, "inpaint", lambda *args, **options: [order.append("work"), work(*args, **options)][1])
    run = ("inpaint", "photos", "-r", "--mask", "mask.png", "-o", "out", "--jobs", 4)
    assert psal(*run, "--max-memory", "4G").exit_code == 0 and order == ["read", "work"] * 3


@pytest.fixture
def engine(monkeypatch):
    """Stands in for the library: fills with white; `calls` holds the pictures and masks that it was given."""
    calls = []

    def fill(picture, mask, options, *, source_mask, **_):
        calls.append((mask, source_mask))
        hole = mask > 0
        values = np.ones((np.count_nonzero(hole), 3), np.float32)
        made = replaced(picture, hole, values, None if mask.dtype == bool else mask)
        return api.InpaintResult(made, hole, np.zeros((len(values), 2), np.int32), None)

    monkeypatch.setattr(api, "inpaint", fill)
    return calls


def test_what_may_be_copied_from_is_in_the_source_mask_and_visible(photos):
    photos(1)
    alpha, allowed = np.full(SIZE[::-1], 100, np.uint8), np.zeros(SIZE[::-1], np.uint8)
    alpha[:, :30], allowed[:10] = 0, 255
    Image.fromarray(np.dstack([texture(0), alpha])).save("layer.png")
    Image.fromarray(allowed).save("allowed.png")
    run = ("inpaint", "layer.png", "--mask", "mask.png", "--source-mask", "allowed.png", "--save-offsets", "field.npy")
    assert psal(*run).exit_code == 0
    mask = np.asarray(Image.open("mask.png")) > 0
    rows, columns = np.argwhere(mask).T + np.load("field.npy")[0][:, mask]
    assert ((allowed > 0) & (alpha > 0))[rows, columns].all()


def test_dilate_is_filled_and_feather_fades(photos, engine):
    photos(1)
    run = ("inpaint", "photos/000.png", "--mask", "mask.png", "-o", "out.png")
    assert psal(*run, "--dilate", 1, "--feather", 5).exit_code == 0
    with Image.open("out.png") as result:
        row = np.asarray(result)[12, :, 2]  # the mask ends before column 20
    before = texture(0)[12, :, 2]
    assert (row[12:21] == 255).all() and (row[22:25] < 255).all() and (row[22:25] > before[22:25]).all()
    assert np.array_equal(row[26:], before[26:])


@pytest.mark.subprocess
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
        ("700MB", "pixels around each hole", ["--save-offsets", "field.png", "--compare", "both.jpg"]),
    ):
        with process(*run, limit, *beside, stdout=-1, stderr=-1, text=True) as done:
            out, err = done.communicate()
        estimate, peak = re.search(rf"large.png: ([\d.]+) GB.* {how}", err), json.loads(out)["peak_memory_bytes"]
        assert done.returncode == 0 and 0.8 < 1e9 * float(estimate[1]) / peak < 1.25
    assert peak < 700e6
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


@pytest.mark.subprocess
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
