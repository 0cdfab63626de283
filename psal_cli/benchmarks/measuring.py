"""Seconds and memory of a function."""

import ctypes
import gc
import time
from collections.abc import Callable

import torch

from psal_cli import memory


def growth(run: Callable[[], object], device: str) -> int | None:
    """Bytes by which run() raises peak memory; None if the system does not report it.

    On Linux the high-water mark of the resident set since it was reset, minus the resident set before; on CUDA torch's own
    peak, because the engine allocates through torch there.
    """
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        allocated = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - allocated
    try:
        ctypes.CDLL(None).malloc_trim(0)  # return freed memory first, or it would hide what run() takes
    except (OSError, AttributeError, TypeError):  # no glibc
        run()
        return None
    memory.reset_peak()
    before = memory.resident()
    run()
    most = memory.peak()
    return None if before is None or most is None else most - before


def timed(run: Callable[[], object], device: str) -> tuple[float, float]:
    """(wall seconds, processor seconds of all threads) of run()."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu
