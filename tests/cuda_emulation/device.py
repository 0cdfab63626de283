"""A device of host memory that runs psal's CUDA kernels: what psal_cli.native does on CUDA, on the emulated library.

As on a GPU, the kernels see only memory of the device: each buffer of a call is copied into an allocation of exactly the
size that ext/psal.h promises, and results are copied back.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_char_p, c_int, c_size_t, c_void_p
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch

from psal_cli import native

ITEM = {0: 4, 1: 2, 2: 2, 3: 8}  # bytes of a feature, by native.DTYPES


@dataclass(frozen=True)
class Buffer:
    """A pointer of a call: how many items of how many bytes it points to; `moves` where it is a row of features, whose
    alignment the kernels do not rely on."""

    name: str
    items: int
    bytes: int
    written: bool = False
    read: bool = True
    moves: bool = False


def buffers(name: str, args: ctypes.Structure) -> Iterator[Buffer]:
    """What the pointers of a call point to, as the comments in ext/psal.h say."""
    item, term = ITEM[args.dtype], 8 if args.dtype == native.DTYPES[torch.float64] else 4
    queries = args.batch * args.query_height * args.query_width
    keys = args.batch * args.key_height * args.key_width
    yield Buffer("query", queries * args.channels, item, moves=True)
    yield Buffer("key", keys * args.channels, item, moves=True)
    if name == "search":
        yield Buffer("key_scale", keys, 4)
        yield Buffer("query_mask", queries, 1)
        yield Buffer("key_valid", keys, 1)
        yield Buffer("key_rows", args.batch * args.key_height, 4)
        yield Buffer("field", queries * args.k, 4, written=True, read=bool(args.has_init))
        yield Buffer("best", queries * args.k, 4, written=True, read=False)
        return
    yield Buffer("nnf", queries * args.k * 2, 4)
    yield Buffer("weight", queries * args.k, term)
    yield Buffer("log_total", queries, term)
    yield Buffer("baseline", queries, term)
    yield Buffer("order", queries * args.k, 8)
    yield Buffer("first", keys + args.batch, 8)
    out = {
        "gather": (queries * args.k, term, False),
        "spread": (queries * args.channels, item, True),
        "scatter": (keys * args.channels, item, True),
        "log_total": (queries, term, False),
    }
    items, size, moves = out[name]
    yield Buffer("out", items, size, written=True, read=False, moves=moves)


@dataclass
class EmulatedDevice:
    """`kernel` and `search_scratch` of psal_cli.native, whatever the tensors' device is.

    offset: numbers by which query, key and out are moved (each by one more than the one before), away from the alignment
    that allocators give.
    """

    path: Path
    offset: int = 0

    def __post_init__(self) -> None:
        self.library = ctypes.CDLL(str(self.path))
        native.declare(self.library, "cuda")
        self._declare("allocate", c_void_p, c_char_p, c_size_t, c_size_t, c_size_t, c_int)
        self._declare("release", None, c_void_p)
        self._declare("upload", None, c_void_p, c_void_p, c_size_t)
        self._declare("run", c_char_p, c_char_p, c_void_p, ctypes.c_uint)

    def _declare(self, name: str, result: type | None, *arguments: type) -> None:
        function = getattr(self.library, f"emulation_{name}")
        function.argtypes, function.restype = list(arguments), result

    @contextmanager
    def active(self, offset: int = 0) -> Iterator[None]:
        """Inside, psal_cli.ops runs CPU tensors on this device as it runs CUDA tensors on a GPU."""
        self.offset = offset
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "kernel", lambda name, device: partial(self.call, name))
            patch.setattr(native, "search_scratch", self.search_scratch)
            yield

    def search_scratch(self, args: native.SearchArgs, device: torch.device) -> int:
        return self.library.psal_search_scratch_cuda(ctypes.byref(args))

    def call(self, name: str, args: ctypes.Structure) -> None:
        """As a kernel of native; a finding of the emulation is an error of the launch."""
        there = type(args).from_buffer_copy(args)
        there.place = native.Place()
        with self._copied(name, args, there) as copies:
            getattr(self.library, f"psal_{name}_cuda")(there)
            for buffer, memory in copies:
                if buffer.written:
                    ctypes.memmove(getattr(args, buffer.name), memory, buffer.items * buffer.bytes)

    @contextmanager
    def _copied(self, name: str, args: ctypes.Structure, there: ctypes.Structure) -> Iterator[list[tuple[Buffer, int]]]:
        copies: list[tuple[Buffer, int]] = []
        scratch = None
        try:
            for buffer in buffers(name, args):
                host = getattr(args, buffer.name)
                if host is None:
                    continue
                size, moved = buffer.items * buffer.bytes, (self.offset + len(copies)) * buffer.bytes
                offset = moved if buffer.moves and self.offset else 0
                memory = self.allocate(buffer.name, size, buffer.bytes, offset, constant=not buffer.written)
                copies.append((buffer, memory))
                if buffer.read:
                    self.library.emulation_upload(memory, host, size)
                setattr(there, buffer.name, memory)
            if name == "search":
                scratch = self.allocate("scratch", self.search_scratch(args, torch.device("cpu")), 1)  # ages are bytes
                there.scratch = scratch
            yield copies
        finally:
            for memory in (*(memory for _, memory in copies), scratch):
                if memory is not None:
                    self.library.emulation_release(memory)

    def allocate(self, name: str, size: int, granule: int, offset: int = 0, constant: bool = False) -> int:
        return self.library.emulation_allocate(name.encode(), size, granule, offset, constant)

    def run(self, kernel: str, numbers: torch.Tensor, threads: int = 64, constant: bool = False) -> str | None:
        """Runs a kernel of faulty.cu on float32 numbers, in place; returns what the emulation found, or None."""
        size = 4 * numbers.numel()
        memory = self.allocate("data", size, 4, constant=constant)
        self.library.emulation_upload(memory, numbers.data_ptr(), size)
        message = self.library.emulation_run(kernel.encode(), memory, threads)
        ctypes.memmove(numbers.data_ptr(), memory, size)
        self.library.emulation_release(memory)
        return None if message is None else message.decode()
