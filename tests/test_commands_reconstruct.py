"""`psal reconstruct` as a shell sees it: what goes in and comes out, options, profiles, refusals."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from psal_cli.image import read_picture, write_picture
from psal_cli.image.colour import meaning_of
from psal_cli.image.metadata import Metadata
from psal_cli.image.picture import Picture

from .metadata_blocks import SRGB
from .photos import lines, psal
from .pictures import pixels_of
from .raw_files import profile
from .rebuilding import rebuild

pytestmark = pytest.mark.usefixtures("pair_of_files")


def test_the_psnr_that_is_said_is_that_of_the_files():
    done = psal("reconstruct", "query.png", "--from", "key.png", "--json")
    assert done.exit_code == 0, done.stderr
    error = np.square(pixels_of("query_rebuilt.png").astype(float) - pixels_of("query.png")).mean()
    decibels = 10 * np.log10(255**2 / error)
    assert re.fullmatch(rf"psal: \S+: done in \d+\.\d s, PSNR {decibels:.2f} dB\n", done.stderr) and 15 < decibels < 60
    (record,) = lines(done)
    assert record["psnr"] == pytest.approx(decibels, abs=1e-3) and record["status"] == "done"
    np.testing.assert_array_equal(pixels_of("query_rebuilt.png"), rebuild(pixels_of("query.png"), pixels_of("key.png")).pixels)


def test_options_reach_the_layer():
    options = ["--attention", "aggregation", "--patch-size", 5, "-k", 2, "--iterations", 3, "--temperature", 0.5, "--seed", 7]
    done = psal("reconstruct", "query.png", "--from", "key.png", "-o", "out.png", *options)
    assert done.exit_code == 0, done.stderr
    chosen = {"attention": "aggregation", "patch_size": 5, "k": 2, "iterations": 3, "temperature": 0.5, "seed": 7}
    expected = rebuild(pixels_of("query.png"), pixels_of("key.png"), **chosen).pixels
    np.testing.assert_array_equal(pixels_of("out.png"), expected)
    for name, plain in (("attention", "psal"), ("patch_size", 7), ("k", 3), ("iterations", 5), ("temperature", 0.1), ("seed", 0)):
        other = rebuild(pixels_of("query.png"), pixels_of("key.png"), **chosen | {name: plain}).pixels
        assert (other != expected).any(), name


def test_metadata_and_alpha_are_the_querys_and_hidden_pixels_of_the_key_are_not_taken():
    alpha = np.full((48, 64), 90, np.uint8)
    write_picture(Picture(pixels_of("query.png"), alpha, Metadata(icc=SRGB, dpi=(300, 300))), Path("in.png"))
    key = pixels_of("key.png").copy()
    key[:, 40:] = [255, 0, 255]
    shown = np.where(np.arange(64) < 40, np.uint8(255), np.uint8(100))[None].repeat(48, 0)
    write_picture(Picture(key, shown, Metadata(icc=SRGB)), Path("layer.png"))
    done = psal("reconstruct", "in.png", "--from", "layer.png", "-o", "out.png")
    assert done.exit_code == 0, done.stderr
    out = read_picture(Path("out.png"))
    assert out.metadata.icc == SRGB and out.metadata.dpi == pytest.approx((300, 300), abs=0.1) and (out.alpha == 90).all()
    assert not (out.pixels == [255, 0, 255]).all(2).any()


def test_pictures_of_different_profiles_meet_in_srgb():
    write_picture(Picture(pixels_of("key.png"), metadata=Metadata(icc=profile("RGB ", 1.0))), Path("wide.png"))
    done = psal("reconstruct", "query.png", "--from", "wide.png", "-o", "out.png", "-k", 1)
    assert done.exit_code == 0, done.stderr
    plain = rebuild(pixels_of("query.png"), pixels_of("key.png"), k=1).pixels
    out = read_picture(Path("out.png"))
    assert meaning_of(out.metadata.icc, 3) == "sRGB" and (out.pixels != plain).any()
    both = psal("reconstruct", "wide.png", "--from", "wide.png", "-o", "same.png", "-k", 1, "--iterations", 60)
    assert both.exit_code == 0 and read_picture(Path("same.png")).metadata.icc == profile("RGB ", 1.0)
    inside = np.s_[3:-3, 3:-3]  # no key lies at the border
    np.testing.assert_array_equal(read_picture(Path("same.png")).pixels[inside], pixels_of("key.png")[inside])


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["query.png"], 2, "Missing option '--from'"),
        (["query.png", "--from", "none.png"], 2, "--from is none.png, which does not exist"),
        (["query.png", "--from", "tiny.png"], 2, "query.png from tiny.png: patch_size is 7, larger than the key (5x5)"),
        (["query.png", "--from", "key.png", "--attention", "full", "--save-offsets", "f.png"], 2, "--save-offsets requires"),
        (["query.png", "--from", "key.png", "--arrows"], 2, "--arrows is drawn by --save-offsets"),
        (["query.png", "--from", "key.png", "--temperature", "0"], 2, "0"),
        (["query.png", "--from", "key.png", "--patch-size", "4"], 2, "4 is even"),
        (["query.png", "--from", "key.png", "--max-memory", "20M"], 4, "are allowed: allow more with --max-memory"),
        (["query.png", "--from", "clear.png"], 2, "--from is too transparent, expected a whole patch of 7x7 that is visible"),
    ],
)  # fmt: skip
def test_refusals_are_one_line_and_lose_nothing(args, code, words):
    Image.new("RGB", (5, 5)).save("tiny.png")
    Image.new("RGBA", (64, 48), (9, 9, 9, 0)).save("clear.png")
    before = sorted(Path().iterdir())
    done = psal("reconstruct", *args)
    assert done.exit_code == code and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
    assert sorted(Path().iterdir()) == before
