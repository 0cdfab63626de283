"""The progress bar on a terminal: current picture and step, share, elapsed and remaining time."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

LEAST = 0.02  # share of the work after which the remaining time is estimated


class RemainingColumn(ProgressColumn):
    """The remaining time, extrapolated from the share that is done. It counts down during long steps that report nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.share, self.ends = 0.0, 0.0  # the last share; the estimated end

    def render(self, task: Task) -> Text:
        share, elapsed = (task.completed / task.total if task.total else 0.0), task.elapsed or 0.0
        if share != self.share:
            self.share, self.ends = share, elapsed / max(share, 1e-9)
        if share < LEAST:
            return Text("-:-- left", style="progress.remaining")
        seconds = max(round(self.ends - elapsed), 0)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        shown = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
        return Text(f"{shown} left", style="progress.remaining")


def make_bar() -> Progress:
    """A bar on stderr that disappears when it ends. rich obeys NO_COLOR."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), RemainingColumn()
    return Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        get_time=time.monotonic,
    )
