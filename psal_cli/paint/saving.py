"""Saves the picture, and beside it the mask as PNG and the strokes as JSON."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from psal_cli.batch.plan import make_folders
from psal_cli.errors import InputError, InvalidValueError
from psal_cli.files import atomic_file
from psal_cli.image import Encoding, Picture, check_format, check_holds, read_mask, write_picture
from psal_cli.image.arrays import joined
from psal_cli.image.painted_colours import LAYER, painted_colours
from psal_cli.image.strokes import Stroke, Strokes, encoded
from psal_cli.paint.document import COLORIZE, INPAINT, Document, Step
from psal_cli.paint.notices import heard
from psal_cli.paint.opened import Opened
from psal_cli.verbs.validation import within

LONGEST = 200  # characters in a name


@dataclass(frozen=True)
class Order:
    """What to save and where.

    Attributes:
        folder: from the command line; name: the file name of the picture.
        picture, mask, strokes, hints: which of these to save. hints are painted colours, as `psal colorize --hints` takes them.
        overwrite: whether existing files may be replaced; quality: of a lossy format, 1 to 100.
    """

    folder: Path
    name: str
    picture: bool
    mask: bool
    strokes: bool
    hints: bool
    overwrite: bool
    quality: int | None

    @classmethod
    def parsed(cls, record: Mapping[str, object], output: Path) -> "Order":
        """output: the default path of the result. Raises InvalidValueError."""
        name, quality = record.get("name", output.name), record.get("quality")
        if not isinstance(name, str) or not _is_name(name):
            raise InvalidValueError("name", repr(name), "the name of a file, without a folder")
        if quality is not None:
            if not isinstance(quality, int) or isinstance(quality, bool):
                raise InvalidValueError("quality", repr(quality), "a number from 1 to 100")
            within("quality", quality, 1, 100)
        beside = {what: record.get(what) is True for what in ("mask", "strokes", "hints")}
        picture, overwrite = record.get("picture", True) is True, record.get("overwrite") is True
        return cls(output.parent, name, picture, **beside, overwrite=overwrite, quality=quality)


class ExistsError(InputError):
    """Some files exist already. names: the names of these files."""

    def __init__(self, names: list[str]):
        super().__init__(f"{' and '.join(names)} {'exists' if len(names) == 1 else 'exist'} already")
        self.names = names


def save(opened: Opened, order: Order) -> dict[str, object]:
    """Writes the files of an order; returns their names, and notices about what the format could not keep.

    Raises:
        ExistsError: without `overwrite`, before anything is written.
        InputError, WriteError: see `write_picture`.
    """
    with opened.lock:
        document = opened.document
        steps = masked_steps(document, opened.size)
        stem = order.folder / opened.path.stem
        marks = [""] if len(steps) == 1 else [f"_{number}" for number in range(1, len(steps) + 1)]
        paths = {"picture": [order.folder / order.name]} if order.picture else {}
        paths |= {"mask": [stem.with_name(f"{stem.name}_mask{mark}.png") for mark in marks]} if order.mask else {}
        paths |= {"strokes": [stem.with_name(f"{stem.name}_strokes{mark}.json") for mark in marks]} if order.strokes else {}
        paths |= {"hints": [stem.with_name(f"{stem.name}_hints.png")]} if order.hints else {}
        every = [path for each in paths.values() for path in each]
        if not every:
            raise InvalidValueError("what to save", "empty", "the picture, the mask, the strokes or the colours")
        if not steps and (order.mask or order.strokes):
            raise InvalidValueError("strokes", "empty", "something painted")
        colours = painted_colours(hinting(document), opened.size) if order.hints else None
        if order.hints and colours is None:
            raise InvalidValueError("colours", "empty", "colours that were painted")
        if there := [path.name for path in every if os.path.lexists(path) and not order.overwrite]:
            raise ExistsError(there)
        make_folders(every[:1])
        with heard() as said:
            if order.picture:
                _save_picture(opened, order, paths["picture"][0])
            for path, strokes in zip(paths.get("mask", []), steps, strict=False):
                mask = read_mask(None, opened.size, feather=_feather(strokes), strokes=strokes.strokes)
                shares = mask.hole * np.float32(1) if mask.soft is None else mask.soft
                write_picture(Picture(np.rint(shares[..., None] * 255).astype(np.uint8)), path, order.overwrite)
            if colours is not None:
                write_picture(Picture(colours[..., :3], colours[..., 3]), paths["hints"][0], order.overwrite)
            for path, strokes in zip(paths.get("strokes", []), steps, strict=False):
                with atomic_file(path, order.overwrite) as file:
                    file.write(encoded(strokes))
        if order.picture:
            document.was_saved(document.fingerprint)
    return {"names": [path.name for path in every], "folder": str(order.folder), "notices": said}


def masked_steps(document: Document, size: tuple[int, int]) -> list[Strokes]:
    """The strokes and options of each inpaint step up to the current state; without steps, the strokes painted so far."""
    steps = []
    for number, step in enumerate(document.steps[: document.position]):
        if step.kind == INPAINT:
            steps.append(Strokes(size, _of_masks(document.lists[number].current), _options(step)))
    if not steps and (painted := _of_masks(document.here.current)):
        steps.append(Strokes(size, painted))
    return steps


def hinting(document: Document) -> Sequence[Stroke]:
    """The strokes of the last colorize step up to the current state; without one, the strokes painted so far."""
    ran = [number for number, step in enumerate(document.steps[: document.position]) if step.kind == COLORIZE]
    return document.lists[ran[-1]].current if ran else document.here.current


def _of_masks(strokes: Sequence[Stroke]) -> tuple[Stroke, ...]:
    return tuple(stroke for stroke in strokes if stroke.layer != LAYER)


def _options(step: Step) -> dict[str, object]:
    return {**step.options, "seed": step.variants[step.chosen].seed}


def _feather(strokes: Strokes) -> int:
    feather = strokes.options.get("feather", 0)
    return feather if isinstance(feather, int) else 0


def _save_picture(opened: Opened, order: Order, path: Path) -> None:
    picture, encoding = opened.picture, Encoding(quality=order.quality)
    check_format(path)
    check_holds(picture, path, encoding)
    array = joined(picture.pixels, picture.alpha)
    write_picture(picture.with_array(array), path, order.overwrite, encoding)


def _is_name(name: str) -> bool:
    plain = name.isprintable() and not name.startswith(".") and 0 < len(name) <= LONGEST
    return plain and not any(sign in name for sign in '/\\:*?"<>|') and bool(Path(name).suffix)
