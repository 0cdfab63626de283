"""Every CUDA kernel on random problems, on the emulation: bit for bit the CPU's result on integers, the oracle's on floats.

The emulation also reports accesses out of bounds, races and divergence, as errors. The operators' own tests run there too.
"""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from psal_cli import ops, reference

from .test_ops_search import assert_same, rounding
from .test_ops_windows import assert_close

pytestmark = pytest.mark.emulation
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
SCHEDULES = ["jump-flood", "exact"]
CHANNELS = [1, 3, 4, 5, 8, 16, 24, 33, 64, 72]  # on both sides of every choice of a group's width
problems = settings(max_examples=25, deadline=None, derandomize=True, database=None)  # of each dtype: a hundred of each kernel


def integers(draw, *shape):
    """Numbers that every dtype holds and whose sums every dtype's sums hold."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    return torch.randint(-4, 5, shape, generator=generator)


@st.composite
def searches(draw):
    """(query, key, arguments of ops.search, offset): small, with and without masks and a field to start from."""
    patch_size, batch, channels = draw(st.sampled_from([1, 3, 5])), draw(st.integers(1, 2)), draw(st.sampled_from(CHANNELS))
    query_size = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    key_size = [draw(st.integers(patch_size, patch_size + 8)) for _ in range(2)]
    key_mask = torch.ones(batch, *key_size, dtype=torch.bool)
    key_mask[:, patch_size + draw(st.integers(0, 8)) :] = False
    keys = int(reference.whole_keys(key_mask[:, None].float(), patch_size, key_mask)[0].sum())
    arguments = {"patch_size": patch_size, "k": draw(st.integers(1, min(64, keys))), "seed": draw(st.integers(0, 2**63 - 1))}
    arguments |= {"similarity": draw(st.sampled_from(["l2", "dot", "key_cosine"])), "iterations": draw(st.integers(0, 3))}
    arguments |= {"key_mask": draw(st.sampled_from([None, key_mask])) if key_mask.all() else key_mask}
    if draw(st.booleans()):
        arguments["query_mask"] = integers(draw, batch, *query_size) < 2
    if draw(st.booleans()):
        arguments["init"] = integers(draw, batch, arguments["k"], 2, *query_size).int() + 5
    return integers(draw, batch, channels, *query_size), integers(draw, batch, channels, *key_size), arguments, draw(OFFSET)


OFFSET = st.sampled_from([0, 0, 1])  # 1: the allocations begin where no 16-byte load may


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("schedule", SCHEDULES)
@problems
@given(problem=searches())
def test_search_of_integers_is_the_cpus(emulated, schedule, dtype, problem):
    query, key, arguments, offset = problem
    expected = ops.search(query.to(dtype), key.to(dtype), schedule=schedule, **arguments)
    with emulated.active(offset):
        actual = ops.search(query.to(dtype), key.to(dtype), schedule=schedule, **arguments)
    assert torch.equal(actual[0], expected[0]) and torch.equal(actual[1], expected[1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("schedule", SCHEDULES)
@settings(problems, max_examples=10)
@given(problem=searches())
def test_search_of_floats_finds_the_oracles_similarities(emulated, schedule, dtype, problem):
    query, key, arguments, offset = problem
    query, key = (torch.randn(x.shape, generator=torch.Generator().manual_seed(i)).to(dtype) for i, x in enumerate((query, key)))
    with emulated.active(offset):
        nnf, similarity = ops.search(query, key, schedule=schedule, **arguments)
    at = query.double(), key.double(), nnf, arguments["patch_size"], arguments["similarity"]
    assert_same(similarity, reference.similarity_at(*at), rounding(*at))
    if schedule == "exact":
        _, best = reference.search(query.double(), key.double(), **arguments)
        assert_same(similarity, best, rounding(*at))


@st.composite
def windows(draw):
    """(query, key, nnf, weight, patch_size, centred, offset): matches anywhere in the key, some of them missing."""
    patch_size, channels = draw(st.sampled_from([1, 3, 5])), draw(st.sampled_from([*CHANNELS, 264]))
    batch, k = draw(st.integers(1, 2)), draw(st.integers(1, 5))
    query_size, key_size = ([draw(st.integers(1, 10)) for _ in range(2)] for _ in range(2))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    place = [torch.randint(0, side, (batch, k, *query_size), generator=generator) for side in key_size]
    nnf = torch.stack(place, 2).int()
    nnf.masked_fill_((torch.rand(batch, k, *query_size, generator=generator) < 0.2)[:, :, None], -1)
    query, key = integers(draw, batch, channels, *query_size), integers(draw, batch, channels, *key_size)
    weight = integers(draw, batch, k, *query_size)
    return query, key, nnf, weight, patch_size, draw(st.booleans()), draw(OFFSET)


def everywhere(emulated, offset, operator, *arguments):
    """(what the emulation gives, what the CPU gives)."""
    expected = operator(*arguments)
    with emulated.active(offset):
        return operator(*arguments), expected


def term(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("similarity", ["l2", "dot"])
@problems
@given(problem=windows())
def test_gather_of_integers_is_the_cpus(emulated, similarity, dtype, problem):
    query, key, nnf, _, patch_size, _, offset = problem
    arguments = query.to(dtype), key.to(dtype), nnf, patch_size, similarity
    actual, expected = everywhere(emulated, offset, torch.ops.psal.gather, *arguments)
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@problems
@given(problem=windows())
def test_spread_of_integers_is_the_cpus(emulated, dtype, problem):
    query, key, nnf, weight, patch_size, centred, offset = problem
    centre = query.to(dtype) if centred else None
    arguments = key.to(dtype), nnf, weight.to(term(dtype)), patch_size, None, centre
    actual, expected = everywhere(emulated, offset, torch.ops.psal.spread, *arguments)
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@problems
@given(problem=windows())
def test_scatter_of_integers_is_the_cpus(emulated, dtype, problem):
    query, key, nnf, weight, patch_size, centred, offset = problem
    centre = key.to(dtype) if centred else None
    arguments = query.to(dtype), nnf, weight.to(term(dtype)), patch_size, *key.shape[2:], None, centre
    actual, expected = everywhere(emulated, offset, torch.ops.psal.scatter, *arguments)
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@problems
@given(problem=windows())
def test_softmax_and_its_gradients_are_the_oracles(emulated, dtype, problem):
    """log_total, and the sums that its weights go into: spread forward, scatter and gather backward."""
    _, key, nnf, weight, patch_size, _, offset = problem
    value, logits = (key / 3).to(dtype).requires_grad_(), (weight / 3).to(term(dtype)).requires_grad_()
    with emulated.active(offset):
        out = ops.aggregate(value, nnf, logits, patch_size, softmax=True)
        actual = out, *torch.autograd.grad(out.sum(), (value, logits))
    exact = value.detach().double().requires_grad_(), logits.detach().double().requires_grad_()
    out = reference.aggregate(exact[0], nnf, exact[1], patch_size, True)
    expected = out, *torch.autograd.grad(out.sum(), exact)
    assert_close(actual[0], expected[0], dtype)
    assert_close(actual[1], expected[1], dtype)
    assert_close(actual[2], expected[2], dtype, results=2)


def test_more_images_than_a_launch_holds(emulated):
    """65535 is the most blocks along y: the rest of a batch takes another launch of each kernel."""
    batch = 65535 + 3
    query, key = torch.randint(-4, 5, (2, batch, 1, 1, 2), generator=torch.Generator().manual_seed(0)).float()
    nnf, weight = torch.zeros(batch, 1, 2, 1, 2, dtype=torch.int32), torch.ones(batch, 1, 1, 2)
    nnf[:, :, 1] = torch.randint(0, 2, (batch, 1, 1, 2), generator=torch.Generator().manual_seed(1))

    def run():
        yield from ops.search(query, key, 1, 1, 1, schedule="jump-flood")
        yield from ops.search(query, key, 1, 1, schedule="exact")
        yield ops.similarity_at(query, key, nnf, 1)
        yield ops.aggregate(key, nnf, weight, 1, softmax=True)
        yield torch.ops.psal.scatter(query, nnf, weight, 1, 1, 2)

    expected = list(run())
    with emulated.active():
        actual = list(run())
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


def test_the_scan_is_refused(emulated):
    query = torch.zeros(1, 1, 4, 4)
    with emulated.active(), pytest.raises(RuntimeError, match="psal search: the scan schedule runs on the CPU only"):
        ops.search(query, query, 1, 1, schedule="scan")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_features_that_are_not_finite_give_the_cpus_keys(emulated, schedule, value):
    for where in (slice(0), slice(2, 4), slice(None)):  # of the query: nowhere, a few rows, everywhere
        query, key = torch.randint(-4, 5, (2, 1, 3, 8, 7), generator=torch.Generator().manual_seed(0)).float()
        query[0, 1, where] = value
        key[0, :, ::4, ::5] = value
        actual, expected = everywhere(emulated, 0, partial(ops.search, schedule=schedule), query, key, 3, 4, 2)
        row, column = actual[0].unbind(2)
        assert row.min() >= 1 and row.max() < 7 and column.min() >= 1 and column.max() < 6, where
        assert torch.equal(actual[0], expected[0]), where


def test_last_position_of_the_largest_key(emulated):
    """A position takes 16 bits for its row and 16 for its column."""
    key = torch.linspace(0, 1, 65535, dtype=torch.float64).view(1, 1, 1, -1)
    for axis, line in ((1, key), (0, key.mT)):
        query = line[:, :, -3:, -3:]
        init = torch.zeros(1, 1, 2, *query.shape[2:], dtype=torch.int32)
        init[0, 0, axis] = 65534
        with emulated.active():
            nnf, _ = ops.search(query, line, 1, 1, 5, init=init, schedule="jump-flood")
        assert nnf[0, 0, axis].flatten().tolist() == [65532, 65533, 65534]
