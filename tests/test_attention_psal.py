"""The layer: beside the oracle, at its limits, inside torch.compile and autocast, and in training."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from psal_cli import ops, reference
from psal_cli.attention import PSAttention, ps_attention

pytestmark = pytest.mark.native

OPTIONS = {
    "one neighbour": {"k": 1},
    "three neighbours": {"k": 3},
    "aggregation": {"k": 1, "aggregation": True},
    "aggregation of three": {"k": 3, "aggregation": True, "temperature": 4.0},
    "dot": {"k": 3, "similarity": "dot", "temperature": 50.0},
    "cosine": {"k": 3, "similarity": "cosine", "temperature": 0.1, "aggregation": True},
    "key_cosine": {"k": 8, "similarity": "key_cosine"},
    "twice larger values": {"k": 3, "value_scale": 2, "aggregation": True, "temperature": 4.0},
    "masks": {"k": 3, "aggregation": True, "temperature": 4.0, "masks": True},
}


def features(device, dtype=torch.float32, value_scale=1):
    query = torch.randn(2, 5, 14, 12, dtype=dtype, device=device, requires_grad=True)
    key = torch.randn(2, 5, 11, 13, dtype=dtype, device=device, requires_grad=True)
    value = torch.randn(2, 3, 11 * value_scale, 13 * value_scale, dtype=dtype, device=device, requires_grad=True)
    return query, key, value


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_layer_and_its_gradients_are_the_oracles(device, options):
    options = dict(options)
    inputs = features(device, torch.float64, options.get("value_scale", 1))
    if options.pop("masks", False):
        options["query_mask"] = torch.rand(2, 14, 12, device=device) < 0.5
        options["key_mask"] = torch.arange(13, device=device).expand(2, 11, 13) < 9
    actual = ps_attention(*inputs, 3, schedule="exact", **options)
    expected = reference.ps_attention(*inputs, 3, **options)
    torch.testing.assert_close(actual, expected)
    cotangent = torch.randn_like(actual)
    for ours, oracles in zip(
        torch.autograd.grad(actual, inputs, cotangent), torch.autograd.grad(expected, inputs, cotangent), strict=True
    ):
        torch.testing.assert_close(ours, oracles)


@pytest.mark.parametrize(("similarity", "temperature"), [("l2", 1.0), ("dot", 8.0), ("cosine", 0.2)])
def test_all_keys_and_an_exact_search_are_full_attention(device, similarity, temperature):
    query, key, value = torch.randn(3, 2, 4, 10, 9, dtype=torch.float64, device=device)
    actual = ps_attention(query, key, value, 3, 56, similarity=similarity, temperature=temperature, schedule="exact")
    torch.testing.assert_close(
        actual, reference.full_attention(query, key, value, 3, similarity=similarity, temperature=temperature)
    )


def test_nearest_neighbour_copies_the_value(device):
    key = torch.randn(1, 4, 24, 24, device=device)
    value = torch.rand(1, 3, 24, 24, device=device)
    out = ps_attention(key[..., 4:20, 6:22], key, value, 5, 1, schedule="exact")
    assert torch.equal(out, value[..., 4:20, 6:22])


@pytest.mark.parametrize("aggregation", [False, True])
def test_outside_the_query_mask_is_zero(device, aggregation):
    query, key, value = features(device)
    mask = torch.zeros(2, 14, 12, dtype=torch.bool, device=device)
    mask[:, 4:8, 3:9] = True
    reach = F.max_pool2d(mask.float(), 3, 1, 1).bool() if aggregation else mask  # a searched patch pastes one pixel around
    out, field = ps_attention(query, key, value + 10, 3, aggregation=aggregation, query_mask=mask, return_field=True)
    assert torch.equal((out != 0).all(1), reach) and torch.equal((out != 0).any(1), reach)
    grads = torch.autograd.grad(out.sum() + field.similarity[field.nnf[:, :, 0] >= 0].sum(), (query, key, value))
    assert all(g.isfinite().all() for g in grads)


def test_field_on_request_is_differentiable(device):
    query, key, value = features(device)
    out, (nnf, similarity) = ps_attention(query, key, value, 3, 2, 1, schedule="jump-flood", seed=9, return_field=True)
    assert out.shape == (2, 3, 14, 12)
    assert torch.equal(nnf, ops.search(query, key, 3, 2, 1, schedule="jump-flood", seed=9)[0])
    torch.testing.assert_close(similarity, reference.similarity_at(query, key, nnf, 3))
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(similarity.sum(), (query, key)))


# ------------------------------------------------------------------------------------------- the paper's derivatives


def test_gradients_are_equations_6_7_and_8(device):
    """Section 3.4.1, scalars: n queries, n keys, n values, patches of one pixel, S = -(Q - K)^2."""
    n, neighbours = 12, 4
    query, key, value = (torch.randn(1, 1, 1, n, dtype=torch.float64, device=device, requires_grad=True) for _ in range(3))
    out, (nnf, similarity) = ps_attention(query, key, value, 1, neighbours, schedule="exact", return_field=True)
    q, k, v = (x.detach().flatten().tolist() for x in (query, key, value))
    psi = nnf[0, :, 1, 0].T.tolist()  # psi[i]: the neighbours of query i
    weight = similarity.detach().softmax(1)[0, :, 0].T.tolist()
    a = [dict(zip(psi[i], weight[i], strict=True)) for i in range(n)]  # equation 5, A_ij
    for i in range(n):
        mean = sum(a[i][j] * v[j] for j in psi[i])
        by_query, by_key, by_value = [0.0] * n, [0.0] * n, [0.0] * n
        slope = {j: -2 * (q[i] - k[j]) for j in psi[i]}  # dS_ij / dQ_i
        by_query[i] = sum(a[i][j] * v[j] * (slope[j] - sum(a[i][m] * slope[m] for m in psi[i])) for j in psi[i])
        for j in psi[i]:
            by_key[j] = -slope[j] * a[i][j] * (v[j] - mean)  # with A_ij in the bracket of equation 8, where the print has A_ik
            by_value[j] = a[i][j]
        actual = torch.autograd.grad(out[0, 0, 0, i], (query, key, value), retain_graph=True)
        for ours, expected in zip(actual, (by_query, by_key, by_value), strict=True):
            torch.testing.assert_close(ours.flatten(), ours.new_tensor(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_one_neighbour_leaves_query_and_key_without_gradient(device, dtype):
    """Exactly zero, not nearly: Adam would make a full step of any rounding error."""
    query, key, value = features(device, dtype)
    grads = torch.autograd.grad((ps_attention(query, key, value, 3, 1) - 1).square().sum(), (query, key, value))
    assert (grads[0] == 0).all() and (grads[1] == 0).all() and grads[2].abs().max() > 0


# ---------------------------------------------------------------------------------------------------- inside of torch


@pytest.fixture
def in_this_process():
    """Inductor compiles here: processes of its own take longer to start than the work does."""
    from torch._inductor import config

    with config.patch(compile_threads=1):
        yield


@pytest.mark.slow
@pytest.mark.unsanitized
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, from inside inductor
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=[pytest.mark.slow, pytest.mark.subprocess])])
def test_compiled_whole_it_equals_eager(device, backend, masked, in_this_process):
    layer = PSAttention(3, 3, aggregation=True, similarity="key_cosine")
    inputs = features(device)
    masks = (torch.rand(2, 14, 12, device=device) < 0.8, torch.arange(13, device=device).expand(2, 11, 13) < 9) if masked else ()

    def network(query, key, value, *masks):
        return layer(query * 2, key, value.tanh(), *masks).relu()

    actual, expected = torch.compile(network, fullgraph=True, backend=backend)(*inputs, *masks), network(*inputs, *masks)
    torch.testing.assert_close(actual, expected)
    for compiled, eager in zip(
        torch.autograd.grad(actual.sum(), inputs), torch.autograd.grad(expected.sum(), inputs), strict=True
    ):
        torch.testing.assert_close(compiled, eager)


def test_under_autocast_the_features_are_bfloat16_and_the_gradients_flow(device):
    embed = nn.Conv2d(3, 16, 3, padding=1).to(device)
    picture, other = torch.rand(2, 1, 3, 32, 32, device=device)
    with torch.autocast(device.type, torch.bfloat16):
        out, field = ps_attention(embed(picture), embed(other), other, 5, 3, schedule="exact", return_field=True)
        mixed = ps_attention(embed(picture), embed(other).float(), other, 5, 3, schedule="exact")
    assert out.dtype == field.similarity.dtype == torch.float32
    torch.testing.assert_close(mixed, out)
    full = ps_attention(embed(picture), embed(other), other, 5, 3, init=field.nnf, iterations=0)
    assert (out - full).abs().mean() < 0.02
    out.sum().backward()
    assert embed.weight.grad.dtype == torch.float32 and embed.weight.grad.abs().max() > 0


def test_float16_values_stay_float16(device):
    query, key, value = features(device, torch.float16)
    out = ps_attention(query, key, value, 3, 3, temperature=10.0, aggregation=True, schedule="exact")
    expected = reference.ps_attention(query.double(), key.double(), value.double(), 3, 3, temperature=10.0, aggregation=True)
    assert out.dtype == torch.float16
    torch.testing.assert_close(out.double(), expected, rtol=1e-3, atol=1e-3)


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_temperature_must_be_positive(temperature):
    x = torch.rand(1, 3, 9, 9)
    with pytest.raises(ValueError, match=f"temperature is {temperature}, expected a number above 0"):
        ps_attention(x, x, x, 3, temperature=temperature)


def test_value_must_have_the_keys_size():
    x = torch.rand(1, 3, 12, 12)
    with pytest.raises(ValueError, match="value is 6x12, expected 12x12"):
        ps_attention(x, x, x[..., :6], 3)
    with pytest.raises(ValueError, match=r"value has shape \[3, 12, 12\], expected \[B, C, H, W\]"):
        ps_attention(x, x, x[0], 3)
    with pytest.raises(ValueError, match="value is 12x12, expected 24x24"):
        ps_attention(x, x, x, 3, value_scale=2)


# ------------------------------------------------------------------------------------------------------------ training


class Reconstruction(nn.Module):
    """The paper's figure 3 without its last convolution: rebuilds the query frame from the pixels of the key frame."""

    def __init__(self, k, aggregation):
        super().__init__()
        self.query, self.key = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, 16, 3, padding=1)
        self.attention = PSAttention(7, k, 5, aggregation=aggregation)

    def forward(self, query, key):
        return self.attention(self.query(query), self.key(key), key)


