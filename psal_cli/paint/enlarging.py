"""Enlarging an open picture: a part of it, to be looked at, or all of it, into a file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from psal_cli import memory
from psal_cli.batch.plan import make_folders
from psal_cli.errors import InvalidValueError
from psal_cli.image.picture import Picture
from psal_cli.image.resizing import resized
from psal_cli.image.writing import check_size, write_picture
from psal_cli.paint.changes import Box
from psal_cli.paint.jobs import Job
from psal_cli.paint.opened import Opened
from psal_cli.paint.saving import ExistsError, Order, heard
from psal_cli.paint.tiles import shown
from psal_cli.verbs.upscale.degradation import model_for
from psal_cli.verbs.upscale.options import MODELS, UpscaleOptions
from psal_cli.verbs.validation import one_of

SCALES = (2, 3, 4, 8)
LARGEST = 192  # pixels, the sides of a part that is looked at, at most


@dataclass(frozen=True)
class Enlargement:
    """scale: 2, 3, 4 or 8; model: "clean" or "photo"."""

    scale: int
    model: str

    @classmethod
    def parsed(cls, record: Mapping[str, object], picture: Picture) -> "Enlargement":
        """picture: settles "auto". Raises InvalidValueError."""
        scale, model = record.get("scale", 2), record.get("model", "auto")
        if isinstance(scale, bool):
            raise InvalidValueError("scale", scale, "a number")
        one_of("scale", scale, SCALES)
        one_of("model", model, ("auto", *MODELS))
        chosen = str(model) if model != "auto" else model_for(picture.pixels, picture.lossless, picture.quality)
        return cls(int(str(scale)), chosen)


def preview_job(opened: Opened, record: Mapping[str, object], device: str) -> Job:
    """A job that enlarges a part: what it comes to is `opened.enlarged`, before and after at one size."""
    wish, box = Enlargement.parsed(record, opened.picture), _part(record.get("box"), opened.size)

    def work(job: Job) -> dict[str, object]:
        import cv2

        from psal_cli.verbs.upscale.api import upscale

        left, top, width, height = box
        inside = np.s_[top : top + height, left : left + width]
        with opened.lock:
            part = replace(opened.picture, pixels=opened.picture.pixels[inside].copy(), alpha=None)
        options = UpscaleOptions(model=wish.model, device=device)
        enlarged = upscale(part.array(), wish.scale, options, progress=job.progress, cancel=job.is_cancelled)
        after = shown(part.with_array(enlarged.image).pixels, None, part.metadata.icc)
        before = shown(part.pixels, None, part.metadata.icc)
        size = width * wish.scale, height * wish.scale
        plain = np.asarray(cv2.resize(before, size, interpolation=cv2.INTER_CUBIC), np.uint8).reshape(after.shape)
        opened.enlarged = (plain, after)
        return {"width": size[0], "height": size[1]}

    return Job("preview", work)


def enlarge_job(opened: Opened, record: Mapping[str, object], order: Order, device: str) -> Job:
    """A job that enlarges all of the picture and writes it. Raises ExistsError where it may not overwrite."""
    wish, path = Enlargement.parsed(record, opened.picture), order.folder / order.name
    if os.path.lexists(path) and not order.overwrite:
        raise ExistsError([path.name])
    width, height = opened.size[0] * wish.scale, opened.size[1] * wish.scale
    check_size((width, height), path, what="the result")

    def work(job: Job) -> dict[str, object]:
        from psal_cli.verbs.upscale.api import upscale

        room = memory.available()
        limit = None if room is None else room + (memory.resident() or 0)
        options = UpscaleOptions(model=wish.model, device=device)
        array = opened.picture.array()
        enlarged = upscale(array, wish.scale, options, progress=job.progress, cancel=job.is_cancelled, max_memory=limit)
        job.progress(1, "writing")
        after = opened.picture.with_array(enlarged.image)
        make_folders([path])
        with heard() as said:
            write_picture(replace(after, metadata=resized(after.metadata, after.size)), path, order.overwrite)
        return {"names": [path.name], "notices": said}

    return Job("upscale", work)


def name_of(opened: Opened, output: str, scale: int) -> str:
    """The file beside the picture that its enlargement goes to, as `psal upscale` names it. output: the name of a result."""
    return f"{opened.path.stem}_x{scale}{os.path.splitext(output)[1]}"


def _part(value: object, size: tuple[int, int]) -> Box:
    """The part of the picture that a record names, cut to what may be looked at."""
    if not isinstance(value, list) or len(value) != 4 or not all(isinstance(number, int) for number in value):
        raise InvalidValueError("box", repr(value)[:60], "left, top, width and height in pixels")
    left, top, width, height = value
    left, top = min(max(left, 0), size[0] - 1), min(max(top, 0), size[1] - 1)
    width, height = min(width, LARGEST, size[0] - left), min(height, LARGEST, size[1] - top)
    if width < 8 or height < 8:
        raise InvalidValueError("box", repr(value), "at least 8 pixels on each side")
    return left, top, width, height
