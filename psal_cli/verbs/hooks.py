"""Progress and cancelling: what every verb reports while it works, and how its caller stops it."""

from collections.abc import Callable

from psal_cli.errors import CancelledError

Progress = Callable[[float, str], None]  # (share of the work done, 0 to 1; current step), called often
Cancel = Callable[[], bool]  # called as often; True stops the work


def watched(progress: Progress | None, cancel: Cancel | None) -> Progress | None:
    """Combines both hooks into one callback, None if there is neither. It raises CancelledError when `cancel` returns True."""
    if cancel is None:
        return progress

    def tell(share: float, text: str) -> None:
        if cancel():
            raise CancelledError
        if progress is not None:
            progress(share, text)

    return tell


class Meter:
    """Converts finished work into shares of the total. Costs may be in any unit; only their ratios count."""

    def __init__(self, progress: Progress | None, total: float):
        """total: the expected cost of all work."""
        self.progress, self.total = progress, max(total, 1e-9)
        self.done = self.begun = self.end = 0.0  # costs: done so far, start and end of the current step
        self.start = self.share = 0.0  # the share at the last `restart`; the last one reported
        self.text = ""

    def begin(self, cost: float, text: str | None = None) -> None:
        """Begins the next step, of this expected cost, and counts the previous one as done. text: None keeps the last one."""
        self.done = self.begun = self.end
        self.text = self.text if text is None else text
        self.end += cost
        self._tell()

    def spend(self, cost: float) -> None:
        """Counts part of the current step as done, up to its expected cost."""
        self.done = min(self.done + cost, self.end)
        self._tell()

    def approach(self, part: float) -> None:
        """Counts a share of what remains of the current step as done, for loops of unknown length."""
        self.spend((self.end - self.done) * part)

    def restart(self) -> None:
        """Starts the work over; shares continue from the last one reported."""
        self.start, self.done, self.begun, self.end = self.share, 0.0, 0.0, 0.0

    def _tell(self) -> None:
        self.share = self.start + (1 - self.start) * min(self.done / self.total, 1.0)
        if self.progress is not None:
            self.progress(self.share, self.text)


def part_of(progress: Progress | None, start: float, stop: float, suffix: str = "") -> Progress | None:
    """A callback for part of the work: maps its shares 0 to 1 to `start` to `stop` of the whole."""
    if progress is None:
        return None
    return lambda share, text: progress(start + share * (stop - start), text + suffix)
