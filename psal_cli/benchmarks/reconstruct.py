"""Tables 2 and 3 of the paper: a picture rebuilt from the pixels of another through each attention layer."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from psal_cli.attention import FullAttention
from psal_cli.benchmarks import machine
from psal_cli.benchmarks.layers import LAYERS, Case, Layer, full
from psal_cli.benchmarks.measuring import growth, timed
from psal_cli.benchmarks.memory import WARM, room
from psal_cli.benchmarks.pairs import Pair, pairs, tensor
from psal_cli.verbs.reconstruct.options import ReconstructOptions

SIZES = (64, 128, 256, 512)
STRIDES = (1, 2, 5, 10)
SECONDS = 12.0
APART = 10  # frames
PAPER_2 = {"full-10": 0.0022, "local": 0.0119, "linear": 0.0576, "psal3": 0.0011, "aggregation": 0.0008}  # 512x512
PAPER_3 = {64: ("full-1", 0.0048, 0.0048), 128: ("full-2", 0.0038, 0.0029), 256: ("full-5", 0.0031, 0.0017),
           512: ("full-10", 0.0022, 0.0011)}  # side: full attention with a stride, its error, that of PSAL 3  # fmt: skip
OTHERS = ("local", "linear", "performer", "reformer", "psal3", "aggregation")
NAMES = (*(f"full-{stride}" for stride in STRIDES), *OTHERS)


def _full(stride: int, temperature: float, seed: int) -> FullAttention:
    return FullAttention(temperature=temperature, stride=stride)


def layers() -> dict[str, Layer]:
    """Full attention at each stride, then the others."""
    strided = {
        f"full-{stride}": replace(
            LAYERS["full"],
            title=f"Full attention, stride {stride}",
            make=partial(_full, stride),
            work=partial(full, stride=stride),
        )
        for stride in STRIDES
    }
    return strided | {name: LAYERS[name] for name in OTHERS}


def measure(
    sizes: tuple[int, ...] = SIZES,
    folder: Path | None = None,
    wanted: tuple[str, ...] = NAMES,
    *,
    seconds: float = SECONDS,
    temperature: float = ReconstructOptions.temperature,
    device: str = "cpu",
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> dict:
    """The mean squared error, seconds and memory of each layer at each size, over the pairs of a folder (`pairs`).

    Query and key are the two frames, RGB in [0, 1] resized to the size, values the key's own pixels; of frames that are numbered
    those APART from each other, as in the paper. wanted: of NAMES. Layers that would take more than `seconds` per pair are
    skipped.

    Returns:
        {"date", "machine", "versions", "device", "seed", "temperature", "pairs", "rows", "ratios"}. A row: layer, title, size,
        status ("measured", "seconds", "memory"), error, seconds, peak_bytes, flop, paper_error. ratios: by size, the error of
        full attention at the paper's stride over that of PSAL 3, and in the paper.

    Raises:
        InputError: no pairs.
    """
    rates: dict[str, float] = {}
    chosen = {name: layer for name, layer in layers().items() if name in wanted}

    def rebuilt(side: int, frames: list[Pair]) -> list[dict]:
        case = Case(side, channels=3, value_channels=3)
        return [_rebuilt(*named, case, frames, rates, seconds, temperature, device, seed) for named in chosen.items()]

    rebuilt(WARM, [next(pairs(folder, (WARM, WARM), distances=(APART,)))])  # measures the speed of each layer
    rows, count = [], 0
    for side in sizes:
        frames = list(pairs(folder, (side, side), distances=(APART,)))
        count = len(frames)
        say(f"{side}x{side}, pairs: {count}")
        rows += rebuilt(side, frames)
    facts = machine.facts("torch", "numpy", "psal", device=device)
    settings = {"bench": "reconstruct", "device": device, "seed": seed, "temperature": temperature, "pairs": count}
    return {**facts, **settings, "rows": rows, "ratios": ratios(rows)}


def _rebuilt(
    name: str, layer: Layer, case: Case, frames: list[Pair], rates: dict, limit: float, temperature: float, device: str, seed: int
) -> dict:
    work = layer.work(case)
    row = {"layer": name, "title": layer.title, "size": case.side, "status": "measured", "error": None, "seconds": None}
    row |= {"peak_bytes": None, "flop": work.flop[0], "paper_error": _paper(name, case.side)}
    if work.bytes[0] > room(device):
        return row | {"status": "memory"}
    if name in rates and work.flop[0] / rates[name] > limit:
        return row | {"status": "seconds"}
    attend = layer.make(temperature, seed)
    errors, times, peak = [], [], None
    with torch.no_grad():
        for pair in frames:
            query, key = (tensor(x).to(device) for x in (pair.target, pair.reference))
            attended: list[Tensor] = []

            def run(query: Tensor = query, key: Tensor = key, attended: list[Tensor] = attended) -> None:
                attended[:] = [attend(query, key, key)]

            if peak is None:
                run()  # to warm up
                peak = growth(run, device)
            times.append(timed(run, device)[0])
            errors.append((attended[0] - query).square().mean().item())
    rates[name] = work.flop[0] / float(np.mean(times))
    return row | {"error": float(np.mean(errors)), "seconds": float(np.mean(times)), "peak_bytes": peak}


def _paper(name: str, side: int) -> float | None:
    if side == 512 and name in PAPER_2:
        return PAPER_2[name]
    full_name, error, psal_error = PAPER_3.get(side, (None, None, None))
    return error if name == full_name else psal_error if name == "psal3" else None


def ratios(rows: list[dict]) -> dict[str, dict]:
    """By size: the error of full attention at the paper's stride over that of PSAL 3."""
    errors = {(row["layer"], row["size"]): row["error"] for row in rows}
    out = {}
    for size, (name, error, psal_error) in PAPER_3.items():
        ours = errors.get((name, size)), errors.get(("psal3", size))
        if ours[0] and ours[1]:
            out[str(size)] = {"error": ours[0] / ours[1], "paper_error": error / psal_error}
    return out
