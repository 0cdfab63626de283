"""Sampling: samples made of the reference's patches, of any size, as tiles, around what is kept."""

import cv2
import numpy as np
import pytest

from psal_cli.verbs.generate import sampling
from psal_cli.verbs.generate.options import METHODS, GenerateOptions
from psal_cli.verbs.generate.sampling import levels_for, transported

SIDE = 48


def make_sample(pixels, alpha=None, keep=None, **options):
    return sampling.sample(pixels, alpha, GenerateOptions(**options), keep=keep)


def mosaic(side=SIDE, channels=3, dtype=np.uint8, seed=0):
    """Tiles of 4 pixels of three colours, in any order, with darker joints."""
    rng = np.random.default_rng(seed)
    tiles = np.linspace(0.3, 0.9, 3 * channels).reshape(channels, 3).T[rng.integers(0, 3, (side // 4, side // 4))]
    tiles = tiles.repeat(4, 0).repeat(4, 1)
    tiles[(np.indices((side, side)) % 4 == 0).any(0)] -= 0.2
    return np.rint(tiles * np.iinfo(dtype).max).astype(dtype)


def halves(side=SIDE):
    """Dark on the left, bright on the right, both with a texture."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 60, (side, side, 3))
    pixels[:, side // 2 :] += 190
    return pixels.astype(np.uint8)


def unlike(sample, reference, patch_size=5):
    """Mean over the patches of the sample of the mean squared difference to the nearest patch of the reference, grey levels."""
    x, y = (
        np.lib.stride_tricks.sliding_window_view(p.astype(np.float32), (patch_size, patch_size), (0, 1))
        for p in (sample, reference)
    )
    x, y = (p.reshape(-1, p[0, 0].size) for p in (x, y))
    return float(np.min(np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * x @ y.T, 1).mean() / x.shape[1])


def strange(reference):
    """`unlike` of the reference with its pixels in another order."""
    order = np.random.default_rng(3).permutation(reference.shape[0] * reference.shape[1])
    return unlike(reference.reshape(len(order), -1)[order].reshape(reference.shape), reference)


def pieces(nnf):
    """The share of neighbours, side by side, whose matches are not."""
    offset = nnf[0] - np.indices(nnf.shape[2:])
    return float((np.diff(offset, axis=2) != 0).any(0).mean())


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A sixth of the rounds of transport."""
    monkeypatch.setattr(sampling, "TRANSPORTS", 10)
    monkeypatch.setattr(sampling, "CAREFUL", 2)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_samples_are_made_of_patches_of_the_reference_and_differ(method):
    reference = mosaic()
    first, second = (make_sample(reference, method=method, seed=seed) for seed in (1, 2))
    for sample in (first, second):
        assert sample.pixels.shape == reference.shape and sample.pixels.dtype == np.uint8 and sample.alpha is None
        assert unlike(sample.pixels, reference) < 0.05 * strange(reference)
        assert np.abs(sample.pixels.astype(int) - reference).mean() > 10
    assert np.abs(first.pixels.astype(int) - second.pixels).mean() > 10


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_sample_for_any_number_of_threads(method, threads):
    threads(1)
    first = make_sample(mosaic(), method=method, seed=3, coherence=True)
    threads(2)
    second = make_sample(mosaic(), method=method, seed=3, coherence=True)
    assert np.array_equal(first.pixels, second.pixels) and np.array_equal(first.nnf, second.nnf)


@pytest.mark.slow
def test_with_transport_everything_is_used_as_much_as_there_is_of_it():
    reference = halves(side=64)
    dark, free = ([(make_sample(reference, method=m, seed=s).pixels < 100).mean() for s in (0, 4)] for m in METHODS)
    assert dark == pytest.approx([0.5] * 2, abs=0.1)
    assert max(free) > 0.65  # where nothing counts what is used, one half spreads


@pytest.mark.slow
def test_a_sample_that_becomes_the_reference_itself_is_begun_again(monkeypatch):
    """Every patch of this reference has only one place: where all are to be used, its own layout is the best of all."""
    row, column = np.indices((SIDE, SIDE))
    reference = np.stack([3 * row, 3 * column, row + column], 2) + np.random.default_rng(0).integers(0, 20, (SIDE, SIDE, 3))

    def largest(seed):
        offset = make_sample(reference.astype(np.uint8), seed=seed).nnf[0] - np.indices((SIDE, SIDE))
        return np.unique(offset.reshape(2, -1), axis=1, return_counts=True)[1].max() / SIDE**2

    assert max(largest(seed) for seed in (1, 12)) < 0.7
    monkeypatch.setattr(sampling, "TRIES", 1)
    assert largest(12) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(("size", "method"), list(zip([(30, 90), (77, 33)], METHODS, strict=True)))
def test_samples_may_have_any_size(size, method):
    reference = mosaic()
    sample = make_sample(reference, size=size, method=method)
    assert sample.pixels.shape == (*size, 3) and sample.nnf.shape == (1, 2, *size)
    assert unlike(sample.pixels, reference) < 0.1 * strange(reference)


def test_the_origin_of_a_pixel_has_its_colour():
    reference = mosaic()
    sample = make_sample(reference, seed=4)
    rows, columns = sample.nnf[0]
    assert rows.min() >= 0 and columns.min() >= 0 and rows.max() < SIDE and columns.max() < SIDE
    difference = np.abs(reference[rows, columns].astype(int) - sample.pixels)
    assert np.mean(difference.max(2) < 12) > 0.9


def clouds(side=SIDE, seed=0):
    """Smooth noise, dark to bright."""
    values = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal((side, side, 3)).astype(np.float32), (0, 0), 4)
    return np.rint((values - values.min()) / np.ptp(values) * 255).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "method"), list(zip([(35, 61), (48, 48)], METHODS, strict=True)))
