"""Runs of inpaint on an open picture."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from psal_cli import memory
from psal_cli.errors import InvalidValueError
from psal_cli.image import Mask, read_mask
from psal_cli.image.arrays import joined, split
from psal_cli.image.painting import source_region
from psal_cli.image.strokes import Stroke
from psal_cli.paint.changes import Change
from psal_cli.paint.document import INPAINT, Step, Variant
from psal_cli.paint.jobs import Job
from psal_cli.paint.notices import heard
from psal_cli.paint.opened import Opened
from psal_cli.verbs.hooks import part_of
from psal_cli.verbs.inpaint.options import InpaintOptions
from psal_cli.verbs.inpaint.recorded import Recorded, record_of, recorded
from psal_cli.verbs.validation import within

MOST_RESULTS = 6  # of one run
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Wish:
    """A requested run. feather: width of the soft edge in pixels; results: how many to make, each with the next seed."""

    options: InpaintOptions
    feather: int
    results: int

    @classmethod
    def parsed(cls, record: Mapping[str, object], device: str) -> "Wish":
        """Raises InvalidValueError."""
        results = record.get("results", 1)
        if not isinstance(results, int) or isinstance(results, bool):
            raise InvalidValueError("results", repr(results), "a whole number")
        within("results", results, 1, MOST_RESULTS)
        fill = recorded(record)
        engine = fill.options.engine
        return cls(replace(fill.options, device="cpu" if engine == "patch" else device), fill.feather, results)

    @property
    def record(self) -> dict[str, object]:
        """The options as JSON, for the history and for `psal inpaint --strokes`."""
        return record_of(Recorded(self.options, self.feather))


def inpaint_job(opened: Opened, wish: Wish, again: bool = False) -> Job:
    """A job that fills the painted region; again: makes more results for the current step instead."""
    document = opened.document
    strokes = document.lists[document.position - 1].current if again else document.here.current
    if again:
        document.last()  # raises if there is none
    if not any(stroke.layer == "mask" for stroke in strokes):
        raise InvalidValueError("strokes", "empty", "something painted: mark what should go")

    def work(job: Job) -> dict[str, object]:
        with heard() as said:
            result = _fill(job, opened, wish, strokes, again)
        return result | {"notices": said}

    return Job(INPAINT, work)


def _fill(job: Job, opened: Opened, wish: Wish, strokes: Sequence[Stroke], again: bool) -> dict[str, object]:
    from psal_cli.verbs.inpaint.api import inpaint

    job.progress(0, "looking at what is painted")
    mask = read_mask(None, opened.size, feather=wish.feather, strokes=strokes)
    if not mask.hole.any():
        raise InvalidValueError("strokes", "empty", "something painted on the picture: mark what should go")
    source = source_region(strokes, opened.size)
    pixels = opened.base() if again else opened.picture.pixels
    reach = _reach(opened, mask, wish, source is not None)
    array, marked = joined(pixels, opened.picture.alpha), mask.hole if mask.soft is None else mask.soft
    variants: list[Variant] = []
    for number in range(wish.results):
        seed = (wish.options.seed + number) % (LARGEST_SEED + 1)
        share = number / wish.results, (number + 1) / wish.results
        words = f", {number + 1} of {wish.results}" if wish.results > 1 else ""
        filled = inpaint(
            array,
            marked,
            wish.options,
            seed=seed,
            reach=reach,
            source_mask=source,
            progress=part_of(job.progress, *share, words),
            cancel=job.is_cancelled,
        )
        change = Change.between(pixels, split(filled.image).pixels, filled.filled)
        variants.append(Variant(seed, f"{secrets.token_hex(6)}.npz"))
        change.save(opened.state.folder / variants[-1].file)
        box, count = change.box, len(change.after)
        del filled, change
    with opened.lock:
        if again:
            opened.document.vary(variants)
            boxes = opened.redo_last()
        else:
            boxes = opened.finished(Step(INPAINT, wish.record, count, box, variants), strokes)
    return {"changed": boxes, "version": opened.version}


def _reach(opened: Opened, mask: Mask, wish: Wish, source: bool) -> int | None:
    """How far around each hole the search may go within the free memory. Raises MemoryLimitError."""
    from psal_cli.verbs.inpaint.guide import network_for
    from psal_cli.verbs.inpaint.memory_model import plan

    room = memory.available()
    hidden = opened.picture.alpha is not None and not bool(np.all(opened.picture.alpha))
    memory_plan = plan(
        opened.header,
        {"output": "PNG"},
        mask.hole,
        source=source or hidden,
        soft=mask.soft is not None,
        patch_size=wish.options.patch_size,
        engine=wish.options.engine,
        network=network_for(wish.options),
        limit=None if room is None else room + (memory.resident() or 0),
    )
    return memory_plan.reach
