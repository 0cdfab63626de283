"""Runs a batch: processes one picture after another, reading the next ones and writing the previous ones in the background."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Generic, ParamSpec, TypeVar

from psal_cli import memory
from psal_cli.batch.inputs import Item
from psal_cli.errors import INTERRUPTED
from psal_cli.files import remove_parts

Loaded = TypeVar("Loaded")  # result of `read`
Result = TypeVar("Result")  # result of `work`
Written = TypeVar("Written")  # result of `write`
Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")

Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@dataclass
class Outcome(Generic[Written]):
    """The outcome of an item. result: of `write`, or None; error: that ended it; seconds: of its own steps; peak: peak bytes of
    the process meanwhile, None if unknown; digest: SHA-256 of the result, where another process has taken it."""

    item: Item
    result: Written | None = None
    error: BaseException | None = None
    seconds: float = 0.0
    peak: int | None = None
    digest: str | None = None


class Stop:
    """SIGINT, SIGTERM and SIGHUP while entered: the first one stops reading and work at once and lets a current write finish; a
    second one exits immediately after removing temporary files. A signal that was ignored before stays so (nohup)."""

    def __init__(self) -> None:
        self.asked = self.held = False
        self.before: dict[int, Handler] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is not threading.main_thread():  # elsewhere Python allows no handlers
            return self
        listening = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self.before = {number: signal.signal(number, self._handle) for number in listening}
        seen, self.pipe = os.pipe()
        if hasattr(os, "set_blocking"):  # not on Windows before Python 3.12, where none is asked for
            os.set_blocking(self.pipe, False)
        self.wakeup = signal.set_wakeup_fd(self.pipe, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(seen,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.before:
            signal.set_wakeup_fd(self.wakeup)
            os.close(self.pipe)
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _handle(self, *_: object) -> None:
        if not self.asked:
            self.asked = True
            if not self.held:
                raise KeyboardInterrupt

    def _watch(self, seen: int) -> None:
        """Leaves at the second signal. In a thread: Python calls handlers only when the engine's call has returned."""
        count = 0
        while byte := os.read(seen, 1):
            count += byte[0] in self.before
            if count == 2:
                remove_parts()
                if os.isatty(2):
                    os.write(2, b"\x1b[?25h\n")  # a bar has hidden the cursor
                os._exit(INTERRUPTED)
        os.close(seen)

    @contextmanager
    def hold(self, held: bool = True) -> Iterator[None]:
        """Inside, work is completed: the first signal only sets `asked`. held=False: signals stop it again."""
        before, self.held = self.held, held
        try:
            if self.asked and not held:
                raise KeyboardInterrupt
            yield
        finally:
            self.held = before


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Defers signals to the end of the block: an interrupted import of torch aborts the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[tuple[int, FrameType | None]] = []
    handled = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
    for number in handled:
        signal.signal(number, lambda number, frame: seen.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
    for number, frame in seen[:1]:
        handled[number](number, frame)


def import_torch() -> None:
    """Imports torch safely, before its first use in a command."""
    with deferred_signals():
        import torch  # noqa: F401


class _AtOnce(Executor):
    """An executor that runs tasks in the caller at once."""

    def submit(self, run: Callable[Parameters, Value], /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Future[Value]:
        future: Future[Value] = Future()
        try:
            future.set_result(run(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def run(
    items: Iterable[Item],
    read: Callable[[Item], Loaded],
    work: Callable[[Item, Loaded], Result],
    write: Callable[[Item, Result], Written],
    stop: Stop,
    jobs: int = 1,
    keep_going: bool = True,
) -> Iterator[Outcome[Written]]:
    """read, then work, then write for each item; yields what became of it, in the order of the items.

    `work` runs in the caller's thread, one item at a time. With jobs > 1 up to jobs - 1 pictures are read ahead of it and
    as many written behind it, in threads. After an error, unless `keep_going`, and after a signal no further item is begun;
    an item that a signal stopped has the error KeyboardInterrupt, those that were not reached have no outcome.
    """
    waiting = deque(items)
    reads: deque[tuple[Outcome[Written], Future[Loaded]]] = deque()
    writes: deque[tuple[Outcome[Written], Future[Written]]] = deque()
    going = True
    with stop.hold(), _AtOnce() if jobs == 1 else ThreadPoolExecutor(jobs, "psal-files") as pool:
        while going and not stop.asked and (waiting or reads):
            memory.reset_peak()
            outcome: Outcome[Written] | None = None
            loaded: Future[Loaded] | None = None
            result: Result | None = None
            try:
                with stop.hold(False):
                    while waiting and len(reads) < jobs:
                        outcome = Outcome(waiting.popleft())
                        reads.append((outcome, pool.submit(_timed, outcome, partial(read, outcome.item))))
                    outcome, loaded = reads.popleft()
                    result = _timed(outcome, partial(work, outcome.item, loaded.result()))
                future = pool.submit(_timed, outcome, partial(write, outcome.item, result))
            except (Exception, KeyboardInterrupt) as error:
                if outcome is None:  # the signal came between two items
                    break
                future = Future()
                future.set_exception(error)
                going = keep_going
            writes.append((outcome, future))
            loaded = result = None  # a picture is large: none is kept longer than needed
            del future
            outcome.peak = memory.peak()
            while writes and (len(writes) >= jobs or writes[0][1].done()):
                yield (done := _finished(*writes.popleft()))
                going = keep_going or (going and done.error is None)
                _forget(done.error)
        for _, unread in reads:
            unread.cancel()
        while writes:
            yield (done := _finished(*writes.popleft()))
            _forget(done.error)


def _forget(error: BaseException | None) -> None:
    """Drops the traceback of an error: its frames hold the picture in a cycle, which Python may collect only many pictures
    later."""
    while error is not None:
        error.__traceback__, error = None, error.__cause__ or error.__context__


def _timed(outcome: Outcome[Written], step: Callable[[], Value]) -> Value:
    start = time.perf_counter()
    try:
        return step()
    finally:
        outcome.seconds += time.perf_counter() - start


def _finished(outcome: Outcome[Written], future: Future[Written]) -> Outcome[Written]:
    outcome.error = future.exception()
    if outcome.error is None:
        outcome.result = future.result()
    outcome.peak = max((peak for peak in (outcome.peak, memory.peak()) if peak is not None), default=None)
    return outcome
