"""The web application: its requests and what they answer. All that takes time runs in threads."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from psal_cli.errors import InputError, InvalidValueError, MemoryLimitError, PsalError
from psal_cli.image.painting import painted, rectangles
from psal_cli.image.strokes import LAYERS, parsed, record_of
from psal_cli.paint import saving
from psal_cli.paint.changes import Box
from psal_cli.paint.document import StaleError, step_record
from psal_cli.paint.guard import Guard
from psal_cli.paint.jobs import Job, in_words
from psal_cli.paint.opened import LAYERS as TILE_LAYERS
from psal_cli.paint.opened import BusyError, Opened
from psal_cli.paint.runs import MOST_RESULTS, Wish, inpaint_job
from psal_cli.paint.session import Session
from psal_cli.paint.tiles import TILE, jpeg
from psal_cli.verbs.inpaint.options import ENGINES

STATIC = Path(__file__).parent / "static"
PREVIEW = 640  # pixels, the longer side of a result among several
AROUND = 0.6  # of its size: what is shown around a hole there

Record = Mapping[str, object]
Answer = Callable[[Opened, Record], Record]


def application(session: Session, port: int, token: str, anywhere: bool = False) -> ASGIApp:
    """The application of one server. port, token, anywhere: see `Guard`."""
    pages = Pages(session)
    numbered = "/api/pictures/{number:int}"
    posts: dict[str, Answer] = {
        "strokes": add_strokes,
        "move": move,
        "outline": outline,
        "go": go,
        "choose": choose,
        "run": pages.run,
        "cancel": cancel,
        "save": pages.save,
    }
    routes: list[BaseRoute] = [
        Route("/", lambda request: FileResponse(STATIC / "index.html"), methods=["GET"]),
        Route("/api/pictures", pages.pictures, methods=["GET"]),
        Route(numbered, pages.picture, methods=["GET"]),
        Route(numbered + "/job", pages.job, methods=["GET"]),
        Route(numbered + "/tiles/{layer:str}/{level:int}/{column:int}/{row:int}", pages.tile, methods=["GET"]),
        Route(numbered + "/results/{variant:int}", pages.result, methods=["GET"]),
        *(Route(f"{numbered}/{name}", pages.post(answer), methods=["POST"]) for name, answer in posts.items()),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Guard(Starlette(routes=routes), port, token, anywhere)


class Pages:
    """The answers that need the session."""

    def __init__(self, session: Session):
        self.session = session

    async def pictures(self, request: Request) -> Response:
        names = [item.input.name for item in self.session.items]
        return JSONResponse({"names": names, "engines": ENGINES, "most_results": MOST_RESULTS, "tile": TILE})

    async def picture(self, request: Request) -> Response:
        return await answered(lambda: JSONResponse(self._described(_number(request))))

    def _described(self, number: int) -> Record:
        with saving.heard() as said:
            opened = self.session.opened(number)
        item = self.session.item(number)
        return {"number": number, "output": item.output.name, "notices": said, **described(opened)}

    async def job(self, request: Request) -> Response:
        return await answered(lambda: JSONResponse(job_record(self.session.opened(_number(request)))))

    async def tile(self, request: Request) -> Response:
        place = request.path_params
        if place["layer"] not in TILE_LAYERS:
            return Response(status_code=404)
        numbers: list[int] = [place[name] for name in ("level", "column", "row")]

        def made() -> Response:
            found = self.session.opened(_number(request)).tile(place["layer"], *numbers)
            self.session.warm_up()
            return Response(status_code=404) if found is None else Response(jpeg(found), media_type="image/jpeg")

        return await answered(made)

    async def result(self, request: Request) -> Response:
        """What a hole would look like with that result of the last step."""
        return await answered(lambda: self._result(_number(request), request.path_params["variant"]))

    def _result(self, number: int, variant: int) -> Response:
        import cv2

        opened = self.session.opened(number)
        step = opened.document.last()
        if variant >= len(step.variants):
            return Response(status_code=404)
        crop = opened.preview(step.variants[variant], _around(step.box, opened.size))
        scale = PREVIEW / max(crop.shape[:2])
        if scale < 1:
            size = max(round(crop.shape[1] * scale), 1), max(round(crop.shape[0] * scale), 1)
            crop = cv2.resize(crop, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)  # type: ignore[assignment]
        return Response(jpeg(crop), media_type="image/jpeg")

    def post(self, answer: Answer) -> Callable[[Request], object]:
        """The handler of a request that changes something: a number in its path, JSON in its body."""

        async def handle(request: Request) -> Response:
            try:
                record = json.loads(await request.body() or b"{}")
            except ValueError:
                return failed(InvalidValueError("body", "something else", "JSON"))
            if not isinstance(record, dict):
                return failed(InvalidValueError("body", type(record).__name__, "an object"))
            return await answered(lambda: JSONResponse(answer(self.session.opened(_number(request)), record)))

        return handle

    def run(self, opened: Opened, record: Record) -> Record:
        wish = Wish.parsed(record, self.session.device())
        with opened.changing(record.get("revision")):
            opened.begin(inpaint_job(opened, wish, again=record.get("again") is True))
        return job_record(opened)

    def save(self, opened: Opened, record: Record) -> Record:
        number = next(number for number, item in enumerate(self.session.items) if item.input == opened.path)
        order = saving.Order.parsed(record, self.session.item(number).output)
        if opened.busy:
            raise BusyError
        found = saving.save(opened, order)
        return found | changed(opened, [])


# ------------------------------------------------------------------------------------------------------------ changes


def add_strokes(opened: Opened, record: Record) -> Record:
    strokes = record.get("strokes")
    if not isinstance(strokes, list):
        raise InvalidValueError("strokes", type(strokes).__name__, "a list")
    with opened.lock:
        opened.document.expect(record.get("revision"))
        opened.document.add(_whole(record, "at"), [parsed(stroke) for stroke in strokes])
        return changed(opened, [])


def move(opened: Opened, record: Record) -> Record:
    with opened.lock:
        opened.document.expect(record.get("revision"))
        opened.document.move(_whole(record, "at"))
        return changed(opened, [])


def outline(opened: Opened, record: Record) -> Record:
    """What the first `at` strokes mark, as rectangles: for strokes that the page cannot draw by itself."""
    layer, at = record.get("layer"), _whole(record, "at")
    if layer not in LAYERS:
        raise InvalidValueError("layer", repr(layer), f"one of {', '.join(LAYERS)}")
    with opened.lock:
        strokes = opened.document.here.strokes[:at]
    return {"rectangles": rectangles(painted(strokes, str(layer), opened.size))}


def go(opened: Opened, record: Record) -> Record:
    with opened.changing(record.get("revision")) as document:
        position = _whole(record, "position")
        if not 0 <= position <= len(document.steps):
            raise InvalidValueError("position", position, f"a number from 0 to {len(document.steps)}")
        boxes = opened.show(position)
        document.go(position)
        return changed(opened, boxes) | {"document": document_record(opened)}


def choose(opened: Opened, record: Record) -> Record:
    with opened.changing(record.get("revision")) as document:
        document.choose(_whole(record, "variant"))
        boxes = opened.redo_last()
        return changed(opened, boxes) | {"document": document_record(opened)}


def cancel(opened: Opened, record: Record) -> Record:
    if opened.job is not None:
        opened.job.cancel()
    return job_record(opened)


# ------------------------------------------------------------------------------------------------------------ records


def described(opened: Opened) -> dict[str, object]:
    """All that the page shows of a picture."""
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
    """What a change came to. changed: left, top, width, height of the parts of the picture that look different."""
    document = opened.document
    return {"revision": document.revision, "version": opened.version, "changed": boxes, "unsaved": document.unsaved}


def job_record(opened: Opened) -> dict[str, object]:
    job: Job | None = opened.job
    found: dict[str, object] = {"job": None if job is None else job.report()}
    if job is not None and not job.running:
        with opened.lock:
            found |= {**changed(opened, []), "document": document_record(opened)}
    return found


async def answered(work: Callable[[], Response]) -> Response:
    """What `work` returns in a thread, or its error in words."""
    try:
        return await run_in_threadpool(work)
    except Exception as error:
        return failed(error)


def failed(error: Exception) -> Response:
    """The answer that tells of an error: 409 where the picture is not as the page takes it to be."""
    status = 422
    found: dict[str, object] = {"error": in_words(error)}
    if isinstance(error, StaleError | BusyError):
        status, found["stale"] = 409, isinstance(error, StaleError)
    elif isinstance(error, saving.ExistsError):
        status, found["exists"] = 409, error.names
    elif isinstance(error, MemoryLimitError):
        status = 507
    elif not isinstance(error, InputError):
        status = 500 if not isinstance(error, PsalError) else 422
    return JSONResponse(found, status)


def _number(request: Request) -> int:
    number: int = request.path_params["number"]
    return number


def _whole(record: Record, name: str) -> int:
    value = record.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidValueError(name, repr(value), "a whole number")
    return value


def _around(box: Box, size: tuple[int, int]) -> Box:
    """A part of the picture with something around it."""
    margin = round(AROUND * max(box[2], box[3])) + 16
    left, top = max(box[0] - margin, 0), max(box[1] - margin, 0)
    right, bottom = min(box[0] + box[2] + margin, size[0]), min(box[1] + box[3] + margin, size[1])
    return left, top, right - left, bottom - top
