"""Benchmarks a CUDA device: time and memory of the operators, the time of a fill, and whether psal's tests pass there.

Quick rows come first and the tests last, and `measure` reports after each row, so a device that is available for a minute gives
most figures in that minute.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from psal_cli import ops
from psal_cli.benchmarks import cuda_build, machine
from psal_cli.benchmarks.measuring import growth, timed
from psal_cli.benchmarks.pairs import FEATURES, pair_features, pairs
from psal_cli.ops import memory_model
from psal_cli.verbs.inpaint.api import inpaint
from psal_cli.verbs.inpaint.options import InpaintOptions

SIZES = (256, 512, 1024)
MOST_EXACT = 512  # the largest side of an exact search, which is n^2 work
FILL = 3300  # side of the picture that is filled, with a hole of a sixth of it
PATCH, K, ITERATIONS = 7, 3, 5
SECONDS = 240.0  # no row is begun later, so that the whole ends within five minutes
REPEATS = 5


class Row(NamedTuple):
    """A measurement: its name and size, the call, the bytes predicted by memory_model, and further facts about its result."""

    name: str
    size: int
    run: Callable[[], object]
    counted: int | None = None
    more: Callable[[], dict[str, float | str]] = dict


def measure(
    device: str,
    *,
    sizes: tuple[int, ...] = SIZES,
    fill: int | None = FILL,
    tests: bool = True,
    seconds: float = SECONDS,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
    keep: Callable[[dict], None] = lambda _: None,
) -> dict:
    """Measures one device. Two video frames through 16 filters, as in the benchmarks of the CPU; patches of 7x7, k = 3.

    Args:
        device: "cuda" or "cuda:N".
        sizes: sides of the feature maps.
        fill: side of a picture that is filled by a network with PSAL, None for none.
        tests: run the tests that have a CUDA part, if psal's tests are available.
        seconds: rows that would begin later are left out (status "seconds").
        keep: called with the results after each row.

    Returns:
        {"bench", "date", "machine", "versions", "device", "build_seconds", "tests", "rows"}. A row: name, size, status
        ("measured", "seconds" or "failed"), seconds (the least of several runs), peak_bytes, counted_bytes (of the model of
        memory, None where it has none), and error or what else is known: recall, fill_device.
    """
    began = time.monotonic()
    facts = machine.facts("torch", "numpy", device=device)
    results = {"bench": "device", **facts, "device": device, "build_seconds": None, "tests": None, "rows": []}
    if device.startswith("cuda"):
        results["build_seconds"] = cuda_build.ensure(device, say)
    for row in _rows(device, sizes, fill, seed):
        say(f"{row.name}, {row.size}x{row.size}")
        late = time.monotonic() - began > seconds
        results["rows"].append(_skipped(row, "seconds") if late else _measured(row, device))
        keep(results)
    if tests:
        say("the tests of CUDA")
        results["tests"] = cuda_build.run_tests(seconds + 50 - (time.monotonic() - began))
        keep(results)
    return results


def _skipped(row: Row, status: str) -> dict:
    return {
        "name": row.name, "size": row.size, "status": status, "seconds": None, "peak_bytes": None, "counted_bytes": row.counted,
    }  # fmt: skip


def _measured(row: Row, device: str) -> dict:
    """Runs it once for the memory, which also warms up, and then several times for the time."""
    try:
        peak = growth(row.run, device)
        times = [timed(row.run, device)[0]]
        while len(times) < REPEATS and sum(times) < 2:
            times.append(timed(row.run, device)[0])
        return {**_skipped(row, "measured"), "seconds": min(times), "peak_bytes": peak, **row.more()}
    except (RuntimeError, ValueError, OSError) as error:  # out of memory is a RuntimeError; the other rows go on
        return {**_skipped(row, "failed"), "error": str(error).splitlines()[0]}
    finally:
        if device.startswith("cuda"):
            torch.cuda.empty_cache()


def _rows(device: str, sizes: tuple[int, ...], fill: int | None, seed: int) -> Iterator[Row]:
    for size in sizes:
        yield from _operators(device, size, seed)
    if fill:
        yield _fill(device, fill, seed)


def _operators(device: str, size: int, seed: int) -> Iterator[Row]:
    query, key = (x.to(device) for x in pair_features(None, size, size))
    counted = memory_model.Sizes(size**2, size**2, FEATURES, K, FEATURES)

    def search(schedule: str) -> tuple[Tensor, Tensor]:
        return ops.search(query, key, PATCH, K, ITERATIONS, schedule=schedule, seed=seed)

    nnf, similarity = search("jump-flood")

    def recall() -> dict[str, float | str]:
        exact = search("exact")[0]
        same = (nnf[:, :, None] == exact[:, None]).all(3)  # [1, k, k, H, W]
        return {"recall": same.any(1).float().mean().item()}

    compared = recall if size <= MOST_EXACT else dict
    yield Row("jump flood", size, lambda: search("jump-flood"), memory_model.search_bytes(counted), compared)
    if size <= MOST_EXACT:
        yield Row("exact search", size, lambda: search("exact"), memory_model.search_bytes(counted, schedule="exact"))
    weight = similarity.softmax(1)
    yield Row("similarity_at", size, lambda: ops.similarity_at(query, key, nnf, PATCH), memory_model.similarity_at_bytes(counted))
    yield Row("aggregate", size, lambda: ops.aggregate(key, nnf, weight, PATCH), memory_model.aggregate_bytes(counted, False))
    yield Row("similarity_at with gradients", size, lambda: _similarity_gradients(query, key, nnf))
    yield Row("aggregate with gradients", size, lambda: _aggregate_gradients(key, nnf, similarity))


def _similarity_gradients(query: Tensor, key: Tensor, nnf: Tensor) -> None:
    maps = query.detach().requires_grad_(), key.detach().requires_grad_()
    torch.autograd.grad(ops.similarity_at(maps[0], maps[1], nnf, PATCH).sum(), maps)


def _aggregate_gradients(value: Tensor, nnf: Tensor, similarity: Tensor) -> None:
    maps = [x.detach().requires_grad_() for x in (value, similarity)]
    torch.autograd.grad(ops.aggregate(maps[0], nnf, maps[1], PATCH, softmax=True).sum(), maps)


def _fill(device: str, size: int, seed: int) -> Row:
    """A fill by a network whose attention is PSAL, the paper's case of 3300x2700 pixels."""
    frame = next(pairs(None)).target
    picture = np.tile(frame, (-(-size // frame.shape[0]), -(-size // frame.shape[1]), 1))[:size, :size]
    mask = np.zeros((size, size), bool)
    mask[size // 2 : size // 2 + size // 6, size // 2 : size // 2 + size // 6] = True
    options = InpaintOptions(engine="network", attention="psal", seed=seed, device=device)
    ran: list[str] = []

    def run() -> None:
        ran.append(inpaint(picture, mask, options).device)

    return Row("fill by a network", size, run, more=lambda: {"fill_device": ran[-1]})
