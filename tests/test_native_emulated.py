"""The engine on processors that are emulated: the aarch64 library of `make dist`, and x86-64 without AVX2.

torch is too heavy for an emulator. It stays here with the tests, and calls the library through tests/engine/remote.py.
"""

import os
import platform
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from psal_cli import libraries, native

from .engine.build import ROOT, crossed_pool_test, crossed_server, emulators, fields, needs_a_compiler, needs_zig

ARM = "aarch64-linux-gnu.2.17"
OPERATORS = [f"tests/test_ops_{name}.py" for name in ("search", "windows", "composition", "hostile")]
LEFT_OUT = (
    *("cuda", "emulation"),
    *("recall", "as_good_as", "patch_31", "solver_needs_few", "any_number_of_threads"),  # large
    *("more_iterations", "same_seed"),  # other tests look at as much
    *("opcheck", "gradcheck", "less_memory", "thousand_hostile"),  # about torch, or in a process that has the library of here
)
pytestmark = [pytest.mark.native, pytest.mark.unsanitized, pytest.mark.slow, pytest.mark.subprocess]


@pytest.fixture
def aarch64_library(tmp_path):
    """libpsal.so of the wheel for aarch64."""
    wheels = sorted((ROOT / "dist").glob("psal-*-py3-none-manylinux*_aarch64.whl"))
    if not wheels:
        pytest.skip("there is no wheel for aarch64 in dist/: `make dist` makes it")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        path = Path(wheel.extract("psal_cli/libpsal.so", tmp_path))
    assert libraries.machine_of(path) == "Linux on aarch64"
    if libraries.source_digest(ROOT / "ext").encode() not in path.read_bytes():
        pytest.skip("the wheel in dist/ was not built from these sources: `make dist` makes it anew")
    return path


@needs_zig
def test_the_operators_pass_their_tests_on_the_aarch64_library(aarch64_library):
    """The same tests, with the same answers: sums have one order on all processors. Some of the cases of each, so many that
    every dtype, similarity, schedule and size occurs: an emulator is slow."""
    server = [*emulators("aarch64"), str(crossed_server(ARM)), str(aarch64_library)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.engine.remote", "-p", "no:cacheprovider"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # no worker of a larger run
    env |= {"PSAL_TEST_ENGINE": shlex.join(server), "PYTHONPATH": str(Path(native.__file__).parents[1])}
    command += ["-k", " and ".join(f"not {name}" for name in LEFT_OUT), *OPERATORS]
    run = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    assert int(re.search(r"^(\d+) calls of the engine under .*qemu-aarch64", run.stdout, re.MULTILINE)[1]) > 400
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 100


@needs_zig
def test_the_pool_on_aarch64():
    """Without forks, which the emulator cannot do beside threads."""
    program = crossed_pool_test(ARM)
    run = subprocess.run([*emulators("aarch64"), program, "without-forks"], stdout=subprocess.PIPE, text=True, check=True)
    assert run.stdout.strip() == "pool: all cases hold"


@needs_a_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="about x86-64")
def test_a_processor_without_avx2_runs_the_baseline_and_says_what_it_lacks(tmp_path):
    program = fields(tmp_path, native.library()._name)
    old = [emulators("x86_64")[0], "-cpu", "Nehalem", str(program)]
    run = subprocess.run(old, stdout=subprocess.PIPE, text=True, check=True)
    baseline = subprocess.run([program, "baseline"], stdout=subprocess.PIPE, text=True, check=True)
    assert len(run.stdout.split()) == 20 and run.stdout == baseline.stdout
    for name, lacks in ("x86-64-v3", "AVX2 and FMA"), ("x86-64-v4", "AVX-512 (F, BW, CD, DQ and VL)"):
        refused = subprocess.run([*old, name], capture_output=True, text=True)
        assert (refused.returncode, refused.stderr) == (1, f"this processor has no {lacks}\n")
