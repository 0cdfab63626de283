"""similarity_at and aggregate: values and gradients beside the oracle's, and what torch asks of an operator."""

import subprocess
import sys

import pytest
import torch

from psal_cli import ops, reference

pytestmark = pytest.mark.native

SIMILARITIES = ["l2", "dot", "cosine", "key_cosine"]
# Sums are kept in float32 (float64), then rounded once to the features' dtype: what either may be off, as a part of it.
SUM = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 2e-6, torch.bfloat16: 2e-6}
ROUNDING = {torch.float64: 0, torch.float32: 0, torch.float16: 2**-11, torch.bfloat16: 2**-8}
DTYPES = list(SUM)


def assert_close(actual, expected, dtype, results=1):
    """`results`: of how many rounded results the actual one is the sum, each up to the size of the largest."""
    actual, expected = actual.detach().double(), expected.detach()
    finite = expected.isfinite()
    assert torch.equal(actual[~finite], expected[~finite])
    scale = max(4.0, expected[finite].abs().max().item())  # a smaller result is the difference of such
    once, summed = (ROUNDING[dtype], 0) if results == 1 else (0, ROUNDING[dtype] * results)
    torch.testing.assert_close(actual[finite], expected[finite], rtol=once, atol=(SUM[dtype] + summed) * scale)


def a_field(k, query_size, key_size, device, batch=2):
    """A random nnf with matches on the key's border (their patches leave it) and places without a match."""
    height, width = key_size
    row = torch.randint(0, height, (batch, k, *query_size), dtype=torch.int32)
    column = torch.randint(0, width, (batch, k, *query_size), dtype=torch.int32)
    nnf = torch.stack((row, column), 2)
    nnf[:, -1, :, 1:3, 2:4] = -1  # the last neighbour only
    nnf[:, :, :, 5:, 4:7] = -1  # all neighbours, over a region larger than a 3x3 patch
    return nnf.to(device)


def gradients(function, *inputs):
    """(output, gradients of a random cotangent) for the inputs that ask for one."""
    out = function(*inputs)
    cotangent = torch.randint(-9, 10, out.shape, generator=torch.Generator().manual_seed(1)) / 4  # the same in every dtype
    cotangent = cotangent.to(out).masked_fill(out.isinf(), 0)
    return out, *torch.autograd.grad(out, [x for x in inputs if torch.is_tensor(x) and x.requires_grad], cotangent)


# ------------------------------------------------------------------------------------------------------- similarity_at


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("patch_size", "channels", "k"), [(1, 33, 1), (3, 5, 8), (7, 16, 3)])
def test_similarity_at_and_its_gradients_are_the_oracles(device, similarity, dtype, patch_size, channels, k):
    query = torch.randn(2, channels, 12, 9, device=device).to(dtype).requires_grad_()
    key = torch.randn(2, channels, 10, 14, device=device).to(dtype).requires_grad_()
    nnf = a_field(k, (12, 9), (10, 14), device)
    actual = gradients(ops.similarity_at, query, key, nnf, patch_size, similarity)
    exact = [x.detach().double().requires_grad_() for x in (query, key)]
    expected = gradients(reference.similarity_at, *exact, nnf, patch_size, similarity)
    assert actual[0].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_close(actual[0], expected[0], actual[0].dtype)  # never rounded to 16 bits
    assert actual[1].dtype == actual[2].dtype == dtype
    roundings = 3 if similarity in ("cosine", "key_cosine") else 1  # of the products and of the norms' squares
    assert_close(actual[1], expected[1], dtype, roundings)
    assert_close(actual[2], expected[2], dtype, roundings)


@pytest.mark.not_emulated("too many calls; the gradients are compared with the oracle's")
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_similarity_at_passes_gradcheck(device, similarity):
    query = torch.randn(1, 2, 6, 5, dtype=torch.float64, device=device, requires_grad=True)
    key = torch.randn(1, 2, 5, 7, dtype=torch.float64, device=device, requires_grad=True)
    nnf = a_field(2, (6, 5), (5, 7), device, batch=1)
    matched = nnf[:, :, 0] >= 0
    assert torch.autograd.gradcheck(lambda q, k: ops.similarity_at(q, k, nnf, 3, similarity)[matched], (query, key))


@pytest.mark.parametrize("similarity", ["cosine", "key_cosine"])
def test_patch_without_norm_has_a_finite_gradient(device, similarity):
    query, key = (torch.zeros(1, 3, 8, 8, device=device, requires_grad=True) for _ in range(2))
    nnf = a_field(2, (8, 8), (8, 8), device, batch=1)
    out, *grads = gradients(ops.similarity_at, query, key, nnf, 3, similarity)
    assert (out[out.isfinite()] == 0).all() and all(g.isfinite().all() for g in grads)


