"""Runs of colorize on an open picture, with the reference pictures dropped on the page and the colours painted on it."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from psal_cli import memory
from psal_cli.errors import InvalidValueError
from psal_cli.image import Picture, read_header
from psal_cli.image.arrays import split
from psal_cli.image.header import Header
from psal_cli.image.painted_colours import LAYER, painted_colours
from psal_cli.image.srgb import as_srgb, lent_colours
from psal_cli.image.strokes import Brush, Clear, Outline, Stroke
from psal_cli.paint.changes import Whole
from psal_cli.paint.document import COLORIZE, Step, Variant
from psal_cli.paint.jobs import Job
from psal_cli.paint.opened import Opened
from psal_cli.paint.references import MOST, References
from psal_cli.verbs.colorize.options import ColorizeOptions


def colour_job(opened: Opened, references: References, record: Mapping[str, object], device: str) -> Job:
    """A job that colours the whole picture. Raises InvalidValueError if the request is invalid."""
    numbers, strength, seed = record.get("references", []), record.get("strength", 1.0), record.get("seed", 0)
    if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers) or len(numbers) > MOST:
        raise InvalidValueError("references", repr(numbers)[:60], f"a list of at most {MOST} numbers")
    strokes = opened.document.here.current
    if not numbers and not is_painted(strokes):
        raise InvalidValueError("references", "missing", "colours: drop a picture that has them, or paint some")
    if not isinstance(strength, int | float) or not isinstance(seed, int):
        raise InvalidValueError("strength, seed", f"{strength!r}, {seed!r}", "numbers")
    for number in numbers:
        references.path(number)
    options = ColorizeOptions(strength=float(strength), seed=seed, device=device)
    return Job(COLORIZE, lambda job: _colour(job, opened, references, numbers, strokes, options))


def is_painted(strokes: Sequence[Stroke]) -> bool:
    """Whether any colour is painted, as far as the strokes tell without being drawn."""
    own = [stroke for stroke in strokes if stroke.layer == LAYER]
    cleared = max((number for number, stroke in enumerate(own) if isinstance(stroke, Clear)), default=-1)
    return any(isinstance(stroke, Brush | Outline) and not stroke.erase for stroke in own[cleared + 1 :])


def _colour(
    job: Job,
    opened: Opened,
    references: References,
    numbers: Sequence[int],
    strokes: Sequence[Stroke],
    options: ColorizeOptions,
) -> dict[str, object]:
    from psal_cli.verbs.colorize import api, memory_model

    job.progress(0, "looking at the colours")
    heads = [read_header(references.path(number), references.max_pixels) for number in numbers]
    room = memory.available()
    limit = None if room is None else room + (memory.resident() or 0)
    width, height = opened.size
    beside = [Header("PNG", width, height, 3, 8, True)] if is_painted(strokes) else []
    plan = memory_model.plan(opened.header, heads, {"output": "PNG"}, beside=beside, limit=limit)
    hints = painted_colours(strokes, opened.size) if beside else None
    if hints is None and not numbers:
        raise InvalidValueError("what is painted", "outside the picture", "colours on the picture")
    lent = [lent_colours(references.read(number)) for number in numbers]
    grey: Picture = replace(opened.picture, pixels=as_srgb(opened.picture), alpha=None)
    try:
        chosen = replace(options, longest_side=plan.longest)
        coloured = api.colorize(grey.array(), lent, chosen, hints=hints, progress=job.progress, cancel=job.is_cancelled)
    except api.UnusableReferenceError as error:
        raise InvalidValueError("the dropped picture", error.value, "one with colours") from error
    name = f"{secrets.token_hex(6)}.npy"
    Whole.save(opened.state.folder / name, opened.picture.pixels, np.ascontiguousarray(split(coloured.image).pixels))
    made: dict[str, object] = {"strength": options.strength, "seed": options.seed}
    step = Step(COLORIZE, made, width * height, (0, 0, width, height), [Variant(options.seed, name)])
    with opened.lock:
        boxes = opened.finished(step, strokes)
    return {
        "changed": boxes,
        "version": opened.version,
        "guessed": coloured.guessed if numbers else None,
        "overruled": coloured.overruled if numbers else None,
    }
