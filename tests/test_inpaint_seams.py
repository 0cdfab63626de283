"""The seam measure of the inpainting bench: nothing for the truth, much for hard blocks on smooth ground, little for a diffusion
and for what is soft."""

import cv2
import numpy as np
import pytest

HEIGHT, WIDTH = 200, 240
SIDE = 20  # of a piece


@pytest.fixture
def bench(load):
    return load("inpaint_seams")


@pytest.fixture
def smooth_places(load):
    return load("inpaint_ground").smooth_places


@pytest.fixture
def mask():
    """A hole of 100x120 pixels, away from the corner."""
    out = np.zeros((HEIGHT, WIDTH), bool)
    out[50:150, 70:190] = True
    return out


def shaded(seed: int, noise: float = 1.0) -> np.ndarray:
    """Smooth ground: a slope of 60 grey levels with a little noise."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    slope = 80 + 60 * (rows + columns) / (HEIGHT + WIDTH)
    grain = np.random.default_rng(seed).normal(0, noise, (HEIGHT, WIDTH, 3))
    return np.clip(slope[..., None] + grain, 0, 255).astype(np.uint8)


def textured(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((HEIGHT, WIDTH, 3))
    return np.clip(128 + 120 * cv2.GaussianBlur(noise, (0, 0), 1.5), 0, 255).astype(np.uint8)


def pieces(mask: np.ndarray) -> np.ndarray:
    """A field of square pieces, each copied from somewhere else."""
    rng, rows_columns = np.random.default_rng(0), np.stack(np.indices(mask.shape), 2)
    moves = rng.integers(-40, 40, (HEIGHT // SIDE + 1, WIDTH // SIDE + 1, 2))
    field = rows_columns + moves[rows_columns[..., 0] // SIDE, rows_columns[..., 1] // SIDE]
    return np.where(mask[..., None], field, -1).astype(np.int32)


def copied(picture: np.ndarray, mask: np.ndarray, field: np.ndarray) -> np.ndarray:
    rows, columns = field[..., 0].clip(0, HEIGHT - 1), field[..., 1].clip(0, WIDTH - 1)
    return np.where(mask[..., None], picture[rows, columns], picture)


def diffused(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The colours around the hole, diffused into it."""
    fill = picture.astype(np.float32)
    fill[mask] = fill[~mask].mean(0)
    around = tuple(slice(places.min() - 1, places.max() + 2) for places in np.nonzero(mask))
    inner, known, hole = fill[around], picture[around], mask[around][..., None]
    for _ in range(4000):
        inner = np.where(hole, cv2.blur(inner, (3, 3)), known)
    fill[around] = inner
    return np.clip(fill, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("ground", [shaded, textured])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_truth_has_no_seams_wherever_they_are_looked_for(bench, smooth_places, mask, ground, seed):
    truth = ground(seed)
    seams = bench.seams(truth, truth, mask, smooth_places(truth), pieces(mask))
    loose = 0.3 if ground is shaded else 2.0  # of texture whose steps are 30 grey levels
    assert abs(seams["seam_border"]) < loose
    assert abs(seams["seam_pieces"]) < loose
    if ground is shaded:
        assert abs(seams["seam_smooth"]) < loose
        assert seams["hard_steps"] == 0


def test_hard_blocks_on_smooth_ground_are_seen(bench, smooth_places, mask):
    truth, field = shaded(1), pieces(mask)
    seams = bench.seams(copied(truth, mask, field), truth, mask, smooth_places(truth), field)
    assert seams["seam_pieces"] > 3
    assert seams["seam_border"] > 1
    assert seams["seam_smooth"] > 3
    assert seams["hard_steps"] > 3


def test_blocks_are_seen_without_a_field(bench, smooth_places, mask):
    truth, field = shaded(1), pieces(mask)
    seams = bench.seams(copied(truth, mask, field), truth, mask, smooth_places(truth))
    assert seams["hard_steps"] > 3
    assert np.isnan(seams["seam_pieces"])


@pytest.mark.slow
def test_a_diffusion_has_next_to_none(bench, smooth_places, mask):
    for truth in (shaded(1), textured(1)):
        seams = bench.seams(diffused(truth, mask), truth, mask, smooth_places(truth), pieces(mask))
        blocks = bench.seams(copied(truth, mask, pieces(mask)), truth, mask, smooth_places(truth), pieces(mask))
        assert abs(seams["seam_pieces"]) < 0.05 * blocks["seam_pieces"]
        assert seams["seam_border"] < 0.3
    seams = bench.seams(diffused(shaded(1), mask), shaded(1), mask, smooth_places(shaded(1)))
    assert abs(seams["seam_border"]) < 0.1 and abs(seams["seam_smooth"]) < 0.1 and seams["hard_steps"] < 0.1


def test_other_noise_of_the_same_strength_is_no_seam(bench, smooth_places, mask):
    truth = shaded(1, noise=3)
    filled = np.where(mask[..., None], shaded(2, noise=3), truth)
    seams = bench.seams(filled, truth, mask, smooth_places(truth), pieces(mask))
    assert abs(seams["seam_border"]) < 0.3 and abs(seams["seam_pieces"]) < 0.3
    assert seams["hard_steps"] < 0.1


def test_a_fill_that_is_off_by_ten_steps_ten_all_around(bench, mask):
    truth = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    filled = np.where(mask[..., None], np.uint8(110), truth)
    everywhere = np.ones_like(mask)
    seams = bench.seams(filled, truth, mask, everywhere)
    assert seams["seam_border"] == pytest.approx(10, rel=0.1)
    half = np.where(mask[..., None] & (np.arange(WIDTH) < 130)[None, :, None], np.uint8(110), truth)
    assert bench.seams(half, truth, mask, everywhere)["seam_border"] == pytest.approx(10 * 220 / 440, rel=0.1)


def test_a_softened_seam_counts_less(bench, smooth_places, mask):
    truth, field = shaded(1), pieces(mask)
    hard = copied(truth, mask, field)
    soft = np.where(mask[..., None], cv2.GaussianBlur(hard, (0, 0), 4), truth)
    scores = [bench.seams(fill, truth, mask, smooth_places(truth), field)["seam_pieces"] for fill in (hard, soft)]
    assert scores[1] < 0.2 * scores[0]


def test_a_steep_slope_is_no_hard_step(bench, mask):
    """It steps far more than the truth does, but not more than what is beside it."""
    truth = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    columns = np.arange(WIDTH)
    narrow = mask & (columns < 145)
    slope = (20 + 3 * (columns - 70).clip(0, 75)).astype(np.uint8)
    inner = (columns > 90) & (columns < 125) & (np.arange(HEIGHT) > 70)[:, None] & (np.arange(HEIGHT) < 130)[:, None]
    filled = np.where(narrow[..., None], slope[None, :, None], truth)
    assert bench.steps(filled).across[inner[:, 1:]].min() > 2.9
    assert bench.seams(filled, truth, narrow, inner)["hard_steps"] == 0


def test_piece_borders_lie_where_neighbours_come_from_different_places(bench, mask):
    rows, columns = np.indices(mask.shape)
    field = np.stack([rows, columns + np.where(columns < 100, 30, -30)], 2)
    borders = bench.piece_borders(mask, np.where(mask[..., None], field, -1))
    assert not borders.down.any()
    expected = np.zeros_like(borders.across)
    expected[50:150, 99] = True
    assert (borders.across == expected).all()
