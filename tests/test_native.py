"""The border to the C library: errors, threads, numbers that are not finite."""

import _ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from psal_cli import libraries, native, ops

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.native


def in_a_process_of_its_own(code, *arguments):
    """What the code prints; a crash or a deadlock there is a failed test here."""
    run = subprocess.run([sys.executable, "-P", "-c", code, *arguments], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, f"exit code {run.returncode}: {run.stderr[-2000:]}"
    return run.stdout.strip()


def test_instruction_set_is_one_that_was_built():
    assert native.cpu_isa() in ("baseline", "x86-64-v3", "x86-64-v4")


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
    native.kernel("search", torch.device("cpu"))(args)
except RuntimeError as error:
    print(error)
"""


@pytest.mark.subprocess
@pytest.mark.unsanitized
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_running_out_of_memory_is_an_error_not_a_crash():
    assert in_a_process_of_its_own(OUT_OF_MEMORY) == "psal search: std::bad_alloc"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout where nothing was built, first on the path, and psal installed beside it."""
    library = Path(native.library()._name)
    (tmp_path / "psal_cli").mkdir()
    monkeypatch.setattr(libraries, "__file__", str(tmp_path / "psal_cli" / "libraries.py"))
    shutil.copytree(ROOT / "ext", tmp_path / "ext")
    for name in ("site/psal-0.dist-info", "site/psal_cli"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "site/psal-0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: psal\nVersion: 0\n")
    shutil.copy(library, tmp_path / "site" / "psal_cli" / library.name)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path


def test_a_missing_library_is_named_with_the_cure(checkout):
    for path in (checkout / "site" / "psal_cli").iterdir():
        path.unlink()
    with pytest.raises(ImportError, match=r"native library is not in .*: build and install it with `pip install \.`"):
        native.library.__wrapped__()


def test_a_checkout_without_a_library_takes_the_installed_one(checkout):
    loaded = native.library.__wrapped__()
    assert Path(loaded._name).parent == checkout / "site" / "psal_cli" and loaded.psal_cpu_isa() == native.cpu_isa().encode()


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_a_library_of_other_sources_is_refused(checkout, change):
    source = checkout / "ext" / "cpu" / ("another.h" if change == "added" else "search.cpp")
    if change == "removed":
        source.unlink()
    else:
        source.write_text("// one line\n" + (source.read_text() if source.exists() else ""))
    with pytest.raises(ImportError, match=r"site.psal_cli.* was not built from the sources in .*ext: run `make dev`"):
        native.library.__wrapped__()


def test_an_old_library_beside_the_sources_is_refused_too(checkout):
    installed = Path(native.library.__wrapped__()._name)
    shutil.copy(_ctypes.__file__, checkout / "psal_cli" / installed.name)  # a library that tells no digest
    with pytest.raises(ImportError, match=r"was not built from the sources in .*: delete this copy"):
        native.library.__wrapped__()


FROM_THE_ROOT = """
import numpy, torch, psal_cli
features = torch.zeros(1, 2, 9, 12)
print(psal_cli.PSAttention()(features, features, features).shape)
print(psal_cli.upscale(numpy.zeros((8, 9, 3), numpy.uint8), 2).image.shape)
print(psal_cli.__file__)
"""


@pytest.mark.subprocess
@pytest.mark.unsanitized
def test_the_package_works_in_the_root_of_the_repository():
    """There the sources come before the installed package."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run([sys.executable, "-c", FROM_THE_ROOT], cwd=ROOT, env=plain, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    shape, size, home = run.stdout.splitlines()
    assert (shape, size) == ("torch.Size([1, 2, 9, 12])", "(16, 18, 3)") and home == str(ROOT / "psal_cli" / "__init__.py")


LOADED = """
import ctypes, sys
ctypes.CDLL(sys.argv[1])
print(sum("omp" in line.rpartition("/")[2] for line in open("/proc/self/maps")))
"""


@pytest.mark.subprocess
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_library_brings_no_openmp_runtime():
    """A second one beside torch's would start a thread for every core."""
    assert in_a_process_of_its_own(LOADED, native.library()._name) == "0"


@pytest.mark.slow
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


@pytest.mark.subprocess
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


@pytest.mark.subprocess
def test_features_that_are_not_finite_still_give_keys():
    assert in_a_process_of_its_own(NOT_FINITE) == "every match is a key"
