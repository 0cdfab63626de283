"""Finds and loads the files of psal's native library, and explains why one cannot be used."""

import ctypes
import hashlib
import os
import platform
import struct
from contextlib import suppress
from ctypes import c_char_p
from pathlib import Path

from psal_cli import __version__

NO_CUDA = "psal was installed without its CUDA library"
NEW_INSTALL = "reinstall psal"
FROM_SOURCE = "build it here with `pip install .`"
ELF = {3: "i386", 40: "arm", 62: "x86-64", 183: "aarch64", 243: "riscv64"}
MACH_O = {0x01000007: "x86-64", 0x0100000C: "arm64"}
PE = {0x014C: "i386", 0x8664: "x86-64", 0xAA64: "arm64"}


def base() -> Path:
    """The path of libpsal: beside the package's modules, or where psal is installed. Raises ImportError if there is none."""
    package = Path(__file__).parent
    path = _in(package, "psal") or _installed("psal")
    if path is None:
        raise ImportError(f"psal's native library is not in {package}: build and install it with `pip install .`")
    return path


def beside(lib: ctypes.CDLL, name: str) -> Path | None:
    """The path of another library in the folder of a loaded one."""
    return _in(Path(lib._name).parent, name)


def load(path: Path, like: ctypes.CDLL | None = None) -> ctypes.CDLL:
    """Loads one of psal's libraries.

    like: a loaded library that must come from the same sources.

    Raises ImportError, with what was expected, what was found and the cure, if the library is for another machine, belongs to
    another version of psal, was built from other sources than this checkout or `like`, or does not load.
    """
    if _is_cut_off(path):
        raise ImportError(f"{path} is cut off: {NEW_INSTALL}")
    try:
        lib = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(_why_not_loaded(path, str(error))) from error
    package, digest = Path(__file__).parent, _said_by(lib, "psal_source_digest")
    sources = package.parent / "ext"
    if (sources / "psal.h").exists() and digest != source_digest(sources):
        cure = "delete this copy" if path.parent == package else "run `make dev` or `pip install .`"
        raise ImportError(f"{path} was not built from the sources in {sources}: {cure}")
    version = _said_by(lib, "psal_version")
    if version != __version__:
        whose = f"psal {version}" if version else "an older psal"
        raise ImportError(f"{path} is of {whose}, this is psal {__version__}: {NEW_INSTALL}")
    if like is not None and digest != _said_by(like, "psal_source_digest"):
        raise ImportError(f"{path} was built from other sources than {like._name}: {NEW_INSTALL}")
    return lib


def _in(folder: Path, name: str) -> Path | None:
    names = f"lib{name}.so", f"lib{name}.dylib", f"{name}.dll"
    return next((path for name in names if (path := folder / name).exists()), None)


def _installed(name: str) -> Path | None:
    """A library of the installed psal, for a checkout that shadows it on the path, and for an editable install."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return _in(Path(str(distribution("psal").locate_file("psal_cli"))), name)
    except PackageNotFoundError:
        return None


def source_digest(sources: Path) -> str:
    """The digest of an ext/ folder, computed as in its CMakeLists.txt: SHA-256 over one line per source."""
    kinds = {".h", ".cuh", ".cpp", ".cu"}
    paths = [path for path in sources.rglob("*") if path.suffix in kinds or path.name == "CMakeLists.txt"]
    named = sorted((path.relative_to(sources).as_posix(), path) for path in paths)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {name}\n" for name, path in named]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _said_by(lib: ctypes.CDLL, name: str) -> str:
    """Calls a function of the library that takes no arguments and returns text; empty if there is no such function."""
    try:
        function = getattr(lib, name)
    except AttributeError:
        return ""
    function.argtypes, function.restype = [], c_char_p
    said: bytes = function()
    return said.decode()


def _is_cut_off(path: Path) -> bool:
    """Whether a Linux library is truncated. Loading one would kill the process with a signal."""
    with suppress(OSError, struct.error), open(path, "rb") as file:
        head = file.read(64)
        if head[:6] == b"\x7fELF\x02\x01":  # the section table comes last in the file
            (start,), (size, count) = struct.unpack_from("<Q", head, 40), struct.unpack_from("<HH", head, 58)
            return file.seek(0, os.SEEK_END) < int(start) + int(size) * int(count)
    return False


def _why_not_loaded(path: Path, reason: str) -> str:
    try:
        built_for = machine_of(path)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}): {NEW_INSTALL}"
    here = this_machine()
    if built_for is None:
        return f"{path} is not a library, or damaged ({reason}): {NEW_INSTALL}"
    if built_for != here:
        return f"{path} is for {built_for}, this is {here}: install psal's wheel for this machine, or {FROM_SOURCE}"
    if "GLIBC" in reason:
        return f"{path} does not load ({reason}): this system is older than the one it was built on, {FROM_SOURCE}"
    return f"{path} does not load ({reason}): {NEW_INSTALL}"


def machine_of(path: Path) -> str | None:
    """The system and processor that a library was built for, e.g. "Linux on aarch64"; None if the file is not a library."""
    with open(path, "rb") as file:
        head = file.read(4096)
    try:
        if head.startswith(b"\x7fELF"):
            (number,) = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)
            return f"Linux on {ELF.get(number, f'processor {number}')}"
        if head.startswith(b"\xcf\xfa\xed\xfe"):
            (number,) = struct.unpack_from("<I", head, 4)
            return f"macOS on {MACH_O.get(number, f'processor {number}')}"
        if head.startswith(b"MZ"):
            (start,) = struct.unpack_from("<I", head, 60)
            (number,) = struct.unpack_from("<H", head, start + 4)
            return f"Windows on {PE.get(number, f'processor {number}')}"
    except (struct.error, IndexError):
        pass
    return None


def this_machine() -> str:
    """As `machine_of`, for the running system."""
    system, processor = platform.system(), platform.machine().lower()
    names = {"amd64": "x86-64", "x86_64": "x86-64", "i686": "i386"}
    return f"{'macOS' if system == 'Darwin' else system} on {names.get(processor, processor)}"
