"""The pipeline of a batch: in order, beside each other, stopped by failures and signals without losing anything."""

import gc
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

import psal_cli
from psal_cli.batch.inputs import Item
from psal_cli.batch.runner import Stop, run

NAMES = "abcdefgh"


def items(names=NAMES):
    return [Item(Path(name), Path(name), name) for name in names]


class Large:
    """Stands for a picture."""


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("failing", ["work", "write"])
def test_what_failed_is_not_kept_in_memory(jobs, failing):
    alive = []

    def read(_):
        large = Large()
        alive.append(weakref.ref(large))
        return large

    def step(item, large, name):
        if failing == name:
            try:
                raise OSError(large)
            except OSError as error:
                raise ValueError(name) from error
        return large

    gc.disable()  # which would hide it for a while
    try:
        with Stop() as stop:
            done = run(items(), read, lambda *of: step(*of, "work"), lambda *of: step(*of, "write"), stop, jobs)
            errors = [type(outcome.error) for outcome in done]
        assert errors == [ValueError] * len(NAMES) and sum(outcome() is not None for outcome in alive) <= 1
    finally:
        gc.enable()


class Steps:
    """Steps that only note what they do; `fail` is the step and name that raises."""

    def __init__(self, fail=(), act=()):
        self.fail, self.act, self.said, self.lock = dict(fail), dict(act), [], threading.Lock()
        self.read_ahead = self.behind = self.most_ahead = self.most_behind = 0

    def _step(self, step, item):
        name = str(item.input)
        self.said.append(step + name)
        if (step, name) in self.act:
            self.act[step, name]()
        if (step, name) in self.fail:
            raise self.fail[step, name]
        return name

    def read(self, item):
        with self.lock:
            self.read_ahead += 1
            self.most_ahead = max(self.most_ahead, self.read_ahead)
        return self._step("read ", item)

    def work(self, item, loaded):
        assert threading.current_thread() is threading.main_thread() and loaded == str(item.input)
        with self.lock:
            self.read_ahead -= 1
        self._step("work ", item)
        with self.lock:
            self.behind += 1
            self.most_behind = max(self.most_behind, self.behind)
        return loaded.upper()

    def write(self, item, result):
        time.sleep(0.01)
        self._step("write ", item)
        with self.lock:
            self.behind -= 1
        return result + "!"

    def outcomes(self, jobs=1, keep_going=True, names=NAMES):
        with Stop() as stop:
            return list(run(items(names), self.read, self.work, self.write, stop, jobs, keep_going))


@pytest.fixture(params=[1, 2, 5])
def jobs(request):
    return request.param


def test_every_item_goes_through_in_order(jobs):
    steps = Steps()
    done = steps.outcomes(jobs)
    assert [(str(outcome.item.input), outcome.result, outcome.error) for outcome in done] == [
        (name, name.upper() + "!", None) for name in NAMES
    ]
    assert [said for said in steps.said if said.startswith("work")] == [f"work {name}" for name in NAMES]
    assert all(outcome.seconds >= 0.01 and outcome.peak > 10_000_000 for outcome in done)
    assert steps.most_ahead <= jobs and steps.most_behind <= jobs  # no more pictures than that are held in memory


def test_reading_and_writing_go_on_beside_the_work():
    released = threading.Event()
    steps = Steps(act={("write ", "a"): lambda: released.wait(20), ("read ", "c"): released.set})
    done = steps.outcomes(2)  # a is written until c has been read, which is only begun when b is worked on
    assert [outcome.error for outcome in done] == [None] * len(NAMES)


@pytest.mark.parametrize("step", ["read ", "work ", "write "])
def test_a_failure_concerns_its_item_only(jobs, step):
    error = OSError("broken")
    done = Steps(fail={(step, "c"): error}).outcomes(jobs)
    assert [outcome.error for outcome in done] == [error if name == "c" else None for name in NAMES]
    assert [outcome.result for outcome in done if outcome.error is None] == [name.upper() + "!" for name in NAMES if name != "c"]


@pytest.mark.parametrize("step", ["read ", "work ", "write "])
def test_fail_fast_begins_nothing_after_a_failure_and_ends_what_is_begun(jobs, step):
    steps = Steps(fail={(step, "c"): ValueError("broken")})
    done = steps.outcomes(jobs, keep_going=False)
    reached = [str(outcome.item.input) for outcome in done]
    assert reached == list(NAMES[: len(reached)]) and len(reached) <= 2 + jobs
    assert [outcome.error is not None for outcome in done] == [name == "c" for name in reached]
    assert {said for said in steps.said if said.startswith("write")} >= {f"write {name}" for name in reached if name != "c"}


def test_fail_fast_does_not_wait_for_what_is_written_before_it_stops():
    steps = Steps(fail={("work ", "c"): ValueError("broken")}, act={("write ", "a"): lambda: time.sleep(0.3)})
    done = steps.outcomes(5, keep_going=False)
    assert [(str(outcome.item.input), outcome.error is None) for outcome in done] == [("a", True), ("b", True), ("c", False)]
    assert "work d" not in steps.said


