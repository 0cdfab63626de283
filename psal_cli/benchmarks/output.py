"""Results as tables, CSV and plots."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from psal_cli.benchmarks import machine
from psal_cli.errors import InputError, InvalidValueError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GIGA = 1e9


class Table(NamedTuple):
    """title; columns, the first of words, the others of numbers; cells as text; notes: lines below."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]


def table(results: dict) -> Table:
    """The rows of a bench as its table, the paper's figures in the last column, and what follows from them."""
    return TABLES[results["bench"]](results)


def text(results: dict) -> str:
    """The table for a terminal."""
    from rich.console import Console
    from rich.table import Table as Grid

    grid = table(results)
    shown = Grid(title=grid.title, title_justify="left")
    for number, name in enumerate(grid.columns):
        shown.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in grid.rows:
        shown.add_row(*row)
    out = io.StringIO()
    console = Console(file=out, no_color=True)
    console.width = console.measure(shown, options=console.options.update(width=1000)).maximum  # a log has no width of its own
    console.print(shown, highlight=False, markup=False)
    for line in [*grid.notes, machine.where(results)]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return out.getvalue().rstrip("\n")


def markdown(results: dict) -> str:
    """The table and its notes for a page."""
    grid = table(results)
    return "\n\n".join([markdown_table(grid.columns, grid.rows), *grid.notes, machine.where(results)])


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str | int | float | None]]) -> str:
    """A table of markdown; the first column is set left, the others right. None becomes a dash."""
    cells = [columns, ["---", *["---:"] * (len(columns) - 1)]]
    cells += [["-" if cell is None else str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def comma_separated(results: dict) -> str:
    """One line a row, all that was measured, unrounded."""
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in results["rows"] for name in row))
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(results["rows"])
    return out.getvalue().rstrip("\n")


def _number(value: float | None, scale: float = 1.0, digits: int = 2) -> str:
    """So many digits that count; an empty cell for None."""
    if value is None:
        return ""
    value /= scale
    return f"{value:.{digits}g}" if value < 99.5 else f"{value:.0f}"


def _memory_table(results: dict) -> Table:
    columns = ["layer", "size", "GB", "s", "GFLOP", "GB with gradient", "s", "GFLOP", "paper, GB"]
    rows = []
    by_case = {(row["layer"], row["size"], row["mode"]): row for row in results["rows"]}
    modes = list(dict.fromkeys(row["mode"] for row in results["rows"]))
    for layer, size in dict.fromkeys((row["layer"], row["size"]) for row in results["rows"]):
        both = [by_case[layer, size, mode] for mode in modes]
        cells = [cell for row in both for cell in _cost(row)]
        rows.append([both[0]["title"], f"{size}x{size}", *cells, _number(both[0]["paper_gb"])])
    notes = [
        "GB in brackets: counted, where it was not measured; ~: seconds from a part of the queries; > seconds: not run, the "
        "estimate. PSAL's GFLOP are the most that its candidates could take; it leaves most comparisons early."
    ]
    for row in results["rows"]:
        if row["status"] == "failed":
            notes.append(f"{row['title']}, {row['size']}x{row['size']}, {row['mode']} failed: {row['error']}")
    parts = []
    for size, x in results["ratios"].items():
        paper = f" (paper {_number(x['paper_memory'], digits=4)})" if x["paper_memory"] else ""
        parts.append(f"{size}x{size}: {_number(x['memory'])} times the memory{paper}, {_number(x['seconds'])} times the seconds")
    if parts:
        notes.append("Full attention over PSAL 3, memory with gradient, seconds without: " + "; ".join(parts) + ".")
    if results["growth"]:
        grown = ", ".join(f"{name}: {value:.2f}" for name, value in results["growth"].items())
        notes.append(f"Seconds grow with the number of queries to the power of: {grown}.")
    return Table("Attention layers, patches of 7x7, 16 channels (table 1)", columns, rows, notes)


