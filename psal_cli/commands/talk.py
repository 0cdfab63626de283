"""What a command says: notices and progress on stderr, one line of JSON on stdout."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from psal_cli.commands import VERBOSITY
from psal_cli.errors import outcome

Progress = Callable[[int, int, str], None]


class _Stderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"psal: {record.getMessage()}", err=True)


class Talk:
    """Notices of the library (its log) go to stderr while this is entered: warnings, with -v more, with -q none."""

    def __init__(self, quiet: bool, verbose: int, as_json: bool):
        self.quiet, self.verbose, self.as_json = quiet, verbose > 0 and not quiet, as_json
        self.level = logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING
        self.handler = _Stderr()
        click.get_current_context().meta[VERBOSITY] = verbose

    def __enter__(self) -> "Talk":
        log = logging.getLogger("psal_cli")
        self.before = log.level, log.propagate
        log.addHandler(self.handler)
        log.setLevel(self.level)
        log.propagate = False
        return self

    def __exit__(self, *_) -> None:
        log = logging.getLogger("psal_cli")
        log.removeHandler(self.handler)
        log.setLevel(self.before[0])
        log.propagate = self.before[1]

    def say(self, text: str) -> None:
        if not self.quiet:
            click.echo(f"psal: {text}", err=True)

    def detail(self, text: str) -> None:
        if self.verbose:
            self.say(text)

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress | None]:
        """Yields what a task calls with (level, levels, text): a bar on a terminal, lines elsewhere, None with -q."""
        if self.quiet:
            yield None
        elif not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            yield lambda level, levels, text: self.say(f"{title}: level {level} of {levels}, {text}")
        else:
            with _bar(title) as update:
                yield update

    @contextmanager
    def report(self, record: dict) -> Iterator[dict]:
        """Completes `record` with status, error, seconds and peak memory, and prints it as JSON where that is asked for."""
        started = time.perf_counter()
        record |= {"status": "failed", "error": None}
        try:
            yield record
        except BaseException as error:
            record["error"] = outcome(error)[1]
            raise
        finally:
            record |= {"seconds": round(time.perf_counter() - started, 3), "peak_memory_bytes": peak_memory()}
            if self.as_json:
                click.echo(json.dumps(record))


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:  # rich obeys NO_COLOR
        task = bar.add_task(title, total=None)

        def update(level: int, levels: int, text: str) -> None:
            bar.update(task, total=levels, completed=level - 1, description=f"{title} · level {level} of {levels}, {text}")

        yield update


def peak_memory() -> int | None:
    """The most memory that this process has held so far, in bytes; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
