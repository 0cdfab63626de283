"""psal's search beside full attention, faiss and a plain PatchMatch: time, work, recall and memory, on the same features.

    .venv/bin/python tests/bench/bench_engine.py [--quick | --large] [--write-readme]
    .venv/bin/python tests/bench/bench_engine.py --baseline OTHER/libpsal.so    # two builds of psal, see versus.py

Prints rows as they are measured (stderr), then a table for each size (stdout), and writes results/engine.json. README.md
says what the columns mean. Every row is measured by measure.py in a process of its own; a row is a dictionary:
    name, method        how the table calls it; which class of methods.py measures it
    size, k, dtype      (height, width), neighbours, "float32" or "float16"
    schedule, iterations, pca, nprobe    what a method needs to know
    device, threads, repeats, flop_budget
    features, found, counter, planar     files: the features, where matches go, the two compiled sources
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import report
import torch
import versus
from methods import PATCH
from peak import machine_peaks
from rows import EXACT_SIDE, LARGE, NEIGHBOURS, SIZES, psal_rows, rival_rows
from truth import Truth

from psal_cli import native
from psal_cli.benchmarks.output import markdown_table
from psal_cli.benchmarks.pairs import pair_features

BENCH = Path(__file__).resolve().parent
RIVAL_SECONDS = 8  # full attention: as many queries as about this much time pays for, the rest by proportion
COLUMNS = ["", "k", "type", "wall s", "CPU s / threads", "M distances/s", "% of FLOP/s", "% of GB/s", "recall@k"]
COLUMNS += ["bytes a query", "less a copy"]


# ------------------------------------------------------------------------------------------------------------ the sources


def compile_source(source: str, folder: Path, *flags: str) -> str | None:
    """The shared library made of tests/bench/`source`; None, with the compiler's first complaint on stderr, if it fails."""
    out = folder / f"{Path(source).stem}.so"
    command = [os.environ.get("CXX", "c++"), "-std=c++17", "-shared", "-fPIC", "-fopenmp", "-w", *flags, str(BENCH / source)]
    try:
        result = subprocess.run([*command, "-o", str(out)], capture_output=True, text=True)
        complaint = next((line for line in result.stderr.splitlines() if "error" in line), result.stderr[:200])
    except FileNotFoundError as error:
        complaint = str(error)
    if out.exists():
        return str(out)
    print(f"{source} does not compile, its column or row is left out: {complaint}", file=sys.stderr)
    return None


def compile_sources(folder: Path) -> dict:
    isa = native.cpu_isa()
    wide = [] if isa == "baseline" else [f"-march={isa}", *(["-mprefer-vector-width=512"] if isa == "x86-64-v4" else [])]
    flags = ["-O3", "-fno-math-errno", "-fno-trapping-math", *wide, f"-I{report.ROOT / 'ext'}"]
    return {
        "counter": compile_source("count_distances.cpp", folder, *flags),
        "planar": compile_source("planar_patchmatch.cpp", folder, "-O2", "-fno-tree-vectorize"),
    }


# ------------------------------------------------------------------------------------------------------------------ rows