def test_tiles_repeat_without_a_seam(size, method):
    """From the last row or column to the first the step is as anywhere else."""
    tile, plain = (
        make_sample(clouds(), size=size, method=method, wrap=wrap, seed=5).pixels.astype(int) for wrap in (True, False)
    )

    def seam(picture):
        return [np.abs(picture.take(0, axis) - picture.take(-1, axis)).mean() for axis in (0, 1)]

    inside = np.abs(np.diff(tile, axis=0)).mean()
    assert max(seam(tile)) < 2 * inside and min(seam(plain)) > 5 * inside


@pytest.mark.slow
@pytest.mark.parametrize("size", [None, (108, 116), (64, 80)])
def test_what_is_kept_stays_bit_for_bit_in_place(size):
    reference = mosaic(80)
    keep = np.zeros((80, 80), bool)
    keep[32:49, 23:52] = True
    samples = [make_sample(reference, size=size, keep=keep, levels=2, patch_size=7, method="psin", seed=seed) for seed in (0, 1)]
    height, width = size or (80, 80)
    top, left = (height - 80) // 2, (width - 80) // 2
    there = np.s_[top + 32 : top + 49, left + 23 : left + 52]
    for sample in samples:
        assert np.array_equal(sample.pixels[there], reference[32:49, 23:52])
        assert np.array_equal(sample.nnf[0][:, *there], np.indices((80, 80))[:, 32:49, 23:52])
        around = sample.pixels[top + 24 : top + 57, left + 15 : left + 60]  # what is new goes on from what is kept
        assert unlike(around, reference) < 0.1 * strange(reference)
    assert (samples[0].pixels != samples[1].pixels).any(2).mean() > 0.2


