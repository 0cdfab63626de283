"""The figures of the inpainting bench: one row for each case and method, what is kept of earlier runs, and the tables."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from inpaint_cases import Case
from inpaint_figures import measures_version
from inpaint_ground import GROUNDS
from inpaint_masks import KINDS

from psal_cli.benchmarks.output import markdown_table

Row = dict[str, str | float | None]

IDENTITY = ("case", "fingerprint", "method", "version", "measures")  # a row is kept if all of these are the same
TRUTH = "truth"
RATIOS = ("gradient_ring", "gradient_truth")  # averaged geometrically, everything else arithmetically
COLUMNS = {  # figure -> (head of the column, format)
    "psnr": ("PSNR", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "feature": ("feature", ".3f"),
    "gradient_ring": ("gradient / ring", ".2f"),
    "gradient_truth": ("gradient / truth", ".2f"),
    "wasserstein": ("SW", ".1f"),
    "seam_border": ("seam, border", ".2f"),
    "seam_pieces": ("seam, pieces", ".2f"),
    "seam_smooth": ("seam, smooth", ".2f"),
    "hard_steps": ("hard steps, %", ".2f"),
    "cpu_seconds": ("CPU s", ".2f"),
}
GROUPS = {"all": "", **dict.fromkeys(GROUNDS, "ground"), **dict.fromkeys(KINDS, "kind")}  # a table each -> the row's entry
FOLDERS = ("scenes", "photos", "B100", "highres")


def head(case: Case, method: str, version: str | None) -> Row:
    """What a row says of its case and method."""
    return {
        "case": case.name,
        "part": case.part,
        "kind": case.kind,
        "ground": case.ground,
        "folder": case.folder,
        "fingerprint": case.fingerprint,
        "method": method,
        "version": version,
        "measures": measures_version(),
    }


def identity(row: Row) -> tuple[str | float | None, ...]:
    return tuple(row.get(name) for name in IDENTITY)


def kept(paths: Iterable[Path]) -> dict[tuple[str | float | None, ...], Row]:
    """The rows of earlier results, by `identity`; what is no such file is passed over, and so are rows of failures."""
    by_identity = {}
    for path in paths:
        try:
            rows = json.loads(path.read_text())["rows"]
        except (OSError, ValueError, KeyError):
            continue
        for row in rows:
            if "error" not in row:
                # Not measured is null in JSON.
                own = {key: float("nan") if value is None and key in COLUMNS else value for key, value in row.items()}
                by_identity[identity(own)] = own
    return by_identity


def mean(values: list[float], ratio: bool) -> float | None:
    """The mean of those values that are numbers, geometric for ratios; None when there are none."""
    numbers = np.array([value for value in values if np.isfinite(value)])
    if len(numbers) == 0:
        return None
    return float(np.exp(np.log(numbers).mean()) if ratio else numbers.mean())


def summarise(rows: list[Row], methods: list[str]) -> list[Row]:
    """For all cases, each ground, kind of mask and folder, and each method: cases, failures and the mean figures."""
    summary: list[Row] = []
    for group, entry in {**GROUPS, **dict.fromkeys(FOLDERS, "folder")}.items():
        for name in methods:
            own = [row for row in rows if row["method"] == name and (group == "all" or row[entry] == group)]
            done = [row for row in own if "error" not in row]
            means = {key: mean([row[key] for row in done if key in row], key in RATIOS) for key in COLUMNS}
            if own:
                summary.append({"group": group, "method": name, "cases": len(done), "failed": len(own) - len(done), **means})
    return summary


def markdown(summary: list[Row], group: str, missing: dict[str, str]) -> str:
    """The table of one group; a missing method is a row that says so."""
    rows = []
    for entry in summary:
        if entry["group"] == group:
            count = f"{entry['cases']}" + (f" ({entry['failed']} failed)" if entry["failed"] else "")
            cells = [None if entry[key] is None else format(entry[key], spec) for key, (_, spec) in COLUMNS.items()]
            rows.append([entry["method"], count, *cells])
    rows += [[name, f"not installed: {why}", *[None] * len(COLUMNS)] for name, why in missing.items()]
    return markdown_table([group, "cases", *(head for head, _ in COLUMNS.values())], rows)


def finite(row: Row) -> Row:
    """JSON has no nan: a figure that could not be measured is null."""
    return {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in row.items()}
