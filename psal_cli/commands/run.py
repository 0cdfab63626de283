"""What every verb that edits pictures does around its work: the plan, one file after another, the report, the exit code."""

import hashlib
import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from psal_cli import memory
from psal_cli.batch import plan as batch
from psal_cli.batch.runner import Outcome, Stop, import_torch, run
from psal_cli.batch.sidecars import option_of, pair
from psal_cli.commands import options
from psal_cli.commands.console import Talk
from psal_cli.commands.verb import Verb
from psal_cli.errors import INTERRUPTED, InputError, NothingToDoError, is_out_of_memory, printable
from psal_cli.files import STDIO


def run_verb(want: SimpleNamespace, make: type[Verb]) -> None:
    """Runs a verb over what the command's options say, and leaves with the exit code.

    want: the options.
    """
    with Talk(want.quiet, want.verbose, want.as_json) as talk, Stop() as stop:
        verb = make(want, talk)
        items, several = _planned(want, verb)
        code = _preview(want, verb, items, several, talk) if want.dry_run else _run(want, verb, items, several, talk, stop)
    click.get_current_context().exit(code)


def _planned(want: SimpleNamespace, verb: Verb) -> tuple[list[batch.Item], bool]:
    from psal_cli.image import READABLE
    from psal_cli.image.colour import parse_colour
    from psal_cli.image.formats import kind

    if not want.images and not want.from_file:
        raise click.UsageError("Missing argument 'IMAGE...': files or folders, - for stdin, or --from-file LIST")
    if want.background is not None:
        parse_colour(want.background)
    if want.arrows and not want.save_offsets:
        raise click.UsageError("--arrows is drawn by --save-offsets: give that too, e.g. --save-offsets field.png")
    items, several = batch.find_inputs(want.images, want.from_file, want.recursive, READABLE)
    partners = _partners(want, verb)
    sheets = {name: text for name in verb.sheets if (text := getattr(want, name))}
    _check_streams(want, partners, items, {name: getattr(want, name) for name in verb.outputs} | sheets)
    items = batch.repeated(pair(items, partners, READABLE), verb.results)
    several |= verb.results > 1
    outputs = {name: getattr(want, name) for name in (*verb.outputs, "output")}
    extension = f".{want.format}" if want.format else None
    items = batch.place(items, outputs, several, want.suffix, verb.beside, extension)
    if not items:
        cure = "; -r looks into subfolders too" if want.images and not want.recursive else ""
        raise NothingToDoError(f"nothing to do: no picture in {', '.join(want.images) or 'the list'}{cure}")
    for item in items:
        try:
            for option, path in item.outputs.items():
                if path != STDIO and not item.problem:
                    options.written_as(option, path, None if path.suffix else want.format)
        except InputError as error:
            if not several:
                raise
            item.problem = item.problem or error
    if want.suffix and want.output and items[0].output == batch.as_path(want.output):
        raise InputError(f"--suffix {want.suffix}, but -o {want.output} is the whole name: give one of the two")
    if want.format and items[0].output.suffix and kind(items[0].output.suffix) != kind(extension):
        raise InputError(f"--format {want.format}, but -o {items[0].output} ends otherwise: give one of the two")
    folder = several or bool(want.output and want.output.endswith(os.sep))  # then it is made where it is missing
    batch.settle(items, folder, want.force, want.skip_existing)
    for name, text in sheets.items():
        options.written_as(name, batch.as_path(text), None)
        batch.check_sheet(name, batch.as_path(text), items, want.force)
    if want.failed_list:
        batch.check_list(batch.as_path(want.failed_list), items, READABLE)
    return items, several


def _partners(want: SimpleNamespace, verb: Verb) -> dict[str, str | None]:
    """Of an option that may be given several times: "ref", "ref 2" and so on."""
    found = {}
    for name in verb.partners:
        value = getattr(want, name)
        for number, text in enumerate(value if isinstance(value, tuple) else [value], 1):
            found[name if number == 1 else f"{name} {number}"] = text
    return found


