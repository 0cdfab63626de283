"""What every verb tells its caller while it works, and how the caller stops it."""

from collections.abc import Callable

from psal_cli.errors import CancelledError

Progress = Callable[[float, str], None]  # (share of the work that is done, 0 to 1; what is being done), called often
Cancel = Callable[[], bool]  # asked as often; True stops the work


def watched(progress: Progress | None, cancel: Cancel | None) -> Progress | None:
    """One callback that serves both hooks, None where there is neither. It raises CancelledError when `cancel` returns True."""
    if cancel is None:
        return progress

    def tell(share: float, text: str) -> None:
        if cancel():
            raise CancelledError
        if progress is not None:
            progress(share, text)

    return tell


class Meter:
    """Turns finished work into shares of all work. Costs may be in any unit: only their ratios count."""

    def __init__(self, progress: Progress | None, total: float):
        """total: the expected cost of all work."""
        self.progress, self.total = progress, max(total, 1e-9)
        self.done = self.begun = self.end = 0.0  # of the cost; where the current step began, and where it ends
        self.start = self.share = 0.0  # from where shares are counted, see `restart`; the last one that was told
        self.text = ""

    def begin(self, cost: float, text: str | None = None) -> None:
        """Begins the next step, with its expected cost; the rest of the step before counts as done. text: None keeps the last
        one."""
        self.done = self.begun = self.end
        self.text = self.text if text is None else text
        self.end += cost
        self._tell()

    def spend(self, cost: float) -> None:
        """Counts some of the current step as done, at most its expected cost."""
        self.done = min(self.done + cost, self.end)
        self._tell()

    def approach(self, part: float) -> None:
        """Counts this share of the rest of the current step as done: for loops whose length is not known before."""
        self.spend((self.end - self.done) * part)

    def restart(self) -> None:
        """The work begins again: shares go on from the last one that was told."""
        self.start, self.done, self.begun, self.end = self.share, 0.0, 0.0, 0.0

    def _tell(self) -> None:
        self.share = self.start + (1 - self.start) * min(self.done / self.total, 1.0)
        if self.progress is not None:
            self.progress(self.share, self.text)


def part_of(progress: Progress | None, start: float, stop: float, suffix: str = "") -> Progress | None:
    """The callback of a part of the work: its shares 0 to 1 become `start` to `stop` of the whole."""
    if progress is None:
        return None
    return lambda share, text: progress(start + share * (stop - start), text + suffix)
