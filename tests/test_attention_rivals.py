"""Linear attention, Performer, Reformer and torch's own kernels: beside their definitions and the limits that define them."""

import math
import shutil

import pytest
import torch
import torch.nn.functional as F

from psal_cli.attention import (
    FullAttention,
    LinearAttention,
    PerformerAttention,
    ReformerAttention,
    full_attention,
    fused,
    linear,
    linear_attention,
    local_attention,
    patches,
    performer,
    performer_attention,
    reformer,
    reformer_attention,
)
from psal_cli.attention.fused import flex_local_attention, sdpa_attention
from psal_cli.attention.performer import default_features, orthogonal

DTYPE = torch.float64
LAYERS = {
    "linear": LinearAttention(3),
    "performer": PerformerAttention(3, 40, similarity="l2"),
    "reformer": ReformerAttention(3, 5, 2),
    "sdpa": lambda *inputs: sdpa_attention(*inputs[:3], 3, query_mask=inputs[3] if len(inputs) > 3 else None,
                                           key_mask=inputs[4] if len(inputs) > 4 else None),
}  # fmt: skip


def features(device, size=(9, 11), key_size=None, scale=1.0, channels=4):
    key_size = key_size or size
    sizes = ((channels, size), (channels, key_size), (3, key_size))
    generator = torch.Generator(device).manual_seed(0)
    made = [torch.randn(2, c, *s, dtype=DTYPE, device=device, generator=generator) for c, s in sizes]
    return tuple((x * scale if i < 2 else x).requires_grad_() for i, x in enumerate(made))


