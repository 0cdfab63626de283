"""Rasterizes strokes exactly: a pixel is marked if its centre is inside."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from psal_cli.image.shapes import Region, inside
from psal_cli.image.strokes import Brush, Clear, Fill, Grow, Outline, Stroke
from psal_cli.strips import rows_within, strips

Values = npt.NDArray[np.float64]

BAND = 1 << 20  # pixels painted at a time
CHUNK = 1 << 18  # rows of segments processed at a time


class Part(NamedTuple):
    """A part of a picture and its marked pixels: bool [h, w]. The rest of the picture is unmarked."""

    top: int
    left: int
    marked: Region


def region(strokes: Sequence[Stroke], layer: str, size: tuple[int, int]) -> Region:
    """The region that strokes mark in a picture: bool [H, W].

    Args:
        strokes: in the order in which they were painted. Those of other layers are ignored.
        layer: one of `psal_cli.image.strokes.LAYERS`.
        size: (width, height) of the picture. Strokes are clipped to it.

    Example:
        >>> dot = Brush("mask", ((2.0, 1.0, 1.0),))
        >>> region([dot], "mask", (5, 3)).astype(int)
        array([[0, 1, 1, 0, 0],
               [0, 1, 1, 0, 0],
               [0, 0, 0, 0, 0]])
    """
    out = np.zeros((size[1], size[0]), bool)
    part = painted(strokes, layer, size)
    height, width = part.marked.shape
    out[part.top : part.top + height, part.left : part.left + width] = part.marked
    return out


def source_region(strokes: Sequence[Stroke], size: tuple[int, int]) -> Region | None:
    """bool [H, W], the region that strokes allow to copy from; None if they do not restrict it."""
    marked = region(strokes, "source", size) if any(stroke.layer == "source" for stroke in strokes) else None
    return marked if marked is not None and marked.any() else None


def painted(strokes: Iterable[Stroke], layer: str, size: tuple[int, int]) -> Part:
    """As `region`, for the part of the picture that the strokes reach."""
    own = [stroke for stroke in strokes if stroke.layer == layer]
    cleared = [number for number, stroke in enumerate(own) if isinstance(stroke, Clear)]
    own = own[cleared[-1] + 1 :] if cleared else own
    top, bottom, left, right = _reached(own, size)
    marked = np.zeros((max(bottom - top, 0), max(right - left, 0)), bool)
    part = Part(top, left, marked)
    if not marked.size:
        return part
    for stroke in own:
        if isinstance(stroke, Brush):
            _brush(part, stroke)
        elif isinstance(stroke, Outline):
            _outline(part, stroke, size)
        elif isinstance(stroke, Fill):
            _fill(part)
        elif isinstance(stroke, Grow):
            _grow(part, stroke.pixels)
    return part


def rectangles(part: Part) -> list[int]:
    """The marked region as disjoint rectangles: left, top, width, height of each, in a flat list."""
    padded = np.pad(part.marked, ((0, 0), (1, 1))).astype(np.int8)
    edges = np.diff(padded, axis=1)
    rows, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]
    open_runs: dict[tuple[int, int], int] = {}  # (start, stop) of runs in the row above -> the row where the rectangle begins
    numbers: list[int] = []
    at = 0

    def close(start: int, stop: int, first: int, row: int) -> None:
        numbers.extend((part.left + start, part.top + first, stop - start, row - first))

    counts = np.bincount(rows, minlength=part.marked.shape[0]) if len(rows) else np.zeros(part.marked.shape[0], int)
    for row, count in enumerate(counts.tolist()):
        runs = zip(starts[at : at + count].tolist(), stops[at : at + count].tolist(), strict=True)
        current = {run: open_runs.pop(run, row) for run in runs}
        for (start, stop), first in open_runs.items():
            close(start, stop, first, row)
        open_runs, at = current, at + count
    for (start, stop), first in open_runs.items():
        close(start, stop, first, part.marked.shape[0])
    return numbers


def _reached(strokes: Sequence[Stroke], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """top, bottom, left, right of the area that may be marked, plus a margin of one pixel inside the picture."""
    boxes: list[tuple[float, float, float, float]] = []
    growth = 0
    for stroke in strokes:
        if isinstance(stroke, Brush) and not stroke.erase:
            x, y, radius = np.array(stroke.points).T
            reach = ((y - radius).min(), (y + radius).max(), (x - radius).min(), (x + radius).max())
        elif isinstance(stroke, Outline) and not stroke.erase:
            x, y = np.array(stroke.corners).T
            reach = (y.min(), y.max(), x.min(), x.max())
        else:
            growth += max(stroke.pixels, 0) if isinstance(stroke, Grow) else 0
            continue
        boxes.append((reach[0] - growth, reach[1] + growth, reach[2] - growth, reach[3] + growth))
    if not boxes:
        return 0, 0, 0, 0
    tops, bottoms, lefts, rights = zip(*boxes, strict=True)
    margin = growth + 1
    width, height = size
    return (
        min(max(int(np.floor(min(tops))) - margin, 0), height),
        max(min(int(np.ceil(max(bottoms))) + margin, height), 0),
        min(max(int(np.floor(min(lefts))) - margin, 0), width),
        max(min(int(np.ceil(max(rights))) + margin, width), 0),
    )


def _outline(part: Part, stroke: Outline, size: tuple[int, int]) -> None:
    filled = inside(stroke.corners, size)
    if filled is None:
        return
    top, left, within = filled
    height, width = part.marked.shape
    first, last = max(top - part.top, 0), min(top - part.top + within.shape[0], height)
    start, stop = max(left - part.left, 0), min(left - part.left + within.shape[1], width)
    if first < last and start < stop:
        rows, columns = slice(first, last), slice(start, stop)
        seen = within[first + part.top - top : last + part.top - top, start + part.left - left : stop + part.left - left]
        _put(part.marked[rows, columns], seen, stroke.erase)


def _put(marked: Region, seen: Region, erase: bool) -> None:
    if erase:
        marked &= ~seen
    else:
        marked |= seen


def _fill(part: Part) -> None:
    import cv2

    around = np.pad(part.marked.astype(np.uint8), 1)  # the area outside the part belongs to its surroundings
    cv2.floodFill(around, None, (0, 0), 2)
    part.marked[:] = around[1:-1, 1:-1] != 2


def _grow(part: Part, pixels: int) -> None:
    import cv2

    if not part.marked.any():
        return
    away = part.marked if pixels < 0 else ~part.marked
    distance = cv2.distanceTransform(away.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    part.marked[:] = distance > -pixels if pixels < 0 else distance <= pixels


class _Segments(NamedTuple):
    """Segments from one disc to the next, arrays [n]. tangents: (x, y, x, y) of the two lines that touch both discs, NaN if there
    are none."""

    x: tuple[Values, Values]
    y: tuple[Values, Values]
    radius: tuple[Values, Values]
    tangents: tuple[tuple[Values, Values, Values, Values], ...]


def _brush(part: Part, stroke: Brush) -> None:
    segments = _segments(np.array(stroke.points))
    height, width = part.marked.shape
    (x0, x1), (y0, y1), (r0, r1) = segments.x, segments.y, segments.radius
    first = _first(np.minimum(y0 - r0, y1 - r1)) - part.top
    last = _first(np.maximum(y0 + r0, y1 + r1)) - part.top
    left = max(int(_first(np.minimum(x0 - r0, x1 - r1)).min()) - part.left - 1, 0)
    right = min(int(_first(np.maximum(x0 + r0, x1 + r1)).max()) - part.left + 1, width)
    top, bottom = max(int(first.min()), 0), min(int(last.max()) + 1, height)
    if top >= bottom or left >= right:
        return
    for band in strips(bottom - top, rows_within(BAND, right - left)):
        begin, end = top + band.top, top + band.bottom
        steps = np.zeros((end - begin, right - left + 1), np.int32)
        for number, row in _rows(np.maximum(first, begin), np.minimum(last + 1, end)):
            start, stop = _covered(segments, number, np.float64(part.top + 0.5) + row)
            start, stop = (np.clip(edge - part.left - left, 0, right - left) for edge in (start, stop))
            seen = start < stop
            np.add.at(steps, (row[seen] - begin, start[seen]), 1)
            np.add.at(steps, (row[seen] - begin, stop[seen]), -1)
        np.cumsum(steps, 1, out=steps)
        _put(part.marked[begin:end, left:right], steps[:, :-1] > 0, stroke.erase)


def _rows(first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.int64], ...]]:
    """(index of the segment, row) for all rows of all segments, some thousands at a time."""
    counts = np.maximum(last - first, 0)
    ends = np.cumsum(counts)
    for begin in range(0, int(ends[-1]), CHUNK):
        flat = np.arange(begin, min(begin + CHUNK, int(ends[-1])))
        number = np.searchsorted(ends, flat, side="right")
        yield number, first[number] + flat - (ends - counts)[number]


def _segments(points: Values) -> _Segments:
    if len(points) == 1:
        points = points.repeat(2, 0)
    (x0, y0, r0), (x1, y1, r1) = points[:-1].T, points[1:].T
    across, down = x1 - x0, y1 - y0
    length = np.sqrt(across * across + down * down)
    with np.errstate(divide="ignore", invalid="ignore"):  # nested discs have no common tangents: NaN
        sine = np.where(length > np.abs(r0 - r1), (r0 - r1) / length, np.nan)
        cosine = np.sqrt(1 - sine * sine)
        ux, uy = across / length, down / length
        tangents = []
        for side in (1.0, -1.0):
            nx, ny = ux * sine - side * uy * cosine, uy * sine + side * ux * cosine
            tangents.append((x0 + r0 * nx, y0 + r0 * ny, x1 + r1 * nx, y1 + r1 * ny))
    return _Segments((x0, x1), (y0, y1), (r0, r1), tuple(tangents))


def _covered(segments: _Segments, number: npt.NDArray[np.int64], y: Values) -> tuple[npt.NDArray[np.int64], ...]:
    """The first column that a segment covers in a row with centre y, and the one after its last. Two discs with their tangents
    are convex, so each row is one run."""
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for x, middle, radius in zip(segments.x, segments.y, segments.radius, strict=True):
        off = y - middle[number]
        square = radius[number] ** 2 - off * off
        half = np.where(square >= 0, np.sqrt(np.maximum(square, 0)), -np.inf)
        left = np.minimum(left, x[number] - half)
        right = np.maximum(right, x[number] + half)
    for tangent in segments.tangents:
        x0, y0, x1, y1 = (place[number] for place in tangent)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (y - y0) / (y1 - y0)
            at = np.where((share >= 0) & (share <= 1), x0 + share * (x1 - x0), np.nan)
        left, right = np.fmin(left, at), np.fmax(right, at)
    none = ~(left <= right)
    start, stop = _first(np.where(none, 0.0, left)), np.floor(np.where(none, 0.0, right) - 0.5).astype(np.int64) + 1
    return start, np.where(none, start, stop)


def _first(place: Values) -> npt.NDArray[np.int64]:
    """The first row or column whose centre is at this position or after it."""
    return np.ceil(place - 0.5).astype(np.int64)
