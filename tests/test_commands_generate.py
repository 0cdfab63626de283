"""`psal generate` as a shell sees it: names and seeds of samples, the sheet, what is kept, refusals."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from psal_cli import memory
from psal_cli.image import Picture, read_picture, write_picture
from psal_cli.image.metadata import Metadata
from psal_cli.verbs.generate import sampling
from psal_cli.verbs.generate.api import generate
from psal_cli.verbs.generate.memory_model import baseline

from .metadata_blocks import SRGB, exif_block
from .photos import lines, psal, texture, tree
from .pictures import pixels_of

PSIN = ("--method", "psin")  # a tenth of the time


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """in.png: a texture of 40x30 pixels. Transport in a tenth of the steps."""
    monkeypatch.setattr(sampling, "TRANSPORTS", 10)
    monkeypatch.setattr(sampling, "FIRST_STEPS", 100)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(texture(3)).save("in.png")
    return tmp_path


def mask(path, top, bottom, left, right, size=(40, 30)):
    white = np.zeros(size[::-1], np.uint8)
    white[top:bottom, left:right] = 255
    Image.fromarray(white).save(path)


def test_one_sample_is_beside_its_reference_and_is_that_of_the_library():
    done = psal("generate", "in.png", "--seed", 7)
    assert done.exit_code == 0, done.stderr
    np.testing.assert_array_equal(pixels_of("in_generated.png"), generate(texture(3), seed=7).image)


def test_options_reach_the_library():
    mask("keep.png", 0, 12, 0, 12)
    options = ["--levels", 1, "--coherence", "--wrap", "--patch-size", 5, "--iterations", 2]
    assert psal("generate", "in.png", *PSIN, "-o", "out.png", "--size", "50x24", "--keep", "keep.png", *options).exit_code == 0
    keep = np.zeros((30, 40), bool)
    keep[:12, :12] = True
    expected = generate(
        texture(3), size=(24, 50), keep=keep, method="psin", levels=1, coherence=True, wrap=True, patch_size=5, iterations=2
    )
    np.testing.assert_array_equal(pixels_of("out.png"), expected.image)


@pytest.mark.slow
def test_samples_are_numbered_and_so_are_their_seeds():
    done = psal("generate", "in.png", *PSIN, "-n", 3, "-o", "out/", "--seed", 5, "--json")
    assert done.exit_code == 0 and sorted(tree("out")) == ["in_1.png", "in_2.png", "in_3.png"]
    records = lines(done)
    assert {record["device"] for record in records} == {"cpu"}
    assert [record["seed"] for record in records] == [5, 6, 7]
    assert [Path(record["output"]).name for record in records] == sorted(tree("out"))
    assert "3 done, 0 failed" in done.stderr
    psal("generate", "in.png", *PSIN, "-o", "third.png", "--seed", 7)
    assert Path("third.png").read_bytes() == Path("out/in_3.png").read_bytes()
    assert len({path.read_bytes() for path in Path("out").iterdir()}) == 3
    psal("generate", "in.png", *PSIN, "-n", 10, "--suffix", "_new", "--format", "webp")
    assert sorted(tree("."))[:2] == ["in.png", "in_new_01.webp"] and Path("in_new_10.webp").exists()


def test_only_missing_samples_are_made_again():
    psal("generate", "in.png", *PSIN, "-n", 2, "-o", "out/")
    first = tree("out")
    Path("out/in_2.png").unlink()
    done = psal("generate", "in.png", *PSIN, "-n", 2, "-o", "out/", "--skip-existing", "--sheet", "sheet.png")
    assert done.exit_code == 0 and "1 done, 0 failed, 1 skipped" in done.stderr
    assert tree("out") == first
    assert pixels_of("sheet.png").shape == (2 * 30 + 8, 2 * 40 + 8, 3)


def test_the_sheet_shows_reference_and_samples():
    done = psal("generate", "in.png", *PSIN, "-n", 4, "-o", "out/", "--sheet", "new/sheet.png")
    assert done.exit_code == 0, done.stderr
    sheet = pixels_of("new/sheet.png")
    assert sheet.shape == (2 * 30 + 8, 3 * 40 + 16, 3)
    shown = [sheet[top : top + 30, left : left + 40] for top in (0, 38) for left in (0, 48, 96)]
    names = ["in.png", *(f"out/in_{number}.png" for number in range(1, 5))]
    for tile, name in zip(shown, names, strict=False):
        np.testing.assert_array_equal(tile, pixels_of(name))
    assert (shown[5] == 255).all()


def test_several_references_have_a_row_each_on_the_sheet():
    Path("more").mkdir()
    for name, size in (("a", (40, 30)), ("b", (24, 36))):
        Image.new("RGB", size, {"a": "navy", "b": "olive"}[name]).save(f"more/{name}.png")
    done = psal("generate", "more", *PSIN, "-n", 3, "-o", "out/", "--sheet", "sheet.png")
    assert done.exit_code == 0 and len(tree("out")) == 6, done.stderr
    sheet = pixels_of("sheet.png")
    assert sheet.shape == (2 * 36 + 8, 4 * 40 + 24, 3)
    for column in range(0, 192, 48):
        assert sheet[18, column + 20].tolist() == [0, 0, 128] and sheet[44 + 18, column + 20].tolist() == [128, 128, 0]


def test_the_offsets_lead_to_the_reference():
    done = psal("generate", "in.png", *PSIN, "-n", 2, "-o", "out/", "--save-offsets", "fields/", "--format", "png")
    assert done.exit_code == 0 and sorted(tree("fields")) == ["in_1.png", "in_2.png"], done.stderr
    assert pixels_of("fields/in_1.png").shape[0] > 30  # the legend is below
    psal("generate", "in.png", *PSIN, "-o", "out.png", "--save-offsets", "field.npy", "--size", "56x33")
    field = np.load("field.npy")
    assert field.shape == (1, 2, 33, 56) and field.dtype == np.int32
    rows, columns = field[0] + np.indices((33, 56))
    assert min(rows.min(), columns.min()) >= 0
    near = np.abs(texture(3)[rows, columns].astype(int) - pixels_of("out.png")).max(2) < 30
    assert near.mean() > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["L", "LA", "RGBA", "L16", "RGB16", "RGB16A"])
def test_grey_alpha_sixteen_bits_and_metadata_stay(kind):
    pixels = texture(3)
    pixels = pixels.mean(2, keepdims=True).astype(np.uint8) if kind.startswith("L") else pixels
    alpha = np.where(np.indices((30, 40))[1] < 20, 255, 0).astype(np.uint8)
    if "16" in kind:
        pixels, alpha = (x.astype(np.uint16) * 257 for x in (pixels, alpha))
    profile = None if kind.startswith("L") else SRGB
    metadata = Metadata(icc=profile, exif=exif_block())
    write_picture(Picture(pixels, alpha if kind.endswith("A") else None, metadata), "deep.png")
    assert psal("generate", "deep.png", "-o", "out.png", "--size", "32x40").exit_code == 0
    out = read_picture("out.png")
    assert out.pixels.shape == (40, 32, pixels.shape[2]) and out.pixels.dtype == pixels.dtype
    assert (out.alpha is not None) == kind.endswith("A") and out.metadata.icc == profile and out.metadata.exif
    if kind.endswith("A"):
        assert 0.2 < (out.alpha > out.white // 2).mean() < 0.8


def test_what_is_kept_is_bit_for_bit_that_of_the_reference():
    mask("keep.png", 8, 20, 5, 30)
    done = psal("generate", "in.png", *PSIN, "-n", 2, "-o", "out/", "--keep", "keep.png", "--patch-size", 5)
    assert done.exit_code == 0, done.stderr
    for path in Path("out").iterdir():
        np.testing.assert_array_equal(pixels_of(path)[8:20, 5:30], texture(3)[8:20, 5:30])
    mask("keep.png", 0, 30, 0, 40)
    done = psal("generate", "in.png", *PSIN, "-o", "wide.png", "--keep", "keep.png", "--size", "80x30", "--levels", 1)
    assert done.exit_code == 0, done.stderr
    np.testing.assert_array_equal(pixels_of("wide.png")[:, 20:60], texture(3))


def test_a_dry_run_says_the_size_and_memory_of_each_and_makes_nothing():
    before = tree(".")
    done = psal(
        "generate", "in.png", *PSIN, "-n", 2, "-o", "out/", "--size", "1500x1000", "--sheet", "sheet.png", "--dry-run", "--json"
    )
    assert done.exit_code == 0 and tree(".") == before
    for number, record in enumerate(lines(done), 1):
        assert (record["width"], record["height"], record["output"]) == (1500, 1000, f"out/in_{number}.png")
        assert 4e8 < record["memory_bytes"] < 1e9


def test_the_estimate_grows_with_what_is_made(monkeypatch):
    baseline()

    def estimate(*options):
        return lines(psal("generate", "in.png", *PSIN, "-o", "out.png", "--dry-run", "--json", *options))[0]["memory_bytes"]

    single, double = estimate("--size", "2000x1500"), estimate("--size", "2000x3000")
    assert 90 * 3e6 < double - single < 200 * 3e6
    assert estimate("--size", "2000x1500", "--coherence") > single + 100 * 3e6
    field = estimate("--size", "2000x1500", "--save-offsets", "field.png")
    assert field >= single


REFUSED = [
    (["-n", 0], 2, "'-n': 0 is not in the range"),
    (["--levels", 3], 2, "in.png: --levels is 3, expected at most 2: the coarsest would be 10x8, smaller than a patch of 11x11"),
    (
        ["--levels", 2, "--size", "90x18"],
        2,
        "expected at most 1: the coarsest would be 20x15 and 45x9",
    ),
    (["--patch-size", 31], 2, "in.png: image is 40x30, expected at least a patch of 31x31"),
    (["--size", "9x90"], 2, "in.png: --size is 9x90, expected at least a patch of 11x11"),
    (["--size", "90"], 2, "'90' is not a size: width x height in pixels, e.g. 1024x512"),
    (["--size", "70000x100"], 2, "each at most 65535"),
    (["--size", "60000x60000"], 4, "in.png: it takes"),
    (["--size", "6000x6000", "--max-memory", "1G"], 4, "are allowed: allow more with --max-memory, or make a smaller picture"),
    (["--keep", "all.png"], 2, "all.png keeps the whole picture, nothing is left to make: paint black what is to be new"),
    (["--keep", "wrong.png"], 2, "wrong.png is 30x30, the picture is 40x30"),
    (["--keep", "none.png"], 2, "--keep is none.png, which does not exist"),
    (["-n", 2, "--seed", 2**32 - 1], 2, "2 samples need as many seeds"),
    (["--sheet", "in.png"], 2, "--sheet is in.png, another file of the same command"),
    (["--sheet", "there.png"], 2, "there.png exists: --force to overwrite it, or give another name"),
    (["--sheet", "-"], 2, "only the picture itself goes to stdout"),
    (["--sheet", "sheet.gif"], 2, "sheet.gif"),
    (["--arrows"], 2, "--arrows is drawn by --save-offsets"),
    (["--device", "cuda"], 2, "--device cuda: this verb runs on the CPU only: leave --device out"),
]


@pytest.mark.parametrize(("options", "code", "words"), REFUSED, ids=[" ".join(map(str, row[0])) for row in REFUSED])
def test_what_cannot_be_is_refused_in_one_line_before_anything_is_written(options, code, words):
    mask("all.png", 0, 30, 0, 40)
    mask("wrong.png", 0, 30, 0, 30, (30, 30))
    Path("there.png").write_bytes(b"mine")
    before = tree(".")
    output = "out/" if "-n" in options else "out.png"
    done = psal("generate", "in.png", *PSIN, "-o", output, *options)
    assert done.exit_code == code and words in done.stderr, done.stderr
    assert len([line for line in done.stderr.splitlines() if "to do" not in line]) == 1 and done.stdout == ""
    assert tree(".") == before


def test_one_file_for_several_samples_is_refused():
    done = psal("generate", "in.png", *PSIN, "-n", 2, "-o", "out.png")
    assert done.exit_code == 2 and "for a folder write out.png/" in done.stderr


def test_a_sheet_that_cannot_be_written_fails_the_run_and_loses_no_sample(monkeypatch):
    from psal_cli.viz import drawing

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(drawing, "contact_sheet", full)
    done = psal("generate", "in.png", *PSIN, "-n", 2, "-o", "out/", "--sheet", "sheet.png")
    assert done.exit_code != 0 and len(tree("out")) == 2 and not Path("sheet.png").exists()
    assert "sheet.png" in done.stderr


def test_a_free_machine_is_asked_before_the_work(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**8)
    monkeypatch.setattr(memory, "resident", lambda: 3 * 10**8)
    done = psal("generate", "in.png", *PSIN, "--size", "4000x3000")
    assert done.exit_code == 4 and "are free: close other programs, or make a smaller picture with --size" in done.stderr
    assert not Path("in_generated.png").exists()
