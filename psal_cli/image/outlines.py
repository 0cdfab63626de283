"""Masks that other programs have written as JSON: COCO data sets, Segment Anything's masks, labelme's shapes.

COCO (https://cocodataset.org/#format-data) has polygons, or run lengths (RLE) as a list or packed into text; Segment Anything
writes the latter. The region is the union of all shapes.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from psal_cli.errors import InputError, InvalidValueError
from psal_cli.files import STDIO, open_input
from psal_cli.image.shapes import Box, Polygon, Shape, inside, shapes_region
from psal_cli.storage import Url, as_path

Region = npt.NDArray[np.bool_]
Record = Mapping[str, object]
MOST_BYTES = 1 << 30  # of a file
KINDS = "a COCO data set, masks of Segment Anything or a file of labelme"
LARGEST_SHIFT = 60  # bits of a packed number before its last group: enough for the pixels of any picture
_PARSING = threading.Lock()


class Marked(NamedTuple):
    """One annotation. names: its label, category and number, as text; segmentation: of COCO, or a shape of labelme."""

    names: tuple[str, ...]
    segmentation: object


def read_outlines(path: str | Path, size: tuple[int, int], picture: str | None = None, labels: Sequence[str] = ()) -> Region:
    """Reads the region that a file marks in a picture of `size` (width, height): bool [H, W].

    Args:
        path: JSON, see above.
        picture: the file name of the picture, which selects it in a data set of several.
        labels: use only annotations with one of these as label, category or number.

    Raises:
        InputError: no such file, or another kind of file; a picture that it does not contain, or with another size; an unknown
            label.
    """
    path = as_path(path)
    try:
        found = list(_found(_content(path), size, picture, path))
        chosen = [each for each in found if not labels or set(labels) & set(each.names)]
        if labels and not chosen:
            known = ", ".join(list(dict.fromkeys(name for each in found for name in each.names[:1]))[:20]) or "nothing"
            raise InputError(f"{path} has nothing called {' or '.join(labels)}, only {known}")
        out = np.zeros((size[1], size[0]), bool)
        for each in chosen:
            out |= _region(each.segmentation, size, path)
        return out
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except InputError as error:
        if isinstance(error, InvalidValueError):  # of a shape
            raise InputError(f"{path}: {error}") from error
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        raise InputError(f"{path} is not {KINDS}, or is damaged") from error


def _content(path: Path) -> object:
    """The parsed file. A local one is parsed once and cached: a batch asks for each picture, and data sets are large."""
    if path == STDIO or isinstance(path, Url):
        return _parsed(path)
    status = path.stat()
    with _PARSING:  # concurrent threads wait for the first
        return _kept(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1)
def _kept(path: Path, size: int, changed: int) -> object:
    """The content of the file with this size and modification time."""
    return _parsed(path)


def _parsed(path: Path) -> object:
    with open_input(path) as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise InputError(f"{path} has more than {MOST_BYTES} bytes, the most that psal reads of such a file: split it")
    return json.loads(text)


def _found(content: object, size: tuple[int, int], picture: str | None, path: Path) -> Iterator[Marked]:
    """All annotations of the picture."""
    if isinstance(content, list):  # the output of Segment Anything's mask generator
        yield from (_annotation(each, {}) for each in content)
    elif isinstance(content, dict) and "shapes" in content:
        _check_size(content.get("imageWidth"), content.get("imageHeight"), size, path)
        yield from (Marked((str(shape["label"]),), shape) for shape in content["shapes"])
    elif isinstance(content, dict) and "annotations" in content:
        pictures = content.get("images") or [content.get("image") or {}]  # a single picture: a file of SA-1B
        own = _own(pictures, picture, path)
        _check_size(own.get("width"), own.get("height"), size, path)
        categories = {each["id"]: str(each["name"]) for each in content.get("categories", ())}
        number = own.get("id", own.get("image_id"))
        for each in content["annotations"]:
            if len(pictures) == 1 or each["image_id"] == number:
                yield _annotation(each, categories)
    elif isinstance(content, dict) and ("counts" in content or "segmentation" in content):
        yield _annotation(content if "segmentation" in content else {"segmentation": content}, {})
    else:
        raise ValueError


def _own(pictures: Sequence[Record], picture: str | None, path: Path) -> Record:
    """The record of the picture in a data set."""
    if len(pictures) == 1:
        return pictures[0]
    name = Path(picture or "").name
    named = [each for each in pictures if Path(str(each["file_name"])).name == name]
    if len(named) != 1:
        how = "no picture" if not named else f"{len(named)} pictures"
        raise InputError(f"{path} has {how} called {name}, and {len(pictures)} in all")
    return named[0]


def _annotation(record: Record, categories: Mapping[object, str]) -> Marked:
    category = record.get("category_id")
    names = [categories[category]] if category in categories else []
    return Marked((*names, str(record.get("id", ""))), record["segmentation"])


def _shape(record: Record, path: Path) -> Shape:
    """A shape of labelme."""
    points, kind = record["points"], record.get("shape_type", "polygon")
    if not isinstance(points, list):
        raise TypeError
    corners = tuple((float(x), float(y)) for x, y in points)
    if kind == "rectangle":
        (left, top), (right, bottom) = corners
        return Box(min(left, right), min(top, bottom), abs(right - left), abs(bottom - top))
    if kind != "polygon":
        raise InputError(f"{path} has a {kind} called {record['label']}: psal reads polygons and rectangles of labelme")
    return Polygon(corners)


def _region(segmentation: object, size: tuple[int, int], path: Path) -> Region:
    """The region of one annotation: bool [H, W]."""
    if isinstance(segmentation, dict) and "points" in segmentation:
        return shapes_region([_shape(segmentation, path)], size)
    if isinstance(segmentation, dict):
        height, width = (int(side) for side in segmentation["size"])
        _check_size(width, height, size, path)
        counts = segmentation["counts"]
        return from_runs(unpacked(counts) if isinstance(counts, str) else counts, size)
    if not isinstance(segmentation, list):
        raise TypeError
    return _polygons([segmentation] if segmentation and isinstance(segmentation[0], (int, float)) else segmentation, size)


def _polygons(parts: Sequence[Sequence[float]], size: tuple[int, int]) -> Region:
    """The region of COCO polygons: bool [H, W]. Polygons that contain no pixel centre are ignored; data sets have many."""
    out = np.zeros((size[1], size[0]), bool)
    for part in parts:
        corners = tuple(zip(part[::2], part[1::2], strict=True))
        if len(corners) >= 3 and (filled := inside(Polygon(corners).corners, size)) is not None:
            top, left, within = filled
            out[top : top + within.shape[0], left : left + within.shape[1]] |= within
    return out


def from_runs(counts: Sequence[int], size: tuple[int, int]) -> Region:
    """Decodes run lengths, alternately unmarked and marked, in column-major order: bool [H, W] of `size` (width, height).

    Raises:
        ValueError: they do not add up to the number of pixels.
    """
    lengths, pixels = np.asarray(counts, np.int64), size[0] * size[1]
    if ((lengths < 0) | (lengths > pixels)).any() or lengths.sum() != pixels:  # each one first, because their sum could overflow
        raise ValueError
    marked = np.arange(len(lengths)) % 2 == 1
    return np.ascontiguousarray(np.repeat(marked, lengths).reshape(size).T)


def unpacked(text: str) -> list[int]:
    """Decodes the run lengths that COCO packs into text.

    Each number is stored in groups of five bits, lowest first, as characters from "0" on; a sixth bit announces further groups,
    and the highest bit of the last group is the sign. From the fourth number on, the difference to the number two before is
    stored.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text.encode("ascii"):
        bits = character - 48
        if not 0 <= bits < 64 or shift > LARGEST_SHIFT:
            raise ValueError
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def _check_size(width: object, height: object, size: tuple[int, int], path: Path) -> None:
    """Raises InputError if the size in a file differs from the picture's. None: the file has none."""
    if None not in (width, height) and (width, height) != size:
        raise InputError(f"{path} is about a picture of {width}x{height}, this one is {size[0]}x{size[1]}")
