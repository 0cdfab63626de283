"""Full and local attention: beside the oracle's one line, in training, and what they refuse."""

import pytest
import torch

from psal_cli import reference
from psal_cli.attention import FullAttention, LocalAttention, PSAttention, full_attention, local_attention, patches

DTYPE = torch.float64


def features(device, size=(11, 13), key_size=None):
    key_size = key_size or size
    sizes = ((5, size), (5, key_size), (3, key_size))
    return tuple(torch.randn(2, c, *s, dtype=DTYPE, device=device, requires_grad=True) for c, s in sizes)


def oracle(query, key, value, allowed, similarity="l2", temperature=1.0):
    """softmax(similarity) @ value over the keys of `allowed`, [B or 1, H * W, Hk * Wk]."""
    logits = reference.all_similarities(query, key, 5, similarity) / temperature
    logits = logits.masked_fill(~(allowed & reference.whole_keys(key, 5).flatten(1)[:, None]), -torch.inf)
    return (logits.softmax(2) @ value.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, query.shape[2:])


def near(device, size, reach):
    rows, columns = (x.flatten() for x in torch.meshgrid(*(torch.arange(n, device=device) for n in size), indexing="ij"))
    return (((rows[:, None] - rows).abs() <= reach) & ((columns[:, None] - columns).abs() <= reach))[None]


def strided(device, size, stride):
    chosen = torch.zeros(size, dtype=torch.bool, device=device)
    chosen[2 : size[0] - 2 : stride, 2 : size[1] - 2 : stride] = True
    return chosen.flatten()[None, None]


@pytest.mark.slow
@pytest.mark.parametrize("similarity", ["l2", "dot"])
@pytest.mark.parametrize("stride", [1, 3])
def test_full_attention_is_the_softmax_over_all_keys(device, similarity, stride, monkeypatch):
    monkeypatch.setattr(patches, "CHUNK", 100)  # several chunks of queries
    query, key, value = features(device, key_size=(12, 10))
    options = {"similarity": similarity, "temperature": 3.0}
    actual = full_attention(query, key, value, 5, stride=stride, **options)
    torch.testing.assert_close(actual, oracle(query, key, value, strided(device, (12, 10), stride), similarity, 3.0))
    if stride == 1:
        torch.testing.assert_close(actual, reference.full_attention(query, key, value, 5, **options))


@pytest.mark.slow
@pytest.mark.parametrize("similarity", ["l2", "dot"])
@pytest.mark.parametrize("window", [5, 9, 27])
def test_local_attention_is_the_softmax_over_the_keys_around(device, similarity, window):
    query, key, value = features(device, (17, 31))  # more than one block
    actual = local_attention(query, key, value, 5, window, similarity=similarity)
    torch.testing.assert_close(actual, oracle(query, key, value, near(device, (17, 31), window // 2), similarity))


@pytest.mark.slow
@pytest.mark.parametrize("layer", [FullAttention(5, stride=2), LocalAttention(5, 7)], ids=["full", "local"])
def test_masks_choose_queries_and_keys(device, layer):
    query, key, value = features(device)
    query_mask = torch.rand(2, 11, 13, device=device) < 0.4
    key_mask = torch.ones(2, 11, 13, dtype=torch.bool, device=device)
    key_mask[:, :, 9:] = False
    changed = value.detach().clone()
    changed[..., 7:] = torch.nan  # a key needs its whole patch: from column 7 on none is valid
    out = layer(query, key, changed.nan_to_num(1e6), query_mask, key_mask)
    torch.testing.assert_close(out, layer(query, key, value, key_mask=key_mask) * query_mask[:, None])
    assert out.abs().max() < 100


@pytest.mark.parametrize(
    "layer", [FullAttention(5, stride=2, temperature=30.0), LocalAttention(5, 7, temperature=30.0)], ids=["full", "local"]
)
def test_gradients_are_those_of_the_softmax(device, layer):
    assert torch.autograd.gradcheck(layer, features(device), atol=1e-9, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize("layer", [FullAttention(5, stride=2), LocalAttention(5, 7)], ids=["full", "local"])
def test_medium_precision_changes_gradients_by_their_rounding_alone(device, layer):
    inputs = [x.detach().float().requires_grad_() for x in features(device)]
    exact = torch.autograd.grad(layer(*inputs).square().sum(), inputs)
    loss = layer(*inputs).square().sum()
    torch.set_float32_matmul_precision("medium")
    try:
        rounded = torch.autograd.grad(loss, inputs)
    finally:
        torch.set_float32_matmul_precision("highest")
    for gradient, right in zip(rounded[:2], exact[:2], strict=True):  # the values' gradient has no large product
        assert gradient.dtype == torch.float32
        assert 0 < (gradient - right).norm() < 1e-2 * right.norm()


def test_psal_over_all_keys_is_full_attention(device):
    query, key, value = features(device, (9, 9))
    layer = PSAttention(5, k=25, schedule="exact")
    torch.testing.assert_close(layer(query, key, value), full_attention(query, key, value, 5))


@pytest.mark.parametrize(
    ("layer", "change", "message"),
    [
        (FullAttention(4), {}, "patch_size is 4"),
        (FullAttention(5, similarity="cosine"), {}, "similarity is 'cosine', expected l2 or dot"),
        (FullAttention(5, temperature=0), {}, "temperature is 0"),
        (FullAttention(5, stride=0), {}, "stride is 0"),
        (FullAttention(13), {}, "patch_size is 13, larger than the key"),
        (FullAttention(5), {"value": (2, 3, 9, 9)}, "value is 9x9, expected the size of the key"),
        (FullAttention(5), {"key": (2, 4, 11, 13)}, "query has 5 channels, key has 4"),
        (LocalAttention(5, 8), {}, "window is 8"),
        (LocalAttention(5, 3), {}, "at least patch_size 5"),
        (LocalAttention(5), {"key": (2, 5, 12, 13), "value": (2, 3, 12, 13)}, "query is 13x11, key is 13x12"),
    ],
)
def test_refusals_name_the_value(layer, change, message):
    shapes = {"query": (2, 5, 11, 13), "key": (2, 5, 11, 13), "value": (2, 3, 11, 13)} | change
    with pytest.raises(ValueError, match=message):
        layer(*(torch.zeros(shape) for shape in shapes.values()))


def test_full_attention_refuses_a_mask_without_keys():
    query, key, value = features("cpu")
    with pytest.raises(ValueError, match="no valid key"):
        full_attention(query, key, value, 5, key_mask=torch.zeros(2, 11, 13, dtype=torch.bool))


def test_a_common_offset_costs_no_digits():
    query, key, value = (x.detach().float() for x in features("cpu"))
    near, far = (full_attention(query + offset, key + offset, value, 5) for offset in (0, 100))
    torch.testing.assert_close(near, far, atol=2e-3, rtol=0)


def test_half_precision_is_refused():
    with pytest.raises(ValueError, match=r"query is torch\.float16, expected float32 or float64"):
        full_attention(*(x.half() for x in features("cpu")), 5)