def run_row(row: dict, truth: Truth) -> dict:
    """The row's figures: those of measure.py and its recall; {"error": ...} when it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(row["threads"])}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(BENCH), os.environ.get("PYTHONPATH")) if p)
    command = [sys.executable, str(BENCH / "measure.py"), json.dumps(row)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        last = result.stderr.strip().splitlines()[-1:] or [f"exit code {result.returncode}"]
        return {"error": last[0]}
    figures = json.loads(result.stdout.strip().splitlines()[-1])
    found_file = Path(row["found"])
    if found_file.exists():
        with np.load(found_file) as matches:
            queries, keys = matches["queries"], matches["found"]
        found_file.unlink()
        exact = row.get("schedule") == "exact" or row["method"] == "full"
        figures["recall"], figures["recall_queries"] = truth.recall(queries, keys, exact)
        if row.get("schedule") == "exact":
            truth.learn(queries, keys)
    return figures


def number(value: float | None, spec: str, scale: float = 1) -> str | None:
    return None if value is None else format(value * scale, spec)


def table_row(row: dict, peaks: dict) -> list:
    if "error" in row:
        return [row["name"], row["k"], row["dtype"], f"failed: {row['error']}", *[None] * (len(COLUMNS) - 4)]
    peak = peaks[row["device"]]
    shown = {
        "wall": f"{row['seconds']:.3g}" + ("" if row["share_of_queries"] == 1 else " (part)"),
        "cpu": f"{row['cpu_seconds_per_thread']:.3g}",
        "rate": number(row["distances_per_second"], ".3g", 1e-6),
        "flop": number(row["flop_per_second"], ".1f", 100 / peak["flop"]),
        "bytes": number(row["bytes_per_second"], ".0f", 100 / peak["copy_bytes"]),
        "recall": "all keys" if row["method"] == "sdpa" else number(row.get("recall"), ".3f"),
        "memory": number(row["peak_bytes_per_query"], ".0f"),
        "less_copy": number(row["peak_bytes_per_query_less_copy"], ".0f"),
    }
    return [row["name"], row["k"], row["dtype"], *shown.values()]


def markdown(results: dict) -> str:
    """The tables of a results file, one for each size and device, under a line that says where they were measured."""
    machine, peaks = results["machine"], results["peaks"]
    lines = [f"{machine['processor']}, {results['threads']} threads of {machine['cores']} cores, {machine['memory_gb']} GB; "]
    lines[0] += f"measured {results['date']} at revision {results['revision']} with "
    lines[0] += ", ".join(f"{name} {version}" for name, version in results["versions"].items() if version) + "."
    for device, peak in peaks.items():
        lines.append(
            f"Peak of the {machine['gpu'] if device == 'cuda' else 'processor'}: {peak['flop'] / 1e9:.0f} GFLOP/s float32, "
            f"{peak['copy_bytes'] / 1e9:.0f} GB/s copied."
        )
    lines.append(
        "CUDA: " + (results["cuda"] or "rows below.") + (" A quick run: sizes and rows left out." if results["quick"] else "")
    )
    groups = dict.fromkeys((tuple(row["size"]), row["device"]) for row in results["rows"])
    for size, device in groups:
        rows = [table_row(row, peaks) for row in results["rows"] if (tuple(row["size"]), row["device"]) == (size, device)]
        title = f"### {size[0]} x {size[1]}" + (" on CUDA" if device == "cuda" else "")
        lines.append(f"{title}\n\n{markdown_table(COLUMNS, rows)}")
    return "\n\n".join(lines)


def why_no_cuda() -> str | None:
    if not torch.cuda.is_available():
        return "no GPU on this machine."
    return None if native.cuda_architectures() else "a GPU, but psal was built without CUDA."


def measure_size(size: tuple[int, int], arguments, folder: Path, scratch: Path, sources: dict, peaks: dict) -> list[dict]:
    quick, features = arguments.quick, scratch / "features.npz"
    query, key = pair_features(folder, *size)
    np.savez(features, query=query, key=key)
    samples = 256 if size == LARGE else 512 if quick else 1024 if max(size) > EXACT_SIDE else 2048
    neighbours = 3 if quick or size == LARGE else max(NEIGHBOURS)
    truth = Truth(query, key, samples, neighbours)
    done = []
    for device, peak in peaks.items():
        common = {
            "size": size, "device": device, "threads": arguments.threads, "repeats": 3 if quick else 5,
            "flop_budget": 0.7 * (3 if quick else RIVAL_SECONDS) * peak["flop"],
        }  # fmt: skip
        for row in psal_rows(size, device, quick) + rival_rows(size, device, quick):
            if row["method"] == "planar" and not sources["planar"]:
                continue
            row = {**row, **common}
            row.update(run_row({**row, **sources, "features": str(features), "found": str(scratch / "found.npz")}, truth))
            done.append(row)
            print(" | ".join(str(cell or "-") for cell in table_row(row, peaks)), file=sys.stderr, flush=True)
    return done


def run(arguments) -> dict:
    torch.set_num_threads(arguments.threads)
    folder = Path(arguments.pair) if arguments.pair else None
    missing = why_no_cuda()
    peaks = {device: machine_peaks(device, arguments.quick) for device in (["cpu"] if missing else ["cpu", "cuda"])}
    sizes = SIZES[:1] if arguments.quick else SIZES + ((LARGE,) if arguments.large else ())
    results = {
        **report.header("torch", "numpy", "faiss-cpu"),
        "quick": arguments.quick, "threads": arguments.threads, "patch_size": PATCH, "isa": native.cpu_isa(),
        "cuda": missing, "peaks": peaks, "rows": [],
    }  # fmt: skip
    if arguments.resume:
        results["rows"] = json.loads((report.RESULTS / "engine.json").read_text())["rows"]
        sizes = [size for size in sizes if list(size) not in [row["size"] for row in results["rows"]]]
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        sources = compile_sources(scratch)
        for size in sizes:
            results["rows"] += measure_size(size, arguments, folder, scratch, sources, peaks)
            if not arguments.quick:  # an interrupted run keeps the sizes it has done
                report.write_json("engine", results)
    return results


def compare_builds(arguments) -> None:
    """Two builds side by side: a table, and results/engine-versus.json."""
    torch.set_num_threads(1)
    folder = Path(arguments.pair) if arguments.pair else None

    def show(row: dict) -> None:
        print(" | ".join(versus.table_row(row)), file=sys.stderr, flush=True)

    rows = versus.run(arguments.baseline, arguments.cases, folder, show)
    report.write_json("engine-versus", {**report.header("torch", "numpy"), "isa": native.cpu_isa(), "rows": rows})
    print(markdown_table(versus.COLUMNS, [versus.table_row(row) for row in rows]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="about a minute: 256x256, k = 3, few rivals; JSON in out/")
    parser.add_argument("--large", action="store_true", help=f"also {LARGE[0]}x{LARGE[1]}")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: %(default)s, as torch")
    parser.add_argument("--baseline", metavar="LIB", help="only compare this build with LIB, another libpsal, on one thread")
    parser.add_argument("--cases", nargs="+", default=[], help='of --baseline, such as "scan 512 float16 10"')
    parser.add_argument("--pair", metavar="DIR", help="folder of query.png and key.png")
    parser.add_argument("--write-readme", action="store_true", help="put the tables into README.md")
    parser.add_argument("--resume", action="store_true", help="keep the sizes that results/engine.json has")
    parser.add_argument("--from-json", action="store_true", help="no measuring: the tables of results/engine.json")
    arguments = parser.parse_args()
    if arguments.quick and arguments.write_readme:
        parser.error("README.md holds the tables of a full run: leave out --quick or --write-readme")
    if arguments.baseline:
        return compare_builds(arguments)
    if arguments.from_json:
        results = json.loads((report.RESULTS / "engine.json").read_text())
    else:
        results = run(arguments)
        path = (
            report.write_json("engine-quick", results, report.ROOT / "out")
            if arguments.quick
            else report.write_json("engine", results)
        )
        print(f"wrote {path.relative_to(report.ROOT)}", file=sys.stderr)
    print(markdown(results))
    if arguments.write_readme:
        report.write_readme("engine", markdown(results))


if __name__ == "__main__":
    main()
