"""`psal batch`: tools for batches on many machines. Writes a SLURM script, and merges the reports afterwards."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from psal_cli.batch.inputs import as_path, is_folder
from psal_cli.batch.reports import DONE, Batch, Record
from psal_cli.batch.shards import MARK
from psal_cli.commands import parameters, schedulers
from psal_cli.commands.command import Group
from psal_cli.commands.console import Console
from psal_cli.commands.ranges import IntRange
from psal_cli.errors import InputError, MemoryLimitError, NothingToDoError, printable

if TYPE_CHECKING:
    Text = click.ParamType[str]
else:
    Text = click.ParamType

VERBS = ("inpaint", "outpaint", "colorize", "upscale", "generate", "reconstruct")
REPORT = f"report_{MARK}.jsonl"
COLUMNS = ("done", "skipped", "failed", "not done")
SCRIPT = """#!/bin/bash
{directives}

# Submit it from this folder: sbatch FILE. To repeat tasks 3 and 5 alone: sbatch --array=3,5 FILE.
# When all tasks have ended: psal batch merge {reports}
export {total}={shards}
exec psal {command}
"""


class Line(Text):
    """A text for one line of a script."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[^\s#'\"][^\n\r'\"]*", text := str(value)):
            self.fail(f"{value!r} cannot stand in a line of #SBATCH", param, ctx)
        return text


@click.group(cls=Group, short_help="Batches on many machines: a SLURM script, merged reports.")
def batch() -> None:
    """Run a batch on many machines with --shard, see examples/cluster.md."""


batch.epilog = "\b\nExample:\n  psal batch slurm --shards 40 -- inpaint photos/ -r --mask masks/ -o out/"


