"""Table 1 of the paper: memory, seconds and operations of each attention layer by the size of its maps."""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial

import torch

from psal_cli import memory
from psal_cli.benchmarks import machine
from psal_cli.benchmarks.layers import FLOAT, LAYERS, Case, Layer
from psal_cli.benchmarks.measuring import growth, timed

SIZES = (64, 128, 256, 512)
SECONDS = 3.0
WARM = 32  # side of the maps that a layer is warmed up with
SHORT, REPEATS = 0.5, 3  # shorter runs are repeated this often, and the median counts
LEAST = 1024  # queries of a part
MODES = ("forward", "forward + backward")


def measure(
    sizes: tuple[int, ...] = SIZES,
    layers: tuple[str, ...] = tuple(LAYERS),
    *,
    seconds: float = SECONDS,
    device: str = "cpu",
    threads: int | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> dict:
    """Runs every layer at every size, without gradient and with, and returns the rows and where they were measured.

    Each layer runs in a process of its own, maps are normal noise by the seed. Cases that do not fit into free memory are not
    started: their row holds the memory needed. Cases that would take more than `seconds` run on a part of their queries, if their
    time is proportional to them (share < 1), or not at all.

    Returns:
        {"date", "machine", "versions", "device", "threads", "rows": [...], "growth": {...}}. A row: layer, title, size, mode,
        status ("measured", "part", "memory", "seconds", "no gradient", "failed"), seconds (of all queries) or None, share,
        peak_bytes (measured) or None, need_bytes, flop (both counted), expected_seconds, paper_gb or None. growth:
        of each layer and mode with three sizes measured, from 128 on, the exponent of seconds by queries. ratios: by size, how
        many times the memory (forward and backward) and the seconds (forward) of PSAL 3 full attention takes, and in the paper.
    """
    rows = []
    for name in layers:
        job = {"name": name, "sizes": sizes, "seconds": seconds, "device": device, "threads": threads, "seed": seed}
        for row in _in_process(job):
            say(_line(row))
            rows.append(row)
    facts = machine.facts("torch", "numpy", "psal", device=device)
    settings = {"bench": "memory", "device": device, "threads": threads or torch.get_num_threads(), "seed": seed}
    return {**facts, **settings, "rows": rows, "growth": growths(rows), "ratios": ratios(rows)}


def _in_process(job: dict) -> Iterator[dict]:
    """Runs `run_layer` in its own process, so that leftovers of other layers do not count and a kill ends only one."""
    # It has the machine to itself: threads that sleep between steps, as in the command, would cost time.
    environment = {**os.environ, "OMP_WAIT_POLICY": "active"}
    # -P: this package, not one in the working directory.
    command = [sys.executable, "-P", "-m", "psal_cli.benchmarks.memory", json.dumps(job)]
    left = [(side, mode) for side in job["sizes"] for mode in MODES]
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=complaints, text=True) as process,
    ):
        try:
            for line in process.stdout or ():
                row = json.loads(line)
                left.remove((row["size"], row["mode"]))
                yield row
            process.wait()
        finally:
            process.kill()
        complaints.seek(0)
        last = (complaints.read().strip().splitlines() or [f"ended with {process.returncode}"])[-1]
    for side, mode in left:
        yield _row(job["name"], Case(side), mode) | {"status": "failed", "error": last}


def _line(row: dict) -> str:
    """A progress line about a finished row."""
    why = {"memory": f"takes {memory.in_words(row['need_bytes'])}", "seconds": f"would take {row['expected_seconds'] or 0:.0f} s"}
    seconds = f"{row['seconds']:.2g} s" if row["seconds"] else why.get(row["status"], row["status"])
    return f"{row['title']}, {row['size']}x{row['size']}, {row['mode']}: {seconds}"


def _row(name: str, case: Case, mode: str) -> dict:
    layer, number = LAYERS[name], MODES.index(mode)
    work = layer.work(case)
    row = {"layer": name, "title": layer.title, "size": case.side, "mode": mode, "status": "", "seconds": None, "share": 1.0}
    counted = {"peak_bytes": None, "need_bytes": round(work.bytes[number]), "flop": work.flop[number]}
    return row | counted | {"expected_seconds": None, "paper_gb": layer.paper.get(case.side)}


