"""Fills seeded holes with `psal patch` and with what else there is, and measures the fills: `make bench`, or

    .venv/bin/python tests/bench/bench_inpaint.py --quick --page out/inpaint

Prints a markdown table and writes every figure to tests/bench/results/inpaint.json. The figures are explained in metrics.py,
the holes in inpaint_cases.py. Ratios are averaged geometrically, everything else arithmetically.
"""

import argparse
import contextlib
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from inpaint_cases import HALVES, KINDS, Case, cases
from inpaint_methods import LOADERS, SLOW, Fill
from inpaint_page import Cell, marked, window_around, write_pages
from metrics import measure
from report import RESULTS, ROOT, header, write_readme

from psal_cli.benchmarks.output import markdown_table

TRUTH = "truth"
RATIOS = ("gradient_ring", "gradient_truth")
COLUMNS = {  # figure -> (head of the column, format)
    "psnr": ("PSNR", ".2f"),
    "ssim_hole": ("SSIM hole", ".3f"),
    "ssim_picture": ("SSIM picture", ".4f"),
    "gradient_ring": ("gradient / ring", ".2f"),
    "gradient_truth": ("gradient / truth", ".2f"),
    "wasserstein_ring": ("SW ring", ".1f"),
    "wasserstein_truth": ("SW truth", ".1f"),
    "seconds": ("s", ".2f"),
    "cpu_seconds": ("CPU s", ".2f"),
}
PACKAGES = ("torch", "numpy", "opencv-python-headless", "opencv-contrib-python-headless", "scikit-image", "PyPatchMatch", "psal")
SHARP = 0.8  # a method whose gradient ratio is below this blurs, whatever its SSIM


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Quality and time of psal inpaint beside its rivals.")
    parser.add_argument("--cases", type=int, default=36, help="number of holes (default: 36, about 15 minutes on 2 idle cores)")
    parser.add_argument("--quick", action="store_true", help="the first 6 holes and no 31x31 patches: about a minute")
    parser.add_argument("--methods", help=f"comma-separated, of: {', '.join(LOADERS)} (default: all but {' and '.join(SLOW)})")
    parser.add_argument("--seed", type=int, default=0, help="of pictures and masks (default: 0)")
    parser.add_argument("--page", type=Path, metavar="DIR", help="write contact sheets of crops there")
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data/eval", help="folder with B100/ and highres/")
    parser.add_argument("--write-readme", action="store_true", help="also put the tables into tests/bench/README.md")
    parser.add_argument("--json", type=Path, default=RESULTS / "inpaint.json", help="where the figures go")
    arguments = parser.parse_args()
    left_out = (*SLOW, "PyPatchMatch 31x31") if arguments.quick else SLOW
    if arguments.quick:
        arguments.cases = 6
    if arguments.cases < 1:
        parser.error(f"--cases is {arguments.cases}, at least 1 is needed")
    if arguments.methods is None:
        arguments.methods = [name for name in LOADERS if name not in left_out]
    else:
        arguments.methods = [name.strip() for name in arguments.methods.split(",")]
        if unknown := [name for name in arguments.methods if name not in LOADERS]:
            parser.error(f"no method named {unknown[0]!r}; there are: {', '.join(LOADERS)}")
    return arguments


def load(names: list[str]) -> tuple[dict[str, Fill], dict[str, str]]:
    """The methods that can run, and for each of the others what is missing."""
    loaded: dict[str, Fill] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            loaded[name] = LOADERS[name]()
        except ImportError as error:
            missing[name] = str(error)
    return loaded, missing


def warm_up(methods: dict[str, Fill]) -> None:
    """One small fill each, so that no case pays for loading libraries."""
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[28:36, 28:36] = True
    for fill in methods.values():
        with contextlib.suppress(Exception):  # what fails here is reported when it fails on a case
            fill(image, mask)


def run_case(case: Case, name: str, fill: Fill) -> tuple[dict, np.ndarray | None]:
    """One row of figures and the filled picture; a method that raises has an error for figures and no picture."""
    row = {"case": case.name, "kind": case.kind, "half": case.half, "method": name}
    # The hole is blacked out: a method that peeks at what was there gains nothing.
    image = np.where(case.mask[..., None], np.uint8(0), case.truth)
    start, cpu_start = time.perf_counter(), time.process_time()
    try:
        filled = fill(image, case.mask)
    except Exception as error:  # a rival's failure is a result, not the end of the run
        return {**row, "error": f"{type(error).__name__}: {error}"}, None
    spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}
    filled = np.where(case.mask[..., None], filled, case.truth)
    return {**row, **measure(filled, case.truth, case.mask), **spent}, filled


def mean(values: list[float], ratio: bool) -> float | None:
    """The mean of those values that are numbers, geometric for ratios; None when there are none."""
    kept = np.array([value for value in values if np.isfinite(value)])
    if len(kept) == 0:
        return None
    return float(np.exp(np.log(kept).mean()) if ratio else kept.mean())


