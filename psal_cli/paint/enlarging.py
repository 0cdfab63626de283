"""Enlarges an open picture: a part of it as a preview, or all of it into a file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from psal_cli import memory
from psal_cli.batch.plan import make_folders
from psal_cli.errors import InputError, InvalidValueError
from psal_cli.foreign import folder
from psal_cli.image.picture import Picture
from psal_cli.image.resizing import resized
from psal_cli.image.writing import check_size, write_picture
from psal_cli.paint.changes import Box
from psal_cli.paint.jobs import Job
from psal_cli.paint.notices import heard
from psal_cli.paint.opened import Opened
from psal_cli.paint.saving import ExistsError, Order
from psal_cli.paint.tiles import shown
from psal_cli.verbs.upscale.degradation import model_for
from psal_cli.verbs.upscale.options import MODELS, MOST, UpscaleOptions
from psal_cli.verbs.upscale.sizes import label, size_wanted
from psal_cli.verbs.validation import one_of, whole

LARGEST = 192  # pixels, the longest side of a preview's part
SIZES = ("width", "height", "long_side", "megapixels")


@dataclass(frozen=True)
class Enlargement:
    """What to enlarge to. scale: a factor, None where the options give a size; options: of upscale, with device "cpu"."""

    scale: float | None
    options: UpscaleOptions

    @classmethod
    def parsed(cls, record: Mapping[str, object], picture: Picture) -> "Enlargement":
        """picture: decides which model "auto" means. Raises InvalidValueError, or InputError for an unknown network."""
        model, weights, ensemble = record.get("model", "auto"), record.get("weights"), record.get("ensemble", False)
        one_of("model", model, ("auto", *MODELS))
        if not (weights is None or isinstance(weights, str)) or not isinstance(ensemble, bool):
            raise InvalidValueError("weights, ensemble", f"{weights!r}, {ensemble!r}", "a name, and true or false")
        strength, scale, megapixels = (_number(record, name) for name in ("strength", "scale", "megapixels"))
        width, height, long_side = (
            None if record.get(name) is None else whole(record, name) for name in ("width", "height", "long_side")
        )
        if model == "auto" and weights is None and strength is None:
            model = model_for(picture.pixels, picture.lossless, picture.quality)
        options = UpscaleOptions(
            model=str(model),
            strength=strength,
            weights=None if weights is None else str(folder.named(weights)),
            ensemble=ensemble,
            width=width,
            height=height,
            long_side=long_side,
            megapixels=megapixels,
        )
        named = any(record.get(name) is not None for name in (*SIZES, "scale"))
        return cls(scale if named or weights is not None else 2.0, options)

    def size(self, picture: Picture) -> tuple[int, int]:
        """(width, height) of the result. Raises InvalidValueError, or InputError for a network that cannot be used."""
        from psal_cli.verbs.upscale.networks import network_of

        scale, own = self.scale, self.options
        if scale is None and own.weights is not None and all(getattr(own, name) is None for name in SIZES):
            scale = network_of(own.weights).scale
        return size_wanted(picture.size, scale, own)


def preview_job(opened: Opened, record: Mapping[str, object], device: str) -> Job:
    """A job that enlarges a part. It sets `opened.enlarged` to the bicubic result and psal's."""
    wish, box = Enlargement.parsed(record, opened.picture), _part(record.get("box"), opened.size)
    factor = wish.scale or max(new / old for new, old in zip(wish.size(opened.picture), opened.size, strict=True))
    if not 1 < factor <= MOST:
        raise InvalidValueError("size", f"{factor:.3g} times the picture", f"above 1 and at most {MOST} times, to try a part")

    def work(job: Job) -> dict[str, object]:
        import cv2

        from psal_cli.verbs.upscale.api import upscale

        left, top, width, height = box
        inside = np.s_[top : top + height, left : left + width]
        with opened.lock:
            part = replace(opened.picture, pixels=opened.picture.pixels[inside].copy(), alpha=None)
        options = replace(wish.options, device=device, width=None, height=None, long_side=None, megapixels=None)
        with heard() as said:
            enlarged = upscale(part.array(), factor, options, progress=job.progress, cancel=job.is_cancelled)
        after = shown(part.with_array(enlarged.image).pixels, None, part.metadata.icc)
        before = shown(part.pixels, None, part.metadata.icc)
        size = after.shape[1], after.shape[0]
        plain = np.asarray(cv2.resize(before, size, interpolation=cv2.INTER_CUBIC), np.uint8).reshape(after.shape)
        opened.enlarged = (plain, after)
        return {"width": size[0], "height": size[1], "notices": said}

    return Job("preview", work)


def enlarge_job(opened: Opened, record: Mapping[str, object], order: Order, device: str, max_pixels: int) -> Job:
    """A job that enlarges the whole picture and writes it. Raises ExistsError if the file exists and may not be replaced."""
    wish, path = Enlargement.parsed(record, opened.picture), order.folder / order.name
    if os.path.lexists(path) and not order.overwrite:
        raise ExistsError([path.name])
    width, height = wish.size(opened.picture)
    if width * height > max_pixels:
        most = f"{max_pixels / 1e6:g}"
        raise InputError(f"the result would have {width}x{height} pixels, more than {most} million: ask for a smaller size")
    check_size((width, height), path, what="the result")

    def work(job: Job) -> dict[str, object]:
        from psal_cli.verbs.upscale.api import upscale

        room = memory.available()
        limit = None if room is None else room + (memory.resident() or 0)
        options, array = replace(wish.options, device=device), opened.picture.array()
        with heard() as said:
            enlarged = upscale(array, wish.scale, options, progress=job.progress, cancel=job.is_cancelled, max_memory=limit)
            job.progress(1, "writing")
            after = opened.picture.with_array(enlarged.image)
            make_folders([path])
            write_picture(replace(after, metadata=resized(after.metadata, after.size)), path, order.overwrite)
        return {"names": [path.name], "notices": said, "width": width, "height": height}

    return Job("upscale", work)


def name_of(opened: Opened, output: str, wish: Enlargement) -> str:
    """The default file name of an enlargement, as `psal upscale` gives it. output: a name with the extension to use."""
    own = wish.options
    asked = label(wish.scale, own.width, own.height, own.long_side, own.megapixels)
    return f"{opened.path.stem}_{asked}{os.path.splitext(output)[1]}"


def _number(record: Mapping[str, object], name: str) -> float | None:
    value = record.get(name)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise InvalidValueError(name, repr(value)[:60], "a number")
    return None if value is None else float(value)


def _part(value: object, size: tuple[int, int]) -> Box:
    """The requested part, cut at the borders of the picture and at the largest size of a preview."""
    if not isinstance(value, list) or len(value) != 4 or not all(isinstance(number, int) for number in value):
        raise InvalidValueError("box", repr(value)[:60], "left, top, width and height in pixels")
    left, top, width, height = value
    left, top = min(max(left, 0), size[0] - 1), min(max(top, 0), size[1] - 1)
    width, height = min(width, LARGEST, size[0] - left), min(height, LARGEST, size[1] - top)
    if width < 8 or height < 8:
        raise InvalidValueError("box", repr(value), "at least 8 pixels on each side")
    return left, top, width, height
