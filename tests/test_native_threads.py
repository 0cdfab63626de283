"""The engine's threads as a host program meets them: forks, many Python threads, torch's parallel regions, failing memory.

Each case runs in a process of its own, since it leaves threads behind. tests/engine/pool_test.cpp tests the pool alone.
"""

import sys

import pytest

from .engine.build import needs_a_compiler, pool_test
from .test_native import in_a_process_of_its_own

pytestmark = [
    pytest.mark.native,
    pytest.mark.slow,
    pytest.mark.subprocess,
    pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc"),
]

# Small enough for torch to copy on one thread: its own pool does not survive a fork.
SEARCH = """
import os, sys, threading, torch
from psal_cli import native, ops

torch.manual_seed(0)
query, key = torch.randn(2, 1, 6, 70, 41)

def search():
    return ops.search(query, key, 5, 3, 3, seed=11)

def same(field):
    return all(torch.equal(one, other) for one, other in zip(field, alone))

torch.set_num_threads(1)
alone = search()
torch.set_num_threads(4)
"""

FORKED = """
busy, stop = threading.Event(), threading.Event()

def work():
    while not stop.is_set():
        search()
        busy.set()

worker = threading.Thread(target=work)
worker.start()
busy.wait()
codes = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        import signal
        signal.alarm(120)  # a deadlock ends the child, and so the test
        right = same(search()) and len(os.listdir("/proc/self/task")) > 1
        os._exit(0 if right else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
worker.join()
print(codes.count(0), same(search()))
"""


def test_a_child_of_a_process_that_is_searching_finds_the_same_field():
    assert in_a_process_of_its_own(SEARCH + FORKED) == "10 True"


LOADER = """
class Fields(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        torch.set_num_threads(3)
        return search()

search()
for nnf, best in torch.utils.data.DataLoader(Fields(), num_workers=2, multiprocessing_context="fork", batch_size=None):
    print(same((nnf, best)), end=" ")
"""


def test_workers_of_a_data_loader_find_the_same_field():
    assert in_a_process_of_its_own(SEARCH + LOADER).split() == ["True"] * 4


CALLERS = """
before = len(os.listdir("/proc/self/task"))
most, results = [], []

def work():
    torch.set_num_threads(4)
    for _ in range(5):
        results.append(same(search()))
        most.append(len(os.listdir("/proc/self/task")))

callers = [threading.Thread(target=work) for _ in range(8)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join()
print(all(results), len(results), max(most) - before <= 8 + 3)
"""


def test_many_python_threads_share_the_workers_and_find_the_same_fields():
    """Eight callers with four threads each: three workers for all of them, not 24."""
    assert in_a_process_of_its_own(SEARCH + CALLERS) == "True 40 True"


INSIDE = """
import ctypes

torch.randn(512, 512) @ torch.randn(512, 512)  # loads OpenMP
path = next(line.split()[-1] for line in open("/proc/self/maps") if "gomp" in line.rpartition("/")[2])
results = []

def body(_):
    results.append(same(search()))

openmp = ctypes.CDLL(path)
region = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(body)
search()
before = len(os.listdir("/proc/self/task"))
openmp.GOMP_parallel(region, None, 4, 0)
started = len(os.listdir("/proc/self/task")) - before
print(len(results), all(results), started <= 3)  # by OpenMP for its region, which torch may have done before
"""


def test_a_call_in_a_parallel_region_of_torch_starts_no_more_threads():
    assert in_a_process_of_its_own(SEARCH + INSIDE) == "4 True True"


TOO_MANY = """
tall = torch.zeros(1, 1, 6000, 2)
nnf = torch.zeros(1, 1, 2, 6000, 2, dtype=torch.int32)
alone = ops.similarity_at(tall, tall, nnf, 1)
torch.set_num_threads(5000)
before = len(os.listdir("/proc/self/task"))
found = ops.similarity_at(tall, tall, nnf, 1)
print(torch.equal(found, alone), len(os.listdir("/proc/self/task")) - before <= 1023)
"""


def test_no_more_than_1024_threads_are_started():
    assert in_a_process_of_its_own(SEARCH + TOO_MANY) == "True True"


NO_MEMORY = """
import resource, torch
from psal_cli import native

# Eight bands, each of which asks for 44 MB on the thread that sweeps it. Most of the limit goes to the stacks of workers.
side, k = 256, 60
features = torch.zeros(side * 8192)
field, best = torch.zeros(side * 8192 * k, dtype=torch.int32), torch.zeros(side * 8192 * k)
args = native.SearchArgs(native.Place(), 0, 0, native.SCHEDULES["exact"], 1, 1, side, 8192, side, 8192, 1, k, 1, 0, 0)
args.query = args.key = features.data_ptr()
args.field, args.best = field.data_ptr(), best.data_ptr()
torch.set_num_threads(4)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, used + 2**27))
try:
    native.kernel("search", torch.device("cpu"))(args)
except RuntimeError as error:
    print(error)
"""


@pytest.mark.unsanitized
def test_memory_that_runs_out_on_a_worker_is_an_error_not_a_crash():
    assert in_a_process_of_its_own(NO_MEMORY) == "psal search: std::bad_alloc"


@pytest.mark.unsanitized
@needs_a_compiler
def test_the_pool_alone(tmp_path):
    assert pool_test(tmp_path) == "pool: all cases hold"
