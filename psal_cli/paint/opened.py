"""A picture that is open on the page: its current pixels and its tiles."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from psal_cli import memory
from psal_cli.errors import InvalidValueError
from psal_cli.image import Header, read_header, read_picture
from psal_cli.image.srgb import coloured_metadata
from psal_cli.image.strokes import Stroke
from psal_cli.paint.changes import Box, Pixels, load_change
from psal_cli.paint.document import Document, Step, Variant, replayed
from psal_cli.paint.jobs import Job
from psal_cli.paint.state import State
from psal_cli.paint.tiles import ROOM, Pyramid, Shown, shown

LAYERS = ("current", "original")


class BusyError(InvalidValueError):
    """A job runs on the picture, so it cannot be changed now."""

    def __init__(self) -> None:
        super().__init__("picture", "being worked on", "to wait until that is done, or to cancel it")


class Opened:
    """One picture, its document, and the job that runs on it, if any.

    Attributes:
        version: increases with each change of the pixels; tiles of other versions are out of date.
        lock: held while pixels or the document are changed or read together.
    """

    def __init__(self, path: Path, max_pixels: int, states: Path):
        """Decodes the picture and replays its journal from the state folder. Raises PsalError."""
        self.path, self.header = path, read_header(path, max_pixels)
        memory.check_available((memory.resident() or 0) + opening_bytes(self.header))
        self.state = State(states, path)
        try:
            self._read(max_pixels)
        except BaseException:
            self.state.close(keep=True)
            raise

    def _read(self, max_pixels: int) -> None:
        picture = read_picture(self.path, max_pixels)
        pixels = picture.pixels if picture.pixels.flags.writeable else picture.pixels.copy()
        self.picture = replace(picture, pixels=pixels)
        self.metadata, self.coloured = picture.metadata, coloured_metadata(picture)  # as opened, and as colorized
        self.lock, self.version = threading.RLock(), 0
        self.job: Job | None = None
        self.enlarged: tuple[Shown, Shown] | None = None  # the last part enlarged: bicubic, and by psal
        self.applied: list[tuple[Box, str]] = []  # the box and the file of each change in effect
        self.load = lru_cache(maxsize=2)(lambda file: load_change(self.state.folder / file))
        self.pyramid = Pyramid(self.picture.size, lambda box: self._crop("current", box))
        self.halves: list[Shown] | None = None  # of the original, once the picture has changed
        self.document = Document()
        self._replay()

    def _replay(self) -> None:
        document, kept = self.document, 0
        for event, end in self.state.events():
            try:
                replayed(document, event)
            except (ValueError, KeyError, TypeError):  # another version wrote it: keep what came before
                break
            kept = end
        try:
            for number in range(document.position):
                self._apply(file_of(document.steps[number]))
        except (OSError, ValueError, KeyError):  # a file is missing: start again from the original
            while self.applied:
                self._revert()
            document, kept = Document(), 0
        if kept:
            self.state.cut(kept)
        else:
            self.state.begin_anew()
        self.document = document
        self.version, document.note = document.revision, self.state.note

    def close(self) -> None:
        """Closes the state, and deletes it if everything was saved."""
        document = self.document
        waiting = any(strokes.waits for strokes in document.lists[document.position :])
        self.state.close(keep=document.unsaved or waiting)

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.size

    # ---------------------------------------------------------------------------------------------------------- tiles

    def tile(self, layer: str, level: int, column: int, row: int) -> Shown | None:
        """uint8 [h, w, C], None where there is none."""
        with self.lock:
            if layer == "original" and self.applied:
                box = self.pyramid.box_of(level, column, row)
                if box is None:
                    return None
                if level == 0:
                    return self._crop("original", box)
                left, top, width, height = box
                half = (self.halves or self.pyramid.halves)[level - 1]
                return half[top : top + height, left : left + width].copy()
            return self.pyramid.tile(level, column, row)

    def _crop(self, layer: str, box: Box) -> Shown:
        """A part of the picture at full size, ready for the screen."""
        left, top, width, height = box
        inside = np.s_[top : top + height, left : left + width]
        crop: Pixels = self.picture.pixels[inside]
        if layer == "original":
            crop = crop.copy()
            for place, file in reversed(self.applied):
                if overlap(place, box):
                    crop = self.load(file).undone(crop, box)
        alpha = None if self.picture.alpha is None else self.picture.alpha[inside]
        metadata = self.metadata if layer == "original" else self.picture.metadata
        return shown(crop, alpha, metadata.icc)

    def preview(self, variant: Variant, box: Box) -> Shown:
        """A part of the picture at full size, with another result of the current step."""
        change = load_change(self.state.folder / variant.file)
        with self.lock:
            left, top, width, height = box
            inside = np.s_[top : top + height, left : left + width]
            crop = self.picture.pixels[inside].copy()
            crop = replace(change, before=change.after).undone(crop, box)
            alpha = None if self.picture.alpha is None else self.picture.alpha[inside]
            return shown(crop, alpha, self.picture.metadata.icc)

    # -------------------------------------------------------------------------------------------------------- changes

    def base(self) -> Pixels:
        """A copy of the pixels before the current step."""
        return self.load(self.applied[-1][1]).apply(self.picture.pixels.copy(), back=True)

    def show(self, position: int) -> list[Box]:
        """Changes the pixels to those of another state; returns what changed. Call this before `document.go`."""
        boxes = []
        while len(self.applied) > position:
            boxes.append(self._revert())
        for step in self.document.steps[len(self.applied) : position]:
            boxes.append(self._apply(file_of(step)))
        self.version += 1
        return boxes

    def redo_last(self) -> list[Box]:
        """Updates the pixels after another result of the current step was chosen; returns what changed."""
        boxes = [self._revert(), self._apply(file_of(self.document.last()))]
        self.version += 1
        return boxes[1:]

    def finished(self, step: Step, ran: Sequence[Stroke]) -> list[Box]:
        """Adds a step made from the strokes `ran` and applies its change; returns what changed."""
        self.document.finish(step, ran)
        self.version += 1
        return [self._apply(file_of(step))]

    def _apply(self, file: str) -> Box:
        change = self.load(file)
        if self.halves is None:
            self.halves = self.pyramid.copied()
        self.applied.append((change.box, file))
        self._take(change.apply(self.picture.pixels), change.box)
        return change.box

    def _revert(self) -> Box:
        box, file = self.applied.pop()
        self._take(self.load(file).apply(self.picture.pixels, back=True), box)
        return box

    def _take(self, pixels: Pixels, box: Box) -> None:
        """Takes new pixels, which differ within a box. A colorized picture may have another profile."""
        same = pixels is self.picture.pixels
        coloured = any(file.endswith(".npy") for _, file in self.applied)
        self.picture = replace(self.picture, pixels=pixels, metadata=self.coloured if coloured else self.metadata)
        if same:
            self.pyramid.update(box)
        else:
            self.pyramid = Pyramid(self.size, lambda box: self._crop("current", box))

    # ----------------------------------------------------------------------------------------------------------- jobs

    @contextmanager
    def changing(self, revision: object) -> Iterator[Document]:
        """Locks the picture for a change. Raises StaleError for another revision, BusyError while a job runs."""
        with self.lock:
            self.document.expect(revision)
            if self.busy:
                raise BusyError
            yield self.document

    @property
    def busy(self) -> bool:
        return self.job is not None and self.job.running

    def begin(self, job: Job) -> None:
        """Starts a job. Raises BusyError while another one runs."""
        with self.lock:
            if self.busy:
                raise BusyError
            self.job = job
            job.start()


def file_of(step: Step) -> str:
    """The file of a step's chosen result."""
    return step.variants[step.chosen].file


def overlap(first: Box, second: Box) -> bool:
    return all(
        max(first[side], second[side]) < min(first[side] + first[side + 2], second[side] + second[side + 2]) for side in (0, 1)
    )


def opening_bytes(header: Header) -> int:
    """The peak memory in bytes for opening a picture: either decoding it, or holding it with two pyramids."""
    pixels, itemsize = header.width * header.height, header.bits // 8
    decoding = memory.reading(pixels, header.channels, itemsize, header.alpha, header.format)
    kept = pixels * itemsize * (header.channels + header.alpha)
    return max(decoding, kept + ROOM) + 2 * pixels  # a third of 3 bytes a pixel, of the picture and of the original
