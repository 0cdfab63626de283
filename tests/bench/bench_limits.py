"""Where PSAL does not win: attention that is spread over many keys, and the last tenths of recall.

    .venv/bin/python tests/bench/bench_limits.py --write-readme    # about five minutes

Entropy: two frames of a video at 64x64 through 16 filters, the key's pixels as values, the same layers at higher and higher
temperatures; by how many keys' worth the softmax over all keys spreads (the exponential of its mean entropy), and how far the
results are from it: root mean square of the difference over that of the full result less its mean. Recall: psal's scan with more
and more iterations, and faiss with more and more cells probed, on the features of bench_engine.py at 256x256.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from bench_engine import run_row
from report import RESULTS, header, write_json, write_readme
from truth import Truth

from psal_cli import reference
from psal_cli.attention import full_attention, ps_attention
from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.output import markdown_table
from psal_cli.benchmarks.pairs import pair_features, pairs, tensor

SIDE, PATCH = 64, 7
TEMPERATURES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
LAYERS = {
    "PSAL-3": {"k": 3},
    "the 3 nearest, exactly": {"k": 3, "schedule": "exact"},
    "PSAL-3 with aggregation": {"k": 3, "aggregation": True},
    "PSAL-64": {"k": 64},
}
RECALL_SIDE = 256
ITERATIONS = (3, 5, 10, 15, 30, 60)
PROBES = (1, 4, 16, 64)


def entropy_rows() -> list[dict]:
    query, key = pair_features(None, SIDE, SIDE)
    value = tensor(next(pairs(None, (SIDE, SIDE))).reference)
    similar = reference.all_similarities(query, key, PATCH, "l2")[0]
    similar = similar.masked_fill(~reference.whole_keys(key, PATCH).flatten(), -torch.inf)
    rows = []
    for temperature in TEMPERATURES:
        weight = (similar / temperature).softmax(1)
        spread = torch.special.entr(weight).sum(1).mean().exp().item()
        full = full_attention(query, key, value, PATCH, temperature=temperature)
        size = (full - full.mean((2, 3), keepdim=True)).square().mean().sqrt()
        errors = {
            name: ((ps_attention(query, key, value, PATCH, temperature=temperature, **options) - full).square().mean().sqrt()
                   / size).item()
            for name, options in LAYERS.items()
        }  # fmt: skip
        rows.append({"temperature": temperature, "keys": spread, "errors": errors})
    return rows


def recall_rows() -> list[dict]:
    query, key = pair_features(None, RECALL_SIDE, RECALL_SIDE)
    truth = Truth(query, key, 2048, 3)
    threads = torch.get_num_threads()
    common = {"k": 3, "dtype": "float32", "device": "cpu", "threads": threads, "repeats": 5, "flop_budget": 1.0}
    rows = [{"name": f"psal scan, {n} iterations", "method": "psal", "schedule": "scan", "iterations": n} for n in ITERATIONS]
    rows += [{"name": f"faiss PCA32 + IVF + re-rank, nprobe {n}", "method": "faiss", "pca": True, "nprobe": n} for n in PROBES]
    with tempfile.TemporaryDirectory() as folder:
        features, matches = Path(folder, "features.npz"), Path(folder, "found.npz")
        np.savez(features, query=query, key=key)
        for row in rows:
            measured = run_row(row | common | {"features": str(features), "found": str(matches)}, truth)
            row |= {name: measured[name] for name in ("seconds", "recall", "peak_bytes_per_query")}
    return rows


def markdown(results: dict) -> str:
    head = ["keys that the softmax spreads over", "temperature", *LAYERS]
    cells = [
        [f"{row['keys']:.3g}", f"{row['temperature']:g}", *(f"{row['errors'][name]:.3f}" for name in LAYERS)]
        for row in results["entropy"]
    ]
    spread = markdown_table(head, cells)
    cells = [
        [row["name"], f"{row['seconds']:.2f}", f"{row['recall']:.3f}", f"{row['peak_bytes_per_query']:.0f}"]
        for row in sorted(results["recall"], key=lambda row: row["seconds"])
    ]
    recall = markdown_table(["256 x 256, k = 3", "s", "recall@3", "bytes a query"], cells)
    return f"{spread}\n\n{recall}\n\n{where(results)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from-json", action="store_true", help="no measuring: the tables of results/limits.json")
    parser.add_argument("--write-readme", action="store_true", help="also put the tables into tests/bench/README.md")
    arguments = parser.parse_args()
    if arguments.from_json:
        results = json.loads((RESULTS / "limits.json").read_text())
    else:
        results = {**header("torch", "faiss-cpu"), "entropy": entropy_rows(), "recall": recall_rows()}
        write_json("limits", results)
    print(markdown(results))
    if arguments.write_readme:
        write_readme("limits", markdown(results))


if __name__ == "__main__":
    main()
