"""The output of a command: notices, failures and progress on stderr, lines of JSON on stdout."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from psal_cli.batch.reports import Writer
from psal_cli.commands import VERBOSITY
from psal_cli.commands.cures import outcome
from psal_cli.errors import WriteError, printable, without_secrets
from psal_cli.files import STDIO, give_up_stdout, unwritten

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

Progress = Callable[[float, str], None]


class Console:
    """While entered, sends the library's log to stderr: warnings by default, more with -v, none with -q."""

    def __init__(self, quiet: bool, verbose: int, as_json: bool):
        self.quiet, self.verbose, self.as_json = quiet, verbose > 0 and not quiet, as_json
        self.traceback = verbose > 1
        self.level = logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING
        self.handler = _Handler(self)
        self.live: Bar | None = None
        self.lost = False
        self.report: Writer | None = None
        click.get_current_context().meta[VERBOSITY] = verbose

    def __enter__(self) -> Console:
        log = logging.getLogger("psal_cli")
        self.before = log.level, log.propagate
        log.addHandler(self.handler)
        log.setLevel(self.level)
        log.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        log = logging.getLogger("psal_cli")
        log.removeHandler(self.handler)
        log.setLevel(self.before[0])
        log.propagate = self.before[1]

    def line(self, text: str) -> None:
        """Prints a line on stderr, above the bar if there is one."""
        text = printable(f"psal: {text}")
        if self.live:
            self.live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            with suppress(OSError):  # a full disk or a closed pipe costs messages, not results
                click.echo(text, err=True)

    def say(self, text: str) -> None:
        if not self.quiet:
            self.line(text)

    def detail(self, text: str) -> None:
        if self.verbose:
            self.say(text)

    def failure(self, error: BaseException, subject: str = "", cure: str = "") -> tuple[int, str]:
        """Prints an error as one line, which starts with `subject` unless it contains it; returns exit code and line."""
        code, line = outcome(error)
        line = line + cure if printable(subject) in line else f"{printable(subject)}: {line}{cure}"
        if self.traceback:
            with suppress(OSError):
                click.echo(without_secrets("".join(traceback.format_exception(error))), err=True, nl=False)
        self.line(line)
        return code, line

    def data(self, text: str) -> None:
        """Writes a line to stdout. If that fails, reports it once and stops writing there; the pictures go on."""
        if self.lost:
            return
        try:
            if sys.stdout is None:  # closed by the shell: >&-
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            click.echo(text)
            sys.stdout.flush()
        except OSError as error:
            self.lost = True
            give_up_stdout()
            self.line(str(unwritten(STDIO, error)))

    @property
    def has_records(self) -> bool:
        """Whether records of pictures are requested."""
        return self.as_json or self.report is not None

    def record(self, record: dict[str, object]) -> None:
        """Adds a picture's record to the report and to stdout, as requested. If the report cannot be written, this is reported
        once and it is abandoned; the pictures go on."""
        record = {name: _without_secrets(value) for name, value in record.items()}
        if self.as_json:
            self.data(json.dumps(record))
        if self.report:
            self._try_report(lambda report: report.write(record))

    def close_report(self) -> None:
        if self.report:
            self._try_report(Writer.close)
            self.report = None

    def _try_report(self, step: Callable[[Writer], None]) -> None:
        try:
            if self.report:
                step(self.report)
        except WriteError as error:
            self.lost, self.report = True, None
            self.line(outcome(error)[1])

    @contextmanager
    def bar(self, total: int) -> Iterator[None]:
        """Shows a bar over `total` pictures while entered, on a terminal only."""
        if self.quiet or sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            yield
            return
        from psal_cli.commands.bar import make_bar

        with make_bar() as bar:
            self.live, self.task = bar, bar.add_task("", total=total)
            try:
                yield
            finally:
                self.live = None

    def stage(self, number: int, total: int, name: str, text: str, share: float) -> None:
        """Shows on the bar the current step of picture `number` of `total` and the share of its work that is done."""
        if self.live:
            description = printable(f"{_counted(number, total, name)} · {text}")
            self.live.update(self.task, completed=number - 1 + share, description=description)

    def progress(self, number: int, total: int, name: str) -> Progress | None:
        """The progress callback of picture `number` of `total`: it moves the bar. If stderr is not a terminal, it prints a line
        for each new step with -v."""
        last = ""
        if not self.live and not self.verbose:
            return None

        def update(share: float, text: str) -> None:
            nonlocal last
            self.stage(number, total, name, text, share)
            if not self.live and text != last:
                self.say(f"{_counted(number, total, name)}: {text}")
            last = text

        return update


def _counted(number: int, total: int, name: str) -> str:
    return f"{number} of {total}, {name}" if total > 1 else name


class _Handler(logging.Handler):
    def __init__(self, console: Console):
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.console.line(record.getMessage())


def _without_secrets(value: object) -> object:
    if isinstance(value, str):
        return without_secrets(value)
    return [_without_secrets(part) for part in value] if isinstance(value, list | tuple) else value
