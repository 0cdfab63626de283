"""A native library that cannot be used is refused in words: for another machine, damaged, of another psal; and CUDA's own."""

import _ctypes
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
import torch

import psal_cli
from psal_cli import libraries, native
from psal_cli.commands import devices
from psal_cli.errors import InputError

from .engine.build import compiler, needs_a_compiler

KERNELS = ("search", "gather", "spread", "scatter", "log_total")
PE = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", 0xAA64)
FOREIGN = {
    "Linux on riscv64": b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + struct.pack("<H", 243),
    "Linux on arm": b"\x7fELF\x01\x01\x01".ljust(18, b"\0") + struct.pack("<H", 40),
    "Linux on processor 21": b"\x7fELF\x02\x02\x01".ljust(18, b"\0") + struct.pack(">H", 21),
    "macOS on arm64": struct.pack("<II", 0xFEEDFACF, 0x0100000C),
    "Windows on arm64": PE,
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package without a library; no sources lie beside it."""
    native.library()  # once loaded it stays
    monkeypatch.setattr(libraries, "__file__", str(tmp_path / "psal_cli" / "libraries.py"))
    (tmp_path / "psal_cli").mkdir()
    return tmp_path / "psal_cli"


def refusal():
    with pytest.raises(ImportError) as caught:
        native.library.__wrapped__()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("machine", FOREIGN)
def test_a_library_for_another_machine_is_refused_with_both_names(package, machine):
    (package / "libpsal.so").write_bytes(FOREIGN[machine].ljust(4096, b"\0"))
    here = libraries.this_machine()
    if machine == here:
        pytest.skip("that is this machine")
    assert f"libpsal.so is for {machine}, this is {here}: install psal's wheel for this machine" in refusal()


@pytest.mark.parametrize("name", ["libpsal.so", "libpsal.dylib", "psal.dll"])
def test_every_systems_library_is_found(package, name):
    """By the name that its linker gives it."""
    shutil.copy(native.library()._name, package / name)
    assert native.library.__wrapped__()._name == str(package / name)


def test_this_machine_is_the_one_of_the_loaded_library():
    assert libraries.machine_of(Path(native.library()._name)) == libraries.this_machine()


@pytest.mark.parametrize("part", [0, 3, 19, 63, 64, 5000, 0.5, 0.99])
def test_a_library_that_is_cut_off_is_named(package, part):
    """One that was half copied: the loader would end the process by a signal."""
    whole = Path(native.library()._name).read_bytes()
    (package / "libpsal.so").write_bytes(whole[: int(part * len(whole)) if 0 < part < 1 else part])
    words = refusal()
    assert any(reason in words for reason in ("is cut off", "is not a library, or damaged (", "does not load ("))
    assert words.startswith(str(package)) and words.endswith(": install psal anew")


def test_a_library_of_another_version_is_refused_by_name(package, monkeypatch):
    shutil.copy(native.library()._name, package / "libpsal.so")
    monkeypatch.setattr(libraries, "__version__", "9.1.0")
    assert refusal().endswith(f"libpsal.so is of psal {psal_cli.__version__}, this is psal 9.1.0: install psal anew")


def test_a_library_that_tells_no_version_is_an_older_one(package):
    shutil.copy(_ctypes.__file__, package / "libpsal.so")
    assert "libpsal.so is of an older psal, this is psal " in refusal()


# ------------------------------------------------------------------------------------------------------------- CUDA


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """Where the CUDA library is looked for. What was loaded before is looked for again after the test."""
    path = tmp_path / "libpsal_cuda.so"
    monkeypatch.setattr(libraries, "beside", lambda lib, name: path if path.exists() else None)
    native.cuda_library.cache_clear()
    yield path
    native.cuda_library.cache_clear()


def compiled(path, digest, version=psal_cli.__version__):
    """A library with CUDA's functions, each of which says that it was called."""
    says = 'extern "C" __attribute__((visibility("default"))) const char* {}(...) {{ return "{}"; }}\n'
    text = says.format("psal_version", version) + says.format("psal_source_digest", digest)
    text += says.format("psal_architectures_cuda", "90-real") + says.format("psal_search_scratch_cuda", "")
    text += "".join(says.format(f"psal_{name}_cuda", f"{name} was called") for name in KERNELS)
    source = path.with_suffix(".cpp")
    source.write_text(text)
    subprocess.run([compiler(), "-shared", "-fPIC", str(source), "-o", str(path)], check=True)


def digest_of_the_base():
    return native.library().psal_source_digest().decode()


def test_without_the_cuda_library_every_call_on_cuda_says_so(beside):
    assert native.cuda_architectures() == ""
    for name in KERNELS:
        with pytest.raises(RuntimeError, match=f"psal {name}: psal was installed without its CUDA library"):
            native.kernel(name, torch.device("cuda"))
    assert devices.choose_device("auto") == ("cpu", "psal was installed without its CUDA library")


@pytest.mark.subprocess
@needs_a_compiler
def test_the_cuda_library_is_used_where_it_lies_beside(beside):
    compiled(beside, digest_of_the_base())
    assert native.cuda_architectures() == "90-real"
    for name in KERNELS:
        args = native.SearchArgs() if name == "search" else native.WindowArgs()
        with pytest.raises(RuntimeError, match=f"psal {name}: {name} was called"):
            native.kernel(name, torch.device("cuda"))(args)


@pytest.mark.subprocess
@needs_a_compiler
@pytest.mark.parametrize(
    ("digest", "version", "words"),
    [("0" * 64, None, "was "), (None, "0.1.7", "is of psal 0.1.7, this is psal ")],
)
def test_a_cuda_library_of_another_build_is_refused_and_the_cpu_works_on(beside, monkeypatch, tmp_path, digest, version, words):
    compiled(beside, digest or digest_of_the_base(), version or psal_cli.__version__)
    monkeypatch.setattr(libraries, "__file__", str(tmp_path / "psal_cli" / "libraries.py"))  # not in a checkout
    words = f"{beside} was built from other sources than {native.library()._name}" if digest else f"{beside} {words}"
    with pytest.raises(ImportError) as caught:
        native.cuda_architectures()
    assert str(caught.value).startswith(words)
    assert devices.choose_device("cpu") == ("cpu", "asked for")
    device, reason = devices.choose_device("auto")
    assert device == "cpu" and reason.startswith(words)
    with pytest.raises(InputError, match=r"--device cuda: .*libpsal_cuda\.so .*; --device cpu works everywhere"):
        devices.choose_device("cuda")
