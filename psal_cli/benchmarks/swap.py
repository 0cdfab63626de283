"""Tables 4, 5 and 8 of the paper: its colorization network with weights trained with one attention layer, run with another."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from psal_cli.benchmarks import machine
from psal_cli.benchmarks.layers import Case, full, local, psal
from psal_cli.benchmarks.measuring import growth, timed
from psal_cli.benchmarks.pairs import Pair, pairs, tensor
from psal_cli.networks.colorization import ColorizationNetwork, grey
from psal_cli.verbs.colorize.paper import layer, network_of, reseed
from psal_cli.weights import private_copy

SIZE, FRAME, ITERATIONS = 256, 7, 5
TABLE_4 = {"psal1": 0.00832, "psal3": 0.00228, "psal7": 0.00234, "psal15": 0.00237, "aggregation": 0.001939}
TABLE_5 = {"full_dot": 0.0064, "full": 0.0024}
TABLE_8 = {
    ("psal1", "psal1"): 0.0083,
    ("aggregation", "aggregation"): 0.0019,
    ("aggregation", "psal1"): 0.0023,
    ("psal3", "psal3"): 0.0023,
    ("psal3", "psal1"): 0.0023,
    ("full", "full"): 0.0024,
    ("full", "psal1"): 0.0024,
    ("local", "local"): 0.0032,
    ("local", "psal1"): 0.0035,
}
CASE = Case(SIZE)
WORK = {
    **{f"psal{k}": psal(CASE, k) for k in (1, 3, 7, 15)},
    "aggregation": psal(CASE, 1, True),
    "full": full(CASE, 3),
    "full_dot": full(CASE, 3),
    "local": local(CASE),
}
PAPER = TABLE_8 | {(name, name): error for name, error in (TABLE_4 | TABLE_5).items()}  # of those in two tables, more digits
TITLES = {
    **{f"psal{k}": f"PSAL-{k}" for k in (1, 3, 7, 15)},
    "aggregation": "PSAL aggregation (k = 1)",
    "full": "full attention, stride 3, l2",
    "full_dot": "full attention, stride 3, dot",
    "local": "local attention, window 49",
}


def measure(
    folder: Path | None = None,
    *,
    wanted: tuple[tuple[str, str], ...] = tuple(TABLE_8),
    device: str = "cpu",
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> dict:
    """The error of the paper's network over the pairs of a folder (`pairs`), for each (trained with, run with).

    Frames are resized to 256x256; the error is the mean squared one of RGB in [0, 1] inside a frame of 7 pixels. Seconds and
    memory are those of the attention layer alone.

    Returns:
        {"date", "machine", "versions", "device", "seed", "pairs", "rows"}. A row: trained, run, title, error, error_near (1 to 5
        frames apart) and error_far (10), None without such pairs, seconds, peak_bytes, flop (counted), paper_error.

    Raises:
        InputError: no pairs.
    """
    frames = list(pairs(folder, (SIZE, SIZE)))
    rows = []
    for trained, run in wanted:
        say(title(trained, run))
        network = private_copy(network_of(trained, ITERATIONS, device=device))
        network.attention = layer(run, ITERATIONS)
        reseed(network, seed)
        row = {"trained": trained, "run": run, "title": title(trained, run)}
        row |= _errors(network, frames, device)
        rows.append(row | {"flop": WORK[run].flop[0], "paper_error": PAPER[trained, run]})
    settings = {"bench": "swap", "device": device, "seed": seed, "pairs": len(frames)}
    return {**machine.facts("torch", "numpy", "psal", device=device), **settings, "rows": rows}


def title(trained: str, run: str) -> str:
    return TITLES[trained] + ("" if trained == run else f", run with {TITLES[run]}")


def _errors(network: ColorizationNetwork, frames: list[Pair], device: str) -> dict:
    inside = np.s_[..., FRAME:-FRAME, FRAME:-FRAME]
    errors: list[float] = []
    example: tuple[Tensor, ...] = ()
    with torch.no_grad():
        for pair in frames:
            target, reference = (tensor(x).to(device) for x in (pair.target, pair.reference))
            out = network(grey(target), reference)
            example = example or (network.convq(grey(target)), network.convk(reference), network.convv(reference))
            errors.append((out[inside] - target[inside]).square().mean().item())
        times = []
        peak = growth(lambda: times.append(timed(lambda: network.attention(*example), device)[0]), device)
    far = np.array([pair.distance is not None and abs(pair.distance) == 10 for pair in frames])
    near = np.array([pair.distance is not None and abs(pair.distance) < 10 for pair in frames])
    errors_of_frames = np.array(errors)
    means = {
        f"error_{name}": float(errors_of_frames[of].mean()) if of.any() else None for name, of in (("near", near), ("far", far))
    }
    return {"error": float(errors_of_frames.mean()), **means, "seconds": times[0], "peak_bytes": peak}
