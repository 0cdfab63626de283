"""Memory model of inpaint: bytes at each step, from the header of the picture and its hole.

The figures are those of the arrays in completion.py, hole.py, fill.py, api.py, psal_cli/patchmatch/pyramid.py and
ext/cpu/compose.cpp; tests/bench/bench_memory.py compares their sum with measurements.
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from psal_cli import memory
from psal_cli.attention import ContextualAttention
from psal_cli.errors import MemoryLimitError
from psal_cli.image import Header
from psal_cli.networks.contextual_attention import MULTIPLE, InpaintingNetwork
from psal_cli.networks.learned_copying import CopyingNetwork
from psal_cli.patchmatch.pyramid import PLACES, TEXTURES, guided_windows, halve_mask
from psal_cli.patchmatch.regions import Box, Region, area, bounds, crop, inner_radius, part_boxes, windows
from psal_cli.verbs.inpaint.completion import complete, guided_level, levels_of
from psal_cli.verbs.inpaint.guide import MARGIN, TILE, FeatureGuide, kind_of_guide
from psal_cli.verbs.inpaint.painter import CELL, PIECE, STRIP, pieces

STRIPS = 30_000_000  # of strips and bands of rows, and of what the allocator keeps
MASK = 5  # bytes per pixel while a mask is analysed
FIELD = 8  # bytes per pixel of the field, if it is written
DRAWING = 3  # bytes per pixel of its drawing
DESCRIBING = 900, 100  # bytes per pixel of a tile, and of a window, while the guide computes features; measured
DESCRIBED = 90_000_000  # what the libraries keep of it; measured
REACHES = tuple(int(2 ** (n / 2)) for n in range(30, 13, -1))  # 32768 to 128, by factors of 0.7


def plan(
    header: Header,
    formats: Mapping[str, str],
    hole: Region | None = None,
    *,
    source: bool = False,
    soft: bool = False,
    patch_size: int = 7,
    engine: str = "patch",
    network: InpaintingNetwork | CopyingNetwork | None = None,
    mask_decoding: int = 0,
    streams: int = 0,
    limit: int | None = None,
    at_most: int | None = None,
) -> memory.Plan:
    """Peak memory of reading, filling and writing a picture, and the largest reach within a limit.

    Args:
        header: of the picture.
        formats: option ("output", "save_offsets") -> Pillow's name of the format that is written.
        hole: bool [H, W]; if it is None or empty, a small one is assumed.
        source, soft: whether there are a source mask and a feathered mask.
        patch_size, engine: see `InpaintOptions`; network: of the engine, None with "patch".
        mask_decoding: bytes per pixel while the mask's file is decoded; streams: bytes that are piped in and out.
        limit: bytes. If they do not suffice for the whole picture, the reach is the largest that it allows.
        at_most: upper bound of the reach; None for the whole picture.

    Raises:
        MemoryLimitError: even the smallest reach that leaves enough to copy from takes more.
    """
    size = header.height, header.width
    extent = _extent(hole, patch_size, engine, network)
    files = _Files(header, formats, source, soft, mask_decoding)

    def needed(reach: int | None) -> int:
        if engine == "network" and isinstance(network, InpaintingNetwork):
            filling = network_bytes(size[0] * size[1], extent.piece, network)
        else:
            boxes = windows(size, extent.boxes or [(0, 1, 0, 1)], reach)
            filling = max(_window_bytes(box, extent, header.channels, network) for box in boxes)
        return libraries + streams + _total_bytes(files, extent, filling)

    least = max([REACHES[-1], *(min(bottom - top, right - left) // 2 for top, bottom, left, right in extent.boxes)])
    smaller = [reach for reach in REACHES if least <= reach < min(max(size), at_most or max(size)) and engine != "network"]
    libraries = memory.libraries(baseline())
    for reach in (at_most, *smaller):
        most = needed(reach)
        if limit is None or most <= limit:
            how = "the whole picture at once" if reach is None else f"{reach} pixels around each hole"
            return memory.Plan(most, reach, f"{memory.in_words(most)}, {how}{'' if extent.boxes else ' (for a small hole)'}")
    lowest, given = memory.in_words(most), memory.at_most(limit or 0)
    raise MemoryLimitError(f"{size[1]}x{size[0]} takes {lowest} at least, {given} are allowed", most, limit)


@cache
def baseline() -> int:
    """Bytes of the process after a first run of the engine, with no picture loaded; call it before loading any."""
    pixels, hole = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool)
    hole[24:40, 24:40] = True
    complete(pixels, hole, hole, 7, None, 0)
    return memory.held()


class _Extent(NamedTuple):
    """The sizes of a hole that the memory depends on. boxes: of its parts; bounds: pixels of the box around all of it; pixels: of
    the hole itself; thin: whether the first estimate is made at the finest level; guided: pixels of the box that a guide
    describes, or 0; seen, piece: pixels that a network sees, and processes at a time, or 0."""

    boxes: list[Box]
    bounds: int
    pixels: int
    thin: bool
    guided: int
    seen: int
    piece: int


class _Files(NamedTuple):
    """The sizes of the files that the memory depends on; see `plan`."""

    picture: Header
    formats: Mapping[str, str]
    source: bool
    soft: bool
    mask_decoding: int


def _extent(hole: Region | None, patch_size: int, engine: str, network: InpaintingNetwork | CopyingNetwork | None) -> _Extent:
    """hole: bool [H, W]; None or empty for a hole that costs nothing."""
    if hole is None or not hole.any():
        return _Extent([], 0, 0, False, 0, 0, CELL**2 if engine == "network" else 0)
    radius = inner_radius(hole)
    levels = levels_of(radius)
    guided = seen = piece = 0
    if engine == "network":
        seen, piece = _drawn(hole, [(0, hole.shape[0], 0, hole.shape[1])])
    elif network is not None:
        guide = kind_of_guide(network)
        if (level := guided_level(radius, levels, guide.radius)) is not None:
            small = hole
            for _ in range(level):
                small = halve_mask(small)
            boxes = guided_windows(small, guide.reach)
            sides = np.array(boxes)
            guided = int(np.prod(sides[:, [1, 3]].max(0) - sides[:, [0, 2]].min(0)))
            seen, piece = _drawn(small, boxes)
            piece = min(seen, (TILE + 2 * MARGIN) ** 2) if guide is FeatureGuide else piece
    return _Extent(
        part_boxes(hole, patch_size), area(bounds(hole)), int(np.count_nonzero(hole)), levels == 1, guided, seen, piece
    )


def _drawn(hole: Region, boxes: list[Box]) -> tuple[int, int]:
    """Pixels of the largest box of a level that a network sees, and of the largest piece that it draws at a time."""
    padded = (np.pad(part, [(0, -side % MULTIPLE) for side in part.shape]) for part in (crop(hole, box) for box in boxes))
    return max(map(area, boxes)), max(area(view) for part in padded for _, view in pieces(part, PIECE))


def network_bytes(pixels: int, piece: int, network: InpaintingNetwork) -> int:
    """Peak bytes while a network draws a hole of a picture with this many pixels; measured."""
    width = network.coarse_generator.conv1.conv.out_channels
    attention = network.fine_generator.contextul_attention
    scores = 13 * (pixels // 64) ** 2 if isinstance(attention, ContextualAttention) else 0
    strip = min(pixels, PIECE // STRIP)
    return (100 + 2 * width) * pixels + max(11 * width * strip, 28 * width * piece, scores)


def _window_bytes(box: Box, hole: _Extent, channels: int, network: InpaintingNetwork | CopyingNetwork | None) -> int:
    """Peak bytes while a window of the picture is filled, besides the picture and the whole hole. network: the one that guides
    the search, if any."""
    size, features = area(box), 4 * (channels + TEXTURES)
    parts = [area(part) for part in hole.boxes if box[0] <= part[0] < box[1] and box[2] <= part[2] < box[3]]
    largest = max(parts, default=0)
    pixels = min(hole.pixels, largest)
    masks = 2 * size if hole.thin else 27 * size // 10  # valid keys, holes of coarser levels
    key = (features + 4 * hole.thin) * size  # the first estimate needs one more channel
    table = 24 * size + 16 * largest if 4 * largest >= size else 0  # sketches and their table, if there are enough queries
    fields = 21 * sum(parts)  # match, similarity, masks, distance, and the coarser level
    composing = (4 * channels + 50) * largest + 8 * channels * pixels  # the solver's planes, and the copies
    search = masks + key + fields + features * largest + max(table + (features + 20) * largest, composing)
    last = 8 * sum(parts) + composing
    if network is None or not hole.piece:
        return max(search, last)
    if isinstance(network, CopyingNetwork):
        # Bytes per pixel, as key and as the guide's features.
        described = 4 * (channels + 2 * TEXTURES + PLACES + network.features)
        guided = min(hole.guided, size // 4)
        describing = DESCRIBING[0] * hole.piece + DESCRIBING[1] * min(hole.seen, size)
        return max(masks + key // 2 + 2 * described * guided + describing, search + DESCRIBED, last + DESCRIBED)
    drawing = network_bytes(min(hole.seen, size), hole.piece, network)
    return drawing + max(masks + key // 2, search, last)  # the allocator keeps it: the blocks are small


def _total_bytes(files: _Files, hole: _Extent, filling: int) -> int:
    """Bytes at the most expensive step: reading, filling (`filling` besides what is kept) or writing."""
    head, formats = files.picture, files.formats
    pixels, channels, itemsize = head.width * head.height, head.channels, head.bits // 8
    picture = pixels * itemsize * (channels + head.alpha)
    masks = pixels * (max(files.mask_decoding, MASK) + files.source * (1 + 4 * files.soft))
    reading = max(memory.reading(pixels, channels, itemsize, head.alpha, head.format), picture + masks)
    result = (16 + 4 * channels) * hole.pixels  # places, colours and origins
    # The copy without hidden colours; range-compressed floats and the temporaries of that.
    shown = pixels * itemsize * channels * (head.alpha + 2 * (head.bits == 32))
    joined = picture if head.alpha else 0  # colours and alpha as one array
    kept = picture + joined + pixels * (1 + 2 * files.source + head.alpha + 5 * files.soft) + result
    inspection = 7 * hole.bounds  # while its parts are labelled
    draws = formats.get("save_offsets")
    drawing = (FIELD + DRAWING) * pixels + memory.writing(pixels, 3, 1, False, draws) if draws else 0
    encoder = memory.writing(pixels, channels, itemsize, head.alpha, formats["output"], head.format in memory.LOSSLESS)
    writing = kept + picture + result + max(drawing, encoder) + (DESCRIBED if hole.guided else 0)
    return STRIPS + max(reading, kept + shown + max(filling, inspection), writing)
