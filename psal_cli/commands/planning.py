"""The plan of a command: its pictures and where each result goes, or why that is impossible. All checked before any work."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from psal_cli import storage
from psal_cli.batch import inputs, plan, reports
from psal_cli.batch.foreign import check_own_places
from psal_cli.batch.inputs import Item, as_path
from psal_cli.batch.shards import MARK
from psal_cli.batch.sidecars import pair
from psal_cli.commands import options, schedulers
from psal_cli.commands.arguments import Arguments
from psal_cli.commands.verb import AnyVerb
from psal_cli.errors import InputError, NothingToDoError
from psal_cli.files import STDIO
from psal_cli.storage import Url


@contextmanager
def _uncollected() -> Iterator[None]:
    """Disables Python's garbage collector: a plan has no cycles, and looking for them among 100,000 pictures takes a third of the
    time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_uncollected()
@storage.kept()
def planned(verb: AnyVerb) -> tuple[list[Item], bool]:
    """The pictures of the verb's shard with their sidecars and outputs, and whether there may be several over all shards.

    Raises:
        click.UsageError, InputError: contradictory options, or files that cannot be read or written.
        NothingToDoError: there is no picture.
    """
    from psal_cli.image import READABLE

    _choose_shard(verb)
    arguments = verb.arguments
    _check_options(arguments)
    items, several = inputs.find_inputs(arguments.images, arguments.from_file, arguments.recursive, READABLE)
    patterns = verb.patterns()
    sheets = {name: text for name in verb.sheets if (text := verb.value(name))}
    outputs = {name: verb.value(name) for name in verb.outputs}
    _check_streams(arguments, patterns, items, outputs | sheets)
    items = inputs.repeated(pair(items, patterns, READABLE, verb.if_masked), verb.results)
    several |= verb.results > 1
    extension = f".{arguments.format}" if arguments.format else None
    outputs["output"] = arguments.output
    items = plan.place(items, outputs, several, arguments.suffix, verb.beside, extension)
    if not items:
        cure = "; -r looks into subfolders too" if arguments.images and not arguments.recursive else ""
        raise NothingToDoError(f"nothing to do: no picture in {', '.join(arguments.images) or 'the list'}{cure}")
    _check_writable(items)
    _check_formats(arguments, items, several)
    _check_names(arguments, items[0], extension)
    folder = several or bool(arguments.output and arguments.output.endswith(os.sep))  # it is then created if missing
    own = plan.settle(items, folder, arguments.force, arguments.skip_existing, verb.shard)
    check_own_places(items, outputs)
    for name, text in sheets.items():
        options.written_as(name, as_path(text), None)
        plan.check_sheet(name, as_path(text), items, arguments.force)
    if arguments.failed_list:
        plan.check_list("failed_list", as_path(arguments.failed_list), items, READABLE, "failed.txt")
    if arguments.report:
        _check_report(arguments, as_path(arguments.report), items)
    return own, several


def _choose_shard(verb: AnyVerb) -> None:
    """Sets the verb's shard and the names of the files that it writes. Raises InputError."""
    if verb.arguments.shard:
        verb.shard = schedulers.resolve(verb.arguments.shard, os.environ)
    names = {}
    for option in ("failed_list", "report", *verb.sheets):
        if text := verb.value(option):
            if verb.shard.count > 1 and MARK not in text:
                path = Path(text)
                cure = f"put {MARK} into its name, e.g. {path.with_name(f'{path.stem}_{MARK}{path.suffix}')}"
                raise InputError(
                    f"--{option.replace('_', '-')} {text} would be written by each of {verb.shard.count} shards: {cure}"
                )
            names[verb.attributes.get(option, option)] = text.replace(MARK, verb.shard.name)
    if names:
        changed: Callable[..., Arguments] = partial(replace, verb.arguments)
        verb.arguments = changed(**names)


def _check_report(arguments: Arguments, path: Path, items: list[Item]) -> None:
    from psal_cli.image import READABLE

    plan.check_list("report", path, items, READABLE, "report.jsonl")
    if arguments.failed_list and os.path.abspath(path) == os.path.abspath(arguments.failed_list):
        raise InputError(f"--report and --failed-list are both {path}: give two names")
    reports.check(path)


def _check_options(arguments: Arguments) -> None:
    from psal_cli.image.colour import parse_colour

    if not arguments.images and not arguments.from_file:
        raise click.UsageError("Missing argument 'IMAGE...': files or folders, - for stdin, or --from-file LIST")
    if arguments.background is not None:
        parse_colour(arguments.background)
    if arguments.cluster and arguments.jobs > 1:
        raise click.UsageError("--jobs and --cluster are mutually exclusive: the cluster's workers are its jobs")
    if arguments.arrows and not arguments.save_offsets:
        raise click.UsageError("--arrows is drawn by --save-offsets: give that too, e.g. --save-offsets field.png")


def _check_streams(
    arguments: Arguments, patterns: Mapping[str, tuple[str, ...]], items: list[Item], beside: Mapping[str, str | None]
) -> None:
    for name, text in beside.items():
        if text == "-":
            raise InputError(f"--{name.replace('_', '-')} -: only the picture itself goes to stdout: name a file")
    readers = [*arguments.from_file, *(text for given in patterns.values() for text in given), *(str(i.input) for i in items)]
    if readers.count("-") > 1:
        raise InputError("- stands for stdin more than once: only one of picture, list and other files can come from there")
    if arguments.cluster and ("-" in (arguments.output, *readers)):
        raise InputError("--cluster: - is stdin or stdout of this process: name files that all machines see")
    piped = arguments.output == "-" or (arguments.output is None and any(item.input == STDIO for item in items))
    if arguments.as_json and piped:
        raise InputError("--json and the picture would both go to stdout: name a file with -o")


def _check_writable(items: list[Item]) -> None:
    for item in items:
        for path in item.outputs.values():
            if isinstance(path, Url) and (problem := storage.problem(str(path), written=True)):
                raise InputError(f"{problem}, with -o")


def _check_formats(arguments: Arguments, items: list[Item], several: bool) -> None:
    """Checks the formats of the results: an unsupported one is an error for a single picture, and that picture's problem in a
    batch."""
    for item in items:
        try:
            for option, path in item.outputs.items():
                if path != STDIO and not item.problem:
                    options.written_as(option, path, None if path.suffix else arguments.format)
        except InputError as error:
            if not several:
                raise
            item.problem = item.problem or error


def _check_names(arguments: Arguments, first: Item, extension: str | None) -> None:
    from psal_cli.image.formats import kind

    if arguments.suffix and arguments.output and first.output == as_path(arguments.output):
        given = f"--suffix {arguments.suffix}, but -o {arguments.output} is the whole name"
        raise InputError(f"{given}: give one of the two")
    if extension and first.output.suffix and kind(first.output.suffix) != kind(extension):
        raise InputError(f"--format {arguments.format}, but -o {first.output} ends otherwise: give one of the two")
