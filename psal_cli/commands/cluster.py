"""--cluster: a batch on the workers of a Dask cluster."""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from psal_cli import __version__, storage
from psal_cli.batch import clusters
from psal_cli.batch.dispatch import Dispatch
from psal_cli.batch.inputs import Item, as_path
from psal_cli.batch.runner import Outcome, Stop
from psal_cli.commands.verb import AnyVerb
from psal_cli.errors import INTERRUPTED, InputError, PsalError
from psal_cli.files import STDIO, unwritten
from psal_cli.storage import Url

if TYPE_CHECKING:
    from distributed import Client, Future

    from psal_cli.commands.cluster_worker import Answer, Job, Sight

SAMPLE = 3  # pictures whose files are checked on the workers before the run
OWN_FILES = ("weights", "painter")  # options for one file for all pictures, read when the verb starts


class RemoteError(PsalError):
    """An error of a picture on a worker, already in the command's words."""

    def __init__(self, answer: Answer, line: str):
        super().__init__(line)
        self.exit_code = answer.code  # type: ignore[misc]  # as on the worker
        if answer.trace:
            self.add_note(f"On the worker:\n{answer.trace}")


@contextmanager
def opened(verb: AnyVerb, items: list[Item], stop: Stop) -> Iterator[Iterator[Outcome[str]]]:
    """Connects to the cluster, checks that its workers can do the batch, and yields the outcome of each picture.

    Raises InputError: no cluster there, other versions, files that workers do not see.
    """
    from psal_cli.commands.cluster_worker import Room

    arguments, console = verb.arguments, verb.console
    address = arguments.cluster or ""
    with clusters.connected(address) as client:
        _check(client, address, items)
        gpu = arguments.device.startswith("cuda")
        offer = clusters.offer(client, gpu)
        if not offer.slots:
            raise InputError(f"--device {arguments.device}: no worker has a GPU: start some with dask worker --resources GPU=1")
        console.detail(f"cluster {address}: {len(offer.addresses)} workers, {offer.slots} pictures at once")
        job = _job(verb, offer.memory is not None)
        if offer.memory is not None:
            verb.checks_memory, verb.device = False, "cpu"  # plans are made here and followed there
            verb.start()
        room = Room(job)
        client.register_plugin(room, name=job.name)
        try:
            task = _Task(verb, client, job)
            local = clusters.local_workers(address)
            going = arguments.keep_going
            run = Dispatch(
                client, job.name, items, task, storage.kept(whole=False)(verb.needed), stop, going, gpu, local, console.line
            )
            yield run.outcomes()
        finally:
            with suppress(Exception):  # of a scheduler that has gone
                client.unregister_worker_plugin(job.name)


def _job(verb: AnyVerb, together: bool) -> Job:
    from psal_cli.commands.cluster_worker import Job

    arguments, source_of = verb.arguments, click.get_current_context().get_parameter_source
    files: dict[str, str | tuple[str, ...]] = {
        name: os.path.abspath(text)
        for name in OWN_FILES
        if (text := getattr(arguments, name, None)) and os.path.exists(text)  # weights may name a file in the model folder
    }
    if references := getattr(arguments, "ref", ()):
        files["ref"] = tuple(str(_absolute(as_path(text))) for text in references)
    changed = partial(replace, arguments)
    workers = clusters.local_workers(arguments.cluster or "")
    return Job(
        name=f"psal-{secrets.token_hex(4)}",
        make=type(verb),
        arguments=changed(**files, cluster=None, report=None, failed_list=None, jobs=1, images=(), from_file=()),
        sources={name: source for name in click.get_current_context().params if (source := source_of(name)) is not None},
        digests=verb.console.has_records or arguments.report is not None,
        threads=arguments.threads or (clusters.cores_each(workers) if workers else None),
        own=workers is not None,
        together=together,
    )