def summarise(rows: list[dict], methods: list[str]) -> list[dict]:
    """A summary for each kind of mask, half of the cases ("all" first) and method: its cases and failures, the mean figures."""
    summary = []
    for kind in ("all", *HALVES, *KINDS):
        for name in methods:
            own = [row for row in rows if row["method"] == name and kind in ("all", row["kind"], row["half"])]
            done = [row for row in own if "error" not in row]
            means = {key: mean([row[key] for row in done if key in row], key in RATIOS) for key in COLUMNS}
            summary.append({"kind": kind, "method": name, "cases": len(done), "failed": len(own) - len(done), **means})
    return summary


def markdown(summary: list[dict], kind: str, missing: dict[str, str]) -> str:
    """The table of one kind of mask; a missing method is a row that says so."""
    rows = []
    for entry in summary:
        if entry["kind"] != kind or entry["cases"] + entry["failed"] == 0:
            continue
        count = f"{entry['cases']}" + (f" ({entry['failed']} failed)" if entry["failed"] else "")
        figures = [None if entry[key] is None else format(entry[key], spec) for key, (_, spec) in COLUMNS.items()]
        rows.append([entry["method"], count, *figures])
    rows += [[name, f"not installed: {why}", *[None] * len(COLUMNS)] for name, why in missing.items()]
    return markdown_table([kind, "cases", *(head for head, _ in COLUMNS.values())], rows)


def verdict(summary: list[dict]) -> str:
    """Which method has the best SSIM inside the hole among those that do not blur."""
    overall = [entry for entry in summary if entry["kind"] == "all" and entry["method"] != TRUTH and entry["cases"]]
    sharp = sorted((entry for entry in overall if entry["gradient_ring"] >= SHARP), key=lambda entry: -entry["ssim_hole"])
    if not sharp:
        return f"No method keeps {SHARP} of the surroundings' gradient energy."
    listed = ", ".join(f"{entry['method']} {entry['ssim_hole']:.3f}" for entry in sharp)
    return f"SSIM inside the hole among methods with a gradient ratio of {SHARP} or more: {listed}."


def finite(row: dict) -> dict:
    """JSON has no nan: a figure that could not be measured is null."""
    return {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in row.items()}


def cells(case: Case, rows: list[dict], fills: dict[str, np.ndarray | None]) -> list[Cell]:
    """The line of a contact sheet: input, fills with their SSIM and gradient ratio, truth."""
    window = window_around(case.mask)
    line = [Cell(case.name, marked(case.truth, case.mask)[window])]
    for row, (name, filled) in zip(rows, fills.items(), strict=True):
        if filled is None:
            line.append(Cell(f"{name}: failed", None))
        else:
            line.append(Cell(f"{name}  {row['ssim_hole']:.2f}  {row['gradient_ring']:.2f}", filled[window]))
    return [*line, Cell(TRUTH, case.truth[window])]


def run(arguments: argparse.Namespace, methods: dict[str, Fill]) -> tuple[list[dict], list[list[Cell]]]:
    """All rows of figures, and the lines of the contact sheets."""
    rows, lines = [], []
    for case in cases(arguments.data, arguments.cases, arguments.seed):
        # The truth as a method: what the figures of a perfect fill are.
        rows.append(
            {
                "case": case.name,
                "kind": case.kind,
                "half": case.half,
                "method": TRUTH,
                **measure(case.truth, case.truth, case.mask),
            }
        )
        done = {name: run_case(case, name, fill) for name, fill in methods.items()}
        own = [row for row, _ in done.values()]
        rows += own
        if arguments.page:
            lines.append(cells(case, own, {name: filled for name, (_, filled) in done.items()}))
        spent = sum(row.get("seconds", 0) for row in own)
        print(f"{case.name}: {case.mask.mean():.1%} of {case.mask.shape[1]}x{case.mask.shape[0]}, {spent:.1f} s", file=sys.stderr)
        for row in own:
            if "error" in row:
                print(f"  {row['method']}: {row['error']}", file=sys.stderr)
    return rows, lines


def main() -> int:
    arguments = parse()
    methods, missing = load(arguments.methods)
    warnings.filterwarnings("ignore", module="skimage")
    warm_up(methods)
    try:
        rows, lines = run(arguments, methods)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    summary = summarise(rows, [TRUTH, *methods])
    for kind in ("all", *HALVES, *KINDS):
        print(markdown(summary, kind, missing), end="\n\n")
    print(verdict(summary))
    results = {
        **header(*PACKAGES),
        "options": {"cases": arguments.cases, "seed": arguments.seed},
        "not_installed": missing,
        "summary": summary,
        "rows": [finite(row) for row in rows],
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.write_readme:
        where = f"{results['machine']['processor']}, {results['machine']['cores']} cores; {results['date']}."
        tables = [markdown(summary, kind, missing) for kind in ("all", *HALVES, *KINDS)]
        write_readme("inpaint", "\n\n".join([where, *tables, verdict(summary)]))
    if arguments.page:
        for path in write_pages(arguments.page, lines):
            print(path, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
