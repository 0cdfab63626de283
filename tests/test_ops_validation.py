"""What the operations refuse: each with the offending value and the expected one, before any work."""

import re

import pytest
import torch

from psal_cli import ops

pytestmark = pytest.mark.native


def features(channels=3, height=12, width=10, batch=1, dtype=torch.float32):
    return torch.zeros(batch, channels, height, width, dtype=dtype)


def field(*shape, dtype=torch.int32):
    return torch.zeros(shape or (1, 3, 2, 12, 10), dtype=dtype)


def mask(*shape, dtype=torch.bool):
    return torch.ones(shape or (1, 12, 10), dtype=dtype)


SEARCH = [  # what is changed in an acceptable call, and what is said
    ({"query": torch.zeros(3, 12, 10)}, "query has shape [3, 12, 10], expected [B, C, H, W]"),
    ({"key": torch.zeros(1, 3, 12)}, "key has shape [1, 3, 12], expected [B, C, H, W]"),
    ({"query": features(height=0)}, "query has shape [1, 3, 0, 10], expected no empty dimension"),
    ({"key": torch.zeros(1, 1, 1, 65536), "query": features(1)}, "key is 65536x1, expected sides up to 65535"),
    ({"query": features(dtype=torch.int32)}, "query is torch.int32, expected one of float32, float16, bfloat16, float64"),
    ({"query": features(batch=2)}, "query has batch 2, key has 1: expected the same"),
    ({"query": features(channels=4)}, "query has 4 channels, key has 3: expected the same"),
    ({"query": features(dtype=torch.float16)}, "query is torch.float16, key is torch.float32: expected the same dtype"),
    ({"query": features().to("meta")}, "query is on meta, key is on cpu: expected the same device"),
    ({"query": features().to("meta"), "key": features().to("meta")}, "tensors are on meta, expected cpu or cuda"),
    ({"patch_size": 4}, "patch_size is 4, expected an odd number from 1 to 31"),
    ({"patch_size": 33}, "patch_size is 33, expected an odd number from 1 to 31"),
    ({"patch_size": -1}, "patch_size is -1, expected an odd number from 1 to 31"),
    ({"patch_size": 11}, "patch_size is 11, larger than the key (10x12)"),
    ({"similarity": "l1"}, "similarity is 'l1', expected one of l2, dot, cosine, key_cosine"),
    ({"k": 0}, "k is 0, expected 1 to 64"),
    ({"k": 65}, "k is 65, expected 1 to 64"),
    ({"k": 9, "patch_size": 9}, "k is 9, but a 10x12 key has only 8 whole patches of size 9"),
    ({"iterations": -1}, "iterations is -1, expected 0 to 1000"),
    ({"iterations": 1001}, "iterations is 1001, expected 0 to 1000"),
    ({"schedule": "sweep"}, "schedule is 'sweep', expected one of scan, jump-flood, exact"),
    ({"query_mask": mask(1, 10, 12)}, "query_mask has shape [1, 10, 12], expected [1, 12, 10]"),
    ({"key_mask": mask(12, 10)}, "key_mask has shape [12, 10], expected [1, 12, 10]"),
    ({"key_mask": mask(dtype=torch.uint8)}, "key_mask is torch.uint8, expected torch.bool"),
    ({"query_mask": mask().to("meta")}, "query_mask is on meta, expected cpu"),
    ({"key_mask": ~mask()}, "key_mask leaves no valid key: no patch lies whole inside it"),
    ({"key_mask": mask() & (torch.arange(10) < 3)[None, None], "k": 11}, "k is 11, but key_mask leaves only 10 valid keys"),
    ({"init": field(1, 2, 2, 12, 10)}, "init has shape [1, 2, 2, 12, 10], expected [1, 3, 2, 12, 10]"),
    ({"init": field(dtype=torch.int64)}, "init is torch.int64, expected torch.int32"),
    ({"init": field().to("meta")}, "init is on meta, expected cpu"),
]