def _cost(row: dict) -> list[str]:
    """Gigabytes, seconds and GFLOP of a row."""
    if row["status"] in ("no gradient", "failed"):
        return [row["status"], "", ""]
    held, flop = _number(row["peak_bytes"], GIGA), _number(row["flop"], GIGA)
    if row["seconds"] is None:
        return [f"({_number(row['need_bytes'], GIGA)})", f"> {_number(row['expected_seconds'])}", flop]
    mark = "" if row["share"] == 1 else "~ "
    return [held or f"({_number(row['need_bytes'], GIGA)})", mark + _number(row["seconds"]), flop]


def _counted(results: dict) -> str:
    return f"{results['pairs']} pair{'s' if results['pairs'] > 1 else ''}"


def _reconstruct_table(results: dict) -> Table:
    columns = ["layer", "size", "mean squared error", "dB", "s", "GB", "GFLOP", "paper"]
    rows = []
    for row in results["rows"]:
        if row["status"] == "measured":
            decibels = f"{-10 * math.log10(max(row['error'], 1e-12)):.2f}"
            cells = [f"{row['error']:.5f}", decibels, _number(row["seconds"]), _number(row["peak_bytes"], GIGA)]
        else:
            cells = [f"not run: too {'long' if row['status'] == 'seconds' else 'large'}", "", "", ""]
        paper = "" if row["paper_error"] is None else f"{row['paper_error']:.4f}"
        rows.append([row["title"], f"{row['size']}x{row['size']}", *cells, _number(row["flop"], GIGA), paper])
    parts = [f"{size}x{size}: {x['error']:.2f} (paper {x['paper_error']:.2f})" for size, x in results["ratios"].items()]
    notes = ["Error of full attention at the paper's stride over that of PSAL 3: " + "; ".join(parts) + "."] if parts else []
    return Table(f"Pictures rebuilt from others, {_counted(results)} (tables 2 and 3)", columns, rows, notes)


def _swap_table(results: dict) -> Table:
    columns = ["trained with, run with", "error", "at 1 to 5 frames", "at 10 frames", "s", "GB", "GFLOP", "paper"]
    rows = []
    for row in results["rows"]:
        errors = ["" if row[name] is None else f"{row[name]:.5f}" for name in ("error", "error_near", "error_far")]
        costs = [_number(row["seconds"]), _number(row["peak_bytes"], GIGA), _number(row["flop"], GIGA)]
        rows.append([row["title"], *errors, *costs, f"{row['paper_error']:.5f}"])
    return Table(f"Colorization, {_counted(results)} (tables 4, 5 and 8)", columns, rows, [])


def _device_table(results: dict) -> Table:
    columns = ["", "size", "s", "GB", "GB counted", ""]
    rows = []
    for row in results["rows"]:
        more = f"recall {row['recall']:.3f}" if "recall" in row else row.get("error", "")
        if row["status"] == "seconds":
            more = "left out: too long"
        if row.get("fill_device") == "cpu":
            more = "ran on the CPU"
        size = f"{row['size']}x{row['size']}"
        held, counted = _number(row["peak_bytes"], GIGA), _number(row["counted_bytes"], GIGA)
        rows.append([row["name"], size, _number(row["seconds"]), held, counted, more])
    tests, built = results["tests"], results["build_seconds"]
    notes = [] if built is None else [f"ext/cuda was compiled in {built:.0f} s."]
    if tests is None:
        notes.append("Tests: none here, they run in a checkout with pytest.")
    elif "passed" in tests:
        first = f", first {tests['first_failure']}" if tests["first_failure"] else ""
        notes.append(f"Tests: {tests['passed']} passed, {tests['failed']} failed{first}, {tests['skipped']} skipped.")
    else:
        notes.append("Tests: not done in time.")
    return Table("psal on a CUDA device, 16 channels, patches of 7x7, k = 3", columns, rows, notes)


TABLES: dict[str, Callable[[dict], Table]] = {
    "device": _device_table,
    "memory": _memory_table,
    "reconstruct": _reconstruct_table,
    "swap": _swap_table,
}


