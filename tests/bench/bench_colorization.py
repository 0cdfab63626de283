"""The colorization experiment of the paper (Cherel et al., arXiv 2202.03163): tables 4, 5 and 8, with the weights that ship.

    .venv/bin/python tests/bench/bench_colorization.py --write-readme

By the paper's protocol: the middle frame of each sequence of DAVIS is coloured from frames 1, 3, 5 and 10 before and after, at
256x256; the error is the mean squared one of RGB in [0, 1] inside a frame of 7 pixels. Seconds and memory are those of the
attention layer alone, in a process of its own for each row.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from davis import FOLDER, pairs
from measure import growth
from report import header, table, write_json, write_readme

from psal_cli.networks.colorization import grey
from psal_cli.tasks.paper_colorization import layer, network_of
from psal_cli.weights import manifest

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
NAMES = {
    **{f"psal{k}": f"PSAL-{k}" for k in (1, 3, 7, 15)},
    "aggregation": "PSAL aggregation (k = 1)",
    "full": "full attention, stride 3, l2",
    "full_dot": "full attention, stride 3, dot",
    "local": "local attention, window 49",
}


def measure(trained: str, run: str, folder: Path) -> dict:
    """The error over all pairs of weights trained with one layer and run with another; seconds and bytes of the layer."""
    network = network_of(trained, ITERATIONS)
    network.attention = layer(run, ITERATIONS)
    errors, example = [], None
    for pair in pairs(folder, (SIZE, SIZE)):
        target, reference = (
            torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() / 255 for x in (pair.target, pair.reference)
        )
        with torch.no_grad():
            out = network(grey(target), reference)
            example = example or (network.convq(grey(target)), network.convk(reference), network.convv(reference))
        inside = np.s_[..., FRAME:-FRAME, FRAME:-FRAME]
        errors.append((out[inside] - target[inside]).square().mean().item())
    with torch.no_grad():
        started = time.perf_counter()
        peak = growth(lambda: network.attention(*example), "cpu")
        seconds = time.perf_counter() - started
    distances = np.array([pair.distance for pair in pairs(folder, (8, 8))])
    far = np.abs(distances) == 10
    errors = np.array(errors)
    about = {"error": errors.mean(), "error_near": errors[~far].mean(), "error_far": errors[far].mean()}
    return {"trained": trained, "run": run, **{k: float(v) for k, v in about.items()}, "seconds": seconds, "peak_bytes": peak}


def measured(trained: str, run: str, folder: Path) -> dict:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--data", str(folder), "--row", trained, run]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def tables(rows: dict[str, dict]) -> str:
    """Markdown of the three tables; a row without weights is left out and named."""
    parts = []
    head = ["trained and run with", "error", "paper", "at 1 to 5 frames", "at 10 frames", "s", "MB"]
    for title, names in (("Neighbours (table 4)", TABLE_4), ("Similarity (table 5)", TABLE_5)):
        cells = [
            [NAMES[name], *_cells(rows[f"{name} {name}"], paper)] for name, paper in names.items() if f"{name} {name}" in rows
        ]
        parts.append(f"### {title}\n\n{table(head, cells)}")
    cells = [
        [NAMES[trained], NAMES[run], *_cells(rows[f"{trained} {run}"], paper)]
        for (trained, run), paper in TABLE_8.items()
        if f"{trained} {run}" in rows
    ]
    parts.append(
        f"### Weights of one layer, run with another (table 8)\n\n{table(['trained with', 'run with', *head[1:]], cells)}"
    )
    missing = [NAMES[name] for name in NAMES if f"{name} {name}" not in rows]
    if missing:
        parts.append(f"Not trained yet: {', '.join(missing)}.")
    return "\n\n".join(parts)


def _cells(row: dict, paper: float) -> list[str]:
    errors = [f"{row[name]:.5f}" for name in ("error", "error_near", "error_far")]
    return [errors[0], f"{paper:.5f}", *errors[1:], f"{row['seconds']:.2f}", f"{row['peak_bytes'] / 1e6:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=FOLDER, help="the folder with the sequences")
    parser.add_argument("--row", nargs=2, metavar=("TRAINED", "RUN"), help="only this one, as JSON on stdout")
    parser.add_argument("--write-readme", action="store_true", help="also put the tables into tests/bench/README.md")
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measure(*arguments.row, arguments.data)))
        return
    wanted = dict.fromkeys([*((name, name) for name in (*TABLE_4, *TABLE_5)), *TABLE_8])
    rows = {}
    for trained, run in wanted:
        if f"colorize-paper-{trained}" in manifest():
            rows[f"{trained} {run}"] = measured(trained, run, arguments.data)
            print(f"{trained} run with {run}: {rows[f'{trained} {run}']['error']:.5f}", file=sys.stderr, flush=True)
    results = {**header("torch", "psal"), "rows": list(rows.values())}
    write_json("colorization", results)
    machine = results["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, {results['date']}."
    text = f"{tables(rows)}\n\n{where}"
    print(text)
    if arguments.write_readme:
        write_readme("colorization", text)


if __name__ == "__main__":
    main()
