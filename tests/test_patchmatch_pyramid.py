"""What verbs share of PatchMatch editing: pyramids of pictures with holes, fields between their levels, the parts of a hole."""

import numpy as np
import pytest
import torch

from psal_cli.patchmatch import pyramid, regions, synthesis

from .pictures import hole_of, noise


def test_hidden_pixels_never_reach_a_known_pixel_of_the_pyramid():
    image, mask = noise(), hole_of(noise(), (31, 60, 41, 80))
    other = np.where(mask[..., None], np.float32(1e3), image)
    holes = [mask]
    for _ in range(3):
        holes.append(pyramid.halve_mask(holes[-1]))
    first, second = pyramid.Pyramid(image, holes), pyramid.Pyramid(other, holes)
    for number, hole in enumerate(holes):
        features = first.features(number)
        assert torch.equal(features, second.features(number))
        assert (features[0][:, hole] == 0).all()
        assert (features[0][:, ~hole] > 0).any(0).all()


def test_levels_made_in_strips_are_those_made_whole(monkeypatch):
    image, mask = noise(61, 47), hole_of(noise(61, 47), (20, 33, 10, 21))
    holes = [mask, pyramid.halve_mask(mask), pyramid.halve_mask(pyramid.halve_mask(mask))]
    whole = pyramid.Pyramid(image, holes)
    monkeypatch.setattr(pyramid, "STRIP", 6 * 47)
    strips = pyramid.Pyramid(image, holes)
    for number in range(3):
        for energy in (False, True):
            assert torch.equal(whole.features(number, energy), strips.features(number, energy))
    plain = whole.features(0)[0, :, :-1]
    steps = (plain[:3, 1:] - plain[:3, :-1]).mean(0).abs() * pyramid.TEXTURE_WEIGHT
    apart = ~(mask[1:] | mask[:-1])[:-1]
    assert torch.allclose(plain[3, :-1][torch.from_numpy(apart)], steps[torch.from_numpy(apart)], atol=1e-5)


def test_upsampled_matches_keep_their_place_in_their_pixel():
    coarse = torch.tensor([[5, 6], [7, -1]], dtype=torch.int32)
    nnf = torch.stack([coarse, torch.where(coarse < 0, -1, coarse + 10)])[None, None]
    similarity = torch.tensor([[[[-1.0, -2.0], [-3.0, -torch.inf]]]])
    fine, similar = pyramid.upsample_field(nnf, similarity, (4, 8, 2, 6), (2, 4, 1, 3), (100, 100), 3)
    assert fine[0, 0, 0].tolist() == [[10, 10, 12, 12], [11, 11, 13, 13], [14, 14, -1, -1], [15, 15, -1, -1]]
    assert fine[0, 0, 1].tolist() == [[30, 31, 32, 33], [30, 31, 32, 33], [34, 35, -1, -1], [34, 35, -1, -1]]
    assert similar[0, 0].tolist() == 2 * [[-1, -1, -2, -2]] + 2 * [[-3, -3, -torch.inf, -torch.inf]]


def test_upsampled_matches_keep_their_patches_inside_the_picture():
    nnf = torch.tensor([[0, 0], [9, 9]], dtype=torch.int32).expand(1, 1, 2, 2, 2)  # corners of a key of 10x10
    fine, _ = pyramid.upsample_field(nnf, torch.zeros(1, 1, 2, 2), (0, 4, 0, 4), (0, 2, 0, 2), (20, 19), 3)
    assert fine[0, 0, 0].amin() == fine[0, 0, 1].amin() == 3
    assert fine[0, 0, 0].amax() == 16 and fine[0, 0, 1].amax() <= 15  # three pixels before the last row and column


def test_the_third_quartile_is_torchs():
    for size in (1, 2, 3, 4, 10, 101, 1000, 70001):
        values = torch.rand(size) ** 3
        assert synthesis.third_quartile(values.numpy().copy()) == values.quantile(0.75)


def test_the_box_of_a_part_holds_all_patches_over_its_hole():
    hole = np.zeros((40, 50), bool)
    hole[10:14, 20:25] = True
    assert regions.part_boxes(hole, 5) == [(6, 18, 16, 29)]  # two pixels to the centres, two more to the patches' edges


@pytest.mark.parametrize("seed", range(4))
def test_boxes_are_united_until_none_overlap(seed):
    rng = np.random.default_rng(seed)
    corner, size = rng.integers(0, 200, (60, 2)), rng.integers(1, 25, (60, 2))
    boxes = [(int(y), int(y + h), int(x), int(x + w)) for (y, x), (h, w) in zip(corner, size, strict=True)]
    out = regions.merged(boxes)
    taken = np.zeros((230, 230), int)
    for top, bottom, left, right in out:
        taken[top:bottom, left:right] += 1
    assert taken.max() == 1
    assert all(taken[top:bottom, left:right].all() for top, bottom, left, right in boxes)
    assert 1 < len(out) < 60
    assert sorted(regions.merged(boxes[::-1])) == sorted(out)


def test_holes_that_share_their_surroundings_are_filled_together():
    boxes = [(10, 20, 10, 20), (10, 20, 40, 50), (60, 70, 100, 110)]
    assert regions.windows((80, 120), boxes, 9) == [(1, 29, 1, 29), (1, 29, 31, 59), (51, 79, 91, 119)]
    assert sorted(regions.windows((80, 120), boxes, 11)) == [(0, 31, 0, 61), (49, 80, 89, 120)]
    assert regions.windows((80, 120), boxes, 200) == regions.windows((80, 120), boxes, None) == [(0, 80, 0, 120)]