class _Task:
    """One picture on a worker; see `psal_cli.batch.dispatch.Task`."""

    def __init__(self, verb: AnyVerb, client: Client, job: Job):
        self.verb, self.client, self.job = verb, client, job

    def submit(self, item: Item, key: str, resources: dict[str, float], since: float | None) -> Future[Answer]:
        from psal_cli.commands.cluster_worker import edit

        sent = _sent(item)
        return self.client.submit(edit, self.job.name, sent, key, since, key=key, resources=resources or None, pure=False)

    def settle(self, item: Item, answer: Answer, begun: int) -> Outcome[str] | None:
        if answer.exists and begun > 1:  # an earlier attempt wrote it and was lost before it could report
            return None
        for line in answer.lines:
            self.verb.console.line(_as_given(item, line))
        done = Outcome[str](item, seconds=answer.seconds, peak=answer.peak, digest=answer.digest)
        if answer.code == INTERRUPTED:
            done.error = KeyboardInterrupt()
        elif answer.code:
            done.error = RemoteError(answer, _as_given(item, answer.line))
        else:
            done.result = answer.status
        self.verb.facts[item] = dict(answer.facts or {})
        if answer.remark:
            self.verb.remarks[item] = answer.remark
        return done


def _absolute(path: Path) -> Path:
    return path if path == STDIO or isinstance(path, Url) else Path(os.path.abspath(path))


def _sent(item: Item) -> Item:
    """The item with absolute paths, since the worker has another working directory."""
    sidecars = {option: tuple(map(_absolute, paths)) for option, paths in item.sidecars.items()}
    outputs = {option: _absolute(path) for option, path in item.outputs.items()}
    return replace(item, input=_absolute(item.input), sidecars=sidecars, outputs=outputs)


def _as_given(item: Item, line: str) -> str:
    """A worker's message with the paths as the user typed them."""
    for path in (*item.outputs.values(), *item.sidecar_files, item.input):
        line = line.replace(str(_absolute(path)), str(path))
    return line


def _check(client: Client, address: str, items: list[Item]) -> None:
    """Raises InputError if a worker has another psal or Python, or does not see the files of the batch."""
    from psal_cli.commands.cluster_worker import look, new_mark

    files = {}
    for item in [item for item in items if not item.problem][:SAMPLE]:
        for path in (item.input, *item.sidecar_files):
            with suppress(OSError):  # reported when it is read
                files[str(_absolute(path))] = -1 if isinstance(path, Url) else path.stat().st_size
    folder = _existing(_absolute(items[0].output).parent) if items else None
    mark = None
    if folder and os.access(folder, os.W_OK):
        mark = new_mark()
    try:
        if folder and mark:
            Path(folder, mark).touch()
        seen = client.run(look, files, folder, mark, on_error="return")
        seen["the scheduler"] = _of_scheduler(client)
    except OSError as error:
        raise unwritten(_absolute(items[0].output), error) from error
    finally:
        if folder and mark:
            Path(folder, mark).unlink(missing_ok=True)
    for where, sight in seen.items():
        if problem := _problem(where, sight):
            raise InputError(f"--cluster {address}: {problem}")


def _of_scheduler(client: Client) -> Sight | BaseException:
    from psal_cli.commands.cluster_worker import look

    try:
        sight: Sight = client.run_on_scheduler(look, {}, None, None)
    except Exception as error:
        return error
    return sight


def _problem(where: str, sight: Sight | BaseException) -> str | None:
    if isinstance(sight, ModuleNotFoundError | AttributeError):
        return f"{where} has no psal {__version__} ({sight}): install psal[cluster] there"
    if isinstance(sight, BaseException):
        return f"{where} does not answer: {' '.join(str(sight).split()) or type(sight).__name__}"
    where = f"{where} on {sight.host}"
    if sight.version != __version__:
        return f"{where} has psal {sight.version}, this is {__version__}: install one version everywhere"
    if sight.python.split(".")[:2] != platform.python_version().split(".")[:2]:
        return f"{where} has Python {sight.python}, this is {platform.python_version()}: use one version everywhere"
    if sight.missing:
        return f"{where} does not see {sight.missing[0]}: give paths that all machines see, or URLs"
    if sight.unwritable:
        return (
            f"{where} cannot write in {sight.unwritable}, or sees another folder there: give one with -o that all machines share"
        )
    return None


def _existing(folder: Path) -> str | None:
    """The folder or its nearest existing parent; None for URLs, which need no shared folder."""
    if isinstance(folder, Url):
        return None
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return str(folder)
