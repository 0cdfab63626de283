"""What the operators take on CUDA, as computed, beside what torch allocates when they run on the emulation of CUDA."""

from itertools import product

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from psal_cli import ops
from psal_cli.attention import ps_attention
from psal_cli.errors import MemoryLimitError
from psal_cli.ops import memory_model
from psal_cli.ops.memory_model import Sizes

pytestmark = pytest.mark.emulation
DTYPES = [torch.float32, torch.float16, torch.float64]
SHAPES = [  # query size, key size, channels, k, value channels: many features, many matches, many keys
    ((12, 10), (14, 11), 256, 1, 192),
    ((20, 14), (6, 8), 8, 24, 8),
    ((5, 4), (30, 24), 32, 3, 40),
]
SEARCHES = list(product(("l2", "cosine", "key_cosine"), ("jump-flood", "exact")))
LARGEST_EXCESS = 1.25  # of a plan over what is taken


def peak(emulated, run):
    """The most bytes that torch's tensors hold at a time in run() on the emulation, beside those that were there."""
    with emulated.active(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    events = (event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]")
    live = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        most = max(most, live)
    return most


def assert_planned(planned, taken):
    """Never less than is taken, and apart from the allocator's rounding not much more."""
    assert taken <= planned, f"{taken} bytes taken, {planned} planned"
    assert planned - memory_model.TENSORS * memory_model.GRAIN <= LARGEST_EXCESS * taken, f"{taken} taken, {planned} planned"


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    return request.param


@pytest.fixture(params=SHAPES, ids=["features", "matches", "keys"])
def sizes(request, dtype):
    (height, width), (key_height, key_width), channels, k, values = request.param
    return Sizes(height * width, key_height * key_width, channels, k, values, dtype)


@pytest.fixture
def maps(request, sizes):
    """(query, key, value, nnf, weight) of these sizes, one image."""
    query_size, key_size, *_ = next(shape for shape in SHAPES if shape[2] == sizes.channels)
    query, key = (torch.randn(1, sizes.channels, *size).to(sizes.dtype) for size in (query_size, key_size))
    value = torch.randn(1, sizes.values, *key_size).to(sizes.dtype)
    nnf = torch.stack([torch.randint(0, side, (1, sizes.k, *query_size)) for side in key_size], 2).int()
    weight = torch.randn(1, sizes.k, *query_size, dtype=torch.float64 if sizes.dtype == torch.float64 else torch.float32)
    return query, key, value, nnf, weight


@pytest.mark.parametrize("number", range(2))
def test_search_takes_what_is_computed(emulated, sizes, maps, number):
    """Two of the six kinds for each shape and dtype, so that each kind meets every shape and every dtype."""
    query, key, _, nnf, _ = maps
    turn = [channels for _, _, channels, *_ in SHAPES].index(sizes.channels) + DTYPES.index(sizes.dtype)
    similarity, schedule = SEARCHES[turn % 3 + 3 * number]
    for init in (None, nnf):
        taken = peak(emulated, lambda init=init: ops.search(query, key, 1, sizes.k, 0, similarity, init=init, schedule=schedule))
        assert_planned(memory_model.search_bytes(sizes, similarity, schedule, init is not None), taken)


@pytest.mark.parametrize("similarity", ["l2", "dot", "cosine", "key_cosine"])
def test_similarity_at_takes_what_is_computed(emulated, sizes, maps, similarity):
    query, key, _, nnf, _ = maps
    taken = peak(emulated, lambda: ops.similarity_at(query, key, nnf, 1, similarity))
    assert_planned(memory_model.similarity_at_bytes(sizes, similarity), taken)


@pytest.mark.parametrize("value_scale", [1, 2])
@pytest.mark.parametrize("softmax", [False, True])
def test_aggregate_takes_what_is_computed(emulated, sizes, maps, softmax, value_scale):
    *_, value, nnf, weight = maps
    value = value.repeat(1, 1, value_scale, value_scale)
    taken = peak(emulated, lambda: ops.aggregate(value, nnf, weight, 1, softmax, value_scale))
    assert_planned(memory_model.aggregate_bytes(sizes, softmax, value_scale), taken)


@pytest.mark.parametrize("similarity", ["l2", "dot"])
def test_gradients_take_what_is_computed(emulated, monkeypatch, sizes, maps, similarity):
    monkeypatch.setattr(memory_model, "SORTING", 16)  # of the CPU's sort, which is the one that runs here
    query, key, value, nnf, weight = maps
    for x in (query, key, value, weight):
        x.requires_grad_()
    with emulated.active():
        similarities, out = ops.similarity_at(query, key, nnf, 1, similarity), ops.aggregate(value, nnf, weight, 1, True)
    coming = torch.ones_like(similarities), torch.ones(out.shape, dtype=out.dtype)  # not in the layout of the kernels
    taken = peak(emulated, lambda: torch.autograd.grad(similarities, (query, key), coming[0]))
    assert_planned(memory_model.similarity_at_gradient_bytes(sizes, similarity), taken)
    taken = peak(emulated, lambda: torch.autograd.grad(out, (value, weight), coming[1]))
    assert_planned(memory_model.aggregate_gradient_bytes(sizes), taken)


def test_a_batch_in_parts_stays_within_the_plan_and_gives_the_same(emulated):
    query, key, value = torch.randn(6, 64, 14, 12), torch.randn(6, 64, 10, 12), torch.randn(6, 16, 10, 12)
    image_bytes = memory_model.attention_bytes(Sizes(14 * 12, 10 * 12, 64, 3, 16))
    free = int(2.5 * image_bytes)
    count = memory_model.images_at_a_time(free, image_bytes, batch=6)

    def run(count):
        parts = zip(query.split(count), key.split(count), value.split(count), strict=True)
        return torch.cat([ps_attention(*part, 3, 3, 1, schedule="jump-flood") for part in parts])

    results = query.new_empty(6, 16, 14, 12).nbytes  # of all parts, which are kept
    assert count == 2 and peak(emulated, lambda: run(count)) <= free + 2 * results
    assert peak(emulated, lambda: run(6)) > free + 2 * results


def test_an_image_that_does_not_fit_is_refused_with_both_figures():
    with pytest.raises(MemoryLimitError, match="one image takes 500 bytes of the device's memory, 499 are free"):
        memory_model.images_at_a_time(499, 500, 1)
