"""The patch engine: what it promises of every fill, and that a fill looks like its surroundings."""

import numpy as np
import pytest
import torch

from psal_cli.tasks import blend, completion, pyramid
from psal_cli.tasks.inpaint import inpaint


def stripes(height=96, width=128, period=8):
    """[1, 3, H, W]: diagonal stripes in two colours, of which every part can be found elsewhere exactly."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    on = ((rows + columns) % period < period // 2).float()
    return torch.stack([on * 0.8 + 0.1, 0.7 - on * 0.4, torch.full_like(on, 0.3)])[None]


def noise(height=96, width=128, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def hole_of(image, *boxes):
    mask = torch.zeros(image.shape[2:], dtype=torch.bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("boxes", [[(30, 60, 40, 80)], [(0, 20, 0, 25)], [(5, 12, 5, 120), (60, 96, 100, 128), (40, 41, 40, 41)]])
def test_pixels_outside_the_mask_are_the_inputs_and_inside_the_sources(boxes):
    image = noise()
    mask = hole_of(image, *boxes)
    filled = inpaint(image, mask, blend=False)
    assert torch.equal(filled.image[0][:, ~mask], image[0][:, ~mask])
    row, column = filled.nnf[mask].long().unbind(1)
    assert torch.equal(filled.image[0][:, mask], image[0][:, row, column])
    assert not mask[row, column].any()
    assert (filled.nnf[~mask] == -1).all()


def test_what_lies_in_the_hole_does_not_matter():
    image, other = stripes(), stripes()
    mask = hole_of(image, (30, 60, 40, 80))
    other[0][:, mask] = 0.5
    assert torch.equal(inpaint(image, mask).image[0][:, mask], inpaint(other, mask).image[0][:, mask])


def test_a_regular_texture_is_continued_exactly():
    image = stripes()
    mask = hole_of(image, (30, 58, 40, 75))
    assert (inpaint(image, mask, blend=False).image - image).abs().mean() * mask.numel() / mask.sum() < 0.02


def test_the_same_seed_gives_the_same_picture_for_any_number_of_threads():
    image = noise()
    mask = hole_of(image, (30, 60, 40, 80))
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            results.append(inpaint(image, mask, seed=5))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one.nnf, results[0].nnf) for one in results)
    assert not torch.equal(inpaint(image, mask, seed=6).nnf, results[0].nnf)


def test_only_the_source_mask_is_copied_from():
    image = noise()
    mask = hole_of(image, (30, 60, 40, 80))
    source = hole_of(image, (0, 96, 90, 128))
    origin = inpaint(image, mask, source_mask=source).nnf[mask].long()
    assert source[origin[:, 0], origin[:, 1]].all()


def test_grey_pictures_keep_one_channel():
    image = noise()[:, :1]
    assert inpaint(image, hole_of(image, (30, 60, 40, 80))).image.shape == image.shape


def test_a_seam_of_light_is_evened_out_and_an_edge_is_not():
    """Two halves of one ramp, the right one darker by `step`: inside the hole the right half was copied from the dark side."""
    for step, kept in ((0.04, 0.01), (0.3, 0.29)):
        image = torch.full((3, 40, 40), 0.5)
        image[:, 20:] -= step
        fill = image[:, :20].clone()
        unknown = torch.zeros(20, 40, dtype=torch.bool)
        unknown[5:15, 5:35] = True
        rows, columns = torch.meshgrid(torch.arange(20), torch.arange(40), indexing="ij")
        origin = torch.stack([rows + 20 * (columns >= 20), columns], 2)  # the right half comes from 20 rows below
        fill[:, unknown] = image[:, origin[..., 0][unknown], origin[..., 1][unknown]]
        before = blend.EDGE
        blend.EDGE = 0.1
        try:
            out = blend.blended(image, fill, origin, unknown, (0, 20, 0, 40))
        finally:
            blend.EDGE = before
        seam = (out[:, 10, 19] - out[:, 10, 20]).abs().max()
        assert seam <= kept if step < 0.1 else seam >= kept
        assert torch.equal(out[:, ~unknown], fill[:, ~unknown])


def test_hidden_pixels_never_reach_a_known_pixel_of_the_pyramid():
    image, other = noise(), noise()
    mask = hole_of(image, (31, 60, 41, 80))
    other[0][:, mask] = 1e3
    for one, two in zip(pyramid.build_pyramid(image, mask, 4), pyramid.build_pyramid(other, mask, 4), strict=True):
        assert torch.equal(one.features, two.features)
        assert (one.features[0][:, one.hole] == 0).all()


def test_upsampled_matches_keep_their_place_in_their_pixel():
    coarse = torch.tensor([[5, 6], [7, 8]], dtype=torch.int32)
    nnf = torch.stack([coarse, coarse + 10])[None, None]
    fine = pyramid.upsample_field(nnf, (4, 8, 2, 6), (2, 4, 1, 3), (100, 100), 3)
    assert fine[0, 0, 0].tolist() == [[10, 10, 12, 12], [11, 11, 13, 13], [14, 14, 16, 16], [15, 15, 17, 17]]
    assert fine[0, 0, 1].tolist() == [[30, 31, 32, 33], [30, 31, 32, 33], [34, 35, 36, 37], [34, 35, 36, 37]]


def test_the_first_estimate_is_made_of_source_colours():
    """Peeling compares only what is known of a patch: a hole between two plain halves keeps both."""
    image = torch.zeros(1, 3, 64, 64)
    image[..., 32:] = 1.0
    mask = hole_of(image, (20, 40, 20, 44))
    level = pyramid.build_pyramid(image, mask, 1)[0]
    valid = completion.ops.valid_keys(~mask[None], 7)
    (one,) = completion._holes(level, 7)
    completion._peel(one, level, (valid, completion.ops.keys_by_row(valid)), 7, 0)
    found = one.features[0, 0][one.unknown]
    assert set(found.unique().tolist()) == {0.0, 1.0}
    assert abs(found.mean() - 0.5) < 0.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": torch.rand(3, 32, 32)}, r"image has shape \[3, 32, 32\], expected \[1, C, H, W\]"),
        ({"mask": torch.zeros(16, 32, dtype=torch.bool)}, r"mask is torch.bool \[16, 32\], expected torch.bool \[32, 32\]"),
        ({"mask": torch.zeros(32, 32, dtype=torch.bool)}, "mask is empty"),
        ({"mask": torch.ones(32, 32, dtype=torch.bool)}, "mask covers the whole picture"),
        ({"patch_size": 4}, "patch_size is 4, expected an odd number from 3 to 31"),
        ({"source_mask": torch.zeros(32, 32, dtype=torch.bool)}, "nothing is left to copy from"),
        ({"patch_size": 31}, "nothing is left to copy from"),
    ],
)
def test_refusals_name_the_value(change, message):
    arguments = {"image": torch.rand(1, 3, 32, 32), "mask": hole_of(torch.empty(1, 3, 32, 32), (10, 20, 10, 20)), **change}
    with pytest.raises(ValueError, match=message):
        inpaint(arguments.pop("image"), arguments.pop("mask"), **arguments)


def test_progress_names_every_level_once():
    image, seen = noise(), []
    inpaint(image, hole_of(image, (20, 76, 30, 90)), progress=lambda *level: seen.append(level))
    assert [level for level, _, _ in seen] == list(range(1, seen[0][1] + 1))
    assert seen[-1][2] == "128x96"


def test_a_hole_as_wide_as_the_picture_is_filled():
    image = torch.from_numpy(np.tile(np.linspace(0, 1, 80, dtype=np.float32), (60, 1)))[None, None]
    mask = hole_of(image, (25, 35, 0, 80))
    filled = inpaint(image, mask, blend=False).image
    assert (filled - image).abs().max() < 0.1