def run_layer(name: str, sizes: tuple[int, ...], seconds: float, device: str, threads: int | None, seed: int) -> Iterator[dict]:
    """Yields the rows of a layer, as `measure` describes them."""
    if threads:
        torch.set_num_threads(threads)
    layer, rates, warm = LAYERS[name], {}, Case(WARM)
    for number, mode in enumerate(MODES):
        if not _untrained(layer, mode, device):
            maps = inputs(warm, mode, device, seed)
            run(layer, maps, mode, seed)  # libraries loaded, threads started, kernels chosen
            rates[mode] = layer.work(warm).flop[number] / timed(partial(run, layer, maps, mode, seed), device)[0]
    for side in sizes:
        case = Case(side)
        for mode in MODES:
            row = _row(name, case, mode)
            row["expected_seconds"] = row["flop"] / rates.get(mode, rates[MODES[0]])
            try:
                yield _measured(row, layer, case, mode, seconds, device, seed)
            except Exception as error:  # the next size may be fine
                yield row | {"status": "failed", "error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
            if row["seconds"]:
                rates[mode] = row["flop"] / row["seconds"]


def _untrained(layer: Layer, mode: str, device: str) -> bool:
    return mode == MODES[1] and not layer.trains_on_cpu and device == "cpu"


def _measured(row: dict, layer: Layer, case: Case, mode: str, seconds: float, device: str, seed: int) -> dict:
    """The row, with what was measured; changed in place."""
    if _untrained(layer, mode, device):
        return row | {"status": "no gradient"}
    input_bytes = FLOAT * case.queries * (2 * case.channels + case.value_channels)
    free = room(device)
    short, slow = row["need_bytes"] + input_bytes > free, row["expected_seconds"] > seconds
    if (slow or short) and not layer.partial:
        return row | {"status": "memory" if short else "seconds"}
    share = min(seconds / row["expected_seconds"], 1)
    if short:
        if layer.work(case).bytes[0] + input_bytes > free:
            return row | {"status": "memory"}
        share = min(share, free / (2 * (row["need_bytes"] + input_bytes)))
    maps = inputs(case, mode, device, seed)
    asked = part(case, share, device) if share < 1 else None

    def once() -> float:
        return timed(lambda: run(layer, maps, mode, seed, asked), device)[0]

    if layer.compiles:
        torch._dynamo.reset()  # a limit of shapes, after which nothing is compiled any more
        once()
    times = []
    row["peak_bytes"] = growth(lambda: times.append(once()), device)
    if times[0] < SHORT:
        times = [once() for _ in range(REPEATS)]
    row["share"] = 1.0 if asked is None else asked.float().mean().item()
    row["seconds"] = statistics.median(times) / row["share"]
    row["status"] = "measured" if asked is None else "memory" if short else "part"
    if asked is not None and mode == MODES[1]:
        row["peak_bytes"] = None  # memory for the gradient of a part is not that of the whole
    return row


def room(device: str) -> float:
    """Bytes that may be used."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()  # memory cached by torch is free too
        return torch.cuda.mem_get_info(device)[0]
    free = memory.available()
    return math.inf if free is None else 0.9 * free


def inputs(case: Case, mode: str, device: str, seed: int) -> list[torch.Tensor]:
    """Query, key and value: normal noise."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(1, channels, case.side, case.side) for channels in (case.channels, case.channels, case.value_channels)]
    maps = [torch.randn(shape, generator=generator).to(device) for shape in shapes]
    return [x.requires_grad_(mode == MODES[1]) for x in maps]


def part(case: Case, share: float, device: str) -> torch.Tensor:
    """bool [1, side, side]: rows around the middle that are about such a share, and at least LEAST queries."""
    rows = min(max(round(case.side * share), math.ceil(LEAST / case.side)), case.side)
    asked = torch.zeros(1, case.side, case.side, dtype=torch.bool, device=device)
    top = (case.side - rows) // 2
    asked[:, top : top + rows] = True
    return asked


def run(layer: Layer, maps: list[torch.Tensor], mode: str, seed: int = 0, query_mask: torch.Tensor | None = None) -> None:
    """Runs the layer forward and, with gradients, backward."""
    masked = {} if query_mask is None else {"query_mask": query_mask}
    out = layer.make(1.0, seed)(*maps, **masked)
    if mode == MODES[1]:
        torch.autograd.grad(out.sum(), maps)


def growths(rows: list[dict]) -> dict[str, float]:
    """ "layer, mode" -> the exponent e of seconds = a * queries^e, fitted to the logarithms."""
    slopes = {}
    large = [row for row in rows if row["seconds"] and row["size"] >= 128]
    for name, mode in dict.fromkeys((row["layer"], row["mode"]) for row in large):
        points = [(row["size"] ** 2, row["seconds"]) for row in large if (row["layer"], row["mode"]) == (name, mode)]
        if len(points) >= 3:
            x, y = torch.tensor(points, dtype=torch.float64).log().T
            x = x - x.mean()
            slopes[f"{name}, {mode}"] = ((x * y).sum() / x.square().sum()).item()
    return slopes


def ratios(rows: list[dict]) -> dict[str, dict]:
    """Full attention over PSAL 3, by size; what was not measured is counted."""
    by_case = {(row["layer"], row["size"], row["mode"]): row for row in rows}
    out = {}
    for size in dict.fromkeys(row["size"] for row in rows):
        cases = [[(layer, size, mode) for layer in ("full", "psal3")] for mode in MODES]
        if all(case in by_case and by_case[case]["status"] != "failed" for pair in cases for case in pair):
            both = [[by_case[case] for case in pair] for pair in cases]
            held = [row["peak_bytes"] or row["need_bytes"] for row in both[1]]
            taken = [row["seconds"] or row["expected_seconds"] for row in both[0]]
            paper = [row["paper_gb"] for row in both[0]]
            out[str(size)] = {
                "memory": held[0] / held[1], "seconds": taken[0] / taken[1],
                "paper_memory": paper[0] / paper[1] if all(paper) else None,
            }  # fmt: skip
    return out


if __name__ == "__main__":
    for measured in run_layer(**json.loads(sys.argv[1])):
        sys.stdout.write(json.dumps(measured) + "\n")
        sys.stdout.flush()
