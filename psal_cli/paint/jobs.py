"""Work that takes seconds: in a thread of its own, one at a time on this machine, with progress and cancelling."""

import threading
import time
from collections.abc import Callable, Mapping

from psal_cli.errors import CancelledError, PsalError, is_out_of_memory

TURN = threading.Lock()  # the engine uses all cores: a second job beside the first would make both late


class Job:
    """state: "waiting", "running", "done", "failed" or "cancelled"; share: of the work that is done, 0 to 1; text: what is being
    done; error: why it failed, in words for the user; found: what it came to, for the page."""

    def __init__(self, kind: str, work: Callable[["Job"], Mapping[str, object]]):
        """work: is called in a thread of its own, and returns `found`."""
        self.kind, self.state, self.share, self.text, self.error = kind, "waiting", 0.0, "", ""
        self.found: Mapping[str, object] = {}
        self.started = self.ended = time.monotonic()
        self._cancelled = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(work,), name=f"psal-{kind}", daemon=True)

    @property
    def running(self) -> bool:
        return self.state in ("waiting", "running")

    def progress(self, share: float, text: str) -> None:
        self.share, self.text = share, text

    def cancel(self) -> None:
        """Stops the work where it next looks up."""
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def report(self) -> dict[str, object]:
        """What the page shows. left: seconds until it is done, None where that cannot be told yet."""
        spent = (time.monotonic() if self.running else self.ended) - self.started
        left = spent * (1 - self.share) / self.share if self.running and self.share > 0.03 and spent > 0.3 else None
        return {
            "kind": self.kind,
            "state": self.state,
            "share": round(self.share, 4),
            "text": self.text,
            "spent": round(spent, 2),
            "left": None if left is None else round(left, 1),
            "error": self.error,
            "found": self.found,
        }

    def _run(self, work: Callable[["Job"], Mapping[str, object]]) -> None:
        try:
            while not TURN.acquire(timeout=0.1):
                if self.is_cancelled():
                    raise CancelledError
            try:
                self.started, self.state = time.monotonic(), "running"
                self.found = work(self)
            finally:
                TURN.release()
            state = "done"
        except CancelledError:
            state = "cancelled"
        except Exception as error:
            state, self.error = "failed", in_words(error)
        self.ended, self.share = time.monotonic(), 1.0
        self.state = state  # last: whoever sees it sees the rest


def in_words(error: Exception) -> str:
    """What went wrong, for the user."""
    if isinstance(error, PsalError):
        return str(error)
    if is_out_of_memory(error):
        return "out of memory: close other programs, or paint a smaller part"
    return f"internal error, {type(error).__name__}: {error}"
