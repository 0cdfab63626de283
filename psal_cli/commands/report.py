"""Reports about pictures: JSON records, lines, the summary, the exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psal_cli import memory, timing
from psal_cli.batch.inputs import Item
from psal_cli.batch.reports import Record
from psal_cli.commands.verb import AnyVerb
from psal_cli.errors import NothingToDoError


def record(verb: AnyVerb, item: Item, status: str) -> Record:
    """The --json record of a picture: the fields that all verbs share."""
    engine = getattr(verb.arguments, "engine", None)
    return {
        "input": str(item.input),
        "output": None if item.unmasked else str(item.output),
        "status": status,
        "error": None,
        **({"reason": reason(item)} if status == "skipped" else {}),
        "seconds": 0.0,
        "peak_memory_bytes": None,
        "seed": verb.arguments.seed,
        **({} if engine is None else {"engine": engine}),
        "device": verb.device,
        "sha256": None,
        "exit_code": 0,
    }


def reason(item: Item) -> str:
    """Why a picture is skipped."""
    return "no mask" if item.unmasked else "exists"


def skipped(items: Sequence[Item]) -> str:
    """"N skipped", with how many of them have no mask."""
    unmasked = sum(item.unmasked for item in items)
    return f"{sum(item.skipped for item in items)} skipped" + (f" ({unmasked} without a mask)" if unmasked else "")


def sidecars(verb: AnyVerb, item: Item) -> dict[str, str | list[str]]:
    """option -> the file that belongs to the picture, or a list of them if the option is repeatable."""
    files = {option: list(map(str, paths)) for option, paths in item.sidecars.items()}
    return {option: paths if option in verb.listed else paths[0] for option, paths in files.items()}


def preview(plan: Record, files: Mapping[str, str | list[str]]) -> str:
    """The line of --dry-run. plan: its record of JSON; files: see `sidecars`."""
    facts = [f"{name} {x if isinstance(x, str) else ', '.join(x)}" for name, x in files.items()]
    if isinstance(needed := plan.get("memory_bytes"), int):
        near = f", {plan['reach']} pixels around each hole" if plan.get("reach") else ""
        times = f" x {plan['scale']}" if plan.get("scale") else ""
        duration = f", {timing.in_words(seconds)}" if isinstance(seconds := plan.get("seconds"), float) else ""
        facts = [f"{plan['width']}x{plan['height']}{times}, {memory.in_words(needed)}{near}{duration}", *facts]
    if plan["status"] == "skip":
        facts = [str(plan["reason"])]
    target = f" -> {plan['output']}" if plan["output"] else ""
    return f"{plan['status']}: {plan['input']}{target}" + (f" ({', '.join(facts)})" if facts else "")


def summary(items: Sequence[Item], statuses: Mapping[str, int], missed: int, seconds: float, listed: str | None) -> str:
    words = [f"{statuses.get('done', 0)} done", f"{statuses.get('failed', 0)} failed"]
    words += [skipped(items)] if any(item.skipped for item in items) else []
    words += [f"{statuses['interrupted']} interrupted"] if statuses.get("interrupted") else []
    words += [f"{missed} not reached"] if missed else []
    again = f"; those that are not done are listed in {listed}" if listed else ""
    return f"{', '.join(words)} in {seconds:.1f} s{again}"


def nothing(items: Sequence[Item]) -> bool:
    """Whether there was nothing to do because all results exist. Pictures without a mask do not count with --if-masked."""
    return all(item.skipped for item in items) and not any(item.unmasked for item in items)


def exit_code(codes: list[int], several: bool, nothing: bool) -> int:
    """The exit code: of a single picture its own; of several 1 if any failed, 4 if only memory was short. nothing: there was
    nothing to do."""
    if nothing:
        return NothingToDoError.exit_code
    if not codes:
        return 0
    return codes[0] if not several or set(codes) == {4} else 1
