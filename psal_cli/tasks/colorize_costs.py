"""What `psal colorize` costs in memory: bytes at each of its steps, from what the files say of their pictures."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from psal_cli import memory
from psal_cli.errors import MemoryLimitError
from psal_cli.tasks.colorize import COARSE, LARGEST, coarse_size, colorize, levels

SEARCHED, FUSED, PAPER = 490, 260, 450  # bytes a pixel of what is worked at: of target and references, of the target; measured
STRIPS = 60_000_000  # of what is made a strip of rows at a time
UNKNOWN, GRAIN = 400_000_000, 60_000_000  # of the libraries: where the system does not tell, and the steps they are counted in


@dataclass(frozen=True)
class Plan:
    """bytes: the most memory that the process will hold; longest: see `colorize`; text: both in words, for the user."""

    bytes: int
    longest: int
    text: str


def plan(target: Any, references: list[Any], writes: str, *, engine: str = "psal", limit: int | None = None) -> Plan:
    """The most memory that a process will hold that reads, colours and writes a picture, and the size that keeps to a limit.

    Args:
        target, references: what their files say of them (psal_cli.image.Header).
        writes: the format of the result, as Pillow names it.
        engine: "psal" or "paper".
        limit: bytes. The largest `longest` that it allows.

    Raises:
        MemoryLimitError: even the smallest takes more.
    """
    libraries = -(-baseline() // GRAIN) * GRAIN
    choices = [COARSE * factor for factor in range(LARGEST, 0, -1)] if engine == "psal" else [max(target.width, target.height)]
    for longest in choices:
        working = _working(target, references, longest) if engine == "psal" else _whole(target, references)
        most = libraries + _most(target, references, writes, working)
        if limit is None or most <= limit:
            return Plan(most, longest, f"{memory.in_words(most)}, colours looked for at up to {longest} pixels")
    cure = "allow more with --max-memory, or give smaller pictures"
    raise MemoryLimitError(f"it takes {memory.in_words(most)} at least, {memory.at_most(limit)} are allowed: {cure}")


def _most(target: Any, references: list[Any], writes: str, working: int) -> int:
    """Bytes at the most expensive of: reading the files, looking for colours (`working`), writing."""
    kept = reading = 0
    for head in (target, *references):
        area, itemsize = head.width * head.height, head.bits // 8
        reading = max(reading, kept + memory.reading(area, head.channels, itemsize, head.alpha, head.format))
        kept += area * itemsize * (head.channels + head.alpha)
    area, itemsize = target.width * target.height, target.bits // 8
    result = area * (3 * itemsize + target.alpha * itemsize)
    painting = result + 12 * area + STRIPS
    encoder = result + memory.writing(area, 3, itemsize, target.alpha, writes)
    return max(reading, kept + max(working, painting, encoder))


def _working(target: Any, references: list[Any], longest: int) -> int:
    """Bytes while colours are looked for at `longest` pixels."""
    factor = levels((target.height, target.width), longest)[-1]
    height, width = coarse_size((target.height, target.width))
    query = height * width * factor**2
    heights, widths = zip(*(coarse_size((head.height, head.width)) for head in references), strict=True)
    key = max(heights) * sum(widths) * factor**2  # they lie side by side
    return SEARCHED * (query + key) + FUSED * query


def _whole(target: Any, references: list[Any]) -> int:
    """Bytes that the network of the paper takes."""
    return PAPER * sum(head.width * head.height for head in (target, *references))


@cache
def baseline() -> int:
    """Bytes that the process holds when all has run once and no picture is loaded: to be called before any is."""
    stripes = np.arange(0, 64, 4, dtype=np.uint8)[None, :, None].repeat(16, 0).repeat(3, 2)  # small: it is done at every start
    colorize(stripes, [stripes[:, ::-1] * np.array([1, 2, 3], np.uint8)])
    return memory.resident() or UNKNOWN
