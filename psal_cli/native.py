"""libpsal through ctypes: finds the library, mirrors the structs of ext/psal.h, turns messages into errors.

Only raw pointers and sizes cross this border, so one build of the library serves every version of torch and Python.
"""

import ctypes
import hashlib
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_float, c_int32, c_int64, c_uint64, c_void_p
from functools import cache
from pathlib import Path

import torch

DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.float64: 3}
PIXELS = {"float32": 0, "uint8": 4, "uint16": 5}  # of pictures, as numpy names them
SIMILARITIES = {"l2": 0, "dot": 1}
SCHEDULES = {"scan": 0, "jump-flood": 1, "exact": 2}


class Place(ctypes.Structure):
    _fields_ = [("threads", c_int32), ("device", c_int32), ("stream", c_void_p)]


class SearchArgs(ctypes.Structure):
    _fields_ = [
        ("place", Place),
        *[(name, c_int32) for name in ("dtype", "similarity", "schedule", "batch", "channels")],
        *[(name, c_int32) for name in ("query_height", "query_width", "key_height", "key_width")],
        *[(name, c_int32) for name in ("patch_size", "k", "iterations", "has_init")],
        ("seed", c_uint64),
        *[(name, c_void_p) for name in ("query", "key", "key_scale", "query_mask", "key_valid", "key_rows")],
        *[(name, c_void_p) for name in ("field", "best", "scratch")],
    ]


class WindowArgs(ctypes.Structure):
    _fields_ = [
        ("place", Place),
        *[(name, c_int32) for name in ("dtype", "similarity", "batch", "channels")],
        *[(name, c_int32) for name in ("query_height", "query_width", "key_height", "key_width", "patch_size", "k")],
        *[(name, c_void_p) for name in ("query", "key", "nnf", "weight", "log_total", "baseline", "order", "first")],
        ("centred", c_int32),
        ("out", c_void_p),
    ]


class ComposeArgs(ctypes.Structure):
    _fields_ = [
        ("place", Place),
        *[(name, c_int32) for name in ("dtype", "source_height", "source_width", "channels")],
        *[(name, c_int32) for name in ("top", "left", "height", "width", "steps")],
        *[(name, c_float) for name in ("fidelity", "tolerance")],
        *[(name, c_int64) for name in ("row_stride", "column_stride", "channel_stride")],
        *[(name, c_void_p) for name in ("pixels", "barred", "unknown", "origin", "out")],
    ]


@cache
def library() -> ctypes.CDLL:
    """The loaded libpsal. Raises ImportError with the cure when it was not built, or not from the sources of this checkout."""
    package = Path(__file__).parent
    path = _built_in(package) or _installed()
    if path is None:
        raise ImportError(f"psal's native library is not in {package}: build and install it with `pip install .`")
    lib = ctypes.CDLL(str(path))
    if hasattr(lib, "psal_source_digest"):
        _declare(lib, "psal_source_digest", [], c_char_p)
    sources = package.parent / "ext"
    if (sources / "psal.h").exists() and _digest_in(lib) != source_digest(sources):
        cure = "delete this copy" if path.parent == package else "run `make dev` or `pip install .`"
        raise ImportError(f"{path} was not built from the sources in {sources}: {cure}")
    declare(lib, "cpu")
    declare(lib, "cuda")
    _declare(lib, "psal_cpu_isa", [], c_char_p)
    _declare(lib, "psal_use_cpu_isa", [c_char_p], c_char_p)
    return lib


def _built_in(package: Path) -> Path | None:
    names = "libpsal.so", "libpsal.dylib", "psal.dll", "libpsal.dll"  # the last one is MinGW's
    return next((path for name in names if (path := package / name).exists()), None)


