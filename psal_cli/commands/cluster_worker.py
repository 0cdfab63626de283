"""The work of a Dask worker: the steps of a verb, with networks that are loaded once per batch."""

from __future__ import annotations

import copy
import os
import platform
import secrets
import signal
import socket
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource
from distributed import WorkerPlugin, get_worker

from psal_cli import __version__, memory, storage
from psal_cli.batch.inputs import Item
from psal_cli.batch.runner import Outcome
from psal_cli.commands import devices
from psal_cli.commands.arguments import Arguments
from psal_cli.commands.console import Console, Progress
from psal_cli.commands.cures import outcome
from psal_cli.commands.steps import Steps, in_words
from psal_cli.commands.verb import AnyVerb, Verb
from psal_cli.errors import CancelledError, Cure, InputError, PsalError, printable
from psal_cli.files import check_output, digest
from psal_cli.storage import as_path

if TYPE_CHECKING:
    from distributed import Worker

CLOCKS = 2.0  # seconds by which the clocks of a storage and of this run may differ; S3 reports whole seconds
OneVerb = Verb[Arguments, object, object]  # whatever it reads and returns


@dataclass(frozen=True, eq=False)
class Job:
    """A batch, sent to each worker once.

    Attributes:
        name: of the run.
        make: the class of the verb.
        arguments: of the command, with absolute paths.
        sources: where the value of each option came from (click's ParameterSource).
        digests: whether to compute the SHA-256 of results.
        threads: CPU threads per picture, None for those of the worker.
        own: whether the worker was started for this batch.
        together: whether a worker may process several pictures at once, as memory allows.
    """

    name: str
    make: type[AnyVerb]
    arguments: Arguments
    sources: Mapping[str, ParameterSource]
    digests: bool
    threads: int | None
    own: bool
    together: bool
    version: str = __version__


@dataclass(frozen=True, eq=False)
class Answer:
    """The outcome of a picture on its worker: the fields of Outcome and of the verb's notes, serializable.

    code, line, trace: exit code, message and traceback of its error; exists: the error is that the result exists; lines: messages
        about it.
    """

    status: str = ""
    code: int = 0
    line: str = ""
    trace: str = ""
    exists: bool = False
    lines: tuple[str, ...] = ()
    seconds: float = 0.0
    peak: int | None = None
    facts: Mapping[str, object] | None = None
    remark: str | None = None
    digest: str | None = None


class _Collector(Console):
    """Collects the messages about a picture for the client; each thread has its own."""

    def __init__(self, arguments: Arguments):
        super().__init__(arguments.quiet, arguments.verbose, as_json=False)
        self.local = threading.local()

    @contextmanager
    def collected(self) -> Iterator[list[str]]:
        self.local.lines = lines = list[str]()
        try:
            yield lines
        finally:
            del self.local.lines

    def line(self, text: str) -> None:
        lines: list[str] | None = getattr(self.local, "lines", None)
        if lines is not None:
            lines.append(printable(text))