def test_seconds_are_those_of_all_steps():
    [done] = Steps(act={("read ", "a"): lambda: time.sleep(0.1), ("work ", "a"): lambda: time.sleep(0.1)}).outcomes(names="a")
    assert done.seconds >= 0.21


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak of a process")
def test_the_peak_is_that_of_the_item():
    def hold():
        with mmap.mmap(-1, 100_000_000) as held:  # of the system itself: the allocator may have kept as much of earlier tests
            for page in range(0, len(held), mmap.PAGESIZE):
                held[page] = 1

    first, second = Steps(act={("work ", "a"): hold}).outcomes(names="ab")
    assert first.peak > second.peak + 50_000_000


def kill(number):
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_work_at_hand_and_what_is_written_ends(jobs, number):
    before = signal.getsignal(number)
    steps = Steps(act={("work ", "c"): kill(number)})
    done = steps.outcomes(jobs)
    assert [(str(outcome.item.input), type(outcome.error)) for outcome in done] == [
        ("a", type(None)),
        ("b", type(None)),
        ("c", KeyboardInterrupt),
    ]
    assert signal.getsignal(number) is before


def test_a_signal_while_writing_lets_the_file_end(tmp_path):
    steps = Steps(act={("write ", "b"): kill(signal.SIGTERM)})
    done = steps.outcomes()
    assert [(str(outcome.item.input), outcome.result, outcome.error) for outcome in done] == [
        ("a", "A!", None),
        ("b", "B!", None),
    ]


START = """
import hashlib, os, signal, sys, threading, time
from pathlib import Path
from psal_cli import files
from psal_cli.batch.inputs import Item
from psal_cli.batch.runner import Stop, run
files.UNNAMED = 0
ITEMS = [Item(Path("a"), Path("a"), "a")]
"""
WRITING = """
def write(item, result):
    with files.atomic_file(Path("out"), False) as file:
        file.write(b"half"); file.flush()
        print(len(list(Path().iterdir())), flush=True)
        time.sleep(60)
with Stop() as stop:
    list(run(ITEMS, lambda item: 1, lambda item, loaded: 1, write, stop))
"""
WORKING = """
def work(item, loaded):
    threading.Timer(0.3, print, (0,), {"flush": True}).start()  # while what follows is under way
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # a native call of minutes, as the engine's may be
with Stop() as stop:
    list(run(ITEMS, lambda item: 1, work, lambda item, result: 1, stop))
"""


def started(folder, code, **options):
    env = os.environ | {"PYTHONPATH": str(Path(psal_cli.__file__).parent.parent)}
    return subprocess.Popen([sys.executable, "-P", "-c", START + code], cwd=folder, env=env, stdout=-1, text=True, **options)


@pytest.mark.subprocess
@pytest.mark.parametrize("code", [WRITING, WORKING])
def test_a_second_signal_leaves_at_once_and_leaves_nothing(tmp_path, code):
    with started(tmp_path, code) as process:
        assert process.stdout.readline() == f"{int(code == WRITING)}\n"
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.subprocess
def test_a_signal_that_the_shell_has_ignored_stays_ignored(tmp_path):
    code = """
with Stop() as stop:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        print(signal.getsignal(number) is signal.SIG_IGN, flush=True)
"""
    ignoring = ["sh", "-c", 'trap \'\' INT HUP; exec "$0" "$@"', sys.executable, "-P", "-c", START + code]
    env = os.environ | {"PYTHONPATH": str(Path(psal_cli.__file__).parent.parent)}
    assert subprocess.run(ignoring, env=env, capture_output=True, text=True).stdout.split() == ["True", "True", "False"]


@pytest.mark.subprocess
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_torch_is_imported_waits_until_it_is_there(tmp_path, number):
    """An import of torch that is cut off aborts the process, with a dump of C++."""
    (tmp_path / "torch.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {int(number)})\ntime.sleep(0.1)\nprint('whole', flush=True)\n"
    )
    code = """
from psal_cli.batch.runner import Stop, import_torch
with Stop() as stop:
    try:
        import_torch()
    except KeyboardInterrupt:
        print("stopped", stop.asked)
"""
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    run = subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True)
    assert run.stdout.split("\n")[:2] == ["whole", "stopped True"] and run.stderr == ""


WINDOWS = {  # where no verb handles signals
    "before the command is imported": """
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "psal_cli.commands":
            interrupt()
sys.meta_path.insert(0, Finder())
""",
    "while a module is half imported": """
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "secrets":  # by psal_cli.files
            interrupt()
sys.meta_path.insert(0, Finder())
""",
    "when the command has been imported": "import psal_cli.commands; psal_cli.commands.main = interrupt",
    "when the process ends": "import atexit; atexit.register(interrupt); sys.argv = ['psal', '--version']",
}


@pytest.mark.subprocess
@pytest.mark.parametrize("window", WINDOWS)
def test_a_signal_outside_of_a_verb_is_one_line(window):
    code = f"""
import os, signal, sys
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
{WINDOWS[window]}
from psal_cli.__main__ import main
main()
"""
    run = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (130, "psal: interrupted\n")
