"""Two fills of the same holes, case by case: the difference of their figures and how sure it is.

Cases differ far more than methods do. The mean of the differences is therefore given with its standard error, the standard
deviation of the differences / sqrt(cases): a difference of less than two standard errors proves nothing.
"""

import numpy as np
from inpaint_rows import COLUMNS, GROUPS, RATIOS, Row

from psal_cli.benchmarks.output import markdown_table


def differences(first: list[Row], second: list[Row], figure: str) -> np.ndarray:
    """second - first of the cases that both have, as logarithms for ratios; only those of which both figures are numbers."""
    before = {(row["case"], row["fingerprint"]): row.get(figure, np.nan) for row in first}
    pairs = [(before[key], row.get(figure, np.nan)) for row in second if (key := (row["case"], row["fingerprint"])) in before]
    values = np.array(pairs, float).reshape(-1, 2)
    values = values[np.isfinite(values).all(axis=1)]
    if figure in RATIOS:
        values = np.log(values)
    return values[:, 1] - values[:, 0]


def cell(values: np.ndarray, figure: str) -> str | None:
    """`+0.12 ± 0.03`, for ratios in percent; None for fewer than two cases."""
    if len(values) < 2:
        return None
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    if figure in RATIOS:
        return f"{100 * np.expm1(mean):+.1f} ± {100 * error:.1f} %"
    digits = COLUMNS[figure][1]
    return f"{mean:+{digits}} ± {error:{digits}}"


def line(label: str, first: list[Row], second: list[Row]) -> list[str | int | None]:
    """One row of a table of second - first: label, cases, figures."""
    by_figure = {figure: differences(first, second, figure) for figure in COLUMNS}
    return [label, len(by_figure["psnr"]), *(cell(values, figure) for figure, values in by_figure.items())]


def table(title: str, lines: list[list[str | int | None]]) -> str:
    return markdown_table([title, "cases", *(head for head, _ in COLUMNS.values())], lines)


def comparison(title: str, first: list[Row], second: list[Row]) -> str:
    """A table of second - first: one line for all cases, each ground and each kind of mask."""
    lines = []
    for group, entry in GROUPS.items():
        before, after = ([row for row in rows if group == "all" or row[entry] == group] for rows in (first, second))
        if before and after:
            lines.append(line(group, before, after))
    return table(title, lines)
