"""The network of `psal upscale`: whole or in strips the same, detail from across the scales, gradients to all of it."""

import pytest
import torch
import torch.nn.functional as F

from psal_cli.networks.residual_psal import ResidualPSAL
from psal_cli.networks.upscaling import enlarged, reduced


def network(scale=2, seed=0, **options):
    torch.manual_seed(seed)
    return ResidualPSAL(scale, 8, 3, 2, **options).eval()


@pytest.mark.parametrize("size", [(31, 20), (32, 21), (9, 8), (1, 2)])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_any_size_is_enlarged_by_the_scale(size, scale):
    with torch.no_grad():
        assert network(scale)(torch.rand(2, 3, *size)).shape == (2, 3, scale * size[0], scale * size[1])


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"attention": "full"}, {"cross": False}])
@pytest.mark.parametrize("rows", [1, 6, 40])
def test_strips_give_the_picture_of_the_whole(options, rows):
    made, image = network(**options), torch.rand(1, 3, 61, 37)
    with torch.no_grad():
        parts = list(made.parts(image, rows))
        torch.testing.assert_close(torch.cat(parts, 2), made(image), atol=1e-5, rtol=0)
    assert [part.shape[2] for part in parts[:-1]] == [2 * rows] * (len(parts) - 1)


def test_without_weights_it_is_the_cubic_enlargement():
    made = network(4)
    torch.nn.init.zeros_(made.tail.weight)
    torch.nn.init.zeros_(made.tail.bias)
    image = torch.rand(1, 3, 12, 16)
    with torch.no_grad():
        torch.testing.assert_close(made(image), enlarged(image, 4))


def test_what_lies_far_away_is_seen_through_the_attention_alone():
    made, image = network(), F.interpolate(torch.rand(1, 3, 40, 60), (80, 120), mode="bicubic")
    changed = image.clone()
    changed[:, :, :, 90:] = torch.rand(1, 3, 80, 30)
    with torch.no_grad():
        far = (made(changed) - made(image))[..., :80].abs().max()
        made.cross = None
        assert far > 1e-4 and torch.equal(made(changed)[..., :80], made(image)[..., :80])


def test_detail_of_the_full_resolution_is_pasted_where_the_reduced_picture_matches():
    """A picture that holds itself reduced: its small copy finds the large one, and is pasted what that shows twice as large."""
    made = network(attention="full").cross
    torch.manual_seed(1)
    large = F.interpolate(torch.rand(1, 3, 24, 24), (48, 48), mode="bicubic", antialias=True)
    image = torch.rand(1, 3, 48, 80)
    image[..., :48], image[:, :, :24, 52:76] = large, reduced(large, 2)
    # Features that are the picture itself stand in for those of the trunk.
    key, query = (reduced(image, 2) - 0.5).float(), (image - 0.5).float()
    value = F.pixel_unshuffle(torch.cat([query, query.square().mean(1, keepdim=True)], 1), 2)
    value = torch.cat([value[:, :12], value[:, 12:].mean(1, keepdim=True)], 1)
    with torch.no_grad():
        rows, _ = made.pasting(100 * query, key, value)
        pasted = F.pixel_shuffle(rows(0, 48)[:, :12] * 6 / 9, 2)  # pasting.OVERLAP over nine patches
    inner = pasted[:, :, 8:40, 112:144] + 0.5  # of the small copy, without what is at its edge
    torch.testing.assert_close(inner, large[:, :, 8:40, 8:40], atol=0.02, rtol=0)


def test_every_weight_is_trained():
    made = network().train()
    made(torch.rand(1, 3, 24, 24)).square().mean().backward()
    still = [name for name, x in made.named_parameters() if x.grad is None or not x.grad.any()]
    assert not still


def test_what_inference_keeps_may_be_rounded():
    image = torch.rand(1, 3, 40, 30)
    with torch.no_grad():
        exact, rounded = network()(image), network(kept=torch.float16)(image)
    assert not torch.equal(exact, rounded)
    assert (exact - rounded).abs().mean() < 1e-2 * (exact - enlarged(image, 2)).abs().mean()


@pytest.mark.parametrize("options", [{"scale": 1}, {"scale": 2, "blocks": 2, "before": 2}, {"scale": 2, "before": 0}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        ResidualPSAL(**options)
