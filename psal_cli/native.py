"""libpsal and libpsal_cuda through ctypes: mirrors the structs of ext/psal.h and turns messages into errors.

Only raw pointers and sizes cross this border, so one build of the library serves every version of torch and Python.
"""

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_float, c_int32, c_int64, c_uint64, c_void_p
from functools import cache

import torch

from psal_cli import libraries

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
    tensors: tuple[torch.Tensor | None, ...]  # what the pointers lead to: lives as long as the struct
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


class SeamArgs(ctypes.Structure):
    _fields_ = [
        ("place", Place),
        *[(name, c_int32) for name in ("source_height", "source_width", "channels", "top", "left", "height", "width")],
        *[(name, c_int32) for name in ("radius", "sweeps")],
        *[(name, c_float) for name in ("doubt", "length")],
        *[(name, c_int64) for name in ("row_stride", "column_stride", "channel_stride")],
        *[(name, c_void_p) for name in ("pixels", "barred", "unknown", "nnf", "weight", "origin")],
    ]


@cache
def library() -> ctypes.CDLL:
    """Loads libpsal. Raises ImportError with the cure if it is missing or unusable (`libraries.load`)."""
    lib = libraries.load(libraries.base())
    declare(lib, "cpu")
    _declare(lib, "psal_cpu_isa", [], c_char_p)
    _declare(lib, "psal_use_cpu_isa", [c_char_p], c_char_p)
    return lib


@cache
def cuda_library() -> ctypes.CDLL | None:
    """Loads libpsal_cuda; None if psal was installed without it.

    Raises ImportError with the cure if it is unusable or was built from other sources than libpsal.
    """
    path = libraries.beside(library(), "psal_cuda")
    if path is None:
        return None
    lib = libraries.load(path, like=library())
    declare(lib, "cuda")
    return lib


def declare(lib: ctypes.CDLL, device: str) -> None:
    """Declares the C types of the functions of ext/psal.h for one device ("cpu" or "cuda") in a loaded library."""
    for name in ("gather", "spread", "scatter", "log_total"):
        _declare_kernel(lib, f"psal_{name}_{device}", WindowArgs)
    _declare_kernel(lib, f"psal_search_{device}", SearchArgs)
    if device == "cpu":
        _declare_kernel(lib, "psal_compose_cpu", ComposeArgs)
        _declare_kernel(lib, "psal_place_seams_cpu", SeamArgs)
    if device == "cuda":
        _declare(lib, "psal_search_scratch_cuda", [POINTER(SearchArgs)], c_int64)
        _declare(lib, "psal_architectures_cuda", [], c_char_p)


def _declare(lib: ctypes.CDLL, name: str, argtypes: list[type], restype: type) -> None:
    function = getattr(lib, name)
    function.argtypes, function.restype = argtypes, restype


def _declare_kernel(lib: ctypes.CDLL, name: str, args: type[ctypes.Structure]) -> None:
    _declare(lib, name, [POINTER(args)], c_char_p)
    getattr(lib, name).errcheck = _raise_message


def _raise_message(message: bytes | None, function: Callable[..., bytes | None], _: object) -> None:
    """Errcheck of ctypes for kernels: raises ValueError for a message about a field, RuntimeError for any other message."""
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
    """Makes all later calls use one instruction set, by a name that `cpu_isa` may return. The default is the widest one.

    Raises ValueError if the processor lacks it, or the library was not built for it.
    """
    message: bytes | None = library().psal_use_cpu_isa(name.encode())
    if message:
        raise ValueError(f"{name}: {message.decode()}")


def missing_instructions() -> str:
    """What this x86-64 processor lacks for the fast kernels, e.g. "AVX2 and FMA"; empty if nothing is missing."""
    slow = cpu_isa() == "baseline" and libraries.this_machine().endswith("x86-64")
    return "AVX2 and FMA" if slow else ""


def cuda_architectures() -> str:
    """The CUDA architectures in libpsal_cuda, e.g. "75-real 80-real"; empty if psal was installed without it.

    Raises what `cuda_library` raises.
    """
    lib = cuda_library()
    names: bytes = lib.psal_architectures_cuda() if lib else b""
    return names.decode()


def search_scratch(args: SearchArgs, device: torch.device) -> int:
    """Bytes of scratch memory that a search needs on the device; 0 on the CPU, where the kernel allocates them itself."""
    if device.type == "cpu":
        return 0
    size: int = _library_of("search", device).psal_search_scratch_cuda(ctypes.byref(args))
    return size


def place(device: torch.device) -> Place:
    """Where a kernel runs: on as many threads as torch uses (CPU), or in torch's current stream (CUDA)."""
    if device.type == "cuda":
        return Place(0, device.index, torch.cuda.current_stream(device).cuda_stream)
    return Place(torch.get_num_threads(), 0, None)


def kernel(name: str, device: torch.device) -> Callable[[ctypes.Structure], None]:
    """The C function psal_<name> for a device. Called with its struct, it raises an error if the kernel fails (`_raise_message`).

    Raises RuntimeError for CUDA if psal was installed without it.
    """
    function: Callable[[ctypes.Structure], None] = getattr(_library_of(name, device), f"psal_{name}_{device.type}")
    return function


def _library_of(name: str, device: torch.device) -> ctypes.CDLL:
    lib = library() if device.type == "cpu" else cuda_library()
    if lib is None:
        raise RuntimeError(f"psal {name}: {libraries.NO_CUDA}")
    return lib