def plot(results: dict, file: IO[bytes], format: str) -> None:
    """Draws the rows into a file: memory and seconds by size, or error by memory and by operations (figure 5 of the paper).

    format: "png", "svg", "pdf" or another that `check_plot` knows. Raises InputError without matplotlib.
    """
    figure = _figure()
    left, right = figure.subplots(1, 2)
    PLOTS[results["bench"]](results, left, right)
    figure.suptitle(f"{table(results).title}. {machine.where(results)}", fontsize=7)
    figure.savefig(file, format=format, dpi=130)


def check_plot(path: Path) -> None:
    """Raises what `plot` would, before anything is measured."""
    endings = _figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in endings:
        raise InvalidValueError("plot", path, f"a name that ends in one that matplotlib writes: {', '.join(endings)}")


def _figure() -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("a plot needs matplotlib: pip install 'psal[plot]'") from error
    return Figure(figsize=(11, 4.4), layout="constrained")


def _plot_memory(results: dict, left: "Axes", right: "Axes") -> None:
    forward, both = dict.fromkeys(row["mode"] for row in results["rows"])
    drawn, sizes = False, sorted({row["size"] for row in results["rows"]})
    for number, name in enumerate(dict.fromkeys(row["layer"] for row in results["rows"])):
        rows = [row for row in results["rows"] if row["layer"] == name and row["status"] not in ("failed", "no gradient")]
        held = [(row["size"], (row["peak_bytes"] or row["need_bytes"]) / GIGA) for row in rows if row["mode"] == both]
        timed = [(row["size"], row["seconds"]) for row in rows if row["mode"] == forward and row["seconds"]]
        for axes, points in ((left, held), (right, timed)):
            x, y = zip(*points, strict=True) if points else ((), ())
            axes.plot(x, y, ".-", color=f"C{number}", label=_title(results, name))
        drawn = drawn or bool(held or timed)
    for axes, label in ((left, "GB, forward and backward"), (right, "seconds, forward")):
        axes.set(xlabel="side, pixels", ylabel=label)
        axes.grid(alpha=0.3)
        if drawn:
            axes.set(xscale="log", yscale="log")
            axes.set_xticks(sizes, map(str, sizes))
            axes.minorticks_off()
    left.legend(fontsize=7)


def _title(results: dict, layer: str) -> str:
    return next(row["title"] for row in results["rows"] if row["layer"] == layer)


def _scatter(points: Sequence[tuple[str, float, float, float]], left: "Axes", right: "Axes") -> None:
    """points: name, error, bytes, floating-point operations."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    for number, (name, error, held, flop) in enumerate(points):
        marker, colour = "os^D"[number // 10 % 4], f"C{number % 10}"
        for axes, x in ((left, held), (right, flop)):
            axes.plot([x / GIGA] if x else [], [error] if x else [], marker, color=colour, label=name)
    for axes, label in ((left, "GB"), (right, "GFLOP, counted")):
        axes.set(xscale="log", yscale="log", xlabel=label, ylabel="mean squared error")
        axes.grid(alpha=0.3)
        for side in (axes.xaxis, axes.yaxis):
            side.set_major_locator(LogLocator(subs=(1, 2, 5)))
            side.set_major_formatter(StrMethodFormatter("{x:g}"))
            side.set_minor_formatter(NullFormatter())
    right.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1))


def _plot_errors(results: dict, left: "Axes", right: "Axes") -> None:
    """Of the largest size."""
    rows = [row for row in results["rows"] if row["error"] is not None]
    size = max((row.get("size", 0) for row in rows), default=0)
    points = [(row["title"], row["error"], row["peak_bytes"], row.get("flop")) for row in rows if row.get("size", 0) == size]
    _scatter(points, left, right)
    if size:
        left.set_title(f"{size}x{size}", fontsize=8)


PLOTS: dict[str, Callable[[dict, "Axes", "Axes"], None]] = {
    "memory": _plot_memory,
    "reconstruct": _plot_errors,
    "swap": _plot_errors,
}