def _check_streams(want: SimpleNamespace, partners: dict, items: list[batch.Item], beside: dict[str, str | None]) -> None:
    for name, text in beside.items():
        if text == "-":
            raise InputError(f"--{name.replace('_', '-')} -: only the picture itself goes to stdout: name a file")
    readers = [*want.from_file, *(text for text in partners.values() if text), *(str(i.input) for i in items)]
    if readers.count("-") > 1:
        raise InputError("- stands for stdin more than once: only one of picture, list and other files can come from there")
    if want.as_json and (want.output == "-" or (want.output is None and any(item.input == STDIO for item in items))):
        raise InputError("--json and the picture would both go to stdout: name a file with -o")


def _preview(want: SimpleNamespace, verb: Verb, items: list[batch.Item], several: bool, talk: Talk) -> int:
    codes = []
    import_torch()
    want.device, _ = options.choose_device(want.device)
    verb.start()
    for item in items:
        record = {"input": str(item.input), "output": str(item.output), "status": "skip" if item.skipped else "do", "error": None}
        record |= _partner_files(want, item)
        try:
            if item.problem and not item.skipped:
                raise item.problem
            record |= {} if item.skipped else verb.preview(item)
        except Exception as error:
            code, line = talk.failure(error, str(item.input))
            codes.append(code)
            record |= {"status": "refuse", "error": line}
        talk.record(record)
        if not want.as_json:
            talk.data(printable(_plan_line(record)))
    skipped = sum(item.skipped for item in items)
    if several:
        talk.say(f"dry run: {len(items) - len(codes) - skipped} to do, {skipped} skipped, {len(codes)} refused")
    return _exit_code(codes, several, skipped == len(items)) or int(talk.lost)


def _partner_files(want: SimpleNamespace, item: batch.Item) -> dict[str, str | list[str]]:
    """option -> the file that belongs to the picture; all of them where the option may be given several times."""
    found = {}
    for name, path in item.partners.items():
        option = option_of(name)
        found[option] = [*found.get(option, []), str(path)] if isinstance(getattr(want, option), tuple) else str(path)
    return found


def _plan_line(record: dict) -> str:
    known = {"input", "output", "status", "error", "width", "height", "memory_bytes", "reach", "scale"}
    files = {name: [x] if isinstance(x, str) else x for name, x in record.items() if name not in known}
    facts = [f"{name} {', '.join(listed)}" for name, listed in files.items()]
    if "memory_bytes" in record:
        near = f", {record['reach']} pixels around each hole" if record.get("reach") else ""
        times = f" x {record['scale']}" if record.get("scale") else ""
        facts = [f"{record['width']}x{record['height']}{times}, {memory.in_words(record['memory_bytes'])}{near}", *facts]
    return f"{record['status']}: {record['input']} -> {record['output']}" + (f" ({', '.join(facts)})" if facts else "")


