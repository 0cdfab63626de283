"""Builds and runs the C++ tests of this folder."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ..cuda_emulation.build import NoCompilerError, compiler

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CPU = ROOT / "ext/cpu"


def _has_compiler() -> bool:
    try:
        return bool(compiler())
    except NoCompilerError:
        return False


def zig() -> list[str]:
    """The command of zig: that of the tests' environment, of `make dist`, or of the system; empty where there is none."""
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang"]
    ours = ROOT / "build/dist/tools/bin/python"
    if ours.exists():
        return [str(ours), "-m", "ziglang"]
    return [path] if (path := shutil.which("zig")) else []


def emulators(processor: str) -> list[str]:
    """The command that runs programs for a processor with the C library of Debian; without it the test is skipped."""
    command = next(filter(None, map(shutil.which, (f"qemu-{processor}", f"qemu-{processor}-static"))), None)
    if command is None:
        pytest.skip(f"needs qemu-user to run programs for {processor}: the package qemu-user-static of Debian")
    root = "/" if processor == platform.machine() else f"/usr/{processor}-linux-gnu"
    if not Path(root).exists():
        pytest.skip(f"needs the C library for {processor}: the package libc6-arm64-cross of Debian, or its like")
    return [command, "-L", root]


needs_zig = pytest.mark.skipif(not zig(), reason="needs another compiler: `make dist`, or the package ziglang")
needs_a_compiler = pytest.mark.skipif(not _has_compiler(), reason="there is no C++ compiler")


def pool_test(folder: Path) -> str:
    """What pool_test.cpp prints when all its cases hold. Raises subprocess.CalledProcessError with the output otherwise."""
    program = folder / "pool_test"
    sources = [str(HERE / "pool_test.cpp"), str(CPU / "threads.cpp")]
    subprocess.run([compiler(), "-std=c++17", "-O1", "-pthread", *sources, "-o", str(program)], check=True)
    return subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True, timeout=300).stdout.strip()


def fields(folder: Path, library: str) -> Path:
    """The program of fields.cpp, which calls that libpsal."""
    program = folder / "fields"
    command = [compiler(), "-std=c++17", "-O1", "-pthread", str(HERE / "fields.cpp"), library]
    subprocess.run([*command, f"-Wl,-rpath,{Path(library).parent}", "-o", str(program)], check=True)
    return program


def crossed(target: str) -> Path:
    """The program of fields.cpp with the kernels inside, for a target of zig.

    The kernels are compiled once, for processors with fused multiply-add, and with less optimisation than in a release:
    neither may change a sum.
    """
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-DPSAL_ISA=baseline"]
    flags += ["-mcpu=x86_64_v3"] if target.startswith("x86_64") else []
    return _by_zig("c++", target, [*sorted(CPU.glob("*.cpp")), HERE / "fields.cpp"], flags)


def crossed_pool_test(target: str) -> Path:
    """The program of pool_test.cpp for a target of zig."""
    return _by_zig("c++", target, [HERE / "pool_test.cpp", CPU / "threads.cpp"], ["-std=c++17", "-O1", "-pthread"])


def crossed_server(target: str) -> Path:
    """The program of server.c for a target of zig."""
    return _by_zig("cc", target, [HERE / "server.c"], ["-O1"])


def _by_zig(mode: str, target: str, sources: list[Path], flags: list[str]) -> Path:
    """A program that zig links, kept in build/ until a source changes."""
    digest = hashlib.sha256(" ".join([mode, target, *flags]).encode())
    for path in [*sources, *sorted(CPU.glob("*.h")), *sorted(CPU.parent.glob("*.h"))]:
        digest.update(path.read_bytes())
    program = ROOT / f"build/engine/{digest.hexdigest()[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(f".{os.getpid()}")
        command = [*zig(), mode, "-target", target, *flags, *map(str, sources), "-o", str(unfinished)]
        subprocess.run(command, check=True)
        unfinished.replace(program)
    return program
