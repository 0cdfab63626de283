"""The web application: its routes and their handlers. Slow work runs in threads."""

import json
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from psal_cli.errors import InputError, InvalidValueError, MemoryLimitError, PsalError
from psal_cli.paint import answers, saving
from psal_cli.paint.answers import Record, changed, described, job_record
from psal_cli.paint.changes import Box
from psal_cli.paint.colouring import colour_job
from psal_cli.paint.document import StaleError
from psal_cli.paint.enlarging import LARGEST, Enlargement, enlarge_job, name_of, preview_job
from psal_cli.paint.guard import UPLOADS, Guard
from psal_cli.paint.jobs import in_words
from psal_cli.paint.notices import heard
from psal_cli.paint.opened import LAYERS as TILE_LAYERS
from psal_cli.paint.opened import BusyError, Opened
from psal_cli.paint.runs import Wish, inpaint_job
from psal_cli.paint.session import Session
from psal_cli.paint.tiles import TILE, Shown, jpeg

STATIC = Path(__file__).parent / "static"
PREVIEW = 640  # pixels, the longer side of a result among several
AROUND = 0.6  # the margin shown around a hole there, as a share of the hole's size

Answer = Callable[[Opened, Record], Record]


def application(session: Session, port: int, token: str, anywhere: bool = False) -> ASGIApp:
    """The application of one server. port, token, anywhere: see `Guard`."""
    pages = Pages(session)
    numbered = "/api/pictures/{number:int}"
    posts: dict[str, Answer] = {
        "strokes": answers.add_strokes,
        "move": answers.move,
        "outline": answers.outline,
        "go": answers.go,
        "choose": answers.choose,
        "cancel": answers.cancel,
        "run": pages.run,
        "colour": pages.colour,
        "preview": pages.preview,
        "enlarge": pages.enlarge,
        "save": pages.save,
    }
    routes: list[BaseRoute] = [
        Route("/", lambda request: FileResponse(STATIC / "index.html"), methods=["GET"]),
        Route("/api/pictures", pages.pictures, methods=["GET"]),
        Route("/api/networks", pages.networks, methods=["GET"]),
        Route(numbered, pages.picture, methods=["GET"]),
        Route(numbered + "/job", pages.job, methods=["GET"]),
        Route(numbered + "/tiles/{layer:str}/{level:int}/{column:int}/{row:int}", pages.tile, methods=["GET"]),
        Route(numbered + "/results/{variant:int}", pages.result, methods=["GET"]),
        Route(numbered + "/enlarged/{which:int}", pages.enlarged, methods=["GET"]),
        Route(UPLOADS, pages.drop, methods=["POST"]),
        Route(UPLOADS + "/{reference:int}", pages.reference, methods=["GET"]),
        *(Route(f"{numbered}/{name}", pages.post(answer), methods=["POST"]) for name, answer in posts.items()),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Guard(Starlette(routes=routes), port, token, anywhere)


class Pages:
    """The handlers that need the session."""

    def __init__(self, session: Session):
        self.session = session

    async def pictures(self, request: Request) -> Response:
        names = [item.input.name for item in self.session.items]
        return JSONResponse({"names": names, "tile": TILE})

    async def networks(self, request: Request) -> Response:
        """The networks in the user's model folder."""
        return await answered(lambda: JSONResponse({"networks": self.session.networks.known()}))

    async def picture(self, request: Request) -> Response:
        return await answered(lambda: JSONResponse(self._described(_number(request))))

    def _described(self, number: int) -> Record:
        with heard() as said:
            opened = self.session.opened(number)
        item = self.session.item(number)
        return {"number": number, "output": item.output.name, "notices": said, "part": LARGEST, **described(opened)}

    async def job(self, request: Request) -> Response:
        return await answered(lambda: JSONResponse(job_record(self.session.opened(_number(request)))))

    async def tile(self, request: Request) -> Response:
        place = request.path_params
        if place["layer"] not in TILE_LAYERS:
            return Response(status_code=404)
        numbers: list[int] = [place[name] for name in ("level", "column", "row")]

        def made() -> Response:
            tile = self.session.opened(_number(request)).tile(place["layer"], *numbers)
            self.session.warm_up()
            return Response(status_code=404) if tile is None else _jpeg(tile)

        return await answered(made)

    async def result(self, request: Request) -> Response:
        """A preview of the last hole, filled with one of the results."""
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
        return _jpeg(crop)

    def post(self, answer: Answer) -> Callable[[Request], object]:
        """A handler for requests that change a picture. The path holds its number, the body JSON."""

        async def handle(request: Request) -> Response:
            try:
                record = json.loads(await request.body() or b"{}")
            except (ValueError, RecursionError):
                return failed(InvalidValueError("body", "something else", "JSON"))
            if not isinstance(record, dict):
                return failed(InvalidValueError("body", type(record).__name__, "an object"))
            return await answered(lambda: JSONResponse(answer(self.session.opened(_number(request)), record)))

        return handle

    async def drop(self, request: Request) -> Response:
        """Takes a reference picture for colorize."""
        content = await request.body()
        return await answered(lambda: JSONResponse({"number": self.session.references.add(content)}))

    async def reference(self, request: Request) -> Response:
        number: int = request.path_params["reference"]
        return await answered(lambda: _jpeg(self.session.references.thumbnail(number)))

    async def enlarged(self, request: Request) -> Response:
        """The part that was enlarged last: 0 is bicubic, 1 is psal's."""
        which: int = request.path_params["which"]

        def made() -> Response:
            pair = self.session.opened(_number(request)).enlarged
            return Response(status_code=404) if pair is None or which > 1 else _jpeg(pair[which])

        return await answered(made)

    def run(self, opened: Opened, record: Record) -> Record:
        wish = Wish.parsed(record, self.session.device())
        with opened.changing(record.get("revision")):
            opened.begin(inpaint_job(opened, wish, again=record.get("again") is True))
        return job_record(opened)

    def colour(self, opened: Opened, record: Record) -> Record:
        with opened.changing(record.get("revision")):
            opened.begin(colour_job(opened, self.session.references, record, self.session.device()))
        return job_record(opened)

    def preview(self, opened: Opened, record: Record) -> Record:
        with opened.changing(record.get("revision")):
            opened.begin(preview_job(opened, record, self.session.device()))
        return job_record(opened)

    def enlarge(self, opened: Opened, record: Record) -> Record:
        wish, output = Enlargement.parsed(record, opened.picture), self._output(opened)
        order = saving.Order.parsed({"name": name_of(opened, output.name, wish), **record}, output)
        with opened.changing(record.get("revision")):
            opened.begin(enlarge_job(opened, record, order, self.session.device(), self.session.max_pixels))
        return job_record(opened)

    def save(self, opened: Opened, record: Record) -> Record:
        order = saving.Order.parsed(record, self._output(opened))
        if opened.busy:
            raise BusyError
        saved = saving.save(opened, order)
        return saved | changed(opened, [])

    def _output(self, opened: Opened) -> Path:
        """The default path of its result."""
        return next(item.output for item in self.session.items if item.input == opened.path)


async def answered(work: Callable[[], Response]) -> Response:
    """Runs `work` in a thread and returns its response, or the response to its error."""
    try:
        return await run_in_threadpool(work)
    except Exception as error:
        return failed(error)


def failed(error: Exception) -> Response:
    """The response to an error: 409 where the picture has changed, is busy, or a file exists."""
    status = 422
    record: dict[str, object] = {"error": in_words(error)}
    if isinstance(error, StaleError | BusyError):
        status, record["stale"] = 409, isinstance(error, StaleError)
    elif isinstance(error, saving.ExistsError):
        status, record["exists"] = 409, error.names
    elif isinstance(error, MemoryLimitError):
        status = 507
    elif not isinstance(error, InputError):
        status = 500 if not isinstance(error, PsalError) else 422
    return JSONResponse(record, status)


def _jpeg(pixels: Shown) -> Response:
    return Response(jpeg(pixels), media_type="image/jpeg")


def _number(request: Request) -> int:
    number: int = request.path_params["number"]
    return number


def _around(box: Box, size: tuple[int, int]) -> Box:
    """A box with a margin around it, cut at the borders of the picture."""
    margin = round(AROUND * max(box[2], box[3])) + 16
    left, top = max(box[0] - margin, 0), max(box[1] - margin, 0)
    right, bottom = min(box[0] + box[2] + margin, size[0]), min(box[1] + box[3] + margin, size[1])
    return left, top, right - left, bottom - top