@batch.command(
    short_help="Print an sbatch script for a job array.",
    epilog="\b\nExample:\n  psal batch slurm --shards 40 --memory 8G -- inpaint photos/ -r --mask masks/ -o out/",
)
@click.option("--shards", type=IntRange(1, 100_000), default=10, show_default=True, help="Tasks of the array.")
@click.option("--cpus", type=IntRange(1, 1024), default=4, show_default=True, help="CPU cores, and threads, of each task.")
@click.option(
    "--memory", type=Line(), help="Memory of each task, as sbatch --mem takes it: 8G. --dry-run says how much it needs."
)
@click.option("--time", type=Line(), help="Time limit of each task, as sbatch takes it: 4:00:00.")
@click.option(
    "--sbatch", type=Line(), multiple=True, help="Another option of sbatch, such as --sbatch=--partition=long. May be repeated."
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- VERB IMAGE...")
@click.pass_context
def slurm(
    ctx: click.Context,
    shards: int,
    cpus: int,
    memory: str | None,
    time: str | None,
    sbatch: tuple[str, ...],
    command: tuple[str, ...],
) -> None:
    """Print a script for sbatch that runs a command of psal as a job array, each task on its shard of the pictures.

    Adds --shard auto, --skip-existing, --report report_{shard}.jsonl and --threads, unless they are given. The command is
    checked, its files are not looked at. Each task writes a log, psal-JOB_TASK.log.
    """
    values = _checked(ctx, command)
    if values.get("shard") not in (None, schedulers.AUTO):
        raise click.UsageError("--shard is given by the array: leave it out")
    report = str(values.get("report") or REPORT)
    if MARK not in report and shards > 1:
        raise click.UsageError(f"--report {report}: put {MARK} into its name, as each task writes one")
    words = [command[0]]  # ours come first: the user's arguments may end with names after --
    words += [] if values.get("shard") else ["--shard", schedulers.AUTO]
    words += [] if values.get("skip_existing") or values.get("force") else ["--skip-existing"]
    words += [] if values.get("report") else ["--report", shlex.quote(report)]
    words += [] if values.get("threads") else ["--threads", '"$SLURM_CPUS_PER_TASK"']
    words += [shlex.quote(word) for word in command[1:]]
    lines = [f"--job-name=psal-{command[0]}", f"--array=1-{shards}", f"--cpus-per-task={cpus}"]
    lines += [f"--mem={memory}"] * bool(memory) + [f"--time={time}"] * bool(time)
    lines += ["--output=psal-%A_%a.log", *sbatch]
    directives = "\n".join(f"#SBATCH {line}" for line in lines)
    reports = "*".join(map(shlex.quote, report.split(MARK)))
    click.echo(
        SCRIPT.format(directives=directives, reports=reports, total=schedulers.TOTAL, shards=shards, command=" ".join(words)),
        nl=False,
    )


def _checked(ctx: click.Context, command: Sequence[str]) -> dict[str, object]:
    """Parses a psal command and returns the values of its options. Raises UsageError if it is not valid."""
    name, *words = command
    if name not in VERBS:
        raise click.UsageError(f"{name!r} is not a verb that takes batches: {', '.join(VERBS)}")
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    verb = root.command.get_command(root, name)
    assert verb is not None
    with verb.make_context(name, words, parent=root) as context:
        if not context.params["images"] and not context.params["from_file"]:
            raise click.UsageError("Missing argument 'IMAGE...': files or folders, or --from-file LIST", context)
        if "-" in (*context.params["images"], *context.params["from_file"]):
            raise click.UsageError("- is stdin, which each task would need: give files or folders", context)
        return context.params


@batch.command(short_help="Put the reports of all shards together.", epilog="\b\nExample:\n  psal batch merge reports/")
@click.argument("reports", nargs=-1, required=True, type=parameters.PICTURE, metavar="REPORT...")
@click.option("--json", "as_json", is_flag=True, help="Print the last record of each picture instead, one line of JSON each.")
@click.pass_context
def merge(ctx: click.Context, reports: tuple[str, ...], as_json: bool) -> None:
    """Print one table and one list of what failed, from the files of --report; a folder stands for its *.jsonl files.

    A picture that was reported several times counts once, as it was reported last. Exit codes: 0 all results are there; 1 some
    pictures failed or were not reached, or a shard has no whole report; 2 a file is not a report; 3 no picture was reported; 4
    pictures failed for want of memory only.
    """
    with Console(quiet=False, verbose=0, as_json=as_json) as console:
        merged = Batch()
        for path in _files(reports):
            merged.add(path)
        gaps = merged.gaps()
        if not merged.records and not gaps:
            raise NothingToDoError("no picture was reported")
        for record in merged.records.values():
            console.record(record)
        if not as_json:
            for line in [*_table(merged), *_undone(merged.records.values())]:
                console.data(printable(line))
        for shard, lacking in gaps.items():
            what = (
                "has no report"
                if lacking is None
                else f"was killed: {lacking} of its {merged.announced[shard]} pictures lack a record"
            )
            console.line(f"shard {shard} {what}")
    ctx.exit(_exit_code(merged.records.values(), bool(gaps)) or int(console.lost))


def _files(texts: Iterable[str]) -> list[Path]:
    """The named reports, each once, those of a folder sorted. Raises InputError for a folder without reports."""
    paths: dict[Path, None] = {}
    for text in texts:
        path = as_path(text)
        reports = sorted(path.glob("*.jsonl")) if is_folder(path) else [path]
        if not reports:
            raise InputError(f"{path}: no file in this folder ends in .jsonl")
        paths |= dict.fromkeys(reports)
    return list(paths)


def _column(record: Record) -> str:
    status = str(record["status"])
    return "done" if status in DONE else status if status in COLUMNS else "not done"


def _table(merged: Batch) -> list[str]:
    """A line for each shard and one for the total, below a heading."""
    rows: list[tuple[str, ...]] = [("shard", *COLUMNS, "seconds")]
    gaps = merged.gaps()
    shards = sorted(merged.reported.keys() | merged.announced.keys() | gaps.keys(), key=lambda shard: (shard.count, shard.number))
    for shard in shards:
        if shard in gaps and gaps[shard] is None:
            rows.append((str(shard), "no report", "", "", "", ""))
        else:
            rows.append(_row(str(shard), [merged.records[key] for key in merged.reported.get(shard, ())], gaps.get(shard) or 0))
    rows.append(_row("total", merged.records.values(), sum(filter(None, gaps.values()))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


def _row(name: str, records: Iterable[Record], unreported: int) -> tuple[str, ...]:
    records = list(records)
    counts = Counter(map(_column, records)) + Counter({"not done": unreported})
    seconds = sum(value for record in records if isinstance(value := record.get("seconds"), int | float))
    return (name, *(str(counts[column]) for column in COLUMNS), f"{seconds:.1f}")


def _undone(records: Iterable[Record]) -> list[str]:
    """The pictures that failed, with their messages, and those that were not reached."""
    undone = [record for record in records if _column(record) in ("failed", "not done")]
    return [f"{record['status']}: {record.get('error') or record['input']}" for record in undone]


def _exit_code(records: Iterable[Record], gaps: bool) -> int:
    undone = [record for record in records if _column(record) in ("failed", "not done")]
    if not undone and not gaps:
        return 0
    short = MemoryLimitError.exit_code
    return short if undone and not gaps and all(record.get("exit_code") == short for record in undone) else 1
