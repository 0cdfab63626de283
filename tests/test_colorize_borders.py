"""The borders of scans: found where there is paper all around, left grey, and lending nothing."""

import numpy as np
import pytest

import psal_cli
from psal_cli.image.cielab import lab, lightness
from psal_cli.verbs.colorize.borders import inside, photograph

SIZE = (64, 96)
WHOLE = slice(0, SIZE[0] + 16), slice(0, SIZE[1] + 16)


@pytest.fixture
def frames(pair, quick_colours):
    """Two frames uint8 [64, 96, 3] of a video."""
    return [(x[0, :, : SIZE[0], : SIZE[1]] * 255).round().byte().permute(1, 2, 0).numpy() for x in pair(128)]


def scan(picture, level, colour=(1.0, 1.0, 1.0), sides=((8, 8), (8, 8))):
    """A picture [H, W, C] on paper or film of a level, with grain."""
    grain = np.random.default_rng(0).integers(-2, 3, (*(n + sum(side) for n, side in zip(picture.shape, sides, strict=False)), 1))
    out = ((level + grain) * np.float32(colour)[: picture.shape[2]]).clip(0, 255).astype(np.uint8)
    (top, bottom), (left, right) = sides
    out[top : len(out) - bottom, left : out.shape[1] - right] = picture
    return out


@pytest.mark.parametrize("level", [250, 3])
def test_a_frame_of_paper_or_film_is_a_border(frames, level):
    light = lightness(scan(frames[0], level))
    rows, columns = inside(light)
    assert abs(rows.start - 8) <= 1 and abs(rows.stop - 72) <= 1 and abs(columns.start - 8) <= 1 and abs(columns.stop - 104) <= 1


def test_what_is_no_frame_on_all_sides_is_none(frames):
    grey = scan(frames[0], 128)
    sky = scan(frames[0], 250, sides=((16, 0), (8, 8)))
    two = scan(frames[0], 250)
    two[:, -8:] = 5
    textured = scan(frames[0], 250)
    textured[:8, ::3] -= 40
    for picture in (grey, sky, two, textured):
        light = lightness(picture)
        assert inside(light) == (slice(0, len(light)), slice(0, light.shape[1]))
    assert inside(np.ones(SIZE, np.float32)) == (slice(0, SIZE[0]), slice(0, SIZE[1]))  # a white picture has nothing inside
    assert photograph(frames[0]) is None


def test_a_border_stays_grey(frames):
    result = psal_cli.colorize(scan(frames[0][..., :1], 250)[..., 0], [frames[1]])
    chroma = np.linalg.norm(lab(result.image)[..., 1:], axis=2)
    border = np.ones(chroma.shape, bool)
    border[5:-5, 5:-5] = False  # the colours of the photograph end softly
    assert chroma[border].max() < 0.01 < 0.03 < chroma[10:-10, 10:-10].mean()
    assert result.confidence is not None and result.confidence[0].min() == 1


def test_the_border_of_a_reference_lends_nothing(frames):
    """A white picture would find its like in the paper, which is blue here."""
    picture = np.full((*SIZE, 1), 245, np.uint8)
    picture[20:40, 20:60] = frames[0][20:40, 20:60, :1]
    result = psal_cli.colorize(picture[..., 0], [scan(frames[1], 240, (0.86, 0.96, 1.0))])
    rows, columns = result.field.sources[0]
    assert rows.min() >= 6 and rows.max() < 74 and columns.min() >= 6 and columns.max() < 106
