"""Runs of colorize on an open picture, with the reference pictures dropped on the page and the colours painted on it."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from psal_cli import memory
from psal_cli.errors import InputError, InvalidValueError
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

RECORDED = ("strength", "seed", "auto", "engine", "features", "attention", "iterations")  # of the options, with the step


def colour_job(opened: Opened, references: References, record: Mapping[str, object], device: str) -> Job:
    """A job that colours the whole picture. Raises InvalidValueError if the request is invalid."""
    numbers = record.get("references", [])
    if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers) or len(numbers) > MOST:
        raise InvalidValueError("references", repr(numbers)[:60], f"a list of at most {MOST} numbers")
    strokes = opened.document.here.current
    options = _options(record, device)
    if not numbers and not is_painted(strokes) and not options.auto:
        raise InvalidValueError("references", "missing", "colours: drop a picture that has them, paint some, or guess")
    for number in numbers:
        references.path(number)
    return Job(COLORIZE, lambda job: _colour(job, opened, references, numbers, strokes, options))


def _options(record: Mapping[str, object], device: str) -> ColorizeOptions:
    """The options in a request, named as those of `psal colorize`. Raises InvalidValueError."""
    strength, seed, iterations = record.get("strength", 1.0), record.get("seed", 0), record.get("iterations")
    auto = record.get("auto", False)
    if not isinstance(auto, bool):
        raise InvalidValueError("auto", repr(auto)[:60], "true or false")
    if not isinstance(strength, int | float) or not isinstance(seed, int) or not isinstance(iterations, int | None):
        raise InvalidValueError("strength, seed, iterations", f"{strength!r}, {seed!r}, {iterations!r}", "numbers")
    return ColorizeOptions(
        engine=_name(record, "engine", ColorizeOptions.engine),
        features=_name(record, "features", ColorizeOptions.features),
        attention=_name(record, "attention", ColorizeOptions.attention),
        iterations=iterations,
        auto=auto,
        strength=float(strength),
        seed=seed,
        device=device,
    )


def _name(record: Mapping[str, object], option: str, default: str) -> str:
    value = record.get(option, default)
    if not isinstance(value, str):
        raise InvalidValueError(option, repr(value)[:60], "a name")
    return value


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
    plan = memory_model.plan(
        opened.header,
        heads,
        {"output": "PNG"},
        attention=options.attention if options.engine == "paper" and heads else None,
        semantic=options.features == "semantic",
        beside=beside,
        limit=limit,
    )
    hints = painted_colours(strokes, opened.size) if beside else None
    if hints is None and not numbers and not options.auto:
        raise InvalidValueError("what is painted", "outside the picture", "colours on the picture")
    lent = [lent_colours(references.read(number)) for number in numbers]
    grey: Picture = replace(opened.picture, pixels=as_srgb(opened.picture), alpha=None)
    try:
        chosen = replace(options, longest_side=plan.longest)
        coloured = api.colorize(grey.array(), lent, chosen, hints=hints, progress=job.progress, cancel=job.is_cancelled)
    except api.UnusableReferenceError as error:
        raise InvalidValueError("the dropped picture", error.value, "one with colours") from error
    except InvalidValueError:
        raise
    except ValueError as error:  # from the layer of engine "paper"
        raise InputError(str(error)) from error
    name = f"{secrets.token_hex(6)}.npy"
    Whole.save(opened.state.folder / name, opened.picture.pixels, np.ascontiguousarray(split(coloured.image).pixels))
    made: dict[str, object] = {name: getattr(options, name) for name in RECORDED}
    step = Step(COLORIZE, made, width * height, (0, 0, width, height), [Variant(options.seed, name)])
    with opened.lock:
        boxes = opened.finished(step, strokes)
    return {
        "changed": boxes,
        "version": opened.version,
        "guessed": coloured.guessed if numbers else None,
        "overruled": coloured.overruled if numbers else None,
    }
