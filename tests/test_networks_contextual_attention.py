"""The inpainting network and its attentions, beside what is published of them and beside slow words for the same."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from psal_cli.attention import ContextualAttention, FullAttention, HoleAttention, PSAttention
from psal_cli.networks import contextual_attention as module
from psal_cli.networks.contextual_attention import InpaintingNetwork, composed
from psal_cli.patchmatch.diffusion import diffused

ATROUS = [f"conv{n}_atrous" for n in (7, 8, 9, 10)]
# Of each convolution of the published checkpoint (upstream.md, 2.7): channels out, in, size.
COARSE = {"conv1": (32, 5, 5), "conv2_downsample": (64, 32, 3), "conv3": (64, 64, 3), "conv4_downsample": (128, 64, 3)}
COARSE |= dict.fromkeys(["conv5", "conv6", *ATROUS, "conv11", "conv12"], (128, 128, 3))
COARSE |= {"conv13": (64, 128, 3), "conv14": (64, 64, 3), "conv15": (32, 64, 3), "conv16": (16, 32, 3), "conv17": (3, 16, 3)}
FINE = {"conv1": (32, 5, 5), "conv2_downsample": (32, 32, 3), "conv3": (64, 32, 3), "conv4_downsample": (64, 64, 3)}
FINE |= {"conv5": (128, 64, 3)} | dict.fromkeys(["conv6", *ATROUS], (128, 128, 3))
FINE |= {"pmconv1": (32, 5, 5), "pmconv2_downsample": (32, 32, 3), "pmconv3": (64, 32, 3), "pmconv4_downsample": (128, 64, 3)}
FINE |= dict.fromkeys(["pmconv5", "pmconv6", "pmconv9", "pmconv10"], (128, 128, 3)) | {"allconv11": (128, 256, 3)}
FINE |= {"allconv12": (128, 128, 3), "allconv13": (64, 128, 3), "allconv14": (64, 64, 3), "allconv15": (32, 64, 3)}
FINE |= {"allconv16": (16, 32, 3), "allconv17": (3, 16, 3)}


def published():
    """name -> shape of the 84 tensors."""
    convolutions = {f"coarse_generator.{name}": shape for name, shape in COARSE.items()}
    convolutions |= {f"fine_generator.{name}": shape for name, shape in FINE.items()}
    weights = {f"{name}.conv.weight": (out, into, size, size) for name, (out, into, size) in convolutions.items()}
    return weights | {f"{name}.conv.bias": shape[:1] for name, shape in convolutions.items()}


def psal(k=3, iterations=5, **options):
    return HoleAttention(PSAttention(7, k, iterations, **options))


def picture(*size, batch=1):
    """[batch, 3, H, W] in [-1, 1], smooth, and masks with a hole each, another one for each item."""
    image = F.interpolate(torch.rand(batch, 3, 9, 11), size, mode="bicubic", align_corners=False).clamp(0, 1) * 2 - 1
    mask = torch.zeros(batch, 1, *size)
    for item in range(batch):
        mask[item, :, 20 + 8 * item : 36 + 8 * item, 24:44] = 1
    return image, mask


def test_names_and_shapes_are_those_of_the_published_checkpoint():
    state = InpaintingNetwork().state_dict()
    assert {name: tuple(x.shape) for name, x in state.items()} == published()
    assert len(state) == 84 and sum(x.numel() for x in state.values()) == 3_601_542


@pytest.mark.parametrize(
    "attention", [ContextualAttention(), psal(), psal(aggregation=True)], ids=["original", "psal", "aggregation"]
)
@pytest.mark.parametrize("size", [(64, 72), (61, 83), (40, 100)])
def test_any_size_goes_through_and_comes_back(attention, size):
    network = InpaintingNetwork(4, attention).eval()
    with torch.no_grad():
        first, second = network(*picture(*size))
    for drawn in (first, second):
        assert drawn.shape == (1, 3, *size) and drawn.abs().max() <= 1


@pytest.mark.parametrize("fill", ["zeros", "diffused"])
@pytest.mark.parametrize("residual", [False, True])
def test_what_lies_in_the_hole_does_not_matter_and_what_is_composed_outside_it_stays(fill, residual):
    network = InpaintingNetwork(4, psal(), fill=fill, residual=residual).eval()
    image, mask = picture(64, 72)
    other = torch.where(mask > 0, -image, image)
    with torch.no_grad():
        drawn = network(image, mask)[1]
        assert torch.equal(network(other, mask)[1], drawn)
    result = composed(image, drawn, mask)
    assert torch.equal(result[:, :, mask[0, 0] == 0], image[:, :, mask[0, 0] == 0])
    assert torch.equal(result[:, :, mask[0, 0] > 0], drawn[:, :, mask[0, 0] > 0])


@pytest.mark.parametrize("attention", [ContextualAttention("sum"), psal(schedule="exact")], ids=["original", "psal"])
def test_each_item_of_a_batch_has_its_own_mask(attention):
    network = InpaintingNetwork(4, attention).eval()
    images, masks = picture(64, 72, batch=3)
    with torch.no_grad():
        together = network(images, masks)[1]
        for item in range(3):
            alone = network(images[item : item + 1], masks[item : item + 1])[1]
            torch.testing.assert_close(together[item : item + 1], alone, atol=1e-5, rtol=0)


def test_a_generator_that_adds_nothing_gives_back_what_it_was_given():
    network = InpaintingNetwork(4, psal(), fill="diffused", residual=True)
    for convolution in (network.coarse_generator.conv17.conv, network.fine_generator.allconv17.conv):
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    image, mask = picture(64, 72)
    for drawn in network(image, mask):
        assert torch.equal(drawn, network.filled(image, mask))


def slow_contextual_attention(features, mask, normalisation):
    """Section 2.4 of upstream.md, word for word, for one image: features [C, h, w], mask [4 h, 4 w]."""
    channels, height, width = features.shape
    rows, columns = height // 2, width // 2
    count = rows * columns
    small = F.pad(features[:, ::2, ::2], (1, 1, 1, 1))
    known = F.pad(mask[::8, ::8], (1, 1, 1, 1))
    patches = [small[:, i : i + 3, j : j + 3] for i in range(rows) for j in range(columns)]
    usable = torch.tensor([not known[i : i + 3, j : j + 3].any() for i in range(rows) for j in range(columns)]).float()
    scores = torch.empty(count, count)
    for i, key in enumerate(patches):
        norm = (key**2).sum().sqrt().clamp_min(1e-4) if normalisation == "maximum" else (key**2 + 1e-4).sum().sqrt()
        for j, query in enumerate(patches):
            scores[i, j] = (key / norm * query).sum()

    def along_diagonals(plane):
        return sum(F.pad(plane, (1, 1, 1, 1))[1 + step : 1 + step + count, 1 + step : 1 + step + count] for step in (-1, 0, 1))

    scores = along_diagonals(scores)
    by_columns = [c * rows + r for r in range(rows) for c in range(columns)]  # place of each in the order of columns
    turned = torch.empty_like(scores)
    for i in range(count):
        for j in range(count):
            turned[by_columns[i], by_columns[j]] = scores[i, j]
    turned = along_diagonals(turned)
    scores = turned[by_columns][:, by_columns]
    weight = torch.softmax(scores * usable[:, None] * 10, 0) * usable[:, None]
    pasted = torch.zeros(channels, height + 2, width + 2)
    values = F.pad(features, (1, 1, 1, 1))
    for j in range(count):
        top, left = 2 * (j // columns), 2 * (j % columns)
        for i in range(count):
            r, c = 2 * (i // columns), 2 * (i % columns)
            pasted[:, top : top + 4, left : left + 4] += weight[i, j] * values[:, r : r + 4, c : c + 4]
    return pasted[:, 1:-1, 1:-1] / 4


@pytest.mark.parametrize("normalisation", ["maximum", "sum"])
def test_the_original_attention_is_what_its_description_says(normalisation):
    features = torch.randn(2, 3, 12, 16) * 0.3
    mask = torch.zeros(2, 1, 48, 64)
    mask[0, :, 8:30, 10:40], mask[1, :, 20:40, 30:64] = 1, 1
    attended = ContextualAttention(normalisation)(features, mask)
    for item in range(2):
        right = slow_contextual_attention(features[item], mask[item, 0], normalisation)
        torch.testing.assert_close(attended[item], right, atol=1e-5, rtol=1e-4)


def test_the_original_attention_has_nothing_to_give_where_all_is_hole():
    assert not ContextualAttention()(torch.randn(1, 3, 8, 8), torch.ones(1, 1, 32, 32)).any()


def test_the_original_attention_refuses_odd_sides_and_other_masks():
    with pytest.raises(ValueError, match="features are 7x8, the mask is 28x32"):
        ContextualAttention()(torch.randn(1, 3, 8, 7), torch.zeros(1, 1, 32, 28))
    with pytest.raises(ValueError, match="'mean', expected one of sum, maximum"):
        ContextualAttention("mean")


def test_psal_with_all_keys_is_full_attention():
    features = torch.randn(1, 4, 13, 15) * 0.2
    mask = torch.zeros(1, 1, 52, 60)
    mask[..., 4:10, 36:50] = 1
    # The keys whose patch touches the hole are no keys; k is what is left of (13 - 6) * (15 - 6).
    keys = int((F.max_pool2d(F.max_pool2d(mask, 4), 7, 1) == 0).sum())
    assert 10 < keys < 63
    attended = HoleAttention(PSAttention(7, keys, 1, schedule="exact"))(features, mask)
    torch.testing.assert_close(attended, HoleAttention(FullAttention(7))(features, mask), atol=1e-5, rtol=1e-4)
    assert not torch.equal(attended, features)


@pytest.mark.parametrize("size", [(5, 9), (12, 12)])
def test_without_a_whole_patch_to_attend_to_features_stay(size):
    features, mask = torch.randn(2, 4, *size), torch.zeros(2, 1, 4 * size[0], 4 * size[1])
    mask[:, :, 8:16, 20:24] = 1
    mask[0, :, ::8] = 1
    attended = psal()(features, mask)
    assert torch.equal(attended[0], features[0])
    assert torch.equal(attended[1], features[1]) == (min(size) < 7)


def test_diffused_colours_are_nearly_harmonic():
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 90), torch.linspace(-1, 1, 75), indexing="ij")
    harmonic = torch.stack([rows + 2 * columns, rows * columns, rows**2 - columns**2])[None]
    mask = torch.zeros(1, 1, 90, 75)
    mask[..., 25:60, 20:62] = 1
    attended = diffused(harmonic * (1 - mask), mask)
    assert torch.equal(attended * (1 - mask), harmonic * (1 - mask))
    assert (attended - harmonic).abs().max() < 0.05


def test_phases_are_the_dilated_convolution():
    for dilation in (4, 8, 16):
        convolution = nn.Conv2d(3, 5, 3, padding=dilation, dilation=dilation)
        x = torch.randn(2, 3, 21, 34)
        torch.testing.assert_close(module._phased(convolution, x, dilation), convolution(x), atol=1e-5, rtol=1e-4)


def test_elu_is_torchs():
    x = torch.randn(1, 3, 9, 11) * 3
    with torch.no_grad():
        torch.testing.assert_close(module.elu(x.clone()), F.elu(x), atol=1e-6, rtol=1e-6)


def test_gradients_reach_every_parameter():
    network = InpaintingNetwork(4, psal(similarity="key_cosine"))
    sum(drawn.square().mean() for drawn in network(*picture(64, 72))).backward()
    assert all(x.grad.abs().sum() > 0 for x in network.parameters())