def unrolled(x, patch_size):
    """[B, C, H, W] -> [B, H * W, C * patch_size^2], by torch's own unfold."""
    return F.unfold(x, patch_size, padding=patch_size // 2).transpose(1, 2)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(patches, "CHUNK", 1500)


@pytest.mark.slow
def test_linear_attention_is_its_definition(device):
    query, key, value = features(device, key_size=(12, 10))
    q, k = (F.elu(unrolled(x, 3)) + 1 for x in (query, key))
    whole = torch.zeros(12, 10, dtype=torch.bool, device=device)
    whole[1:-1, 1:-1] = True
    weight = (q @ k.transpose(1, 2)) * whole.flatten()  # the n x n matrix that the layer never makes
    expected = weight @ value.flatten(2).transpose(1, 2) / weight.sum(2, keepdim=True)
    actual = linear_attention(query, key, value, 3)
    torch.testing.assert_close(actual, expected.transpose(1, 2).unflatten(2, (9, 11)))


@pytest.mark.slow
@pytest.mark.parametrize("similarity", ["dot", "l2"])
def test_performer_comes_to_the_softmax_with_the_features(device, similarity):
    """The error falls as 1 / sqrt(M): four times less with sixteen times the features, and of the softmax, not of a mean."""
    query, key, value = features(device, scale=0.1, channels=2)
    options = {"similarity": similarity, "temperature": 0.5}
    expected = full_attention(query, key, value, 3, **options)
    flat = (expected - value[..., 1:-1, 1:-1].mean((2, 3), keepdim=True)).square().mean().sqrt()

    def error(count):
        results = [performer_attention(query, key, value, 3, count, seed=seed, **options) for seed in range(3)]
        return torch.stack([(x - expected).square().mean() for x in results]).mean().sqrt() / flat

    few, many = error(400), error(16 * 400)
    assert many < 0.25 and 2 < few / many < 7


def test_random_features_are_orthogonal_and_as_long_as_gaussian_ones():
    vectors = orthogonal(250, 100, 3)
    group = vectors[100:200] / vectors[100:200].norm(dim=1, keepdim=True)
    torch.testing.assert_close(group @ group.T, torch.eye(100, dtype=DTYPE))
    assert vectors.shape == (250, 100) and abs(vectors.norm(dim=1).mean() - 10) < 0.2
    assert not torch.equal(vectors, orthogonal(250, 100, 4))
    assert default_features(784) == round(784 * math.log(784))


@pytest.mark.parametrize("similarity", ["dot", "l2"])
@pytest.mark.parametrize("rounds", [1, 3])
def test_reformer_with_one_bucket_is_full_attention(device, similarity, rounds):
    query, key, value = features(device, key_size=(12, 10))
    options = {"similarity": similarity, "temperature": 2.0}
    actual = reformer_attention(query, key, value, 3, 240, rounds, **options)
    torch.testing.assert_close(actual, full_attention(query, key, value, 3, **options))


def test_reformer_finds_equal_patches_wherever_they_lie(device):
    """Of a picture and its pieces in another order, most queries find the very same patch by its hash alone."""
    generator = torch.Generator(device).manual_seed(1)
    query = torch.randn(1, 3, 40, 40, dtype=DTYPE, device=device, generator=generator)
    key = torch.cat([query[..., 20:, :], query[..., :20, :]], 2)
    place = torch.arange(1600, device=device, dtype=DTYPE).view(1, 1, 40, 40)
    moved = torch.cat([place[..., 20:, :], place[..., :20, :]], 2)
    attended = reformer_attention(query, key, moved, 3, 32, 4, temperature=0.01)
    inside = torch.zeros(40, 40, dtype=torch.bool, device=device)
    inside[1:19, 1:39] = inside[21:39, 1:39] = True  # patches that the cut leaves whole
    assert ((attended - place).abs()[0, 0, inside] < 0.5).double().mean() > 0.95


@pytest.mark.slow
def test_more_rounds_of_hashing_come_nearer_to_full_attention(device):
    query, key, value = features(device, (24, 24))
    expected = full_attention(query, key, value, 3)
    errors = [(reformer_attention(query, key, value, 3, 32, rounds) - expected).square().mean() for rounds in (1, 4, 16)]
    assert errors[1] < 0.9 * errors[0] and errors[2] < 0.9 * errors[1]


@pytest.mark.parametrize("similarity", ["dot", "l2"])
def test_sdpa_is_full_attention(device, similarity):
    query, key, value = features(device, key_size=(12, 10))
    options = {"similarity": similarity, "temperature": 2.0}
    torch.testing.assert_close(sdpa_attention(query, key, value, 3, **options), full_attention(query, key, value, 3, **options))


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.parametrize("window", [5, 9])
def test_flex_is_local_attention(device, window):
    inputs = [x.detach().float() for x in features(device, (19, 37))]  # tiles that are cut, and blocks that are left out
    torch.testing.assert_close(
        flex_local_attention(*inputs, 3, window), local_attention(*inputs, 3, window), atol=1e-5, rtol=1e-4
    )  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_gradients_are_right(device, layer):
    options = {"nondet_tol": 1e-12, "atol": 1e-9, "rtol": 1e-5, "fast_mode": True}
    assert torch.autograd.gradcheck(layer, features(device, (7, 8), channels=2), **options)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_masks_choose_queries_and_keys(device, layer):
    query, key, value = features(device)
    query_mask = torch.rand(2, 9, 11, device=device) < 0.4
    query_mask[1] = False  # nothing is asked of the second image
    key_mask = torch.ones(2, 9, 11, dtype=torch.bool, device=device)
    key_mask[:, :, 8:] = False
    changed = value.detach().clone()
    changed[..., 7:] = 1e6  # a key needs its whole patch: from column 7 on none is valid
    out = layer(query, key, changed, query_mask, key_mask)
    assert out[query_mask[:, None].expand_as(out)].abs().max() < 100
    assert not out[~query_mask[:, None].expand_as(out)].any()
    every = torch.ones_like(query_mask)
    if layer is not LAYERS["reformer"]:  # whose chunks of queries are others when fewer are asked
        torch.testing.assert_close(out, layer(query, key, value, every, key_mask) * query_mask[:, None])
    with pytest.raises(ValueError, match="no valid key"):
        layer(query, key, value, None, torch.zeros_like(key_mask))


@pytest.mark.parametrize("layer", [PerformerAttention(3, 40), ReformerAttention(3, 5)], ids=["performer", "reformer"])
def test_the_seed_is_the_result(device, layer):
    inputs = features(device)
    first = layer(*inputs)
    torch.testing.assert_close(layer(*inputs), first, rtol=0, atol=0)
    layer.seed = 1
    assert (layer(*inputs) - first).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "module"), [("linear", linear), ("performer", performer), ("reformer", reformer), ("sdpa", fused)]
)
def test_what_a_gradient_needs_is_made_again(monkeypatch, name, module):
    """Not kept: a layer that keeps patches, features and weights keeps far more (sdpa keeps those of the keys in any case)."""

    def kept():
        saved = {}

        def note(x):
            saved[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            out = LAYERS[name](*features("cpu", (40, 40)))
        return sum(saved.values()) * bool(out.requires_grad)

    less = kept()
    monkeypatch.setattr(module, "checkpointed", lambda step, *inputs: step(*inputs))
    assert 0 < less < 0.6 * kept()


@pytest.mark.parametrize("name", ["linear", "performer", "reformer", "sdpa"])
def test_an_image_does_not_depend_on_those_beside_it(device, name):
    inputs = [x.detach() for x in features(device)]
    inputs[0][0] *= 3
    alone = [x[1:] for x in inputs]
    torch.testing.assert_close(LAYERS[name](*inputs)[1:], LAYERS[name](*alone))


@pytest.mark.parametrize(
    ("layer", "change", "message"),
    [
        (LinearAttention(4), {}, "patch_size is 4"),
        (PerformerAttention(3, 0), {}, "random_features is 0"),
        (PerformerAttention(3, similarity="cosine"), {}, "similarity is 'cosine', expected l2 or dot"),
        (PerformerAttention(3, temperature=0), {}, "temperature is 0"),
        (ReformerAttention(3, 0), {}, "chunk_size is 0"),
        (ReformerAttention(3, rounds=0), {}, "rounds is 0"),
        (LinearAttention(3), {"key": (2, 4, 9, 10)}, "value is 11x9, expected the size of the key"),
        (LinearAttention(3), {"key": (2, 5, 9, 11)}, "query has 4 channels, key has 5"),
        (lambda *x: sdpa_attention(*x, 3), {"value": (2, 46, 9, 11)}, "value has 46 channels, expected at most"),
        (lambda *x: flex_local_attention(*x, 3, 8), {}, "window is 8"),
        (FullAttention(3), {"value": (2, 3, 9, 9)}, "value is 9x9"),
    ],
)
def test_refusals_name_the_value(layer, change, message):
    shapes = {"query": (2, 4, 9, 11), "key": (2, 4, 9, 11), "value": (2, 3, 9, 11)} | change
    with pytest.raises(ValueError, match=message):
        layer(*(torch.zeros(shape) for shape in shapes.values()))
