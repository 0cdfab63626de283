"""Rebuilding a picture from another: values, fields, what is hidden, what is grey, depths."""

import numpy as np
import pytest
import torch

from psal_cli import reference
from psal_cli.attention import full_attention
from psal_cli.verbs.reconstruct.rebuild import psnr

from .pictures import pixels_of
from .rebuilding import rebuild

pytestmark = pytest.mark.usefixtures("pair_of_files")
ROWS, COLUMNS = np.s_[8:-8], np.s_[8:-8]


def floats(pixels):
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].double() / 255


def test_a_shifted_picture_is_rebuilt_exactly_from_its_places():
    key = pixels_of("key.png")
    query = np.roll(key, (3, -4), (0, 1))
    rebuilt = rebuild(query, key, k=1, iterations=30)
    np.testing.assert_array_equal(rebuilt.pixels[ROWS, COLUMNS], query[ROWS, COLUMNS])
    rows, columns = np.indices(key.shape[:2])
    np.testing.assert_array_equal(rebuilt.nnf[0, 0][ROWS, COLUMNS], (rows - 3)[ROWS, COLUMNS])
    np.testing.assert_array_equal(rebuilt.nnf[0, 1][ROWS, COLUMNS], (columns + 4)[ROWS, COLUMNS])


@pytest.mark.parametrize("aggregation", [False, True])
def test_pixels_are_the_weighted_mean_of_those_that_were_found(aggregation):
    query, key = pixels_of("query.png"), pixels_of("key.png")
    rebuilt = rebuild(query, key, attention="aggregation" if aggregation else "psal", patch_size=5, k=2, temperature=0.3)
    nnf = torch.from_numpy(rebuilt.nnf)[None]
    similar = reference.similarity_at(floats(query), floats(key), nnf, 5)
    expected = reference.aggregate(floats(key), nnf, similar / 0.3, 5 if aggregation else 1, softmax=True)
    assert np.abs(rebuilt.pixels - expected[0].permute(1, 2, 0).numpy() * 255).max() < 0.51


def test_full_attention_has_no_field():
    query, key = pixels_of("query.png"), pixels_of("key.png")
    rebuilt = rebuild(query, key, attention="full", patch_size=3)
    expected = full_attention(*(floats(x).float() for x in (query, key, key)), 3, temperature=0.1)
    assert rebuilt.nnf is None and np.abs(rebuilt.pixels - expected[0].permute(1, 2, 0).numpy() * 255).max() < 0.51


def test_hidden_parts_of_the_key_are_not_used():
    query, key = pixels_of("query.png"), pixels_of("key.png").copy()
    key[:, 32:] = [255, 0, 255]
    visible = np.zeros(key.shape[:2], bool)
    visible[:, :32] = True
    rebuilt = rebuild(query, key, visible=visible)
    assert rebuilt.nnf[:, 1].max() < 32 - 3 and not (rebuilt.pixels == [255, 0, 255]).all(2).any()


@pytest.mark.parametrize(("grey", "channels"), [("query", 3), ("key", 1)])
def test_where_one_is_grey_luminance_is_compared_and_the_key_is_shown(grey, channels):
    given = {name: pixels_of(f"{name}.png") for name in ("query", "key")}
    given[grey] = given[grey].mean(2, keepdims=True).astype(np.uint8)
    rebuilt = rebuild(**given, k=1).pixels
    assert rebuilt.shape == (48, 64, channels)
    assert np.abs(rebuilt.mean(2) - given["query"].mean(2)).mean() < 20  # the same picture


def test_depth_is_that_of_the_query():
    query, key = pixels_of("query.png").astype(np.uint16) * 257, pixels_of("key.png")
    deep, flat = rebuild(query, key), rebuild(pixels_of("query.png"), key)
    assert deep.pixels.dtype == np.uint16 and np.abs(deep.pixels / 257 - flat.pixels).max() <= 0.51


def test_psnr_is_in_decibels():
    black, grey = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 51, np.uint8)  # a fifth of white
    assert psnr(black, grey) == pytest.approx(20 * np.log10(5)) and psnr(grey, grey) == np.inf
    assert psnr(black.astype(np.uint16), grey.astype(np.uint16) * 257) == pytest.approx(20 * np.log10(5))