# ----------------------------------------------------------------------------------------------------------- aggregate


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize(
    ("patch_size", "value_scale", "channels", "k"), [(1, 1, 33, 3), (1, 3, 3, 1), (3, 2, 5, 8), (7, 1, 16, 3), (5, 4, 1, 2)]
)
def test_aggregate_and_its_gradients_are_the_oracles(device, dtype, softmax, patch_size, value_scale, channels, k):
    value = torch.randn(2, channels, 10 * value_scale, 14 * value_scale, device=device).to(dtype).requires_grad_()
    term = torch.float64 if dtype == torch.float64 else torch.float32
    weight = torch.randn(2, k, 12, 9, dtype=term, device=device, requires_grad=True)
    nnf = a_field(k, (12, 9), (10, 14), device)
    actual = gradients(ops.aggregate, value, nnf, weight, patch_size, softmax, value_scale)
    exact = [x.detach().double().requires_grad_() for x in (value, weight)]
    expected = gradients(reference.aggregate, exact[0], nnf, exact[1], patch_size, softmax, value_scale)
    assert actual[0].shape == (2, channels, 12 * value_scale, 9 * value_scale)
    assert actual[0].dtype == actual[1].dtype == dtype and actual[2].dtype == term
    assert_close(actual[0], expected[0], dtype)
    assert_close(actual[1], expected[1], dtype)
    assert_close(actual[2], expected[2], dtype, results=2)  # the mean that a softmax subtracts is made of the rounded output


@pytest.mark.slow
@pytest.mark.not_emulated("too many calls; the gradients are compared with the oracle's")
@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize(("patch_size", "value_scale"), [(1, 1), (3, 1), (3, 2), (3, 3)])
def test_aggregate_passes_gradcheck(device, softmax, patch_size, value_scale):
    value = torch.randn(1, 2, 5 * value_scale, 7 * value_scale, dtype=torch.float64, device=device, requires_grad=True)
    weight = torch.randn(1, 2, 6, 7, dtype=torch.float64, device=device, requires_grad=True)
    nnf = a_field(2, (6, 7), (5, 7), device, batch=1)
    assert torch.autograd.gradcheck(lambda v, w: ops.aggregate(v, nnf, w, patch_size, softmax, value_scale), (value, weight))


@pytest.mark.parametrize("patch_size", [1, 3])
def test_softmax_of_any_logits_stays_finite(device, patch_size):
    value = torch.randn(1, 3, 8, 8, device=device)
    weight = (torch.randn(1, 3, 8, 8, device=device) * 1e5).requires_grad_()
    nnf = torch.randint(0, 8, (1, 3, 2, 8, 8), dtype=torch.int32, device=device)
    out, grad = gradients(ops.aggregate, value, nnf, weight, patch_size, True)
    assert_close(out, reference.aggregate(value.double(), nnf, weight.detach().double(), patch_size, True), torch.float32)
    assert grad.isfinite().all()


def test_without_a_match_the_sum_is_zero_and_no_gradient_flows(device):
    nnf = torch.full((1, 2, 2, 6, 6), -1, dtype=torch.int32, device=device)
    value, weight = (
        torch.randn(1, 3, 6, 6, device=device, requires_grad=True),
        torch.full((1, 2, 6, 6), -torch.inf, device=device),
    )
    for softmax in (False, True):
        results = gradients(ops.aggregate, value, nnf, weight.clone().requires_grad_(), 3, softmax)
        assert all((x == 0).all() for x in results)


# ------------------------------------------------------------------------------------------------- as torch's operators


def operator_samples(device):
    """(operator, arguments) for opcheck: each operator with and without what it may leave out."""
    query, key = torch.randn(2, 3, 8, 7, device=device), torch.randn(2, 3, 6, 9, device=device)
    nnf, weight = a_field(2, (8, 7), (6, 9), device), torch.randn(2, 2, 8, 7, device=device)
    log_total = torch.randn(2, 8, 7, device=device)
    mask = torch.ones(2, 8, 7, dtype=torch.bool, device=device)
    inner = torch.zeros(2, 6, 9, dtype=torch.bool, device=device)
    inner[:, 1:-1, 1:-1] = True
    method = "jump-flood" if device.type == "cuda" else "scan"
    ps = torch.ops.psal
    asking = [x.clone().requires_grad_() for x in (query, key, weight)]
    yield ps.search, (query, key, None, None, None, None, 3, 2, 2, "l2", method, 0)
    yield ps.search, (query, key, mask, inner, ops.keys_by_row(inner), nnf, 3, 2, 2, "cosine", "jump-flood", 1)
    yield ps.enough_valid_keys, (inner, 3, 2)
    yield ps.gather, (*asking[:2], nnf, 3, "l2")
    yield ps.gather, (*asking[:2], nnf, 3, "dot")
    yield ps.gather, (query, key, nnf, 3, "dot", weight, log_total, log_total)
    yield ps.spread, (key, nnf, weight, 3)
    yield ps.spread, (key, nnf, weight, 3, log_total, query)
    yield ps.scatter, (query, nnf, weight, 3, 6, 9)
    yield ps.scatter, (query, nnf, weight, 3, 6, 9, log_total, key)
    yield ps.aggregate, (asking[1], nnf, asking[2], 1, False)
    yield ps.aggregate, (asking[1], nnf, asking[2], 3, True)