SIMILARITY_AT = [
    ({"query": features(channels=4)}, "query has 4 channels, key has 3: expected the same"),
    ({"nnf": field(1, 3, 12, 10)}, "nnf has shape [1, 3, 12, 10], expected [1, 'k', 2, 12, 10]"),
    ({"nnf": field(1, 3, 2, 10, 12)}, "nnf has shape [1, 3, 2, 10, 12], expected [1, 'k', 2, 12, 10]"),
    ({"nnf": field(dtype=torch.int64)}, "nnf is torch.int64, expected torch.int32"),
    ({"nnf": field().to("meta")}, "nnf is on meta, expected cpu"),
    ({"patch_size": 2}, "patch_size is 2, expected an odd number from 1 to 31"),
    ({"similarity": "L2"}, "similarity is 'L2', expected one of l2, dot, cosine, key_cosine"),
]

AGGREGATE = [
    ({"patch_size": 0}, "patch_size is 0, expected an odd number from 1 to 31"),
    ({"value": torch.zeros(12, 10)}, "value has shape [12, 10], expected [B, C, H, W]"),
    ({"value": features(dtype=torch.int64)}, "value is torch.int64, expected one of float32, float16, bfloat16, float64"),
    ({"value": features().to("meta")}, "tensors are on meta, expected cpu or cuda"),
    ({"nnf": field(1, 3, 1, 12, 10)}, "nnf has shape [1, 3, 1, 12, 10], expected [B, k, 2, H, W]"),
    ({"nnf": field(dtype=torch.int64)}, "nnf is torch.int64, expected torch.int32"),
    ({"weight": torch.zeros(1, 2, 12, 10)}, "weight has shape [1, 2, 12, 10], expected [1, 3, 12, 10]"),
    (
        {"weight": torch.zeros(1, 3, 12, 10).double()},
        "weight is torch.float64, expected torch.float32 with a torch.float32 value",
    ),
    ({"value": features(dtype=torch.float64)}, "weight is torch.float32, expected torch.float64 with a torch.float64 value"),
    ({"value": features(batch=2)}, "value has batch 2, nnf has 1: expected the same"),
    ({"nnf": field().to("meta")}, "value, nnf and weight are on cpu, meta and cpu: expected one device"),
    ({"value_scale": 5}, "value_scale is 5, expected 1, 2, 3 or 4"),
    ({"value_scale": 3}, "value is 10x12, expected sides that are multiples of value_scale 3"),
]


def names(table):
    return [re.sub(r"[^\w]+", "_", message)[:60] for _, message in table]


def assert_refused(operation, arguments, changed, message):
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        operation(**(arguments | changed))


@pytest.mark.parametrize(("changed", "message"), SEARCH, ids=names(SEARCH))
def test_search_refuses(changed, message):
    assert_refused(ops.search, {"query": features(), "key": features(), "patch_size": 3, "k": 3}, changed, message)


@pytest.mark.parametrize(("changed", "message"), SIMILARITY_AT, ids=names(SIMILARITY_AT))
def test_similarity_at_refuses(changed, message):
    assert_refused(ops.similarity_at, {"query": features(), "key": features(), "nnf": field(), "patch_size": 3}, changed, message)


@pytest.mark.parametrize(("changed", "message"), AGGREGATE, ids=names(AGGREGATE))
def test_aggregate_refuses(changed, message):
    assert_refused(ops.aggregate, {"value": features(), "nnf": field(), "weight": torch.zeros(1, 3, 12, 10)}, changed, message)


@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_scan_and_mixed_devices_are_refused_on_cuda(device):
    x = features().to(device)
    arguments = {"query": x, "key": x, "patch_size": 3}
    assert_refused(
        ops.search, arguments, {"schedule": "scan"}, 'schedule "scan" runs on the CPU only, expected "jump-flood" on CUDA'
    )
    assert_refused(ops.search, arguments, {"key": x.cpu()}, "query is on cuda:0, key is on cpu: expected the same device")
