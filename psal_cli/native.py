"""libpsal through ctypes: finds the library, mirrors the structs of ext/psal.h, turns messages into errors.

Only raw pointers and sizes cross this border, so one build of the library serves every version of torch and Python.
"""

import ctypes
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
    """The loaded libpsal. Raises ImportError with the cure when the package was not built."""
    folder = Path(__file__).parent
    for name in ("libpsal.so", "libpsal.dylib", "psal.dll", "libpsal.dll"):  # the last one is MinGW's
        if (folder / name).exists():
            lib = ctypes.CDLL(str(folder / name))
            break
    else:
        raise ImportError(f"psal's native library is not in {folder}: build and install it with `pip install .`")
    declare(lib, "cpu")
    declare(lib, "cuda")
    _declare(lib, "psal_cpu_isa", [], c_char_p)
    _declare(lib, "psal_use_cpu_isa", [c_char_p], c_char_p)
    return lib


def declare(lib: ctypes.CDLL, device: str) -> None:
    """Gives the functions of ext/psal.h for one device ("cpu" or "cuda") their C types, in a library that has them."""
    for name in ("gather", "spread", "scatter", "log_total"):
        _declare(lib, f"psal_{name}_{device}", [POINTER(WindowArgs)], c_char_p)
    _declare(lib, f"psal_search_{device}", [POINTER(SearchArgs)], c_char_p)
    if device == "cpu":
        _declare(lib, "psal_compose_cpu", [POINTER(ComposeArgs)], c_char_p)
    if device == "cuda":
        _declare(lib, "psal_search_scratch", [POINTER(SearchArgs)], c_int64)
        _declare(lib, "psal_cuda_architectures", [], c_char_p)


def _declare(lib: ctypes.CDLL, name: str, argtypes: list[type], restype: type) -> None:
    function = getattr(lib, name)
    function.argtypes, function.restype = argtypes, restype


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


def call(name: str, args: ctypes.Structure, device: torch.device) -> None:
    """Runs psal_<name> where `device` is, with torch's threads on the CPU and torch's current stream on CUDA.

    Raises ValueError with the library's message about a field, RuntimeError with any other.
    """
    if device.type == "cuda":
        args.place = Place(0, device.index, torch.cuda.current_stream(device).cuda_stream)
    else:
        args.place = Place(torch.get_num_threads(), 0, None)
    message = getattr(library(), f"psal_{name}_{device.type}")(ctypes.byref(args))
    if message and message.startswith(b"nnf holds"):
        raise ValueError(message.decode())
    if message:
        raise RuntimeError(f"psal {name}: {message.decode()}")