@pytest.mark.slow
@pytest.mark.not_emulated("about torch, not about the kernels")
def test_operators_pass_opcheck(device):
    for operator, arguments in operator_samples(device):
        torch.library.opcheck(operator, arguments)


@pytest.mark.not_emulated("its threads run in one order always")
def test_gradients_are_the_same_bits_in_every_run_and_for_any_number_of_threads(device, threads):
    query, key, value = (torch.randn(2, 16, 40, 36, device=device, requires_grad=True) for _ in range(3))
    nnf = a_field(3, (40, 36), (6, 7), device)  # many queries match one key: a race would show

    def run():
        similarities = ops.similarity_at(query, key, nnf, 5, "l2") / 100
        return torch.autograd.grad(ops.aggregate(value, nnf, similarities, 5, softmax=True).square().sum(), (query, key, value))

    threads(1)
    expected = run()
    for count in (1, 2, 4):
        threads(count)
        assert all(torch.equal(a, b) for a, b in zip(run(), expected, strict=True))


def test_memory_layout_does_not_matter(device):
    query, key, value = torch.randn(3, 2, 5, 12, 10, device=device)
    nnf = a_field(3, (12, 10), (12, 10), device)

    def run(change):
        q, k, v = (change(x).detach().requires_grad_() for x in (query, key, value))
        field = nnf.transpose(3, 4).contiguous().transpose(3, 4) if change is not torch.clone else nnf
        out = ops.aggregate(v, field, ops.similarity_at(q, k, field, 3), 3, softmax=True)
        return (*torch.autograd.grad(out.sum(), (q, k, v)), out)  # the cotangent of a sum has stride 0

    expected = run(torch.clone)
    for change in (lambda x: x.to(memory_format=torch.channels_last), lambda x: x.mT.contiguous().mT):
        assert all(torch.equal(a, b) for a, b in zip(run(change), expected, strict=True))


def test_second_derivatives_are_refused_not_wrong(device):
    query, key = torch.randn(2, 1, 3, 8, 8, device=device, requires_grad=True)
    nnf = a_field(2, (8, 8), (8, 8), device, batch=1).clamp_min(0)
    (grad,) = torch.autograd.grad(ops.similarity_at(query, key, nnf, 3).sum(), query, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        grad.sum().backward()


@pytest.mark.parametrize("patch_size", [1, 3, 7])
def test_valid_keys_are_the_oracles(device, patch_size):
    mask = torch.rand(2, 20, 17, device=device) < 0.9
    assert torch.equal(ops.valid_keys(mask, patch_size), reference.whole_keys(mask[:, None], patch_size, mask))


MEMORY = """
import resource, torch
from psal_cli import ops

def run(size):
    value, weight = torch.randn(1, 64, size, size, requires_grad=True), torch.randn(1, 3, size, size, requires_grad=True)
    nnf = torch.randint(0, size, (1, 3, 2, size, size), dtype=torch.int32)
    ops.aggregate(value, nnf, weight, 7, softmax=True).sum().backward()

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

run(16)
before = peak()
run(128)
print(peak() - before)
"""


@pytest.mark.subprocess
def test_aggregation_takes_far_less_memory_than_its_patches():
    run = subprocess.run([sys.executable, "-P", "-c", MEMORY], capture_output=True, text=True, check=True)
    kilobytes = 4 * 64 * 3 * 7**2 * 128**2 / 1024  # [C, k * patch_size^2, H, W] in float32: 602 MB
    assert int(run.stdout) < kilobytes / 10


@pytest.mark.parametrize("channels", [16, 5])
def test_weights_of_any_size_are_normalised_as_in_float64(channels):
    """exp is the engine's own on the CPU: weights far apart, and far from zero, must not show it."""
    value, nnf = torch.rand(1, channels, 9, 8), torch.randint(0, 8, (1, 3, 2, 9, 8), dtype=torch.int32)
    for spread, shift in ((1, 0), (40, 0), (300, -5000), (1e-3, 1e4)):
        weight = torch.randn(1, 3, 9, 8) * spread + shift
        out = ops.aggregate(value, nnf, weight, 3, softmax=True)
        expected = reference.aggregate(value.double(), nnf, weight.double(), 3, True)
        torch.testing.assert_close(out.double(), expected, rtol=2e-3 if shift else 1e-5, atol=1e-6)
