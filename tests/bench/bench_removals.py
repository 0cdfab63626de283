"""Takes real objects out of photographs of 2 to 16 megapixels, for looking at, and moved silhouettes of theirs, for figures.

    .venv/bin/python tests/bench/bench_removals.py --repositories ../pictures       # sheets to out/removals, and both tables
    .venv/bin/python tests/bench/bench_removals.py --only sheets --names pigeon,ship

A sheet shows the edited region: the object outlined, then each method's fill. What a method of some version made of a picture is
kept in the folder of the sheets and not made again.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from inpaint_cases import Case
from inpaint_compare import comparison
from inpaint_figures import figures
from inpaint_fills import box_of, kept_fill
from inpaint_methods import Filler, version_of
from inpaint_options import add_run_options, load, methods_of, set_threads
from inpaint_page import Cell, outlined, write_line
from inpaint_removals import available, case_of, removals
from inpaint_rows import Row, finite, head, markdown, summarise
from report import RESULTS, ROOT, header, write_json, write_readme

SHOWN = 0.35  # of the hole's longer side, on each side of it
UNKNOWN = ("psnr", "ssim", "feature", "gradient_truth", "wasserstein", "seam_smooth", "hard_steps")  # without a truth
SETS = ("sheets", "truth")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Removals of real objects, beside PyPatchMatch.")
    parser.add_argument("--only", choices=SETS, help="the removals, for looking at, or the silhouettes with truth, for figures")
    parser.add_argument("--names", help="of removals, comma-separated (default: all)")
    parser.add_argument("--methods", default="psal combined,PyPatchMatch 7x7", help="comma-separated (default: %(default)s)")
    parser.add_argument("--page", type=Path, default=ROOT / "out/removals", help="folder for the sheets (default: out/removals)")
    add_run_options(parser)
    parser.add_argument("--repositories", type=Path, default=ROOT / "../repositories", help="holds <owner>/<name> of GitHub")
    parser.add_argument("--write-readme", action="store_true", help="write the tables and results/removals.json")
    arguments = parser.parse_args()
    arguments.methods = methods_of(parser, arguments.methods)
    arguments.names = arguments.names and arguments.names.split(",")
    if unknown := set(arguments.names or []) - {removal.name for removal in removals()}:
        parser.error(f"no removal named {unknown.pop()!r}; there are: {', '.join(removal.name for removal in removals())}")
    return arguments


def around(mask: np.ndarray) -> tuple[slice, slice]:
    """What a sheet shows: the hole's box and what lies around it."""
    box = box_of(mask)
    grown = round(SHOWN * max(side.stop - side.start for side in box))
    rows, columns = (
        slice(max(0, side.start - grown), min(size, side.stop + grown)) for side, size in zip(box, mask.shape, strict=True)
    )
    return rows, columns


def fill_case(case: Case, methods: dict[str, Filler], folder: Path, known: bool) -> tuple[list[Row], list[Cell]]:
    """A row of figures and a cell of a sheet for each method; `known`: the truth is."""
    rows, cells, view = [], [], around(case.mask)
    for name, fill in methods.items():
        made = kept_fill(folder / "fills", case, name, fill)
        measured = figures(made.fill, case.truth, case.mask)
        if not known:
            measured |= dict.fromkeys(UNKNOWN, float("nan"))
        spent = {"seconds": made.seconds, "cpu_seconds": made.cpu_seconds}
        rows.append(head(case, name, version_of(name)) | measured | spent)
        filled = np.where(case.mask[view][..., None], made.fill.picture[view], case.truth[view])
        cells.append(Cell(f"{name}, {made.cpu_seconds:.1f} s", filled))
    return rows, cells


def run(arguments: argparse.Namespace, methods: dict[str, Filler]) -> tuple[dict[str, list[Row]], list[str]]:
    """The rows of each set, and the removals whose pictures are missing; writes the sheets."""
    rows: dict[str, list[Row]] = {name: [] for name in SETS}
    missing = []
    for removal, picture in available(arguments.data, arguments.repositories, arguments.names):
        if isinstance(picture, str):
            print(f"{removal.name}: {picture}", file=sys.stderr)
            missing.append(removal.name)
            continue
        for which in SETS:
            moved = which == "truth"
            if arguments.only not in (None, which) or (moved and removal.moved is None):
                continue
            case = case_of(removal, picture, moved)
            own, cells = fill_case(case, methods, arguments.page, known=moved)
            rows[which] += own
            view = around(case.mask)
            first = Cell(f"{case.name}, {removal.size[0]}x{removal.size[1]}", outlined(picture[view], case.mask[view]))
            path = write_line(arguments.page / f"{case.name}.png", [first, *cells])
            told = ", ".join(f"{row['method']} {row['psnr']:.2f} dB {row['cpu_seconds']:.1f} s" for row in own)
            print(f"{path}: {told}", file=sys.stderr)
    return rows, missing


def tables(rows: dict[str, list[Row]], methods: list[str]) -> list[str]:
    """Of each set one for all, and one for each ground; then the first method beside the others where the truth is known."""
    parts = []
    for which, title in (("sheets", "Removals, without truth:"), ("truth", "Removals with truth:")):
        summary = summarise(rows[which], methods)
        own = [markdown(summary, group, {}) for group in ("all", "smooth", "structured") if rows[which]]
        parts += [title, *own] if own else []
    first = [row for row in rows["truth"] if row["method"] == methods[0]]
    for name in methods[1:]:
        parts.append(comparison(f"{methods[0]} - {name}", [row for row in rows["truth"] if row["method"] == name], first))
    return parts


def main() -> int:
    arguments = parse()
    set_threads(arguments.threads)
    methods, not_installed = load(arguments.methods)
    for name, why in not_installed.items():
        print(f"{name} is not installed: {why}", file=sys.stderr)
    rows, missing = run(arguments, methods)
    if not any(rows.values()):
        print("no picture was found", file=sys.stderr)
        return 2
    written = tables(rows, list(methods))
    print("\n\n".join(written))
    whole = not missing and not not_installed and arguments.names is None and arguments.only is None
    if arguments.write_readme and not whole:
        print("not all removals were run with all methods: README.md and the results stay as they are", file=sys.stderr)
    elif arguments.write_readme:
        context = header("torch", "numpy", "opencv-python-headless", "PyPatchMatch", "psal")
        write_json("removals", {**context, "rows": [finite(row) for own in rows.values() for row in own]}, RESULTS)
        write_readme("removals", "\n\n".join(written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
