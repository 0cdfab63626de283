"""The search: what holds for any field, how good it is, and where it is exact."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from psal_cli import ops, reference

pytestmark = pytest.mark.native

RANDOM = ["scan", "jump-flood"]
HALF, BRAIN, DOUBLE = torch.float16, torch.bfloat16, torch.float64

# name: (search arguments, channels, query size, key size, dtype); "masks" and "init" stand for tensors made by `sample`
CASES = {
    "l2": ({"patch_size": 7, "k": 3}, 16, (24, 20), (22, 26), torch.float32),
    "l2, patch 1": ({"patch_size": 1, "k": 8}, 5, (17, 23), (12, 40), torch.float32),
    "l2, patch 11": ({"patch_size": 11, "k": 3}, 3, (20, 18), (25, 19), torch.float32),
    "l2, patch 31 larger than the query": ({"patch_size": 31, "k": 3}, 1, (5, 17), (32, 33), torch.float32),
    "l2, k 64": ({"patch_size": 3, "k": 64}, 3, (14, 15), (12, 13), torch.float32),
    "l2, k all keys": ({"patch_size": 3, "k": 9}, 4, (9, 9), (5, 5), torch.float32),
    "l2, one key": ({"patch_size": 7, "k": 1}, 3, (9, 12), (7, 7), torch.float32),
    "l2, float16": ({"patch_size": 7, "k": 3}, 33, (20, 21), (22, 18), HALF),
    "l2, bfloat16": ({"patch_size": 3, "k": 8}, 16, (20, 21), (22, 18), BRAIN),
    "l2, float64": ({"patch_size": 7, "k": 3}, 5, (20, 21), (22, 18), DOUBLE),
    "l2, masks": ({"patch_size": 3, "k": 3, "masks": True}, 16, (24, 20), (22, 26), torch.float32),
    "l2, init": ({"patch_size": 3, "k": 8, "init": True}, 16, (24, 20), (22, 26), torch.float32),
    "l2, masks and init": ({"patch_size": 5, "k": 8, "masks": True, "init": True}, 3, (24, 20), (22, 26), torch.float32),
    "dot": ({"patch_size": 7, "k": 3, "similarity": "dot"}, 16, (24, 20), (22, 26), torch.float32),
    "dot, float16": ({"patch_size": 1, "k": 8, "similarity": "dot"}, 33, (17, 23), (12, 40), HALF),
    "dot, patch 31": ({"patch_size": 31, "k": 1, "similarity": "dot"}, 1, (5, 17), (32, 33), torch.float32),
    "cosine": ({"patch_size": 7, "k": 8, "similarity": "cosine"}, 16, (24, 20), (22, 26), torch.float32),
    "cosine, bfloat16, masks": ({"patch_size": 3, "k": 3, "similarity": "cosine", "masks": True}, 33, (20, 21), (22, 18), BRAIN),
    "cosine, float64": ({"patch_size": 3, "k": 3, "similarity": "cosine"}, 5, (20, 21), (22, 18), DOUBLE),
    "key_cosine": ({"patch_size": 3, "k": 1, "similarity": "key_cosine"}, 16, (24, 20), (22, 26), torch.float32),
    "key_cosine, patch 11": ({"patch_size": 11, "k": 3, "similarity": "key_cosine"}, 5, (20, 18), (25, 19), torch.float32),
    "key_cosine, masks": (
        {"patch_size": 7, "k": 64, "similarity": "key_cosine", "masks": True},
        3,
        (20, 18),
        (25, 27),
        torch.float32,
    ),
}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(", ", "-").replace(" ", "_"))
def sample(request, device):
    """(query, key, arguments of search) of one case, a batch of 2; on the emulation of CUDA, which is slow, a small one."""
    arguments, channels, query_size, key_size, dtype = CASES[request.param]
    arguments = dict(arguments)
    if request.node.callspec.params["device"] == "emulation":
        query_size = min(query_size[0], 9), min(query_size[1], 7)
        room = arguments["patch_size"] + (14 if "masks" in arguments and arguments["k"] == 64 else 8)
        key_size = min(key_size[0], room), min(key_size[1], room)
    query, key = torch.randn(2, channels, *query_size), torch.randn(2, channels, *key_size)
    query[1, :, :9, :9] = 0  # patches without norm
    key[1, :, -9:, -9:] = 0
    if arguments.pop("masks", False):
        arguments["query_mask"] = torch.rand(2, *query_size) < 0.7
        arguments["key_mask"] = torch.ones(2, *key_size, dtype=torch.bool)
        arguments["key_mask"][0, 3:5, 6] = False  # a hole
        arguments["key_mask"][1, :, :4] = False  # and a border
    if arguments.pop("init", False):  # some matches usable; others outside, at the border, masked or twice the same
        init = torch.randint(-3, 30, (2, arguments["k"], 2, *query_size), dtype=torch.int32)
        init[:, 1] = init[:, 0]
        arguments["init"] = init
    arguments = {name: x.to(device) if torch.is_tensor(x) else x for name, x in arguments.items()}
    return query.to(device, dtype), key.to(device, dtype), arguments


def rounding(query, key, nnf, patch_size, similarity):
    """What 16 roundings of float32 make of a sum, given the magnitudes of its terms."""
    if similarity == "l2":
        terms = -reference.similarity_at(query, key, nnf, patch_size, "l2")
    else:
        terms = reference.similarity_at(query.abs(), key.abs(), nnf, patch_size, similarity)
    return 16 * 2.0**-23 * terms.abs().masked_fill(terms.isinf(), 0)


def assert_same(actual, expected, tolerance):
    """Equal within the tolerance; no match (-inf) where none is expected."""
    close = (actual.double() == expected) | ((actual.double() - expected).abs() <= tolerance)
    assert close.all(), f"off by up to {(actual.double() - expected)[~close].abs().max()} in {(~close).sum()} of {close.numel()}"


def patch_and_similarity(arguments):
    return arguments["patch_size"], arguments.get("similarity", "l2")


# ------------------------------------------------------------------------------------------------- true of any field


def test_field_is_sorted_distinct_and_valid_with_the_similarity_of_the_oracle(sample, schedule):
    query, key, arguments = sample
    nnf, similarity = ops.search(query, key, schedule=schedule, iterations=2, **arguments)
    assert nnf.shape == (2, arguments["k"], 2, *query.shape[2:]) and nnf.dtype == torch.int32
    assert similarity.shape == (nnf.shape[0], nnf.shape[1], *nnf.shape[3:]) and similarity.dtype == torch.float32
    at = query.double(), key.double(), nnf, *patch_and_similarity(arguments)
    assert_same(similarity, reference.similarity_at(*at), rounding(*at))
    assert (similarity[:, :-1] >= similarity[:, 1:]).all()
    row, column = nnf.long().unbind(2)
    place = row * key.shape[3] + column  # [B, k, H, W]
    searched = arguments.get("query_mask", torch.ones_like(row[:, 0], dtype=torch.bool))
    ordered = place.sort(1).values
    assert ((ordered[:, 1:] != ordered[:, :-1]).all(1) | ~searched).all()
    whole = reference.whole_keys(key, arguments["patch_size"], arguments.get("key_mask")).flatten(1)
    valid = whole.gather(1, place.clamp_min(0).flatten(1)).view_as(place).all(1)
    assert (valid | ~searched).all()
    assert (nnf.amax((1, 2)) == -1)[~searched].all() and (similarity.amax(1) == -torch.inf)[~searched].all()


@st.composite
def shapes(draw):
    """(query, key, arguments of search): any sizes down to one pixel, with and without masks and a field to start from."""
    patch_size = draw(st.sampled_from([1, 3, 5, 9]))
    batch, channels = draw(st.integers(1, 2)), draw(st.integers(1, 36))
    query_size = draw(st.integers(1, 40)), draw(st.integers(1, 20))
    key_size = [draw(st.integers(patch_size, patch_size + 20)) for _ in range(2)]
    dtype = draw(st.sampled_from([torch.float32, HALF, BRAIN, DOUBLE]))
    key_mask = torch.ones(batch, *key_size, dtype=torch.bool)
    if draw(st.booleans()):
        key_mask[:, patch_size:] = False  # the first rows of keys are left
    keys = int(reference.whole_keys(key_mask[:, None].float(), patch_size, key_mask)[0].sum())
    arguments = {"patch_size": patch_size, "k": draw(st.integers(1, min(64, keys))), "seed": draw(st.integers(0, 2**63 - 1))}
    arguments |= {"similarity": draw(st.sampled_from(["l2", "dot", "key_cosine"])), "iterations": draw(st.integers(0, 4))}
    arguments |= {"key_mask": draw(st.sampled_from([None, key_mask])) if key_mask.all() else key_mask}
    if draw(st.booleans()):
        arguments["query_mask"] = torch.rand(batch, *query_size) < draw(st.sampled_from([0.1, 0.7]))
    if draw(st.booleans()):
        far = draw(st.sampled_from([30, 2**31 - 1]))
        arguments["init"] = torch.randint(-far, far, (batch, arguments["k"], 2, *query_size), dtype=torch.int32)
    query, key = torch.randn(batch, channels, *query_size).to(dtype), torch.randn(batch, channels, *key_size).to(dtype)
    return query, key, arguments


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(shapes(), st.sampled_from([*RANDOM, "exact"]))
def test_any_shape_gives_distinct_keys_and_their_similarity(sample, schedule):
    query, key, arguments = sample
    nnf, similarity = ops.search(query, key, schedule=schedule, **arguments)
    at = query.double(), key.double(), nnf, *patch_and_similarity(arguments)
    assert_same(similarity, reference.similarity_at(*at), rounding(*at))
    place = (nnf[:, :, 0].long() * key.shape[3] + nnf[:, :, 1]).flatten(2)  # [B, k, H * W]
    searched = arguments.get("query_mask", torch.ones_like(place[:, 0], dtype=torch.bool)).flatten(1)
    whole = reference.whole_keys(key, arguments["patch_size"], arguments["key_mask"]).flatten(1)
    for item in range(len(query)):
        matches_of_queries = place[item].T[searched[item]]  # [searched queries, k]
        assert whole[item][matches_of_queries].all()
        assert all(len(set(matches)) == arguments["k"] for matches in matches_of_queries.tolist())


@pytest.mark.not_emulated("its threads run in one order always")
def test_same_seed_same_field(sample, schedule):
    query, key, arguments = sample
    first = ops.search(query, key, schedule=schedule, iterations=3, seed=7, **arguments)
    again = ops.search(query, key, schedule=schedule, iterations=3, seed=7, **arguments)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])


@pytest.mark.not_emulated("too many iterations; the field is the CPU's")
@pytest.mark.parametrize("schedule", RANDOM)
def test_more_iterations_are_never_worse(sample, schedule):
    query, key, arguments = sample
    before = None
    for iterations in (0, 1, 2, 3, 6):
        _, similarity = ops.search(query, key, schedule=schedule, iterations=iterations, seed=1, **arguments)
        assert before is None or (similarity >= before).all()
        before = similarity


@pytest.mark.not_emulated("tensors are made dense before a kernel runs")
def test_memory_layout_does_not_matter(device, schedule):
    query, key = torch.randn(2, 5, 20, 24, device=device), torch.randn(2, 5, 22, 18, device=device)
    expected = ops.search(query, key, 5, 3, 2, schedule=schedule)
    strided = torch.randn(2, 5, 40, 24, device=device)[:, :, ::2].copy_(query)
    for q, k in ((query.to(memory_format=torch.channels_last), key), (strided, key.transpose(2, 3).contiguous().transpose(2, 3))):
        nnf, similarity = ops.search(q, k, 5, 3, 2, schedule=schedule)
        assert torch.equal(nnf, expected[0]) and torch.equal(similarity, expected[1])


@pytest.mark.not_emulated("too large; test_ops_cuda_kernels.py has batches")
def test_batch_item_does_not_depend_on_the_others(device, schedule):
    first, second, third, key = torch.randn(4, 1, 3, 20, 24, device=device)

    def field(*items):
        return ops.search(torch.cat(items), key.expand(len(items), -1, -1, -1), 5, 3, 2, schedule=schedule, seed=3)[0]

    alone = field(first)[0]
    assert torch.equal(field(first, second)[0], alone) and torch.equal(field(first, third)[0], alone)
    assert torch.equal(field(second, third)[1], field(first, third)[1])


@pytest.mark.parametrize("schedule", RANDOM)
def test_seed_and_item_choose_the_start(device, schedule):
    query = torch.randn(1, 3, 16, 16, device=device).expand(2, -1, -1, -1)
    first, other = (ops.search(query, query, 3, 3, 0, schedule=schedule, seed=seed)[0] for seed in (0, 2**62))
    assert (first != other).float().mean() > 0.9 and (first[0] != first[1]).float().mean() > 0.9


def test_empty_query_mask_searches_nothing(device, schedule):
    query, mask = torch.randn(1, 3, 12, 12, device=device), torch.zeros(1, 12, 12, dtype=torch.bool, device=device)
    nnf, similarity = ops.search(query, query, 3, 2, query_mask=mask, schedule=schedule)
    assert (nnf == -1).all() and (similarity == -torch.inf).all()


# ------------------------------------------------------------------------------------------------------ initial field


@pytest.mark.parametrize("schedule", RANDOM)
@pytest.mark.parametrize("iterations", [0, 3])
def test_init_is_kept_or_improved(device, schedule, iterations):
    query, key = torch.randn(2, 5, 20, 24, device=device), torch.randn(2, 5, 22, 18, device=device)
    init, given = ops.search(query, key, 5, 4, 0, schedule=schedule, seed=1)
    shuffled = init[:, [2, 0, 3, 1]].contiguous()  # in any order
    _, similarity = ops.search(query, key, 5, 4, iterations, init=shuffled, schedule=schedule, seed=2)
    assert (similarity >= given).all()
    assert torch.equal(similarity, given) if iterations == 0 else (similarity > given).float().mean() > 0.5


@pytest.mark.parametrize("schedule", RANDOM)
def test_exact_field_as_init_stays(device, schedule):
    query, key = torch.randn(2, 5, 20, 24, device=device), torch.randn(2, 5, 22, 18, device=device)
    nnf, _ = reference.search(query.double(), key.double(), 5, 4)
    assert torch.equal(ops.search(query, key, 5, 4, 3, init=nnf, schedule=schedule)[0], nnf)


# ----------------------------------------------------------------------------------------------------- exact, quality


@pytest.mark.slow
def test_exact_finds_the_oracles_similarities(sample):
    query, key, arguments = sample
    nnf, expected = reference.search(query.double(), key.double(), **arguments)
    _, similarity = ops.search(query, key, schedule="exact", **arguments)
    assert_same(similarity, expected, rounding(query.double(), key.double(), nnf, *patch_and_similarity(arguments)))


def test_exact_gives_equal_keys_in_raster_order(device):
    flat = torch.ones(1, 2, 6, 7, device=device)
    nnf, _ = ops.search(flat, flat, 3, 4, schedule="exact")
    assert (nnf[0, :, :, 3, 3].tolist()) == [[1, 1], [1, 2], [1, 3], [1, 4]]


@pytest.mark.not_emulated("about the CPU's box sums")
def test_exact_after_an_outlier(device):
    query, key = torch.rand(2, 1, 4, 40, 20, dtype=torch.float64) * 0.01
    query[:, :, 3] = 1000  # sums of a million, then sums of a thousandth
    _, expected = reference.search(query, key, 3, 3)
    _, similarity = ops.search(query.float().to(device), key.float().to(device), 3, 3, schedule="exact")
    assert_same(similarity.cpu(), expected, 1e-4 * expected.abs())


@pytest.mark.not_emulated("too large for exact; test_ops_cuda_kernels.py has the rest")
def test_last_position_of_the_largest_key(device, schedule):
    key = torch.linspace(0, 1, 65535, dtype=torch.float64).view(1, 1, 1, -1).to(device)
    for flip in (False, True):  # a row and a column
        key, query = (key.mT, key[..., -3:].mT) if flip else (key, key[..., -3:])
        init = torch.zeros(1, 1, 2, *query.shape[2:], dtype=torch.int32, device=device)
        init[0, 0, 0 if flip else 1] = 65534
        nnf, _ = ops.search(query, key, 1, 1, 5, init=init, schedule=schedule)
        assert nnf[0, 0, 0 if flip else 1].flatten().tolist() == [65532, 65533, 65534]


@pytest.mark.not_emulated("too large")
@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_known_shift_is_found_exactly_up_to_the_border(device, schedule, similarity):
    key = torch.randn(2, 8, 64, 60, device=device)
    query = key[:, :, 5:53, 9:49]  # 5 rows down, 9 columns right; all patches of the query are whole in the key
    nnf, best = ops.search(query, key, 7, 1, 10, similarity, schedule=schedule)
    row, column = torch.meshgrid(torch.arange(48, device=device), torch.arange(40, device=device), indexing="ij")
    assert torch.equal(nnf[:, 0], torch.stack((row + 5, column + 9)).int().expand(2, -1, -1, -1))
    assert (best == 0).all() if similarity == "l2" else ((best - 1).abs() < 1e-5)[:, :, 3:-3, 3:-3].all()


# (recall of whole patches, recall of the border's clipped patches) at seed 0, 0.03 to 0.1 below what was measured.
RECALL = {
    ("scan", 5): (0.70, 0.40),
    ("scan", 10): (0.80, 0.60),
    ("jump-flood", 5): (0.80, 0.55),
    ("jump-flood", 15): (0.90, 0.75),
}


@pytest.mark.slow
@pytest.mark.not_emulated("too large")
@pytest.mark.parametrize(("schedule", "iterations"), RECALL)
def test_recall_of_the_three_nearest(pair_features, device, schedule, iterations):
    query, key = (x.to(device) for x in pair_features(128))
    exact, _ = ops.search(query, key, 7, 3, schedule="exact")
    nnf, _ = ops.search(query, key, 7, 3, iterations, schedule=schedule)
    recalled = (nnf[:, :, None] == exact[:, None]).all(3).any(2)[0].float().mean(0)  # [H, W]
    whole = torch.zeros_like(recalled, dtype=torch.bool)
    whole[3:-3, 3:-3] = True
    inner, border = recalled[whole].mean().item(), recalled[~whole].mean().item()
    assert inner >= RECALL[schedule, iterations][0]
    assert border >= RECALL[schedule, iterations][1]


@pytest.mark.not_emulated("about quality; the field is the CPU's")
@pytest.mark.parametrize("similarity", ["l2", "cosine"])
def test_jump_flood_is_as_good_as_algorithm_1_in_plain_python(pair, device, similarity):
    query, key = (frame.double() for frame in pair(20))
    nnf, plain = reference.patchmatch(query, key, 5, 2, 2, similarity)
    torch.testing.assert_close(plain, reference.similarity_at(query, key, nnf, 5, similarity))
    _, exact = reference.search(query, key, 5, 2, similarity=similarity)
    flooded = ops.search(query.to(device), key.to(device), 5, 2, 2, similarity, schedule="jump-flood")[1].cpu()
    assert (exact >= plain - 1e-12).all()
    _, start = reference.patchmatch(query, key, 5, 2, 0, similarity)
    short_at_first, short_plain, short = ((exact - x).mean() for x in (start, plain, flooded))  # of the best, on average
    assert short_plain < short_at_first / 4 and short < 1.5 * short_plain


@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_cuda_field_is_the_cpu_field_on_integers(device):
    query, key = torch.randint(-8, 8, (2, 2, 5, 40, 44)).float()
    expected = ops.search(query, key, 5, 3, 4, schedule="jump-flood", seed=5)
    actual = ops.search(query.to(device), key.to(device), 5, 3, 4, schedule="jump-flood", seed=5)
    assert torch.equal(actual[0].cpu(), expected[0]) and torch.equal(actual[1].cpu(), expected[1])


@pytest.mark.native
def test_a_flood_is_the_same_however_its_rows_are_split_into_bands(threads):
    query, key = torch.randn(2, 1, 3, 300, 17)
    fields = []
    for count in (1, 2, 8):  # bands of 150, 75 and 64 rows
        threads(count)
        fields.append(ops.search(query, key, 3, 2, 6, schedule="jump-flood", seed=1)[0])
    assert torch.equal(fields[0], fields[1]) and torch.equal(fields[0], fields[2])
