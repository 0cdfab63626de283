"""What the tests share: where they run, the pictures that may be shipped, batches of small ones."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

# Before torch loads OpenMP: idle threads sleep instead of spinning, which on a busy machine slows small pictures tenfold.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# The defaults are psal's own, whatever the user's configuration file says.
os.environ["PSAL_CONFIG"] = "none"
if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores: threads of their own would only get in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from psal_cli import memory, native
from psal_cli.batch.runner import SIGNALS
from psal_cli.benchmarks.pairs import BUNDLED
from psal_cli.verbs.colorize import memory_model, sizes
from psal_cli.verbs.inpaint import api

from .cuda_emulation.build import NoCompilerError, built
from .cuda_emulation.device import EmulatedDevice
from .photos import ENV, SIZE, texture

EMULATION = pytest.param("emulation", marks=pytest.mark.emulation)


def pytest_generate_tests(metafunc):
    """A test that takes a `schedule` and does not say which runs once for each that its device has; one that takes a `device`
    runs on each: operators on the emulation of CUDA too, unless the test is marked not_emulated."""
    marks = list(metafunc.definition.iter_markers())
    chosen = "".join(str(mark.args[0]) for mark in marks if mark.name == "parametrize")
    if "schedule" in metafunc.fixturenames and "schedule" not in chosen:
        metafunc.parametrize("schedule", ["scan", "jump-flood", "exact"])
    if "device" in metafunc.fixturenames and "device" not in chosen:
        of_operators = metafunc.module.__name__.rpartition(".")[2].startswith("test_ops_")
        emulated = of_operators and not any(mark.name == "not_emulated" for mark in marks)
        metafunc.parametrize("device", ["cpu", "cuda", *([EMULATION] if emulated else [])], indirect=True)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """One of several workers compiles the emulation, and runs all that use it; likewise with the browser."""
    for item in items:
        if item.get_closest_marker("emulation"):
            item.add_marker(pytest.mark.xdist_group("emulation"))
        elif item.path.name == "test_paint_browser.py" and item.config.pluginmanager.hasplugin("xdist"):
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(autouse=True)
def heard_signals():
    """The tests send signals, which a suite that runs in the background, or under nohup, would ignore, and psal with it."""
    ignored = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(autouse=True)
def declared_processes(request, monkeypatch):
    """`make check` leaves out what starts processes, so a test that does must say so; the emulation starts a compiler."""

    start = subprocess.Popen.__init__

    def checked(self, args, *more, **options):
        # In a moment: a recipe asks for its revision, matplotlib once for the fonts.
        if Path(args[0]).name not in ("git", "fc-list"):
            pytest.fail("the test starts a process: mark it with @pytest.mark.subprocess")
        start(self, args, *more, **options)

    if not any(map(request.node.get_closest_marker, ("subprocess", "emulation"))):
        monkeypatch.setattr(subprocess.Popen, "__init__", checked)


@pytest.fixture(autouse=True)
def begun(monkeypatch):
    """A plan counts what its process holds before any picture, which of a suite is whatever ran before: here always the same."""
    monkeypatch.setattr(memory, "held", lambda: 300_000_000)


@pytest.fixture(autouse=True)
def no_networks_of_the_users(monkeypatch, tmp_path_factory):
    """The model folder is empty; what is measured of networks is kept for the session."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("XDG_DATA_HOME", str(base / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(base / "cache"))
    monkeypatch.delenv("PSAL_MODELS", raising=False)


@pytest.fixture(scope="session")
def emulated():
    """The device of host memory that runs the CUDA kernels (cuda_emulation), compiled once for all sessions."""
    if sys.platform != "linux":
        pytest.skip("the emulation of CUDA has been tried on Linux only")
    try:
        return EmulatedDevice(built(Path(__file__).parents[1] / "build/cuda_emulation"))
    except NoCompilerError as error:
        pytest.skip(str(error))


@pytest.fixture
def device(request):
    """Every test of an operation runs on all devices; without a GPU the CUDA part is skipped and says why."""
    if request.param != "cpu" and "scan" in request.node.callspec.params.values():
        pytest.skip('schedule "scan" runs on the CPU only')
    if request.param == "emulation":  # the tensors stay on the CPU, which the emulated device copies them from
        with request.getfixturevalue("emulated").active():
            yield torch.device("cpu")
        return
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("torch sees no CUDA device")
        if not native.cuda_architectures():
            pytest.skip("psal was installed without its CUDA library")
    yield torch.device(request.param)


@pytest.fixture(autouse=True)
def seeded():
    """Seeds torch. Without a GPU torch.manual_seed formats three stack traces, a second or two of all the quick tests."""
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(0)


@pytest.fixture
def threads():
    """A function that sets torch's number of threads; it is set back after the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def pair():
    """size -> the two video frames that ship as [1, 3, size, size] in [0, 1]."""

    def frames(size: int):
        for name in ("query", "key"):
            half = Image.open(BUNDLED / f"{name}.webp").resize((256, 256), Image.Resampling.BICUBIC)
            frame = torch.from_numpy(np.array(half)).float().permute(2, 0, 1)[None] / 255
            yield F.interpolate(frame, (size, size), mode="bicubic", antialias=True).clamp(0, 1)

    return lambda size: tuple(frames(size))


@pytest.fixture
def pair_of_files(tmp_path, monkeypatch, pair):
    """query.png and key.png in the working folder: 64x48 of the frames of `pair`."""
    monkeypatch.chdir(tmp_path)
    for name, frame in zip(("query", "key"), pair(64), strict=True):
        Image.fromarray((frame[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)[:48]).save(f"{name}.png")


@pytest.fixture
def pair_features(pair):
    """size -> the frames of `pair` convolved with one seeded random 3x3 bank of 16 filters, [1, 16, size, size] each."""
    bank = torch.randn(16, 3, 3, 3, generator=torch.Generator().manual_seed(0)) / 27**0.5
    return lambda size: tuple(F.conv2d(F.pad(frame, (1, 1, 1, 1), mode="replicate"), bank) for frame in pair(size))


@pytest.fixture
def quick_colours(monkeypatch):
    """colorize begins at an eighth of its size, in a fraction of the time: for tests that are not about its colours."""
    for module in (sizes, memory_model):
        monkeypatch.setattr(module, "COARSE", 56)


@pytest.fixture
def load(monkeypatch):
    """A function that imports a module of tests/bench."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "bench"))
    return importlib.import_module


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A function that fills photos/ with so many pictures, every third one in a subfolder; mask.png fits all."""
    monkeypatch.chdir(tmp_path)
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[10:16, 12:20] = 255
    Image.fromarray(mask).save("mask.png")

    def make(count):
        for number in range(count):
            path = Path("photos", *(["deep"] if number % 3 == 2 else []), f"{number:03}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(texture(number)).save(path)
        return tmp_path

    return make


@pytest.fixture
def shell_psal(tmp_path):
    """An environment in which `psal` is this one."""
    psal = tmp_path / "bin" / "psal"
    psal.parent.mkdir()
    psal.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -c "from psal_cli.commands import main; main()" "$@"\n')
    psal.chmod(0o755)
    return ENV | {"PATH": f"{psal.parent}:{os.environ['PATH']}"}


@pytest.fixture
def stopped(monkeypatch):
    """A function that makes the task call something for the picture of that number, before it does its work."""

    def at(number, act):
        work, calls = api.inpaint, []

        def counted(*args, **options):
            calls.append(0)
            if len(calls) == number:
                act()
            return work(*args, **options)

        monkeypatch.setattr(api, "inpaint", counted)

    return at