def _installed() -> Path | None:
    """The library of the installed psal, which a checkout uses when it comes first on the path, and an editable install."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return _built_in(Path(str(distribution("psal").locate_file("psal_cli"))))
    except PackageNotFoundError:
        return None


def source_digest(sources: Path) -> str:
    """The digest of a folder ext/ as its CMakeLists.txt computes it: SHA-256 of one line for each source."""
    kinds = {".h", ".cuh", ".cpp", ".cu"}
    paths = [path for path in sources.rglob("*") if path.suffix in kinds or path.name == "CMakeLists.txt"]
    named = sorted((path.relative_to(sources).as_posix(), path) for path in paths)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {name}\n" for name, path in named]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _digest_in(lib: ctypes.CDLL) -> str:
    """The digest that the library reports; empty for one that was built before libraries had a digest."""
    digest: bytes = lib.psal_source_digest() if "psal_source_digest" in vars(lib) else b""
    return digest.decode()


def declare(lib: ctypes.CDLL, device: str) -> None:
    """Gives the functions of ext/psal.h for one device ("cpu" or "cuda") their C types, in a library that has them."""
    for name in ("gather", "spread", "scatter", "log_total"):
        _declare_kernel(lib, f"psal_{name}_{device}", WindowArgs)
    _declare_kernel(lib, f"psal_search_{device}", SearchArgs)
    if device == "cpu":
        _declare_kernel(lib, "psal_compose_cpu", ComposeArgs)
    if device == "cuda":
        _declare(lib, "psal_search_scratch", [POINTER(SearchArgs)], c_int64)
        _declare(lib, "psal_cuda_architectures", [], c_char_p)


def _declare(lib: ctypes.CDLL, name: str, argtypes: list[type], restype: type) -> None:
    function = getattr(lib, name)
    function.argtypes, function.restype = argtypes, restype


def _declare_kernel(lib: ctypes.CDLL, name: str, args: type[ctypes.Structure]) -> None:
    _declare(lib, name, [POINTER(args)], c_char_p)
    getattr(lib, name).errcheck = _raise_message


def _raise_message(message: bytes | None, function: Callable[..., bytes | None], _: object) -> None:
    """Checks a kernel's result for ctypes: raises ValueError with a message about a field, RuntimeError with any other
    message."""
    if message and message.startswith(b"nnf holds"):
        raise ValueError(message.decode())
    if message:
        name = function.__name__.removeprefix("psal_").removesuffix("_cpu").removesuffix("_cuda")
        raise RuntimeError(f"psal {name}: {message.decode()}")


def cpu_isa() -> str:
    """The instruction set that the kernels run on: "baseline", "x86-64-v3" or "x86-64-v4"."""
    name: bytes = library().psal_cpu_isa()
    return name.decode()


def use_cpu_isa(name: str) -> None:
    """Makes all later calls run on one instruction set, a name that `cpu_isa` may return; at first it is the widest one.

    Raises ValueError when the processor does not have it, or the library was not built for it.
    """
    message: bytes | None = library().psal_use_cpu_isa(name.encode())
    if message:
        raise ValueError(f"{name}: {message.decode()}")


def cuda_architectures() -> str:
    """The CUDA architectures in the library, e.g. "75-real 80-real"; empty when it was built without CUDA."""
    names: bytes = library().psal_cuda_architectures()
    return names.decode()


def search_scratch(args: SearchArgs, device: torch.device) -> int:
    """Bytes that a search needs on the device beside its inputs and its field; on the CPU it takes them itself."""
    size: int = library().psal_search_scratch(ctypes.byref(args)) if device.type == "cuda" else 0
    return size


def place(device: torch.device) -> Place:
    """Where a kernel runs: on torch's threads on the CPU, in torch's current stream on CUDA."""
    if device.type == "cuda":
        return Place(0, device.index, torch.cuda.current_stream(device).cuda_stream)
    return Place(torch.get_num_threads(), 0, None)


def kernel(name: str, device: torch.device) -> Callable[[ctypes.Structure], None]:
    """The C function psal_<name> for a device. Called with its struct, it raises what went wrong (`_raise_message`)."""
    function: Callable[[ctypes.Structure], None] = getattr(library(), f"psal_{name}_{device.type}")
    return function
