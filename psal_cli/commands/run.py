"""Runs a verb: the plan, one picture after another, the report, the exit code."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress

import click

from psal_cli import storage, timing
from psal_cli.batch.clusters import ClusterError
from psal_cli.batch.inputs import Item, as_path
from psal_cli.batch.plan import write_list
from psal_cli.batch.reports import Record, Writer
from psal_cli.batch.runner import Outcome, Stop, import_torch, run
from psal_cli.commands import configuration, devices, report
from psal_cli.commands.cluster import opened
from psal_cli.commands.console import Console, Progress
from psal_cli.commands.cures import with_cure
from psal_cli.commands.planning import planned
from psal_cli.commands.steps import SKIPPED, Steps, in_words
from psal_cli.commands.verb import AnyVerb, Given, Loaded, Result, Verb, WithSheets
from psal_cli.errors import INTERRUPTED, PsalError, printable
from psal_cli.files import digest


def run_verb(arguments: Given, make: Callable[[Given, Console], Verb[Given, Loaded, Result]]) -> None:
    """Runs a verb with the options of its command, and exits with its code."""
    with Console(arguments.quiet, arguments.verbose, arguments.as_json) as console, Stop() as stop:
        for path in configuration.read_files(click.get_current_context()):
            console.detail(f"defaults of options from {path}")
        verb = make(arguments, console)
        try:
            items, several = planned(verb)
        except PsalError as error:
            raise with_cure(error, verb) from error
        code = _preview(verb, items, several) if arguments.dry_run else _run(verb, items, several, stop)
    click.get_current_context().exit(code)


def _preview(verb: AnyVerb, items: list[Item], several: bool) -> int:
    console, codes = verb.console, []
    import_torch()
    verb.use_device()
    devices.set_threads(verb.arguments.threads)
    _start(verb)
    _say_shard(verb, items)
    total = 0.0
    for item in items:
        plan: Record = {
            "input": str(item.input),
            "output": None if item.unmasked else str(item.output),
            "status": "skip" if item.skipped else "do",
            "error": None,
        }
        plan |= {"reason": report.reason(item)} if item.skipped else {}
        files = report.sidecars(verb, item)
        plan |= files
        try:
            if item.problem and not item.skipped:
                raise item.problem
            with storage.kept(whole=False):
                plan |= {} if item.skipped else verb.preview(item)
        except Exception as error:
            code, line = console.failure(with_cure(error, verb), str(item.input))
            codes.append(code)
            plan |= {"status": "refuse", "error": line}
        total += seconds if isinstance(seconds := plan.get("seconds"), float) else 0.0
        console.record(plan)
        if not console.as_json:
            console.data(printable(report.preview(plan, files)))
    skipped = sum(item.skipped for item in items)
    if several:
        left = len(items) - len(codes) - skipped
        duration = f", {timing.in_words(total)}" if total else ""
        console.say(f"dry run: {left} to do{duration}, {report.skipped(items)}, {len(codes)} refused")
    return report.exit_code(codes, several, _is_idle(verb, items)) or int(console.lost)


def _say_shard(verb: AnyVerb, items: list[Item]) -> None:
    if verb.arguments.shard:
        verb.console.say(f"shard {verb.shard}: {len(items)} picture{'s' * (len(items) != 1)}")


def _is_idle(verb: AnyVerb, items: list[Item]) -> bool:
    """Whether there was nothing to do. An empty shard, or a restarted one whose results all exist, counts as done: a scheduler
    would take another exit code for a failure."""
    return not verb.arguments.shard and report.nothing(items)


def _run(verb: Verb[Given, Loaded, Result], items: list[Item], several: bool, stop: Stop) -> int:
    todo = [item for item in items if not item.skipped]
    outcomes: Iterable[Outcome[str]] = ()
    with ExitStack() as cluster:
        with suppress(KeyboardInterrupt):  # of a signal, which `stop` has seen: no further picture is started
            import_torch()
            if verb.arguments.cluster and todo:
                outcomes = cluster.enter_context(opened(verb, todo, stop))
            else:
                outcomes = _here(verb, todo, stop)
        with stop.hold():  # the summary and the lists are also correct after a signal
            return _followed(verb, items, todo, outcomes, several, stop)


def _here(verb: Verb[Given, Loaded, Result], todo: list[Item], stop: Stop) -> Iterable[Outcome[str]]:
    """The outcomes of pictures that are processed in this process."""
    arguments, console = verb.arguments, verb.console
    numbers = {item: number for number, item in enumerate(todo, 1)}
    jobs = arguments.jobs if arguments.max_memory is None else 1  # the plan does not count pictures waiting in memory

    def stage(item: Item, text: str, share: float) -> None:
        if jobs == 1:  # otherwise another picture is being processed
            console.stage(numbers[item], len(todo), item.input.name, text, share)

    def progress(item: Item) -> Progress | None:
        return console.progress(numbers[item], len(todo), item.input.name)

    steps = Steps(verb, stage, progress)
    why = verb.use_device()
    console.detail(f"device {verb.device} ({why}), {devices.set_threads(arguments.threads)} CPU threads")
    _start(verb)
    return run(todo, steps.read, steps.work, steps.write, stop, jobs, arguments.keep_going)


def _followed(
    verb: AnyVerb, items: list[Item], todo: list[Item], outcomes: Iterable[Outcome[str]], several: bool, stop: Stop
) -> int:
    """Reports the outcome of each picture, then the summary; returns the exit code."""
    arguments, console, started = verb.arguments, verb.console, time.perf_counter()
    numbers = {item: number for number, item in enumerate(todo, 1)}
    undone, missed = dict.fromkeys(todo), dict.fromkeys(todo)
    codes: list[int] = []
    statuses = Counter[str]()
    _say_shard(verb, items)
    if arguments.report:
        console.report = Writer(as_path(arguments.report), verb.shard, len(items))
    for item in items:
        if item.skipped:
            console.record(report.record(verb, item, "skipped"))
    if not several and items and not todo:
        console.say(f"{items[0].input} has no mask: skipped" if items[0].unmasked else f"{items[0].output} exists: skipped")
    try:
        with console.bar(len(todo)):
            for done in outcomes:
                del missed[done.item]
                if done.error is None:
                    del undone[done.item]
                if arguments.cluster:
                    console.stage(len(todo) - len(missed), len(todo), done.item.input.name, "done", 1.0)
                code = _report(verb, done, f"[{numbers[done.item]}/{len(todo)}] " if several else "")
                codes += [code] if code else []
                done.item.skipped = done.result == SKIPPED
                if not done.item.skipped:
                    statuses["done" if not code else "interrupted" if code == INTERRUPTED else "failed"] += 1
    except ClusterError as error:
        cure = ": start the cluster again and repeat the command with --skip-existing"
        codes.append(console.failure(error, cure=cure)[0])
    if not stop.asked:
        codes += _finish(verb, [item for item in items if item not in undone])
    for item in missed:
        console.record(report.record(verb, item, "not reached"))
    if arguments.failed_list:
        write_list(as_path(arguments.failed_list), undone)
    if several:
        listed = arguments.failed_list if undone else None
        console.say(report.summary(items, statuses, len(missed), time.perf_counter() - started, listed))
    elif missed and stop.asked:
        console.failure(KeyboardInterrupt())
    console.close_report()
    return INTERRUPTED if stop.asked else report.exit_code(codes, several, _is_idle(verb, items)) or int(console.lost)


def _start(verb: AnyVerb) -> None:
    try:
        verb.start()
    except PsalError as error:
        raise with_cure(error, verb) from error


def _finish(verb: AnyVerb, items: list[Item]) -> list[int]:
    """Writes the verb's sheets for the items whose results exist; returns the exit codes of failures."""
    sheets = [text for name in verb.sheets if (text := verb.value(name))]
    try:
        if items and sheets and isinstance(verb, WithSheets):
            verb.finish(items)
    except Exception as error:
        return [verb.console.failure(with_cure(error, verb), ", ".join(sheets))[0]]
    return []


def _report(verb: AnyVerb, done: Outcome[str], count: str) -> int:
    """Prints and records one picture's outcome; returns its exit code."""
    code, status, line, console = 0, done.result or "", None, verb.console
    if done.error is not None:
        error, cure = in_words(verb, done.item, done.error)
        code, line = console.failure(error, str(done.item.input), cure)
        status = "interrupted" if code == INTERRUPTED else "failed"
    else:
        remark = f", {verb.remarks[done.item]}" if done.item in verb.remarks else ""
        written = f"{done.item.output} was written by another process meanwhile: skipped"
        console.say(count + (written if status == SKIPPED else f"{done.item.output}: {status} in {done.seconds:.1f} s{remark}"))
    facts = {"error": line, "seconds": round(done.seconds, 3), "peak_memory_bytes": done.peak} | verb.facts.get(done.item, {})
    hashed = done.digest or (digest(done.item.output) if console.has_records and not code else None)
    console.record(report.record(verb, done.item, status) | facts | {"sha256": hashed, "exit_code": code})
    return code
