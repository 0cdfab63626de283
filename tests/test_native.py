"""The border to the C library: errors, threads, numbers that are not finite."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from psal_cli import native, ops


def in_a_process_of_its_own(code, *arguments):
    """What the code prints; a crash or a deadlock there is a failed test here."""
    run = subprocess.run([sys.executable, "-P", "-c", code, *arguments], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, f"exit code {run.returncode}: {run.stderr[-2000:]}"
    return run.stdout.strip()


def test_instruction_set_is_one_that_was_built():
    assert native.cpu_isa() in ("baseline", "x86-64-v3", "x86-64-v4")


def test_without_cuda_every_call_says_so():
    if native.cuda_architectures():
        pytest.skip("libpsal was built with CUDA")
    lib = native.library()
    assert lib.psal_search_cuda(ctypes.byref(native.SearchArgs())) == b"psal was built without CUDA"
    for name in ("gather", "spread", "scatter", "log_total"):
        assert getattr(lib, f"psal_{name}_cuda")(ctypes.byref(native.WindowArgs())) == b"psal was built without CUDA"


OUT_OF_MEMORY = """
import resource, torch
from psal_cli import native

side, k = 2048, 64
field, best = torch.empty(side * side * k, dtype=torch.int32), torch.empty(side * side * k)  # never touched, so never paid for
args = native.SearchArgs(native.Place(), 0, 0, native.SCHEDULES["jump-flood"], 1, 1, side, side, side, side, 1, k, 2, 0, 0)
features = torch.zeros(side * side)
args.query = args.key = features.data_ptr()
args.field, args.best = field.data_ptr(), best.data_ptr()
torch.set_num_threads(1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))
try:
    native.call("search", args, torch.device("cpu"))
except RuntimeError as error:
    print(error)
"""


@pytest.mark.unsanitized
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_running_out_of_memory_is_an_error_not_a_crash():
    assert in_a_process_of_its_own(OUT_OF_MEMORY) == "psal search: std::bad_alloc"


def test_a_missing_library_is_named_with_the_cure(monkeypatch, tmp_path):
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    with pytest.raises(ImportError, match=r"native library is not in .*: build and install it with `pip install \.`"):
        native.library.__wrapped__()


LOADED = """
import ctypes, sys
ctypes.CDLL(sys.argv[1])
print(sum("omp" in line.rpartition("/")[2] for line in open("/proc/self/maps")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_library_brings_no_openmp_runtime():
    """A second one beside torch's would start a thread for every core."""
    assert in_a_process_of_its_own(LOADED, str(next(Path(native.__file__).parent.glob("libpsal.*")))) == "0"


@pytest.mark.parametrize("similarity", ["l2", "key_cosine"])
def test_field_is_the_same_for_any_number_of_threads(threads, schedule, similarity):
    query, key = torch.randn(2, 8, 70, 41), torch.randn(2, 8, 50, 43)  # three bands of the scan, the last one short
    mask = torch.rand(2, 70, 41) < 0.9
    fields = []
    for count in (1, 2, 3, 4, 5, 6, 7, 8):
        threads(count)
        fields.append(ops.search(query, key, 5, 3, 4, similarity, query_mask=mask, schedule=schedule, seed=11))
    for nnf, best in fields[1:]:
        assert torch.equal(nnf, fields[0][0]) and torch.equal(best, fields[0][1])


THREADS = """
import os, torch
from psal_cli import ops

torch.set_num_threads(1)
x = torch.randn(1, 8, 64, 64)
before = len(os.listdir("/proc/self/task"))
ops.search(x, x, 7, 3, 2)
print(len(os.listdir("/proc/self/task")) - before)
torch.set_num_threads(3)
ops.search(x, x, 7, 3, 2)
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_torchs_number_of_threads_is_obeyed():
    """Threads started by a search: none with one thread, two more with three."""
    assert in_a_process_of_its_own(THREADS).split() == ["0", "2"]


NOT_FINITE = """
import torch
from psal_cli import ops

for value in (float("nan"), float("inf"), 1e30):
    for schedule in ("scan", "jump-flood", "exact"):
        for where in (slice(0), slice(4, 9), slice(None)):  # of the query: nowhere, a few rows, everywhere
            query, key = torch.randn(2, 1, 3, 20, 24)
            query[0, 1, where] = value
            key[0, :, ::5, ::6] = value
            nnf, _ = ops.search(query, key, 5, 3, 2, schedule=schedule)
            row, column = nnf.unbind(2)
            assert row.min() >= 2 and row.max() < 18 and column.min() >= 2 and column.max() < 22, (value, schedule, where)
print("every match is a key")
"""


def test_features_that_are_not_finite_still_give_keys():
    assert in_a_process_of_its_own(NOT_FINITE) == "every match is a key"
