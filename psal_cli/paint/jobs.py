"""Work that takes seconds: one job at a time, as the engine uses all cores, with progress and cancelling."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache

from psal_cli.errors import CancelledError, PsalError, is_out_of_memory


class Job:
    """state: "waiting", "running", "done", "failed" or "cancelled"; share: of the work that is done, 0 to 1; text: what is being
    done; error: why it failed, in words for the user; result: for the page."""

    def __init__(self, kind: str, work: Callable[["Job"], Mapping[str, object]]):
        """work: called in another thread; returns `result`."""
        self.kind, self.state, self.share, self.text, self.error = kind, "waiting", 0.0, "", ""
        self.result: Mapping[str, object] = {}
        self.started = self.ended = time.monotonic()
        self._work, self._lock = work, threading.Lock()
        self._cancelled, self._over = threading.Event(), threading.Event()

    def start(self) -> None:
        """Queues the job."""
        _waiting().put(self)

    def wait(self, seconds: float) -> None:
        """Waits until the job is over, with a timeout."""
        self._over.wait(seconds)

    @property
    def running(self) -> bool:
        return self.state in ("waiting", "running")

    def progress(self, share: float, text: str) -> None:
        self.share, self.text = share, text

    def cancel(self) -> None:
        """Stops the work at its next check, or at once if it has not begun."""
        self._cancelled.set()
        with self._lock:
            if self.state == "waiting":
                self.state = "cancelled"
                self._over.set()

    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def report(self) -> dict[str, object]:
        """The report for the page. left: seconds until it is done, None if unknown."""
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
            "result": self.result,
        }

    def run(self) -> None:
        """Does the work in the caller's thread, unless it was cancelled."""
        with self._lock:
            if self.state != "waiting":
                return
            self.started, self.state = time.monotonic(), "running"
        try:
            self.result = self._work(self)
            state = "done"
        except CancelledError:
            state = "cancelled"
        except Exception as error:
            state, self.error = "failed", in_words(error)
        self.ended, self.share = time.monotonic(), 1.0
        self.state = state  # last: whoever sees it also sees the other fields
        self._over.set()


@cache
def _waiting() -> "queue.SimpleQueue[Job]":
    """The queue of jobs. A single thread runs them one after another, so that memory is reused."""
    jobs = queue.SimpleQueue[Job]()

    def work() -> None:
        while True:
            jobs.get().run()

    threading.Thread(target=work, name="psal-jobs", daemon=True).start()
    return jobs


def in_words(error: Exception) -> str:
    """The error, in words for the user."""
    if isinstance(error, PsalError):
        return str(error)
    if is_out_of_memory(error):
        return "out of memory: close other programs, or paint a smaller part"
    return f"internal error, {type(error).__name__}: {error}"
