"""Strokes painted on a picture, and the JSON files that hold them.

A file holds the size of the picture, the strokes in order, and the options of the run they were painted for. Positions are in
pixels from the upper left corner of the upright picture, as in `psal_cli.image.shapes`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from psal_cli.errors import InputError, InvalidValueError
from psal_cli.files import open_input
from psal_cli.storage import as_path

LAYERS = ("mask", "source", "hint")  # the hole; the region that may be copied from; colours for colorize
FORMAT = "psal strokes 1"
FARTHEST = 1e6  # pixels from the corner of the picture
WIDEST = 2000.0  # pixels: the largest radius of a brush
MOST_POINTS = 5000  # of one stroke
MOST_STROKES = 10_000  # of one picture
MOST_BYTES = 64 << 20  # of a file
MOST_GROWTH = 1000  # pixels

HEX = re.compile(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})")

Record = Mapping[str, object]  # one stroke in JSON
Colour = tuple[int, int, int]  # red, green, blue in sRGB, 0 to 255
Point = tuple[float, float, float]  # x, y, radius of the brush
Corner = tuple[float, float]


@dataclass(frozen=True)
class Brush:
    """A line drawn with a round brush whose radius may vary along it.

    erase: unmark instead of marking; colour: of a hint that does not erase, otherwise None.
    """

    tool: ClassVar[str] = "brush"
    layer: str
    points: tuple[Point, ...]
    erase: bool = False
    colour: Colour | None = None


@dataclass(frozen=True)
class Outline:
    """The inside of a polygon, by the even-odd rule: a lasso or a rectangle. erase, colour: see `Brush`."""

    tool: ClassVar[str] = "outline"
    layer: str
    corners: tuple[Corner, ...]
    erase: bool = False
    colour: Colour | None = None


@dataclass(frozen=True)
class Fill:
    """Marks the areas enclosed by the region marked so far."""

    tool: ClassVar[str] = "fill"
    layer: str


@dataclass(frozen=True)
class Grow:
    """Grows the region marked so far by a number of pixels; a negative number shrinks it."""

    tool: ClassVar[str] = "grow"
    layer: str
    pixels: int


@dataclass(frozen=True)
class Clear:
    """Unmarks everything marked so far."""

    tool: ClassVar[str] = "clear"
    layer: str


Stroke = Brush | Outline | Fill | Grow | Clear


@dataclass(frozen=True)
class Strokes:
    """The content of a stroke file.

    size: (width, height) of the picture; strokes: in the order in which they were painted; options: of the run that they were
        painted for, by the names of `InpaintOptions`, and "feather".
    """

    size: tuple[int, int]
    strokes: tuple[Stroke, ...]
    options: Mapping[str, object] = field(default_factory=dict)


def parsed(record: object) -> Stroke:
    """Converts a JSON record to a stroke.

    Raises:
        InvalidValueError: it is not a stroke, or a number in it is out of range.

    Example:
        >>> parsed({"tool": "brush", "layer": "mask", "points": [1, 2, 8, 5, 2, 8]})
        Brush(layer='mask', points=((1.0, 2.0, 8.0), (5.0, 2.0, 8.0)), erase=False, colour=None)
    """
    if not isinstance(record, Mapping):
        raise InvalidValueError("stroke", _short(record), "an object")
    layer, tool, erase = record.get("layer"), record.get("tool"), record.get("erase", False)
    if layer not in LAYERS:
        raise InvalidValueError("layer", _short(layer), f"one of {', '.join(LAYERS)}")
    layer = str(layer)
    if not isinstance(erase, bool):
        raise InvalidValueError("erase", _short(erase), "true or false")
    if layer == "hint" and tool in (Fill.tool, Grow.tool):
        raise InvalidValueError("tool", _short(tool), "brush, outline or clear for hints")
    colour = _colour(record.get("colour")) if layer == "hint" and not erase and tool != Clear.tool else None
    if tool == Brush.tool:
        numbers = _numbers(record.get("points"), 3, 1)
        points = tuple(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))
        if not all(0 < radius <= WIDEST for _, _, radius in points):
            raise InvalidValueError("radius", _short([radius for *_, radius in points]), f"above 0, at most {WIDEST:g}")
        return Brush(layer, points, erase, colour)
    if tool == Outline.tool:
        numbers = _numbers(record.get("points"), 2, 3)
        return Outline(layer, tuple(zip(numbers[::2], numbers[1::2], strict=True)), erase, colour)
    if tool == Grow.tool:
        pixels = record.get("pixels")
        if not isinstance(pixels, int) or isinstance(pixels, bool) or not 0 < abs(pixels) <= MOST_GROWTH:
            raise InvalidValueError("pixels", _short(pixels), f"a whole number from 1 to {MOST_GROWTH}, or the negative of one")
        return Grow(layer, pixels)
    if tool in (Fill.tool, Clear.tool):
        return Fill(layer) if tool == Fill.tool else Clear(layer)
    raise InvalidValueError("tool", _short(tool), "brush, outline, fill, grow or clear")


def record_of(stroke: Stroke) -> dict[str, object]:
    """The record that `parsed` reads."""
    record: dict[str, object] = {"tool": stroke.tool, "layer": stroke.layer}
    if isinstance(stroke, Brush | Outline):
        places: Sequence[tuple[float, ...]] = stroke.points if isinstance(stroke, Brush) else stroke.corners
        record |= {"erase": stroke.erase, "points": [number for place in places for number in place]}
        record |= {} if stroke.colour is None else {"colour": "#{:02x}{:02x}{:02x}".format(*stroke.colour)}
    elif isinstance(stroke, Grow):
        record["pixels"] = stroke.pixels
    return record


def encoded(strokes: Strokes) -> bytes:
    """Encodes the content of a stroke file."""
    width, height = strokes.size
    head = {"format": FORMAT, "width": width, "height": height, "options": dict(strokes.options)}
    return json.dumps(head | {"strokes": [record_of(stroke) for stroke in strokes.strokes]}).encode()


def read_strokes(path: str | Path, size: tuple[int, int] | None = None) -> Strokes:
    """Reads a stroke file.

    Args:
        size: (width, height) of the picture that they must fit.

    Raises:
        InputError: no such file, not a stroke file, strokes out of range, another size.
    """
    path = as_path(path)
    try:
        with open_input(path) as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: the strokes cannot be read: {error.strerror}") from error
    try:
        content = json.loads(data) if len(data) <= MOST_BYTES else None
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} holds no strokes: give a file that `psal paint` saved")
    records, options, width, height = (
        content.get("strokes"),
        content.get("options", {}),
        content.get("width"),
        content.get("height"),
    )
    if not (isinstance(records, list) and isinstance(options, dict) and isinstance(width, int) and isinstance(height, int)):
        raise InputError(f"{path} is damaged: its size, strokes or options are missing")
    if len(records) > MOST_STROKES:
        raise InputError(f"{path} holds {len(records)} strokes, psal reads up to {MOST_STROKES}")
    if size is not None and (width, height) != size:
        raise InputError(f"{path} was painted on a picture of {width}x{height}, this one is {size[0]}x{size[1]}")
    try:
        return Strokes((width, height), tuple(map(parsed, records)), options)
    except InvalidValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error


def _numbers(value: object, each: int, least: int) -> list[float]:
    """Checks a flat list of at least `least` points of `each` numbers."""
    if not isinstance(value, list) or len(value) % each or not least <= len(value) // each <= MOST_POINTS:
        raise InvalidValueError("points", _short(value), f"{least} to {MOST_POINTS} places of {each} numbers")
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in value):
        raise InvalidValueError("points", _short(value), "numbers")
    if not all(abs(x) <= FARTHEST for x in value):  # also refuses NaN
        raise InvalidValueError("points", _short(value), f"numbers from {-FARTHEST:g} to {FARTHEST:g}")
    return [float(x) for x in value]


def _colour(value: object) -> Colour:
    match = HEX.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidValueError("colour", _short(value), "#rrggbb in small letters")
    red, green, blue = (int(part, 16) for part in match.groups())
    return red, green, blue


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:77]}..."
