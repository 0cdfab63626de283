"""Memory model of colorize: bytes at each step, from the headers of the pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from psal_cli import memory
from psal_cli.errors import InvalidValueError, MemoryLimitError
from psal_cli.image import Header
from psal_cli.ops.validation import MAX_SIDE
from psal_cli.verbs.colorize.coarse_to_fine import colorize
from psal_cli.verbs.colorize.options import COARSE, LARGEST
from psal_cli.verbs.colorize.sizes import coarse_size, levels

# The search takes the larger of SEARCHED and JUDGED, plus FIXED bytes; bytes per pixel at the size that is searched, measured.
FIXED = 80_000_000
MATCHED = 346, 470  # of target and references, while matches are searched by sketches
FUSED = 945, 40  # of both, while the network judges them
PAPER = {"full": (170_000_000, 550), "local": (70_000_000, 330)}  # by layer: bytes, and bytes a pixel of target and references
PAPER_PSAL = 15_000_000, 330
SEMANTIC = 1800  # of both at the coarse level, while semantic features are compared
ESTIMATED = 28  # bytes per pixel of the estimate
STRIPS = 60_000_000  # of strips, and of a sheet for --compare


@dataclass(frozen=True)
class Plan:
    """bytes: peak memory of the process; longest: the longer side at which colours are searched; lowered: whether the limit
    reduced it; text: both in words, for the user."""

    bytes: int
    longest: int
    lowered: bool
    text: str


def plan(
    target: Header,
    references: Sequence[Header],
    formats: Mapping[str, str],
    *,
    attention: str | None = None,
    semantic: bool = False,
    beside: Sequence[Header] = (),
    streams: int = 0,
    limit: int | None = None,
    at_most: int = COARSE * LARGEST,
) -> Plan:
    """Peak memory of reading, colouring and writing a picture, and the largest search size within a limit.

    Args:
        target, references: their headers.
        formats: option ("output", "confidence", "save_offsets") -> Pillow's name of the format that is written.
        attention: the layer of the paper's network, None for engine "psal".
        semantic: whether semantic features are used.
        beside: headers of other pictures of the target's size: hints, the previous frame.
        streams: bytes that are piped in and out.
        limit: bytes. `longest` is the largest that it allows.
        at_most: upper bound of `longest`.

    Raises:
        InvalidValueError: references too wide side by side; sizes that must not differ.
        MemoryLimitError: even the smallest size takes more.
    """
    libraries = memory.libraries(baseline())
    whole = max(target.width, target.height)
    choices = (
        [whole] if attention else [side for factor in range(LARGEST, 0, -1) if (side := COARSE * factor) <= max(at_most, COARSE)]
    )
    for longest in choices:
        query, key = _full_size(target, references, attention) if attention else _worked_at(target, references, longest)
        working = _working(query, key, attention)
        if semantic:
            working = max(working, FIXED + SEMANTIC * COARSE**2 * (1 + len(references)))
        most = libraries + streams + _most(target, [*references, *beside], formats, query, working)
        if limit is None or most <= limit:
            text = f"{memory.in_words(most)}, colours searched at up to {longest} pixels"
            return Plan(most, longest, longest < choices[0], text)
    allowed = memory.at_most(limit or 0)
    raise MemoryLimitError(f"it takes {memory.in_words(most)} at least, {allowed} are allowed", most, limit)


def _most(target: Header, references: Sequence[Header], formats: Mapping[str, str], query: int, working: int) -> int:
    """Bytes at the most expensive step: reading, searching (`working`), drawing or writing."""
    reading, kept = memory.reading_all([target, *references])
    kept += sum(4 * x.width * x.height for x in references if x.alpha)  # colours and alpha as one array
    area, itemsize = target.width * target.height, target.bits // 8
    result = area * 3 * itemsize + ESTIMATED * query
    extras = [memory.writing(area, 3, itemsize, target.alpha, formats["output"])]
    if "confidence" in formats:
        extras.append(area + memory.writing(area, 1, 1, False, formats["confidence"]))
    if "save_offsets" in formats:
        extras.append(memory.drawing(query, formats["save_offsets"]))
    return max(reading, kept + max(working, result + STRIPS + max(extras)))


def _worked_at(target: Header, references: Sequence[Header], longest: int) -> tuple[int, int]:
    """Pixels of the target and of the references side by side, at the finest level."""
    factor = levels((target.height, target.width), longest)[-1]
    height, width = (factor * side for side in coarse_size((target.height, target.width)))
    if not references:
        return height * width, 0
    sizes = [coarse_size((head.height, head.width)) for head in references]
    return height * width, _side_by_side([(factor * height, factor * width) for height, width in sizes])


def _full_size(target: Header, references: Sequence[Header], attention: str) -> tuple[int, int]:
    """As `_worked_at`, for engine "paper"."""
    sizes = [(head.height, head.width) for head in references]
    if attention == "local" and sizes != [(target.height, target.width)]:
        listed = ", ".join(f"{width}x{height}" for height, width in sizes)
        size = f"{target.width}x{target.height}"
        raise InvalidValueError("references", listed, f"one of {size}, the size of the picture, with attention local")
    return target.width * target.height, _side_by_side(sizes)


def _side_by_side(sizes: list[tuple[int, int]]) -> int:
    """Pixels of references (height, width) side by side."""
    heights, widths = zip(*sizes, strict=True)
    if sum(widths) > MAX_SIDE:
        raise InvalidValueError(
            "references", f"{sum(widths)} pixels wide side by side", f"at most {MAX_SIDE}: give fewer of them"
        )
    return int(max(heights) * sum(widths))


def _working(query: int, key: int, attention: str | None) -> int:
    """Bytes while colours are searched."""
    if attention:
        fixed, each = PAPER.get(attention, PAPER_PSAL)
        return fixed + each * (query + key)
    return FIXED + max(MATCHED[0] * query + MATCHED[1] * key, FUSED[0] * query + FUSED[1] * key)


@cache
def baseline() -> int:
    """Bytes of the process after a first run of everything, with no picture loaded; call it before loading any."""
    stripes = np.arange(0, 64, 4, dtype=np.uint8)[None, :, None].repeat(16, 0).repeat(3, 2)  # small: this runs at every start
    colorize(stripes, [stripes[:, ::-1] * np.array([1, 2, 3], np.uint8)])
    return memory.held()
