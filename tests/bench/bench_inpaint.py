"""Fills seeded holes with `psal inpaint` and with what else there is, and measures the fills: `make bench`, or

    .venv/bin/python tests/bench/bench_inpaint.py --part choose --methods "psal combined"     # for tuning
    .venv/bin/python tests/bench/bench_inpaint.py --page out/inpaint                          # the report, with contact sheets

Prints markdown tables and writes every figure as JSON. The figures are explained in README.md, the holes in inpaint_cases.py.
Rows of earlier runs are kept where the case, the method, its package's version and the measuring code are the same.
"""

import argparse
import contextlib
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from inpaint_cases import Case
from inpaint_compare import comparison
from inpaint_figures import figures
from inpaint_methods import METHODS, USUAL, Fill, Filler, version_of
from inpaint_options import add_case_options, add_run_options, chosen_cases, load, methods_of, set_threads
from inpaint_page import Cell, marked, window_around, write_pages
from inpaint_rows import GROUPS, TRUTH, Row, finite, head, identity, kept, markdown, summarise
from report import RESULTS, header, write_readme

PACKAGES = ("torch", "numpy", "opencv-python-headless", "opencv-contrib-python-headless", "scikit-image", "PyPatchMatch", "psal")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Quality and time of psal inpaint beside its rivals.")
    add_case_options(parser)
    add_run_options(parser)
    parser.add_argument("--methods", help=f"comma-separated, of: {'; '.join(METHODS)} (default: {'; '.join(USUAL)})")
    parser.add_argument("--page", type=Path, metavar="DIR", help="write contact sheets of crops there; nothing is kept then")
    parser.add_argument("--keep", type=Path, action="append", default=[], help="results of an earlier run to take rows from")
    parser.add_argument("--against", type=Path, metavar="JSON", help="an earlier run: also print what has changed")
    parser.add_argument("--write-readme", action="store_true", help="also put the tables into tests/bench/README.md")
    parser.add_argument("--json", type=Path, help="where the figures go; default results/inpaint.json for the report, else none")
    arguments = parser.parse_args()
    arguments.methods = methods_of(parser, arguments.methods) if arguments.methods else list(USUAL)
    if arguments.json is None and arguments.part == "report" and arguments.every == 1 and not arguments.folder:
        arguments.json = RESULTS / "inpaint.json"
    return arguments


def warm_up(methods: dict[str, Filler]) -> None:
    """One small fill each, so that no case pays for loading libraries."""
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[28:36, 28:36] = True
    for fill in methods.values():
        with contextlib.suppress(Exception):  # what fails here is reported when it fails on a case
            fill(image, mask)


def run_case(case: Case, name: str, fill: Filler) -> tuple[Row, np.ndarray | None]:
    """One row of figures and the filled picture; a method that raises has an error for figures and no picture."""
    row = head(case, name, version_of(name))
    start, cpu_start = time.perf_counter(), time.process_time()
    try:
        filled = fill(case.image, case.mask)
    except Exception as error:  # a rival's failure is a result, not the end of the run
        return {**row, "error": f"{type(error).__name__}: {error}"}, None
    spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}
    return {**row, **figures(filled, case.truth, case.mask), **spent}, np.where(case.mask[..., None], filled.picture, case.truth)


def cells(case: Case, rows: list[Row], fills: dict[str, np.ndarray | None]) -> list[Cell]:
    """The line of a contact sheet: input, fills with their SSIM and gradient ratio, truth."""
    window = window_around(case.mask)
    line = [Cell(case.name, marked(case.truth, case.mask)[window])]
    for row, (name, filled) in zip(rows, fills.items(), strict=True):
        if filled is None:
            line.append(Cell(f"{name}: failed", None))
        else:
            line.append(Cell(f"{name}  {row['ssim']:.2f}  {row['gradient_ring']:.2f}", filled[window]))
    return [*line, Cell(TRUTH, case.truth[window])]


def run(arguments: argparse.Namespace, methods: dict[str, Filler], old: dict) -> tuple[list[Row], list[list[Cell]]]:
    """All rows of figures, and the lines of the contact sheets."""
    rows: list[Row] = []
    lines: list[list[Cell]] = []
    for case in chosen_cases(arguments):
        # The truth as a method: what the figures of a perfect fill are.
        own, fills = [head(case, TRUTH, None) | figures(Fill(case.truth), case.truth, case.mask)], {}
        for name, fill in methods.items():
            row = None if arguments.page else old.get(identity(head(case, name, version_of(name))))
            fresh, fills[name] = run_case(case, name, fill) if row is None else (row, None)
            own.append(fresh)
        rows += own
        if arguments.page:
            lines.append(cells(case, own[1:], fills))
        told = "; ".join(row.get("error") or f"{row['psnr']:.2f} dB {row['cpu_seconds']:.1f} s" for row in own[1:])
        print(f"{case.name}, {case.ground}, {case.mask.sum()} px: {told}", file=sys.stderr)
    return rows, lines


def comparisons(arguments: argparse.Namespace, rows: list[Row], methods: list[str]) -> list[str]:
    """The first method beside each of the others, case by case, and each method beside itself in an earlier run."""
    own = {name: [row for row in rows if row["method"] == name] for name in methods}
    tables = [comparison(f"{methods[0]} - {name}", own[name], own[methods[0]]) for name in methods[1:]]
    if arguments.against:
        old = json.loads(arguments.against.read_text())["rows"]
        old = [{key: float("nan") if value is None else value for key, value in row.items()} for row in old]
        for name in methods:
            before = [row for row in old if row["method"] == name]
            tables.append(comparison(f"{name}, now - before", before, own[name]))
    return tables


def main() -> int:
    arguments = parse()
    set_threads(arguments.threads)
    warnings.filterwarnings("ignore", module="skimage")
    methods, missing = load(arguments.methods)
    warm_up(methods)
    old = kept([*arguments.keep, *([arguments.json] if arguments.json else [])])
    try:
        rows, lines = run(arguments, methods, old)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    summary = summarise(rows, [TRUTH, *methods])
    tables = [markdown(summary, group, missing) for group in GROUPS if any(entry["group"] == group for entry in summary)]
    tables += comparisons(arguments, rows, list(methods))
    print("\n\n".join(tables))
    context = header(*PACKAGES)
    if arguments.json:
        options = {"part": arguments.part, "seed": arguments.seed, "threads": arguments.threads}
        rows = [finite(row) for row in rows if row["method"] != TRUTH]
        results = {**context, "options": options, "not_installed": missing, "summary": summary, "rows": rows}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.write_readme:
        threads = "one thread" if arguments.threads == 1 else f"{arguments.threads} threads"
        where = f"{context['machine']['processor']}, {threads}; {context['date']}."
        write_readme("inpaint", "\n\n".join([where, *tables]))
    if arguments.page:
        for path in write_pages(arguments.page, lines):
            print(path, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