@pytest.mark.slow
def test_coherence_takes_larger_pieces(pair):
    reference = (pair(96)[0][0].permute(1, 2, 0) * 255).byte().numpy()
    plain, coherent = (
        np.mean([pieces(make_sample(reference, method="psin", coherence=c, seed=s).nnf) for s in range(3)]) for c in (False, True)
    )
    assert coherent < 0.9 * plain


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 1), (np.uint16, 3)])
def test_depth_channels_and_alpha_are_kept(dtype, channels):
    """Half of the reference is half transparent, the other cannot be seen: its colours are of no account."""
    reference, white = mosaic(channels=channels, dtype=dtype), np.iinfo(dtype).max
    alpha = np.where(np.indices((SIDE, SIDE))[1] % 16 < 8, white // 2, 0).astype(dtype)
    reference[alpha == 0] = white
    sample = make_sample(reference, alpha, seed=1)
    assert sample.pixels.dtype == sample.alpha.dtype == dtype
    assert sample.pixels.shape == reference.shape and sample.alpha.shape == (SIDE, SIDE)
    seen = sample.alpha > 0.45 * white
    assert 0.3 < seen.mean() < 0.7 and (sample.alpha < 0.05 * white).mean() > 0.3
    assert sample.pixels[seen].mean() == pytest.approx(reference[alpha > 0].mean(), rel=0.2)
    if dtype == np.uint16:
        assert (sample.pixels[seen] % 257 != 0).mean() > 0.1  # no widened 8 bits
    reference[alpha == 0] = 0
    again = make_sample(reference, alpha, seed=1)
    assert np.array_equal(again.pixels, sample.pixels) and np.array_equal(again.alpha, sample.alpha)


def test_levels_are_those_that_fit():
    assert levels_for((256, 256), (256, 256), 11) == levels_for((256, 300), (100, 4000), 11) == 4
    assert levels_for((304, 304), (304, 304), 11) == 4 and levels_for((305, 305), (305, 305), 11) == 5  # 28 x 28, 29 x 29 patches
    assert levels_for((240, 240), (240, 240), 11, "psinot") == 4 and levels_for((241, 241), (241, 241), 11, "psinot") == 5
    assert levels_for((1224, 1632), (1224, 1632), 11) == levels_for((1224, 1632), (1224, 1632), 11, "psinot") == 7
    assert levels_for((256, 256), (20, 256), 11) == levels_for((38, 38), (90, 90), 11) == levels_for((11, 11), (11, 11), 11) == 1
    assert levels_for((21, 40), (30, 30), 11, levels=2) == 2


def test_the_coarsest_of_several_small_levels_is_a_start_only():
    assert transported((256, 256), 11, 5) == [3] and transported((256, 256), 11, 4) == [3]  # 22 x 22 patches, 6 x 6 before
    assert transported((256, 256), 11, 3) == [2]  # 54 x 54: the coarsest there is
    assert transported((1224, 1632), 11, 7) == [5]  # 29 x 41
    assert transported((40, 40), 11, 1) == [0]


def test_as_many_patches_are_transported_as_can_be():
    strip = (100, 4000)  # 50x2000 has 40 x 1990 patches, 25x1000 has 15 x 990, 13x500 has 3 x 490
    assert levels_for(strip, strip, 11, "psin", 3) == 3
    with pytest.raises(ValueError, match=r"levels is 3, expected at least 4: psinot would transport 14850 patches"):
        levels_for(strip, strip, 11, "psinot", 3)
    with pytest.raises(ValueError, match=r"expected method \"psin\": psinot would transport 5990 patches"):
        levels_for((11, 6000), (11, 6000), 11, "psinot")


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"levels is 3, expected at most 2: the coarsest would be 12x12, smaller"):
        make_sample(mosaic(), levels=3, patch_size=21)
    with pytest.raises(ValueError, match=r"at most 2: the coarsest would be 12x12 and 16x8, smaller than a patch of 11x11"):
        make_sample(mosaic(), size=(30, 64), levels=3)
    with pytest.raises(ValueError, match=r"^image is 48x48, expected at least a patch of 65x65"):
        levels_for((48, 48), (48, 48), 65)
    with pytest.raises(ValueError, match=r"^size is 64x10, expected at least a patch of 11x11"):
        make_sample(mosaic(), size=(10, 64))
