"""What a fill costs in memory: bytes at each of its steps, from the sizes of the picture and of its hole.

The figures are those of the arrays in completion.py, pyramid.py, hole.py, inpaint.py and
ext/cpu/compose.cpp; tests/bench/bench_memory.py
compares their sum with what is measured.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from psal_cli import memory
from psal_cli.attention import ContextualAttention
from psal_cli.networks.contextual_attention import MULTIPLE, InpaintingNetwork
from psal_cli.patchmatch.pyramid import TEXTURES, drawn_windows, halve_mask
from psal_cli.patchmatch.regions import Box, area, bounds, crop, inner_radius, part_boxes
from psal_cli.verbs.inpaint.completion import complete, drawn_level, levels_of
from psal_cli.verbs.inpaint.guide import CELL, PIECE, STRIP, pieces

STRIPS = 30_000_000  # of all that is made a strip or a band of rows at a time, and of what the allocator keeps
MASK = 5  # bytes a pixel while a mask is looked at


@cache
def baseline() -> int:
    """Bytes that the process holds when the engine has run once and no picture is loaded: to be called before any is."""
    pixels, hole = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool)
    hole[24:40, 24:40] = True
    complete(pixels, hole, hole, 7, None, 0)
    return memory.held()


class Hole(NamedTuple):
    """What of a hole matters. boxes: of its parts; bounds: pixels of the box around all of it; pixels: its own; thin: whether
    its first estimate is made at the finest level; seen, piece: pixels that a network looks at and draws at a time, or 0."""

    boxes: list[Box]
    bounds: int
    pixels: int
    thin: bool
    seen: int
    piece: int


class Files(NamedTuple):
    """What of the files matters; see `inpaint.plan`. draws: the format of a picture of the field, None where there is none;
    mask: bytes a pixel while a mask is decoded; streams: bytes of what is piped in and out."""

    pixels: int
    channels: int
    itemsize: int
    alpha: bool
    source: bool
    soft: bool
    reads: str
    writes: str
    draws: str | None
    mask: int
    streams: int


def measured(hole: np.ndarray | None, patch_size: int, engine: str) -> Hole:
    """hole: bool [H, W]; None or empty: a hole that costs nothing."""
    if hole is None or not hole.any():
        return Hole([], 0, 0, False, 0, CELL**2 if engine == "network" else 0)
    radius = inner_radius(hole)
    levels = levels_of(radius)
    level = drawn_level(radius, levels) if engine == "combined" else None
    seen, piece = _drawn(hole, level) if engine == "network" or level is not None else (0, 0)
    return Hole(part_boxes(hole, patch_size), area(bounds(hole)), int(np.count_nonzero(hole)), levels == 1, seen, piece)


def _drawn(hole: np.ndarray, level: int | None) -> tuple[int, int]:
    """Pixels of the largest window of a level that a network looks at, and of the largest piece that it draws at a time. level:
    None for the picture itself, as a whole."""
    for _ in range(level or 0):
        hole = halve_mask(hole)
    seen = [(0, hole.shape[0], 0, hole.shape[1])] if level is None else drawn_windows(hole)
    padded = (np.pad(part, [(0, -side % MULTIPLE) for side in part.shape]) for part in (crop(hole, box) for box in seen))
    return max(map(area, seen)), max(area(view) for part in padded for _, view in pieces(part, PIECE))


def painting(pixels: int, piece: int, network: InpaintingNetwork) -> int:
    """Bytes that are taken, at most, while a network draws a hole of a picture of so many pixels; measured."""
    width = network.coarse_generator.conv1.conv.out_channels
    attention = network.fine_generator.contextul_attention
    scores = 13 * (pixels // 64) ** 2 if isinstance(attention, ContextualAttention) else 0
    strip = min(pixels, PIECE // STRIP)
    return (100 + 2 * width) * pixels + max(11 * width * strip, 28 * width * piece, scores)


def window(box: Box, hole: Hole, channels: int, network: InpaintingNetwork | None) -> int:
    """Bytes that are taken, at most, while a window of the picture is filled, beside the picture and the whole hole. network:
    where one draws what is expected."""
    size, features = area(box), 4 * (channels + TEXTURES)
    parts = [area(part) for part in hole.boxes if box[0] <= part[0] < box[1] and box[2] <= part[2] < box[3]]
    largest = max(parts, default=0)
    pixels = min(hole.pixels, largest)
    masks = 2 * size if hole.thin else 27 * size // 10  # keys that are valid, holes of coarser levels
    key = (features + 4 * hole.thin) * size  # a first estimate needs a channel more
    table = 2 * size if 4 * largest >= size else 0  # of keys by their hash, where there are queries enough
    fields = 21 * sum(parts)  # match, similarity, masks, distance, and what is left of the coarser level
    composing = (4 * channels + 50) * largest + 8 * channels * pixels  # the solver's planes, and the copies
    search = masks + key + fields + features * largest + max(table + (features + 20) * largest, composing)
    last = 8 * sum(parts) + composing
    if network is None or not hole.piece:
        return max(search, last)
    drawing = painting(min(hole.seen, size), hole.piece, network)
    return drawing + max(masks + key // 2, search, last)  # the allocator keeps it: the blocks are small


def whole(files: Files, hole: Hole, filling: int) -> int:
    """Bytes at the most expensive of: reading the files, filling (`filling` beside what is kept), writing."""
    pixels, channels, itemsize, alpha, source, soft, reads, writes, draws, mask, streams = files
    picture = pixels * itemsize * (channels + alpha)
    masks = pixels * (max(mask, MASK) + source * (1 + 4 * soft))
    reading = max(memory.reading(pixels, channels, itemsize, alpha, reads), picture + masks)
    result = (16 + 4 * channels) * hole.pixels  # places, colours and origins
    shown = pixels * itemsize * channels if alpha else 0  # without the colours that are transparent
    kept = picture + pixels * (1 + 2 * source + 4 * soft) + result
    inspection = 7 * hole.bounds  # while its parts are found
    drawing = 3 * pixels + memory.writing(pixels, 3, 1, False, draws) if draws else 0
    encoder = memory.writing(pixels, channels, itemsize, alpha, writes, reads in memory.LOSSLESS)
    writing = kept + pixels * itemsize * channels + result + max(drawing, encoder)
    return STRIPS + streams + max(reading, kept + shown + max(filling, inspection), writing)
