"""Builds and runs the C++ tests of this folder."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from ..cuda_emulation.build import NoCompilerError, compiler

HERE = Path(__file__).parent
CPU = HERE.parents[1] / "ext/cpu"


def _has_compiler() -> bool:
    try:
        return bool(compiler())
    except NoCompilerError:
        return False


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


def crossed(target: str, cross_compiler: list[str]) -> Path:
    """The program of fields.cpp with the kernels inside, for a target of zig, kept in build/ until a source changes.

    The kernels are compiled once, for processors with fused multiply-add, and with less optimisation than in a release:
    neither may change a sum.
    """
    sources = sorted([*CPU.glob("*.cpp"), HERE / "fields.cpp"])
    digest = hashlib.sha256(target.encode())
    for path in [*sources, *sorted(CPU.glob("*.h")), *sorted(CPU.parent.glob("*.h"))]:
        digest.update(path.read_bytes())
    program = HERE.parents[1] / f"build/engine/{digest.hexdigest()[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(f".{os.getpid()}")
        flags = ["-target", target, "-std=c++17", "-O1", "-ffp-contract=off", "-DPSAL_ISA=baseline", '-DPSAL_SOURCE_DIGEST=""']
        flags += ["-mcpu=x86_64_v3"] if target.startswith("x86_64") else []
        subprocess.run([*cross_compiler, *flags, *map(str, sources), "-o", str(unfinished)], check=True)
        unfinished.replace(program)
    return program
