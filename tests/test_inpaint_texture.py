"""How much texture counts beside colour: little for grain, more for what is large and faint, something for what is flat."""

import cv2
import numpy as np

from psal_cli import inpaint
from psal_cli.patchmatch import pyramid
from psal_cli.verbs.inpaint import texture

HOLE = np.zeros((240, 320), bool)
HOLE[80:160, 100:200] = True


def ground(blur, contrast):
    """[H, W, 1] grey noise of a standard deviation, smoothed over so many pixels."""
    noise = np.random.default_rng(0).standard_normal((*HOLE.shape, 1)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), blur)[..., None] if blur else noise
    return 0.4 + contrast * noise / noise.std()


def weights(picture):
    holes = [HOLE]
    for _ in range(3):
        holes.append(pyramid.halve_mask(holes[-1]))
    levels = pyramid.Pyramid(picture, holes)
    texture.weigh(levels)
    return levels.weights


def test_grain_needs_the_least_weight_and_a_large_faint_texture_more_at_every_level():
    assert weights(ground(0, 0.1)) == [texture.LEAST] * 4
    faint = weights(ground(6, 0.03))
    assert texture.LEAST < faint[0] == faint[1] < faint[2] < faint[3] <= pyramid.TEXTURE_WEIGHT
    assert faint[3] > 2 * texture.LEAST


def test_flat_ground_and_a_narrow_hole_have_a_weight_too():
    assert weights(np.full((*HOLE.shape, 3), 0.5, np.float32)) == [texture.LEAST] * 4
    levels = pyramid.Pyramid(ground(0, 0.1), [HOLE])
    texture.weigh(levels)
    assert levels.weights == [texture.LEAST]


def test_a_large_faint_texture_does_not_turn_to_fog():
    picture = ground(6, 0.03)
    filled = inpaint(picture[..., 0], HOLE, engine="patch").image
    inner = filled[90:150, 110:190]
    assert inner.std() > 0.5 * picture[~HOLE].std()