def train(network, query, key, steps):
    """The loss before the first step and after the last."""
    optimiser, losses = torch.optim.Adam(network.parameters(), 0.01), []
    for step in range(steps + 1):
        network.attention.seed = step
        losses.append(F.mse_loss(network(query, key), query))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    return losses[0].item(), losses[-1].item()


@pytest.mark.slow
@pytest.mark.unsanitized
@pytest.mark.parametrize(("k", "aggregation"), [(3, False), (1, True)])
def test_two_convolutions_learn_to_reconstruct(pair, device, k, aggregation):
    query, key = (frame.to(device) for frame in pair(64))
    before, after = train(Reconstruction(k, aggregation).to(device), query, key, 90)
    assert before > 0.1  # worse than the mean colour, 0.029, or the key frame itself, 0.046
    assert after < 0.012  # matching the frames' own pixels gives 0.008


@pytest.mark.slow
@pytest.mark.unsanitized
def test_one_neighbour_learns_nothing(pair, device):
    query, key = (frame.to(device) for frame in pair(64))
    network = Reconstruction(1, False).to(device)
    start = {name: x.clone() for name, x in network.state_dict().items()}
    train(network, query, key, 3)
    assert all(torch.equal(x, start[name]) for name, x in network.state_dict().items())


def test_module_stores_its_arguments(device):
    layer = PSAttention(3, 2, 4, aggregation=True, similarity="dot", temperature=5.0, schedule="jump-flood", seed=9)
    assert not list(layer.parameters()) and not layer.state_dict()
    options = {"aggregation": True, "similarity": "dot", "temperature": 5.0, "schedule": "jump-flood", "seed": 9}
    inputs = features(device)
    assert torch.equal(layer(*inputs), ps_attention(*inputs, 3, 2, 4, **options))
    for text in ("patch_size=3", "k=2", "iterations=4", "aggregation=True", "similarity='dot'", "temperature=5.0"):
        assert text in repr(layer)