class Room(WorkerPlugin):
    """One batch in one worker process: holds its verb, ready to work, until the batch ends."""

    def __init__(self, job: Job):
        self.job = job
        self.name = job.name

    def setup(self, worker: Worker) -> None:
        self.worker = worker
        self.lock, self.turn = threading.Lock(), nullcontext() if self.job.together else threading.Lock()
        self.verb: OneVerb | None = None
        if self.job.own and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of the terminal; the client ends this one

    def teardown(self, worker: Worker) -> None:
        if self.verb is not None:
            self.verb.console.__exit__()
            self.verb = None

    def _ready(self) -> OneVerb:
        """The verb with its networks, which the first picture loads."""
        with self.lock:
            if self.verb is None:
                if self.job.version != __version__:
                    raise PsalError(f"a worker has psal {__version__}, the command is of {self.job.version}")
                collector = _Collector(self.job.arguments)
                verb = self.job.make(self.job.arguments, collector)
                assert isinstance(verb, Verb)
                verb.use_device()
                devices.set_threads(self.job.threads or self.worker.state.nthreads)
                verb.start()
                collector.__enter__()
                self.verb = verb
            return self.verb

    def edit(self, item: Item, key: str, since: float | None) -> Answer:
        context = click.Context(click.Command(self.job.name))
        for name, source in self.job.sources.items():
            context.set_parameter_source(name, source)
        with self.turn, context:
            if self._is_cancelled(key):
                return Answer(code=CancelledError.exit_code)
            self.worker.log_event(self.job.name, (key, self.worker.address))
            try:
                verb = self._ready()
            except Exception as error:
                return _failed(error, "")
            collector = verb.console
            assert isinstance(collector, _Collector)
            with collector.collected() as lines:
                answer = self._edited(verb, item, key, since)
            return replace(answer, lines=tuple(lines))

    def _edited(self, verb: OneVerb, item: Item, key: str, since: float | None) -> Answer:
        arguments = verb.arguments
        if since is not None and _are_newer(item, since):  # the result of an earlier attempt is made again, identically
            verb = _copied(verb, replace(arguments, force=True))

        def check(share: float = 0.0, text: str = "") -> None:
            if self._is_cancelled(key):
                raise CancelledError

        def progress(_: Item) -> Progress:
            return check

        steps = Steps(verb, lambda *_: check(), progress)
        memory.reset_peak()
        done, started = Outcome[str](item), time.perf_counter()
        try:
            if not arguments.skip_existing:
                for path in item.outputs.values():
                    if path.parent.exists():
                        check_output(path, verb.arguments.force)  # before the work: an earlier attempt may have written it
            done.result = steps.write(item, steps.work(item, steps.read(item)))
        except Exception as error:
            done.error = error
        done.seconds, done.peak = time.perf_counter() - started, memory.peak()
        return self._answer(verb, done)

    def _answer(self, verb: AnyVerb, done: Outcome[str]) -> Answer:
        item, facts = done.item, verb.facts.pop(done.item, {})
        remark = verb.remarks.pop(item, None)
        if done.error is not None:
            error, cure = in_words(verb, item, done.error)
            answer = _failed(error, cure)
        else:
            answer = Answer(done.result or "", digest=digest(item.output) if self.job.digests else None)
        verb.estimates.pop(item, None)
        facts = {"device": verb.device} | facts
        return replace(answer, seconds=done.seconds, peak=done.peak, facts=facts, remark=remark)

    def _is_cancelled(self, key: str) -> bool:
        """Whether the client has cancelled the task or is lost."""
        task = self.worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"


def _are_newer(item: Item, since: float) -> bool:
    """Whether all existing results were written after the first attempt began: older ones are not ours."""
    times = []
    for path in item.outputs.values():
        with suppress(OSError):
            times.append(storage.modified(path))
    return all(time >= since - CLOCKS for time in times)


def _copied(verb: OneVerb, arguments: Arguments) -> OneVerb:
    """A copy of the verb with other arguments and the same networks."""
    other = copy.copy(verb)
    other.arguments = arguments
    return other


def _failed(error: BaseException, cure: str) -> Answer:
    code, line = outcome(error)
    exists = isinstance(error, InputError) and error.cure is Cure.OVERWRITE
    return Answer(code=code, line=line + cure, trace="".join(traceback.format_exception(error)), exists=exists)


def edit(name: str, item: Item, key: str, since: float | None) -> Answer:
    """The task of Dask: one picture of the run `name`."""
    room = get_worker().plugins[name]
    assert isinstance(room, Room)
    return room.edit(item, key, since)


@dataclass(frozen=True)
class Sight:
    """The state of a worker. version: of psal; missing: files that it does not see, or sees with another size; unwritable:
    the output folder, if it cannot write there; python, host: where it runs."""

    version: str
    python: str
    host: str
    missing: tuple[str, ...] = ()
    unwritable: str | None = None


def look(files: Mapping[str, int], folder: str | None, mark: str | None) -> Sight:
    """Checks what this worker sees. files: path -> size in bytes, -1 for a URL; folder: where results go; mark: a file that the
    client has just put there."""
    missing = tuple(path for path, size in files.items() if not _has_size(path, size))
    lacks = folder is not None and not (os.access(folder, os.W_OK | os.X_OK) and (mark is None or Path(folder, mark).exists()))
    return Sight(__version__, platform.python_version(), socket.gethostname(), missing, folder if lacks else None)


def _has_size(path: str, size: int) -> bool:
    try:
        if size < 0:
            return as_path(path).exists()
        return os.stat(path).st_size == size
    except OSError:
        return False


def new_mark() -> str:
    """The name of a file that shows whether two machines see one folder."""
    return f".psal-{secrets.token_hex(8)}.probe"
