"""What every verb tells its caller while it works, and how the caller stops it."""

from collections.abc import Callable

from psal_cli.errors import CancelledError

Progress = Callable[[int, int, str], None]  # (step, of how many, what it is), called before each step
Cancel = Callable[[], bool]  # asked before each step; True stops the work


def watched(progress: Progress | None, cancel: Cancel | None) -> Progress | None:
    """One callback out of both hooks, None where there is neither. It raises CancelledError when `cancel` says so."""
    if cancel is None:
        return progress

    def step(number: int, total: int, text: str) -> None:
        if cancel():
            raise CancelledError
        if progress is not None:
            progress(number, total, text)

    return step
