"""Runs of colorize on an open picture: all of it gets the colours of pictures that were dropped on the page."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from psal_cli import memory
from psal_cli.errors import InvalidValueError
from psal_cli.image import Picture, read_header
from psal_cli.image.arrays import split
from psal_cli.image.srgb import as_srgb, lent_colours
from psal_cli.paint.changes import Whole
from psal_cli.paint.document import Step, Variant
from psal_cli.paint.jobs import Job
from psal_cli.paint.opened import Opened
from psal_cli.paint.references import MOST, References
from psal_cli.verbs.colorize.options import ColorizeOptions


def colour_job(opened: Opened, references: References, record: Mapping[str, object], device: str) -> Job:
    """Raises InvalidValueError where the record is none of a run."""
    numbers, strength, seed = record.get("references"), record.get("strength", 1.0), record.get("seed", 0)
    if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers) or not 0 < len(numbers) <= MOST:
        raise InvalidValueError("references", "missing", "a picture with the colours that it should get: drop one")
    if not isinstance(strength, int | float) or not isinstance(seed, int):
        raise InvalidValueError("strength, seed", f"{strength!r}, {seed!r}", "numbers")
    for number in numbers:
        references.path(number)
    options = ColorizeOptions(strength=float(strength), seed=seed, device=device)
    return Job("colorize", lambda job: _colour(job, opened, references, numbers, options))


def _colour(
    job: Job, opened: Opened, references: References, numbers: Sequence[int], options: ColorizeOptions
) -> dict[str, object]:
    from psal_cli.verbs.colorize import api, memory_model

    job.progress(0, "looking at the colours")
    heads = [read_header(references.path(number), references.max_pixels) for number in numbers]
    room = memory.available()
    limit = None if room is None else room + (memory.resident() or 0)
    plan = memory_model.plan(opened.header, heads, {"output": "PNG"}, limit=limit)
    lent = [lent_colours(references.read(number)) for number in numbers]
    grey: Picture = replace(opened.picture, pixels=as_srgb(opened.picture), alpha=None)
    try:
        chosen = replace(options, longest_side=plan.longest)
        coloured = api.colorize(grey.array(), lent, chosen, progress=job.progress, cancel=job.is_cancelled)
    except api.UnusableReferenceError as error:
        raise InvalidValueError("the dropped picture", error.value, "one with colours") from error
    name = f"{secrets.token_hex(6)}.npy"
    Whole.save(opened.state.folder / name, opened.picture.pixels, np.ascontiguousarray(split(coloured.image).pixels))
    width, height = opened.size
    made: dict[str, object] = {"strength": options.strength, "seed": options.seed}
    step = Step("colorize", made, width * height, (0, 0, width, height), [Variant(options.seed, name)])
    with opened.lock:
        boxes = opened.finished(step, [])  # what is painted waits for a run of inpaint
    return {"changed": boxes, "version": opened.version}
