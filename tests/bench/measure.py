"""One row of the engine benchmark in a process of its own: memory first, then time, then what was found.

    python measure.py '{"method": "psal", "features": "pair.npz", "found": "found.npz", ...}'

prints one line of JSON. bench_engine.py starts it; the entries of a row are described there.
"""

import json
import statistics
import sys

import numpy as np
import torch
from methods import METHODS

from psal_cli.benchmarks.measuring import growth, timed

CROP = 64  # the warm-up's picture


def whole_picture(method, device: str) -> dict:
    """Seconds that all queries take: those of prepare() plus those of run() over its share of the queries."""
    prepare_wall, prepare_cpu = timed(method.prepare, device)
    run_wall, run_cpu = timed(method.run, device)
    return {
        "prepare": prepare_wall,
        "wall": prepare_wall + run_wall / method.share,
        "cpu": prepare_cpu + run_cpu / method.share,
        "spent": prepare_wall + run_wall,
        "busy": run_wall if device == "cuda" else run_cpu / torch.get_num_threads(),  # what rates are counted over
    }


def measure(row: dict) -> dict:
    torch.set_num_threads(row["threads"])
    device, dtype = row["device"], getattr(torch, row["dtype"])
    with np.load(row["features"]) as features:
        query, key = (torch.from_numpy(features[name]).to(device, dtype) for name in ("query", "key"))
    cls = METHODS[row["method"]]
    small = cls(row, query[:, :, :CROP, :CROP].contiguous(), key[:, :, :CROP, :CROP].contiguous())
    whole_picture(small, device)  # libraries loaded, threads started, kernels chosen
    del small

    method = cls(row, query, key)
    times = []
    bytes_grown = growth(lambda: times.append(whole_picture(method, device)), device)
    spent = times[0]["spent"]
    if spent < 10:  # the first run was a warm-up, except where a row would take minutes
        repeats = row["repeats"] if spent < 1 else row["repeats"] - 2
        times = [whole_picture(method, device) for _ in range(repeats)]
    median = {name: statistics.median(t[name] for t in times) for name in times[0]}

    matches = method.matches()
    if matches is not None:
        np.savez(row["found"], queries=matches[0], found=matches[1])
    work = method.work()
    queries = query.shape[2] * query.shape[3]
    copy = query.nbytes + key.nbytes
    return {
        "seconds": median["wall"],
        "cpu_seconds_per_thread": median["cpu"] / row["threads"],
        "prepare_seconds": median["prepare"],
        "runs": len(times),
        "share_of_queries": method.share,
        **{
            f"{name}_per_second": work[name] / median["busy"] if name in work else None for name in ("distances", "flop", "bytes")
        },
        "counted_on_same_field": work.get("counted_on_same_field"),
        "peak_bytes": bytes_grown,
        "peak_bytes_per_query": None if bytes_grown is None else bytes_grown / queries,
        "peak_bytes_per_query_less_copy": None if bytes_grown is None or not method.copies else (bytes_grown - copy) / queries,
    }


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
