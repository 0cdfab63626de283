"""A libpsal for another processor, run by an emulator in a process of its own: psal_cli.native calls it through server.c.

As a plugin (`pytest -p tests.engine.remote`, with the command of the server in PSAL_TEST_ENGINE) it makes the tests of the
operators on the CPU tests of that library.
"""

import ctypes
import os
import shlex
import struct
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from threading import Lock

import pytest
import torch

from psal_cli import native

from ..cuda_emulation.device import buffers

PIXEL = {native.PIXELS["float32"]: 4, native.PIXELS["uint8"]: 1, native.PIXELS["uint16"]: 2}


@dataclass(frozen=True)
class Block:
    """Memory that a pointer of a call reaches: `into` bytes of it lie before the pointer."""

    name: str
    size: int
    read: bool
    written: bool
    into: int = 0


def blocks(name: str, args: ctypes.Structure) -> Iterator[Block]:
    """What the pointers of a call reach, as ext/psal.h says."""
    if name not in ("compose", "place_seams"):
        for each in buffers(name, args):
            yield Block(each.name, each.items * each.bytes, each.read, each.written)
        return
    item = PIXEL[args.dtype] if name == "compose" else 4
    unknown = args.height * args.width
    count = sum(ctypes.string_at(args.unknown, unknown))
    sides = (args.source_height, args.row_stride), (args.source_width, args.column_stride), (args.channels, args.channel_stride)
    ends = [(side - 1) * stride * item for side, stride in sides]
    before, after = -sum(min(end, 0) for end in ends), sum(max(end, 0) for end in ends)
    yield Block("pixels", before + after + item, True, False, before)
    yield Block("barred", args.source_height * args.source_width, True, False)
    yield Block("unknown", unknown, True, False)
    yield Block("origin", count * 8, True, name == "place_seams")
    if name == "place_seams":
        yield Block("nnf", unknown * 8, True, False)
        yield Block("weight", unknown * 4, True, False)
        return
    yield Block("out", count * args.channels * 4, False, True)


class RemoteEngine:
    """The server's process. `kernel` takes the place of psal_cli.native.kernel; calls counts what the library was asked."""

    def __init__(self, command: list[str]) -> None:
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lock, self.calls = Lock(), 0

    def kernel(self, name: str, device: torch.device) -> partial[None]:
        assert device.type == "cpu", "the library of another processor is one for CPUs"
        return partial(self.call, name)

    def call(self, name: str, args: ctypes.Structure) -> None:
        """Raises what psal_cli.native raises for the library's message."""
        with self.lock:
            self.calls += 1
            message = self._exchange(name, args)
        called = type("Called", (), {"__name__": f"psal_{name}_cpu"})
        native._raise_message(message or None, called, None)

    def _exchange(self, name: str, args: ctypes.Structure) -> bytes:
        function = f"psal_{name}_cpu".encode()
        used = [block for block in blocks(name, args) if getattr(args, block.name) is not None]
        content = bytes(args)
        send = self.server.stdin.write
        send(struct.pack("<I", len(function)) + function + struct.pack("<I", len(content)) + content)
        send(struct.pack("<I", len(used)))
        for block in used:
            field = getattr(type(args), block.name).offset
            send(struct.pack("<qqqii", field, block.size, block.into, block.read, block.written))
            if block.read:
                send(ctypes.string_at(getattr(args, block.name) - block.into, block.size))
        self.server.stdin.flush()
        (length,) = struct.unpack("<I", self._received(4))
        if length:
            return self._received(length)
        for block in used:
            if block.written:
                ctypes.memmove(getattr(args, block.name) - block.into, self._received(block.size), block.size)
        return b""

    def _received(self, size: int) -> bytes:
        found = self.server.stdout.read(size)
        if len(found) < size:
            raise AssertionError(f"the engine's process ended with {self.server.wait()}")
        return found

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait(timeout=60)


def representative(items: list) -> list:
    """Of the cases of each test so many that every value of every parameter occurs, in combinations that vary."""
    chosen, tests = [], defaultdict(list)
    for item in items:
        tests[item.path, item.originalname].append(item)
    for cases in tests.values():
        left, uses = {item: values_of(item) for item in cases}, Counter()
        while any(not uses[value] for values in left.values() for value in values):
            best = max(left, key=lambda item: (sum(not uses[x] for x in left[item]), -sum(uses[x] for x in left[item])))
            uses.update(left.pop(best))
            chosen.append(best)
    return chosen


def values_of(item) -> list[tuple[str, str]]:
    """The names of an item's parameters with their values."""
    return [(name, repr(value)) for name, value in item.callspec.params.items()] if hasattr(item, "callspec") else [("", "")]


@pytest.hookimpl(trylast=True)  # after -k
def pytest_collection_modifyitems(config, items) -> None:
    chosen = representative(items)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def pytest_configure(config) -> None:
    engine = RemoteEngine(shlex.split(os.environ["PSAL_TEST_ENGINE"]))
    native.kernel = engine.kernel
    config.add_cleanup(engine.close)
    config.stash_engine = engine


def pytest_terminal_summary(terminalreporter, config) -> None:
    terminalreporter.write_line(f"{config.stash_engine.calls} calls of the engine under {os.environ['PSAL_TEST_ENGINE']}")
