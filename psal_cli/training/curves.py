"""The progress of the runs of the queue: a table, and a plot of their validation curves."""

import io
from datetime import datetime, timedelta
from pathlib import Path

from psal_cli.errors import InputError
from psal_cli.training.queue import Progress, Run, progress

SHOWN = 4  # validation errors in the table, evenly spaced over the run


def table(runs: list[Run], folder: Path, threads: int = 1, now: datetime | None = None) -> str:
    """A table for the terminal: state, CPU hours done and planned, steps, validation over time, best, expected end.

    The end assumes that the run uses `threads` cores all the time, after the runs before it.
    """
    from rich.console import Console
    from rich.table import Table

    shown = Table(title="Training runs", title_justify="left")
    for name in ("run", "state"):
        shown.add_column(name)
    for name in ("CPU hours", "steps", "validation", "best", "expected end"):
        shown.add_column(name, justify="right")
    end = now or datetime.now()
    for run in runs:
        done = progress(run, folder)
        if done.state in ("finished", "diverged"):
            expected = "-"
        else:
            end += timedelta(hours=max(run.hours - done.hours, 0) / threads)
            expected = f"{end:%Y-%m-%d %H:%M}"
        best = "-" if done.best is None else f"{done.best:.4g}"
        hours = f"{done.hours:.1f} of {run.hours:g}"
        shown.add_row(run.name, done.state, hours, str(done.steps), _over_time(done), best, expected)
    console = Console(file=(out := io.StringIO()), no_color=True, width=140)
    console.print(shown, highlight=False, markup=False)
    for run in runs:
        if run.goal:
            console.print(f"{run.name}: {run.goal}", highlight=False, markup=False, soft_wrap=True)
    return out.getvalue().rstrip("\n")


def plot(runs: list[Run], folder: Path, path: Path) -> None:
    """Draws validation error over CPU hours, one panel per run. Raises InputError without the `plot` extra, or without a
    curve."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("plots need matplotlib: pip install 'psal[plot]'") from error
    begun = [(run, done.curve) for run in runs if (done := progress(run, folder)).curve]
    if not begun:
        raise InputError(f"no run in {folder} has a curve yet")
    figure = Figure(figsize=(7, 2.6 * len(begun)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (run, curve) in zip(figure.subplots(len(begun), squeeze=False)[:, 0], begun, strict=True):
        axes.plot(*zip(*curve, strict=True), marker=".")
        axes.set(title=run.name, xlabel="CPU hours", ylabel="validation error")
        axes.grid(alpha=0.3)
    figure.savefig(path)


def _over_time(done: Progress) -> str:
    errors = [error for _, error in done.curve]
    picked = sorted({round(at * (len(errors) - 1) / (SHOWN - 1)) for at in range(SHOWN)}) if errors else []
    return " > ".join(f"{errors[at]:.4g}" for at in picked) or "-"
