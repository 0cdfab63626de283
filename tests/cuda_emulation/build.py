"""Compiles ext/cuda, as it stands, for the host against the headers of this folder."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CUDA = ROOT / "ext/cuda"
# The instrumentation of ThreadSanitizer calls a hook at each access; memory.cpp has the hooks, its runtime stays out.
INSTRUMENTED = ["-fsanitize=thread", '-DPSAL_CUDA_ARCHITECTURES="emulated"']
OPTIONS = ["-std=c++17", "-O1", "-g1", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-unknown-pragmas"]
INCLUDES = [f"-I{HERE}", f"-I{CUDA}"]

LAUNCH = re.compile(r"([\w:.]+(?:<[^<>;{}]*>)?)<<<(.*?)>>>\(", re.DOTALL)
DYNAMIC = re.compile(r"extern __shared__ ([\w:]+) (\w+)\[\];")
SHARED = re.compile(r"__shared__ ([\w:]+) (\w+)((?:\[[^\]]*\])*);")


class NoCompilerError(Exception):
    """There is no C++ compiler on this machine."""


def for_the_host(source: Path) -> str:
    """The text of a CUDA source in which launches and shared memory are C++; the lines keep their numbers."""
    text = LAUNCH.sub(r"::emulation::Launch(\1, \2)(", source.read_text())
    text = DYNAMIC.sub(r"\1* \2 = (\1*)::emulation::dynamic_shared_memory();", text)
    text = SHARED.sub(r"auto& \2 = ::emulation::shared<\1\3, __COUNTER__>();", text)
    return f'#line 1 "{source.name}"\n{text}'


def compiler() -> str:
    names = (os.environ.get("CXX", ""), "c++", "g++", "clang++")
    path_of_compiler = next((path for name in names if name and (path := shutil.which(name))), None)
    if path_of_compiler is None:
        raise NoCompilerError("no C++ compiler: none of CXX, c++, g++ and clang++")
    return path_of_compiler


def built(folder: Path) -> Path:
    """The emulated library in `folder`, compiled unless one of the same sources and compiler is there already.

    Raises:
        NoCompilerError: there is none.
        subprocess.CalledProcessError: it does not compile.
    """
    cxx = compiler()
    ours = sorted(path for pattern in ("*.h", "*.cpp", "*.cu", "build.py") for path in HERE.glob(pattern))
    sources = [*ours, *sorted(CUDA.iterdir()), *sorted((ROOT / "ext").glob("*.h"))]
    digest = hashlib.sha256(subprocess.run([cxx, "--version"], capture_output=True, check=True).stdout)
    for path in sources:
        digest.update(path.read_bytes())
    library = folder / f"{digest.hexdigest()[:16]}.so"
    if not library.exists():
        _compile(cxx, library)
    return library


def _compile(cxx: str, library: Path) -> None:
    work = library.with_suffix(f".{os.getpid()}")
    work.mkdir(parents=True)
    for source in (*CUDA.iterdir(), HERE / "faulty.cu"):
        (work / source.name).write_text(for_the_host(source))
    units = [(work / f"{name}.cu", ["-x", "c++", *INSTRUMENTED]) for name in ("search", "windows", "faulty")]
    units += [(HERE / f"{name}.cpp", ["-O2"]) for name in ("scheduler", "memory")]
    objects = []
    for source, extra in units:
        objects.append(work / f"{source.stem}.o")
        subprocess.run([cxx, *OPTIONS, *INCLUDES, *extra, "-c", str(source), "-o", str(objects[-1])], check=True)
    linked = work / "library.so"
    subprocess.run([cxx, "-shared", "-o", str(linked), *map(str, objects), "-ldl"], check=True)
    linked.replace(library)
    shutil.rmtree(work)
