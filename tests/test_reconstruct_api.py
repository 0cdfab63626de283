"""psal reconstruct: what is rebuilt from what, as a library and as a shell sees it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from psal_cli import reference
from psal_cli.attention import full_attention
from psal_cli.image import read_picture, write_picture
from psal_cli.image.colour import meaning_of
from psal_cli.image.metadata import Metadata
from psal_cli.image.picture import Picture
from psal_cli.image.reading import Header
from psal_cli.memory import MemoryLimitError
from psal_cli.verbs.reconstruct import memory_model as reconstruct_costs
from psal_cli.verbs.reconstruct.rebuild import psnr, reconstruct

from .metadata_blocks import SRGB
from .photos import lines, psal
from .raw_files import profile

ROWS, COLUMNS = np.s_[8:-8], np.s_[8:-8]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, pair):
    """query.png and key.png: 64x48 of two frames of a video."""
    monkeypatch.chdir(tmp_path)
    for name, frame in zip(("query", "key"), pair(64), strict=True):
        Image.fromarray((frame[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)[:48]).save(f"{name}.png")
    return tmp_path


def pixels_of(path):
    return np.asarray(Image.open(path))


def floats(pixels):
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].double() / 255


# ----------------------------------------------------------------------------------------------------------------- library


def test_a_shifted_picture_is_rebuilt_exactly_from_its_places():
    key = pixels_of("key.png")
    query = np.roll(key, (3, -4), (0, 1))
    found = reconstruct(query, key, k=1, iterations=30)
    np.testing.assert_array_equal(found.pixels[ROWS, COLUMNS], query[ROWS, COLUMNS])
    rows, columns = np.indices(key.shape[:2])
    np.testing.assert_array_equal(found.nnf[0, 0][ROWS, COLUMNS], (rows - 3)[ROWS, COLUMNS])
    np.testing.assert_array_equal(found.nnf[0, 1][ROWS, COLUMNS], (columns + 4)[ROWS, COLUMNS])


@pytest.mark.parametrize("aggregation", [False, True])
def test_pixels_are_the_weighted_mean_of_those_that_were_found(aggregation):
    query, key = pixels_of("query.png"), pixels_of("key.png")
    found = reconstruct(query, key, attention="aggregation" if aggregation else "psal", patch_size=5, k=2, temperature=0.3)
    nnf = torch.from_numpy(found.nnf)[None]
    similar = reference.similarity_at(floats(query), floats(key), nnf, 5)
    expected = reference.aggregate(floats(key), nnf, similar / 0.3, 5 if aggregation else 1, softmax=True)
    assert np.abs(found.pixels - expected[0].permute(1, 2, 0).numpy() * 255).max() < 0.51


def test_full_attention_has_no_field():
    query, key = pixels_of("query.png"), pixels_of("key.png")
    found = reconstruct(query, key, attention="full", patch_size=3)
    expected = full_attention(*(floats(x).float() for x in (query, key, key)), 3, temperature=0.1)
    assert found.nnf is None and np.abs(found.pixels - expected[0].permute(1, 2, 0).numpy() * 255).max() < 0.51


def test_hidden_parts_of_the_key_are_not_used():
    query, key = pixels_of("query.png"), pixels_of("key.png").copy()
    key[:, 32:] = [255, 0, 255]
    visible = np.zeros(key.shape[:2], bool)
    visible[:, :32] = True
    found = reconstruct(query, key, visible=visible)
    assert found.nnf[:, 1].max() < 32 - 3 and not (found.pixels == [255, 0, 255]).all(2).any()


@pytest.mark.parametrize(("grey", "channels"), [("query", 3), ("key", 1)])
def test_where_one_is_grey_luminance_is_compared_and_the_key_is_shown(grey, channels):
    given = {name: pixels_of(f"{name}.png") for name in ("query", "key")}
    given[grey] = given[grey].mean(2, keepdims=True).astype(np.uint8)
    found = reconstruct(**given, k=1).pixels
    assert found.shape == (48, 64, channels)
    assert np.abs(found.mean(2) - given["query"].mean(2)).mean() < 20  # the same picture


def test_depth_is_that_of_the_query():
    query, key = pixels_of("query.png").astype(np.uint16) * 257, pixels_of("key.png")
    deep, flat = reconstruct(query, key), reconstruct(pixels_of("query.png"), key)
    assert deep.pixels.dtype == np.uint16 and np.abs(deep.pixels / 257 - flat.pixels).max() <= 0.51


def test_psnr_is_in_decibels():
    black, grey = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 51, np.uint8)  # a fifth of white
    assert psnr(black, grey) == pytest.approx(20 * np.log10(5)) and psnr(grey, grey) == np.inf
    assert psnr(black.astype(np.uint16), grey.astype(np.uint16) * 257) == pytest.approx(20 * np.log10(5))


# ----------------------------------------------------------------------------------------------------------------- command


def test_the_psnr_that_is_said_is_that_of_the_files():
    done = psal("reconstruct", "query.png", "--from", "key.png", "--json")
    assert done.exit_code == 0, done.stderr
    error = np.square(pixels_of("query_rebuilt.png").astype(float) - pixels_of("query.png")).mean()
    decibels = 10 * np.log10(255**2 / error)
    assert f"psal: query.png: PSNR {decibels:.2f} dB" in done.stderr and 15 < decibels < 60
    (record,) = lines(done)
    assert record["psnr"] == pytest.approx(decibels, abs=1e-3) and record["status"] == "done"
    np.testing.assert_array_equal(
        pixels_of("query_rebuilt.png"), reconstruct(pixels_of("query.png"), pixels_of("key.png")).pixels
    )


def test_options_reach_the_layer():
    options = ["--attention", "aggregation", "--patch-size", 5, "-k", 2, "--iterations", 3, "--temperature", 0.5, "--seed", 7]
    done = psal("reconstruct", "query.png", "--from", "key.png", "-o", "out.png", *options)
    assert done.exit_code == 0, done.stderr
    chosen = {"attention": "aggregation", "patch_size": 5, "k": 2, "iterations": 3, "temperature": 0.5, "seed": 7}
    expected = reconstruct(pixels_of("query.png"), pixels_of("key.png"), **chosen).pixels
    np.testing.assert_array_equal(pixels_of("out.png"), expected)
    for name, plain in (("attention", "psal"), ("patch_size", 7), ("k", 3), ("iterations", 5), ("temperature", 0.1), ("seed", 0)):
        other = reconstruct(pixels_of("query.png"), pixels_of("key.png"), **chosen | {name: plain}).pixels
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
    plain = reconstruct(pixels_of("query.png"), pixels_of("key.png"), k=1).pixels
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
        (["query.png", "--from", "none.png"], 2, "none.png: no such file"),
        (["query.png", "--from", "tiny.png"], 2, "query.png from tiny.png: patch_size is 7, larger than the key (5x5)"),
        (["query.png", "--from", "key.png", "--attention", "full", "--save-offsets", "f.png"], 2, "--save-offsets is of"),
        (["query.png", "--from", "key.png", "--arrows"], 2, "--arrows is drawn by --save-offsets"),
        (["query.png", "--from", "key.png", "--temperature", "0"], 2, "0"),
        (["query.png", "--from", "key.png", "--patch-size", "4"], 2, "4 is even"),
        (["query.png", "--from", "key.png", "--max-memory", "20M"], 4, "are allowed: allow more with --max-memory"),
        (["query.png", "--from", "clear.png"], 2, "nothing to take: no patch of 7x7 of the key is visible"),
    ],
)  # fmt: skip
def test_refusals_are_one_line_and_lose_nothing(args, code, words):
    Image.new("RGB", (5, 5)).save("tiny.png")
    Image.new("RGBA", (64, 48), (9, 9, 9, 0)).save("clear.png")
    before = sorted(Path().iterdir())
    done = psal("reconstruct", *args)
    assert done.exit_code == code and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
    assert sorted(Path().iterdir()) == before


# ------------------------------------------------------------------------------------------------------------------ memory


def header(width=2000, height=1000, channels=3, bits=8, alpha=False):
    return Header("PNG", width, height, channels, bits, alpha)


def bytes_of(query=None, key=None, formats=None, **options):
    chosen = {"attention": "psal", "patch_size": 7, "k": 3} | options
    return reconstruct_costs.plan(query or header(), key or header(), formats or {"output": "PNG"}, **chosen).bytes


@pytest.mark.parametrize(
    ("more", "at_least"),
    [
        ({"query": header(4000)}, 2_000_000 * 60),
        ({"key": header(4000)}, 2_000_000 * 12),
        ({"query": header(bits=16)}, 2_000_000 * 3),
        ({"k": 8}, 2_000_000 * 5 * 12),
        ({"attention": "full"}, 2_000_000 * 196 * 4),
    ],
)
def test_what_is_larger_is_planned_to_take_more(more, at_least):
    assert bytes_of(**more) - bytes_of() >= at_least


def test_a_picture_of_the_field_counts_where_its_encoder_takes_more_than_the_search():
    formats = {"output": "PNG"}
    assert bytes_of(formats=formats | {"save_offsets": "PNG"}) == bytes_of(formats=formats)
    small = {"k": 1, "key": header(200)}
    assert bytes_of(formats=formats | {"save_offsets": "AVIF"}, **small) > bytes_of(formats=formats, **small) + 10**7


def test_a_limit_is_kept_or_refused():
    free = bytes_of()
    assert bytes_of(limit=free) == free
    with pytest.raises(MemoryLimitError, match="are allowed: allow more with --max-memory"):
        bytes_of(limit=free - 1)
