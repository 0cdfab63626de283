"""Handlers of requests about an open picture that need no job, and its description for the page."""

from collections.abc import Mapping

from psal_cli.errors import InvalidValueError
from psal_cli.image.painting import painted, rectangles
from psal_cli.image.strokes import LAYERS, parsed, record_of
from psal_cli.paint.changes import Box
from psal_cli.paint.document import step_record
from psal_cli.paint.jobs import Job
from psal_cli.paint.opened import Opened
from psal_cli.verbs.validation import whole

Record = Mapping[str, object]


def add_strokes(opened: Opened, record: Record) -> Record:
    strokes = record.get("strokes")
    if not isinstance(strokes, list):
        raise InvalidValueError("strokes", type(strokes).__name__, "a list")
    with opened.lock:
        opened.document.expect(record.get("revision"))
        opened.document.add(whole(record, "at"), [parsed(stroke) for stroke in strokes])
        return changed(opened, [])


def move(opened: Opened, record: Record) -> Record:
    with opened.lock:
        opened.document.expect(record.get("revision"))
        opened.document.move(whole(record, "at"))
        return changed(opened, [])


def outline(opened: Opened, record: Record) -> Record:
    """The region of the first `at` strokes as rectangles, for strokes that the page cannot draw itself."""
    layer, at = record.get("layer"), whole(record, "at")
    if layer not in LAYERS:
        raise InvalidValueError("layer", repr(layer), f"one of {', '.join(LAYERS)}")
    with opened.lock:
        strokes = opened.document.here.strokes[:at]
    return {"rectangles": rectangles(painted(strokes, str(layer), opened.size))}


def go(opened: Opened, record: Record) -> Record:
    with opened.changing(record.get("revision")) as document:
        position = whole(record, "position")
        if not 0 <= position <= len(document.steps):
            raise InvalidValueError("position", position, f"a number from 0 to {len(document.steps)}")
        boxes = opened.show(position)
        document.go(position)
        return changed(opened, boxes) | {"document": document_record(opened)}


def choose(opened: Opened, record: Record) -> Record:
    with opened.changing(record.get("revision")) as document:
        document.choose(whole(record, "variant"))
        boxes = opened.redo_last()
        return changed(opened, boxes) | {"document": document_record(opened)}


def cancel(opened: Opened, record: Record) -> Record:
    if opened.job is not None:
        opened.job.cancel()
    return job_record(opened)


def described(opened: Opened) -> dict[str, object]:
    """Everything that the page shows about a picture."""
    width, height = opened.size
    with opened.lock:
        return {
            "name": opened.path.name,
            "width": width,
            "height": height,
            "levels": len(opened.pyramid.halves),
            "format": opened.picture.format,
            "bits": 8 * opened.picture.pixels.itemsize,
            "grey": opened.picture.pixels.shape[2] == 1,
            "job": job_record(opened)["job"],
            **changed(opened, []),
            "document": document_record(opened),
        }


def document_record(opened: Opened) -> dict[str, object]:
    document = opened.document
    return {
        "position": document.position,
        "at": document.here.at,
        "strokes": [record_of(stroke) for stroke in document.here.strokes],
        "steps": [step_record(step) for step in document.steps],
    }


def changed(opened: Opened, boxes: list[Box]) -> dict[str, object]:
    """The response to a change. changed: left, top, width, height of each part of the picture that changed; count: of steps."""
    document = opened.document
    return {
        "revision": document.revision,
        "version": opened.version,
        "changed": boxes,
        "unsaved": document.unsaved,
        "count": len(document.steps),
    }


def job_record(opened: Opened) -> dict[str, object]:
    job: Job | None = opened.job
    record: dict[str, object] = {"job": None if job is None else job.report()}
    if job is not None and not job.running:
        with opened.lock:
            record |= {**changed(opened, []), "document": document_record(opened)}
    return record
