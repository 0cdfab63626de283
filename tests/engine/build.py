"""Builds and runs the C++ tests of this folder."""

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
