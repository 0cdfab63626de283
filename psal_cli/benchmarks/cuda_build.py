"""Compiles the CUDA part of a checkout for the present device, and runs psal's tests on it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import torch

from psal_cli import libraries, native
from psal_cli.errors import InputError, PsalError

CHECKOUT = Path(__file__).parents[2]
TESTS = ("test_ops_search.py", "test_ops_windows.py", "test_attention_psal.py")
BUILD_SECONDS = 240


def ensure(device: str, say: Callable[[str], None]) -> float | None:
    """Loads libpsal_cuda. If it is missing, compiles it first, given the sources and a compiler.

    Returns the seconds that compiling took, None if the library existed.

    Raises:
        InputError: it is not there, and neither are the sources, nvcc or cmake.
        PsalError: it does not compile.
    """
    if native.cuda_library() is not None:
        return None
    if not (CHECKOUT / "ext/CMakeLists.txt").exists():
        raise InputError(f"{libraries.NO_CUDA}, and {CHECKOUT} has no sources to build it from")
    missing = [name for name in ("nvcc", "cmake") if shutil.which(name) is None]
    if missing:
        raise InputError(f"{libraries.NO_CUDA}, and to build it, {' and '.join(missing)} is missing on the PATH")
    major, minor = torch.cuda.get_device_capability(device)
    say(f"compiling ext/cuda for sm_{major}{minor}")
    began = time.monotonic()
    compile_cuda(f"{major}{minor}-real", Path(native.library()._name).parent)
    native.cuda_library.cache_clear()
    if native.cuda_library() is None:
        raise PsalError("ext/cuda was compiled, but libpsal_cuda is not beside libpsal")
    return time.monotonic() - began


def compile_cuda(architecture: str, folder: Path) -> Path:
    """Compiles ext/cuda for one architecture ("90-real") and puts the library into a folder.

    Raises PsalError with nvcc's words.
    """
    with tempfile.TemporaryDirectory(prefix="psal-cuda-") as build:
        configure = ["cmake", "-S", str(CHECKOUT / "ext"), "-B", build, f"-DCMAKE_CUDA_ARCHITECTURES={architecture}"]
        for command in (configure, ["cmake", "--build", build, "--target", "psal_cuda", "--parallel"]):
            try:
                subprocess.run(
                    command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True, timeout=BUILD_SECONDS
                )
            except subprocess.CalledProcessError as error:
                said = [line for line in str(error.stdout).splitlines() if "error" in line.lower()]
                raise PsalError(f"ext/cuda does not compile: {said[0] if said else error}") from error
            except subprocess.TimeoutExpired as error:
                raise PsalError(f"ext/cuda was not compiled within {BUILD_SECONDS} s") from error
        built = libraries.named(Path(build), "psal_cuda")
        if built is None:
            raise PsalError(f"cmake built no CUDA library for {architecture}: does it find the CUDA compiler?")
        target = folder / built.name
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        shutil.copy(built, part)
        part.replace(target)
    return target


def run_tests(seconds: float) -> dict | None:
    """Runs the tests with device "cuda", which are those of the CPU: {"passed", "failed", "skipped", "first_failure"}.

    Returns None without psal's tests or pytest, {"status": "seconds"} if they take longer than `seconds`.
    """
    files = [CHECKOUT / "tests" / name for name in TESTS]
    if not all(path.exists() for path in files):
        return None
    with tempfile.TemporaryDirectory(prefix="psal-tests-") as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-k", "cuda and not emulation", f"--junitxml={report}", *map(str, files)]
        try:
            subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=max(seconds, 1))
        except subprocess.TimeoutExpired:
            return {"status": "seconds"}
        return counts(report) if report.exists() else None


def counts(report: Path) -> dict:
    """The counts in pytest's XML report: {"passed", "failed", "skipped", "first_failure"}."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    total, skipped, failed = (
        sum(int(suite.get(name, 0)) for suite in suites for name in names)
        for names in (("tests",), ("skipped",), ("failures", "errors"))
    )
    cases = [case for suite in suites for case in suite.iter("testcase")]
    wrong = [case.get("name") for case in cases if any(child.tag in ("failure", "error") for child in case)]
    return {
        "passed": total - skipped - failed,
        "failed": failed,
        "skipped": skipped,
        "first_failure": wrong[0] if wrong else None,
    }
