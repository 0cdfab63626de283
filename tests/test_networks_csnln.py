"""The networks for super-resolution, beside what is published of them and beside slow words for the same."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from psal_cli.networks.csnln import CSNLN, MEAN, CrossScaleAttention, InScaleAttention
from psal_cli.networks.pasting import Pasting
from psal_cli.networks.upscaling import RATIOS, UpscalingNetwork, enlarged, reduced

# Of the published checkpoints (upstream.md, 3.5): convolutions with a PReLU behind them; channels out, in, size.
SIZES = {2: 6, 3: 9, 4: 6}


def published(scale):
    """name -> shape."""
    size = SIZES[scale]
    layers = {"head.0": (128, 3, 3), "head.1": (128, 128, 3), "SEM.post_conv": (128, 128, 3)}
    layers |= dict.fromkeys(["SEM.down_sample_1", "SEM.error_encode"], (128, 128, size))
    if scale == 4:
        layers |= dict.fromkeys(["SEM.down_sample_3", "SEM.down_sample_4", "SEM.error_encode_2"], (128, 128, 8))
    else:
        layers["SEM.down_sample_2"] = (128, 128, size)
    plain = {"tail.0": (3, 1536, 3), "sub_mean": (3, 3, 1), "add_mean": (3, 3, 1)}
    extra = {}
    for name in ["multi_source_projection", *["multi_source_projection_2"] * (scale == 4)]:
        at = f"SEM.{name}"
        layers |= dict.fromkeys([f"{at}.up_attention.conv_match_1", f"{at}.up_attention.conv_match_2"], (64, 128, 1))
        layers |= dict.fromkeys([f"{at}.down_attention.conv_match1", f"{at}.down_attention.conv_match2"], (64, 128, 1))
        layers |= dict.fromkeys([f"{at}.up_attention.conv_assembly", f"{at}.down_attention.conv_assembly"], (128, 128, 1))
        layers[f"{at}.upsample"] = (128, 128, size)
        plain |= dict.fromkeys([f"{at}.encoder.body.0", f"{at}.encoder.body.2"], (128, 128, 3))
        extra |= {f"{at}.encoder.body.1.weight": (1,), f"{at}.up_attention.escape_NaN": (1,)}
    both = plain | {f"{name}.0": shape for name, shape in layers.items()}
    weights = {f"{name}.weight": (out, into, size, size) for name, (out, into, size) in both.items()}
    return weights | {f"{name}.bias": shape[:1] for name, shape in both.items()} | {f"{x}.1.weight": (1,) for x in layers} | extra


def small(scale, **options):
    """A network of few features whose steps differ, and whose result shows what the attention finds."""
    network = CSNLN(scale, 8, 3, **{"in_scale": "full", "attention": "full"} | options).eval()
    with torch.no_grad():
        for name, x in network.named_parameters():
            if x.ndim > 1 and "mean" not in name:
                x.mul_(1.5)
    return network


def twin(network, **options):
    other = small(network.scale, **options)
    other.load_state_dict(network.state_dict())
    return other


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "tensors", "numbers"), [(2, 51, 3_061_290), (3, 51, 6_010_410), (4, 84, 6_568_629)])
def test_names_and_shapes_are_those_of_the_published_checkpoints(scale, tensors, numbers):
    state = CSNLN(scale).state_dict()
    assert {name: tuple(x.shape) for name, x in state.items()} == published(scale)
    assert len(state) == tensors and sum(x.numel() for x in state.values()) == numbers
    torch.testing.assert_close(state["sub_mean.bias"], -torch.tensor(MEAN))
    torch.testing.assert_close(state["add_mean.bias"], torch.tensor(MEAN))


def test_a_scale_or_an_attention_that_is_none_is_refused():
    with pytest.raises(ValueError, match="scale is 5, expected one of 2, 3, 4"):
        CSNLN(5)
    with pytest.raises(ValueError, match="scale is 8"):
        UpscalingNetwork(8)
    with pytest.raises(ValueError, match="attention is 'half', expected one of psal, full, local"):
        CSNLN(2, 8, 1, attention="half")
    with pytest.raises(ValueError, match="in_scale is 'psal', expected one of local, full"):
        CSNLN(2, 8, 1, in_scale="psal")
    with pytest.raises(ValueError, match="the map is 6x9, expected sides that are multiples of 2"):
        CrossScaleAttention(8, 2, Pasting())(torch.zeros(1, 8, 9, 6))


def slow_cross_scale(layer, x, s):
    """Section 3.1 of upstream.md, word for word, for one map [C, H, W]."""
    value = layer.conv_assembly(x[None])[0]
    query = layer.conv_match_1(x[None])[0]
    reduced = F.interpolate(x[None], scale_factor=1 / s, mode="bilinear", align_corners=False)
    key = layer.conv_match_2(reduced)[0]
    rows, columns = key.shape[1:]
    height, width = query.shape[1:]
    value, query, key = F.pad(value, (s, s, s, s)), F.pad(query, (1, 1, 1, 1)), F.pad(key, (1, 1, 1, 1))
    places = [(i, j) for i in range(rows) for j in range(columns)]
    kernels = torch.stack([key[:, i : i + 3, j : j + 3] for i, j in places])
    kernels = kernels / kernels.square().sum((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-4)
    scores = F.conv2d(query[None], kernels)
    weight = torch.softmax(scores * 10, 1)
    patches = torch.stack([value[:, s * i : s * i + 3 * s, s * j : s * j + 3 * s] for i, j in places])
    out = F.conv_transpose2d(weight, patches, stride=s, padding=s) / 6
    assert out.shape[2:] == (s * height, s * width)
    return out[0]


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("attention", ["full", "psal"])
def test_cross_scale_attention_is_what_its_description_says(scale, attention):
    layer = CrossScaleAttention(6, scale, Pasting(attention, k=64))  # all keys
    x = torch.randn(2, 6, 6 * scale, 5 * scale)
    with torch.no_grad():
        attended = layer(x)
        for item in range(2):
            torch.testing.assert_close(attended[item], slow_cross_scale(layer, x[item], scale), atol=2e-6, rtol=1e-5)


def test_a_few_nearest_keys_are_what_is_left_of_the_softmax():
    """PSAL-k is the softmax over the k most similar keys alone."""
    query, key, value = torch.randn(1, 3, 12, 14), torch.randn(1, 3, 6, 7), torch.randn(1, 8, 6, 7)
    with torch.no_grad():
        rows, nearest = Pasting(k=3, iterations=1000)(query, key, value)
        keys = F.unfold(key, 3, padding=1)
        scores = (keys / keys.norm(dim=1, keepdim=True)).transpose(1, 2) @ F.unfold(query, 3, padding=1)
        best = (scores * 10).topk(3, 1)
        weight = torch.zeros_like(scores).scatter(1, best.indices, best.values.softmax(1))
        pasted = F.fold(F.unfold(value, 3, padding=1) @ weight, (12, 14), 3, padding=1) / 6
        torch.testing.assert_close(rows(0, 12), pasted, atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(nearest(2, 9), scores.amax(1).view(1, 1, 12, 14)[:, :, 2:9], atol=2e-6, rtol=1e-5)
        full, all_nearest = Pasting("full")(query, key, value)
        torch.testing.assert_close(all_nearest(2, 9), nearest(2, 9), atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(full(3, 5), full(0, 12)[:, :, 3:5])


def test_local_attention_is_what_is_left_of_the_softmax_near_the_same_place():
    query, key, value = torch.randn(1, 3, 22, 24), torch.randn(1, 3, 11, 12), torch.randn(1, 8, 11, 12)
    rows, columns = torch.meshgrid(torch.arange(11), torch.arange(12), indexing="ij")
    near = torch.zeros(11 * 12, 22, 24, dtype=torch.bool)
    for row, column in product(range(22), range(24)):
        top, left = min(max(row // 2 - 3, 0), 4), min(max(column // 2 - 3, 0), 5)  # of 7x7 keys inside the map
        inside = (rows >= top) & (rows < top + 7) & (columns >= left) & (columns < left + 7)
        near[:, row, column] = inside.flatten()
    with torch.no_grad():
        pasted, _ = Pasting("local", k=3)(query, key, value)
        keys = F.unfold(key, 3, padding=1)
        scores = (keys / keys.norm(dim=1, keepdim=True)).transpose(1, 2) @ F.unfold(query, 3, padding=1)
        best = (scores * 10).masked_fill(~near.flatten(1), -torch.inf).topk(3, 1)
        weight = torch.zeros_like(scores).scatter(1, best.indices, best.values.softmax(1))
        right = F.fold(F.unfold(value, 3, padding=1) @ weight, (22, 24), 3, padding=1) / 6
    torch.testing.assert_close(pasted(0, 22), right, atol=2e-6, rtol=1e-5)


def test_in_scale_attention_is_a_plain_softmax():
    layer = InScaleAttention(8, "full")
    x = torch.randn(1, 8, 7, 9)
    with torch.no_grad():
        query, key, value = (f(x).flatten(2) for f in (layer.conv_match1, layer.conv_match2, layer.conv_assembly))
        expected = value @ (query.transpose(1, 2) @ key).softmax(2).transpose(1, 2)
        torch.testing.assert_close(layer(x).flatten(2), expected, atol=1e-6, rtol=1e-5)
        local = InScaleAttention(8, "local")
        local.load_state_dict(layer.state_dict())
        torch.testing.assert_close(local(x).flatten(2), expected, atol=1e-6, rtol=1e-5)  # the window is larger than the map


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_psal_with_all_keys_is_full_attention(scale):
    network = small(scale)
    image = torch.rand(1, 3, 8, 7) if scale == 4 else torch.rand(1, 3, 14, 16)
    with torch.no_grad():
        expected = network(image)
        torch.testing.assert_close(twin(network, attention="psal", k=64)(image), expected, atol=1e-5, rtol=0)
        few = twin(network, attention="psal", k=1)(image)
    assert (few - expected).abs().max() > 1e-3  # the attention shows


def slow_network(network, image, scale):
    """Section 3.1 of upstream.md, word for word, with the layers of a network but none of its code."""
    cell, size = network.SEM, {2: (6, 2, 2), 3: (9, 3, 3), 4: (8, 4, 2)}

    def layer(name, x, up=0, down=0):
        part = network.get_submodule(name)
        weight, bias = part[0].weight, part[0].bias
        if up:
            x = F.conv_transpose2d(x, weight, bias, size[up][1], size[up][2])
        elif down:
            x = F.conv2d(x, weight, bias, size[down][1], size[down][2])
        else:
            x = F.conv2d(x, weight, bias, padding=weight.shape[2] // 2)
        return torch.where(x > 0, x, x * part[1].weight)

    def projected(name, x, s):
        down = network.get_submodule(f"SEM.{name}.down_attention")
        query, key, value = (f(x).flatten(2) for f in (down.conv_match1, down.conv_match2, down.conv_assembly))
        plain = (value @ (query.transpose(1, 2) @ key).softmax(2).transpose(1, 2)).view_as(x)
        plain = layer(f"SEM.{name}.upsample", plain, up=s)
        gap = slow_cross_scale(network.get_submodule(f"SEM.{name}.up_attention"), x[0], s)[None] - plain
        first, prelu, second = network.get_submodule(f"SEM.{name}.encoder.body")
        return (
            plain
            + gap
            + F.conv2d(prelu(F.conv2d(gap, first.weight, first.bias, padding=1)), second.weight, second.bias, padding=1)
        )

    x, drawn, s = layer("head.1", layer("head.0", image - torch.tensor(MEAN)[:, None, None])), [], cell.ratio
    for _ in range(network.depth):
        high = projected("multi_source_projection", x, s)
        high = high + layer("SEM.error_encode", x - layer("SEM.down_sample_1", high, down=s), up=s)
        if scale == 4:
            high = projected("multi_source_projection_2", high, s)
            high = high + layer("SEM.error_encode_2", x - layer("SEM.down_sample_3", high, down=4), up=4)
        drawn.append(high)
        x = layer(
            "SEM.post_conv", layer("SEM.down_sample_4", high, down=4) if scale == 4 else layer("SEM.down_sample_2", high, down=s)
        )
    tail = network.tail[0]
    return F.conv2d(torch.cat(drawn, 1), tail.weight, tail.bias, padding=1) + torch.tensor(MEAN)[:, None, None]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_network_is_what_its_description_says(scale):
    network = small(scale)
    image = torch.rand(1, 3, 12, 6)
    with torch.no_grad():
        torch.testing.assert_close(network(image), slow_network(network, image, scale), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("make", [small, lambda scale: UpscalingNetwork(scale, 8, 3, 1).eval()], ids=["CSNLN", "own"])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(13, 11), (1, 1), (2, 17)])
def test_any_size_goes_through(make, scale, size):
    with torch.no_grad():
        out = make(scale)(torch.rand(2, 3, *size))
    assert out.shape == (2, 3, scale * size[0], scale * size[1]) and out.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("attention", ["psal", "full"])
def test_strips_give_what_the_whole_gives(scale, attention):
    image = torch.rand(1, 3, 34, 22)
    for network in (small(scale, attention=attention, k=4), UpscalingNetwork(scale, 8, 5, 2, attention=attention).eval()):
        with torch.no_grad():
            whole = network(image)
            for rows in (3, 12):
                gap = (torch.cat(list(network.parts(image, rows)), 2) - whole).abs()
                # Where two keys are about as near, rounding may choose the other one.
                assert (gap > 1e-5).float().mean() < (0.05 if attention == "psal" else 1e-9) and gap.max() < 5e-3


def test_what_is_kept_of_the_whole_picture_can_be_rounded():
    network = UpscalingNetwork(2, 8, 4, 2).eval()
    rounded = UpscalingNetwork(2, 8, 4, 2, kept=torch.float16).eval()
    rounded.load_state_dict(network.state_dict())
    image = torch.rand(1, 3, 24, 28)
    with torch.no_grad():
        gap = (rounded(image) - network(image)).abs()
    assert gap.max() > 0 and gap.median() < 1e-3


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    "make",
    [lambda scale: UpscalingNetwork(scale, 8, 3, 1).eval(), lambda scale: small(scale, attention="psal", in_scale="local")],
)
def test_half_precision_is_near(make, scale):
    """As on a GPU that is short of memory."""
    network, image = make(scale), torch.rand(1, 3, 12, 14)
    with torch.no_grad():
        expected = network(image)
        with torch.autocast("cpu", torch.float16):
            result = network(image)
    assert (result - expected).abs().median() < 5e-3


def test_what_is_pasted_is_what_the_trunk_lacks_where_it_is_alike():
    """A picture that holds itself twice as large: there the reduced picture is the small one, and all is known."""
    network = UpscalingNetwork(2, 8, 2, 1, attention="full")
    small_one = F.interpolate(torch.rand(1, 3, 8, 8), (16, 16), mode="bicubic").clamp(0, 1)
    large = enlarged(small_one, 2) + 0.2 * torch.randn(1, 1, 32, 32)
    large -= enlarged(reduced(large, 2) - small_one, 2)
    image = torch.zeros(1, 3, 48, 32)
    image[:, :, :32], image[:, :, 32:, :16] = large, reduced(large, 2)
    seen = []
    network.cross.register_forward_hook(lambda module, given, out: seen.extend(given))
    for layer in (network.cross.conv_match_1, network.cross.conv_match_2):
        torch.nn.init.eye_(layer.weight[:, :, 0, 0].data)
        layer.weight.data.mul_(40)
        torch.nn.init.zeros_(layer.bias)
    with torch.no_grad():
        network(image)
        trunk = UpscalingNetwork(2, 8, 2, 1, cross=False).eval()
        trunk.load_state_dict({name: x for name, x in network.state_dict().items() if not name.startswith("cross.")})
        lacks = large - trunk(reduced(image, 2))[:, :, :32]
    _, pasted, evidence = seen
    agreement, cosine, _ = evidence.split(1, 1)
    inner = np.s_[:, :, 3:13, 3:13]
    detail = F.pixel_shuffle(pasted[:, :, 32:, :16], 2)[..., 6:26, 6:26] / 25
    correlation = torch.corrcoef(torch.stack([detail.flatten(), lacks[..., 6:26, 6:26].flatten()]))[0, 1]
    assert correlation > 0.9
    assert cosine[:, :, 32:, :16][inner].min() > 0.99 and agreement.min() >= 0 and agreement.max() <= 1.01


@pytest.mark.slow
@pytest.mark.parametrize("rows", [None, 5])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_attention_counts_as_much_as_it_would_have_on_the_reduced_picture(scale, rows):
    """By least squares, done here in one piece."""
    network, ratio = UpscalingNetwork(scale, 8, 2, 1), RATIOS[scale]
    image = 0.5 + 0.2 * torch.randn(2, 3, *{2: (40, 24), 3: (54, 27)}[ratio])
    image[1] = enlarged(reduced(image[1:], ratio), ratio)[0]

    seen = []
    network.cross.register_forward_hook(lambda module, given, out: seen.append(out))

    def without(image, rows=None):
        cross, network.cross = network.cross, None
        plain = network(image, rows)
        network.cross = cross
        return plain

    with torch.no_grad():
        network(image)  # in training: the factor is one
        network(reduced(image, ratio))
        first, once = seen
        lacking = image - reduced(without(reduced(image, ratio)), scale // ratio)
        network.eval()
        difference = network(image, rows) - without(image, rows)
    prior = 100 * lacking.square().mean((1, 2, 3))
    factor = ((once * lacking).sum((1, 2, 3)) + prior) / (once.square().sum((1, 2, 3)) + prior)
    assert (factor - 1).abs().max() > 0.05
    expected = enlarged(factor.clamp(0, 8)[:, None, None, None] * first, scale // ratio)
    torch.testing.assert_close(difference, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("rows", [None, 6])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_what_the_attention_does_not_touch_is_as_without_it_up_to_the_border(scale, rows):
    """Of sides that are no multiples: the picture is continued for the attention alone."""
    network, image = UpscalingNetwork(scale, 8, 2, 1).eval(), torch.rand(1, 3, 19, 23)
    torch.nn.init.constant_(network.cross.second.bias, -100)  # the gate is shut
    with torch.no_grad():
        result = network(image, rows)
        network.cross = None
        torch.testing.assert_close(result, network(image), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_gradients_reach_every_parameter(scale):
    for network in (small(scale, attention="psal", k=4), UpscalingNetwork(scale, 8, 3, 1)):
        network(torch.randn(2, 3, 12, 12) * 3).square().mean().backward()
        still = [name for name, x in network.named_parameters() if x.requires_grad and (x.grad is None or not x.grad.any())]
        assert still == []
        assert all(x.grad is None for name, x in network.named_parameters() if "mean" in name)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_network_that_adds_nothing_enlarges_as_the_cubic_kernel_does(scale):
    network = UpscalingNetwork(scale, 8, 2, 1, cross=False).eval()
    torch.nn.init.zeros_(network.tail.weight)
    torch.nn.init.zeros_(network.tail.bias)
    image = torch.rand(1, 3, 12, 13)
    with torch.no_grad():
        torch.testing.assert_close(network(image, 5), enlarged(image, scale), atol=1e-6, rtol=0)
        constant = torch.full((1, 3, 9, 9), 0.3)
        torch.testing.assert_close(network(constant), torch.full((1, 3, 9 * scale, 9 * scale), 0.3))


def test_the_cubic_kernel_is_that_of_a_minus_one_half():
    """Of a step, twice as large, by hand: at a quarter pixel the weights are -9/128, 111/128, 29/128, -3/128."""
    step = torch.tensor([0.0, 0, 0, 1, 1, 1]).expand(1, 1, 6, 6)
    row = enlarged(step, 2)[0, 0, 5]
    torch.testing.assert_close(row[4:8], torch.tensor([-9, 26, 102, 137]) / 128)