def _run(want: SimpleNamespace, verb: Verb, items: list[batch.Item], several: bool, talk: Talk, stop: Stop) -> int:
    todo = [item for item in items if not item.skipped]
    numbers = {item: number for number, item in enumerate(todo, 1)}
    rest, missed = dict.fromkeys(todo), dict.fromkeys(todo)
    codes, statuses = [], Counter(skipped=len(items) - len(todo))
    started = time.perf_counter()

    def read(item: batch.Item) -> Any:
        if item.problem:
            raise item.problem
        return verb.read(item)

    def work(item: batch.Item, loaded: Any) -> Any:
        return verb.work(item, loaded, talk.progress(numbers[item], len(todo), item.input.name, verb.step))

    def write(item: batch.Item, result: Any) -> str:
        batch.make_folders(item.outputs.values())
        return verb.write(item, result)

    with suppress(KeyboardInterrupt):  # of a signal, which `stop` has seen: then no picture is begun
        import_torch()
        want.device, why = options.choose_device(want.device)
        talk.detail(f"device {want.device} ({why}), {options.set_threads(want.threads)} CPU threads")
        verb.start()
    with stop.hold():  # what is said and listed at the end is so after a signal too
        for item in items:
            if item.skipped:
                talk.record(_record(want, item, "skipped"))
        if not several and not todo:
            talk.say(f"{items[0].output} exists: skipped")
        jobs = want.jobs if want.max_memory is None else 1  # pictures that wait would take what the plan does not count
        with talk.bar(len(todo)):
            for done in run(todo, read, work, write, stop, jobs, want.keep_going):
                del missed[done.item]
                if done.error is None:
                    del rest[done.item]
                code = _report(want, verb, done, talk, f"[{numbers[done.item]}/{len(todo)}] " if several else "")
                codes += [code] if code else []
                statuses["done" if not code else "interrupted" if code == INTERRUPTED else "failed"] += 1
        if not stop.asked:
            codes += _finish(verb, [item for item in items if item not in rest], talk)
        for item in missed:
            talk.record(_record(want, item, "not reached"))
        if want.failed_list:
            batch.write_list(batch.as_path(want.failed_list), rest)
        if several:
            talk.say(_summary(statuses, len(missed), time.perf_counter() - started, want.failed_list if rest else None))
        elif missed:
            talk.failure(KeyboardInterrupt())
    return INTERRUPTED if stop.asked else _exit_code(codes, several, not todo) or int(talk.lost)


def _finish(verb: Verb, items: list[batch.Item], talk: Talk) -> list[int]:
    """The verb's sheets about the items whose results are there; exit codes of what failed."""
    wanted = [text for name in verb.sheets if (text := getattr(verb.want, name))]
    try:
        if items and wanted:
            verb.finish(items)
    except Exception as error:
        return [talk.failure(error, ", ".join(wanted))[0]]
    return []


def _report(want: SimpleNamespace, verb: Verb, done: Outcome, talk: Talk, count: str) -> int:
    """One picture's line and record; returns its exit code."""
    code, status, line = 0, done.result, None
    if done.error is not None:
        cure = ""
        if is_out_of_memory(done.error) and (bytes_needed := verb.estimate(done.item)):
            cure = f" (the estimate was {memory.in_words(bytes_needed)}; {verb.less.format('')})"
        code, line = talk.failure(done.error, str(done.item.input), cure)
        status = "interrupted" if code == INTERRUPTED else "failed"
    else:
        talk.say(f"{count}{done.item.output}: {status} in {done.seconds:.1f} s")
    facts = {"error": line, "seconds": round(done.seconds, 3), "peak_memory_bytes": done.peak} | verb.facts.get(done.item, {})
    talk.record(
        _record(want, done.item, status) | facts | {"sha256": None if code or not want.as_json else _digest(done.item.output)}
    )
    return code


def _record(want: SimpleNamespace, item: batch.Item, status: str) -> dict:
    facts = {"error": None, "seconds": 0.0, "peak_memory_bytes": None}
    engine = {"engine": want.engine} if hasattr(want, "engine") else {}
    about = {"seed": want.seed, **engine, "device": want.device, "sha256": None}
    return {"input": str(item.input), "output": str(item.output), "status": status} | facts | about


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _summary(statuses: Counter, missed: int, seconds: float, listed: str | None) -> str:
    words = [f"{statuses['done']} done", f"{statuses['failed']} failed"]
    words += [f"{statuses[name]} {name}" for name in ("skipped", "interrupted") if statuses[name]]
    words += [f"{missed} not reached"] if missed else []
    again = f"; those that are not done are listed in {listed}" if listed else ""
    return f"{', '.join(words)} in {seconds:.1f} s{again}"


def _exit_code(codes: list[int], several: bool, nothing: bool) -> int:
    """That of the picture where one was given; of several 1 when any failed, 4 when only memory was short."""
    if nothing:
        return NothingToDoError.exit_code
    if not codes:
        return 0
    return codes[0] if not several or set(codes) == {4} else 1
