"""Memory model of upscale: bytes at each step, from the header of the picture."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np

from psal_cli import memory
from psal_cli.errors import MemoryLimitError
from psal_cli.foreign.network import ForeignNetwork
from psal_cli.image import Header
from psal_cli.networks.csnln import CSNLN
from psal_cli.verbs.upscale.networks import Network
from psal_cli.verbs.upscale.options import STRIPS as CHOICES
from psal_cli.verbs.upscale.upscaler import Upscaler, check_sides, strip_rows

# Bytes, measured (tests/bench/bench_memory.py compares the estimates with measurements).
SEARCHED, KEPT = 652, 380  # per pixel of the input: while the attention searches, and what it keeps
LEFT = 430  # per pixel of a strip: what the pass over the reduced picture has not released by then
FEATURE, DRAWN = 18.4, 35  # per pixel of a strip while it is drawn: by feature, and by output pixel
CSNLN_KEPT, CSNLN_STRIP = 32, 19  # of a published network, by feature: per pixel of the input, and of a strip of the result
SCORES = 70_000_000  # of its full in-scale attention, which is chunked
PAIR = 9  # per pair of a query in the chunk and a key, with full attention
ROOM = 2_000_000_000  # limit of full attention if none is given
FIELD = 8  # per pixel of the input: its cross-scale match
ROW = 48  # per pixel of a strip of the result: four times three colours
REDUCING = 200_000_000  # while a result is reduced to its size, in bands of rows
STRIPS = 60_000_000  # of bands of rows, and of a sheet for --compare


@dataclass(frozen=True)
class Plan:
    """bytes: peak memory of the process; largest: see `Upscaler`; text: both in words, for the user."""

    bytes: int
    largest: int
    text: str


def plan(
    header: Header,
    formats: Mapping[str, str],
    networks: tuple[Network, ...],
    *,
    ensemble: bool = False,
    streams: int = 0,
    limit: int | None = None,
    size: tuple[int, int] | None = None,
    held: int | None = None,
    blended: bool = False,
) -> Plan:
    """Peak memory of reading, enlarging and writing a picture, and the largest strips within a limit.

    Args:
        header: of the picture.
        formats: option ("output", "compare") -> Pillow's name of the format that is written.
        networks, ensemble: see `Upscaler`.
        streams: bytes that are piped in and out.
        limit: bytes.
        size: (width, height) to which the result is reduced.
        held: the result of `baseline` before any picture was loaded; None to call it now.
        blended: whether a second model runs while the result of the first is kept.

    Raises:
        InvalidValueError: a side too long for the engine.
        MemoryLimitError: even the smallest strips take more.
    """
    check_sides(networks, header.width, header.height)
    libraries = memory.libraries(baseline(networks) if held is None else held)
    for largest in _choices(header, networks):
        working, most = _most(header, formats, networks, ensemble, largest, size, blended)
        most += libraries + streams + STRIPS
        fits = most <= limit if limit is not None else _is_chosen(networks, largest, working, most)
        if fits:
            return Plan(most, largest, f"{memory.in_words(most)}, {largest} pixels at a time")
    words, allowed = f"{header.width}x{header.height}", memory.at_most(limit or 0)
    raise MemoryLimitError(f"{words} takes {memory.in_words(most)} at least, {allowed} are allowed", most, limit)


def strip_pixels(header: Header, networks: tuple[Network, ...], ensemble: bool) -> int:
    """How many pixels to process at a time if no limit is given: fewer if that would take much memory."""
    for largest in _choices(header, networks):
        working, most = _most(header, {"output": "PNG"}, networks, ensemble, largest, None)
        if _is_chosen(networks, largest, working, most + (memory.resident() or 0)):
            return largest
    return CHOICES[-1]


def _choices(header: Header, networks: tuple[Network, ...]) -> Iterator[int]:
    """Candidates for the number of pixels to process at a time, best first; the whole picture first for networks that see all of
    it."""
    size = header.width * header.height
    for network in networks:
        if isinstance(network, ForeignNetwork) and network.traits.reach is None and size > CHOICES[0]:
            yield size
        size *= network.scale**2
    yield from CHOICES


def _is_chosen(networks: tuple[Network, ...], largest: int, working: int, most: int) -> bool:
    """Whether to process this many pixels at a time if no limit is given. A network whose pieces would show runs on the whole
    picture if memory allows."""
    if largest == CHOICES[-1] or working <= ROOM:
        return True
    if any(isinstance(x, ForeignNetwork) and x.traits.reach is None for x in networks):
        room = memory.available()
        return largest >= CHOICES[0] and room is not None and most <= room + (memory.resident() or 0)
    return not _costly(networks)


def _most(
    header: Header,
    formats: Mapping[str, str],
    networks: tuple[Network, ...],
    ensemble: bool,
    largest: int,
    reduced: tuple[int, int] | None,
    blended: bool = False,
) -> tuple[int, int]:
    """(peak bytes of a network's working set, bytes at the most expensive step: reading, each pass or writing)."""
    itemsize, area, sides = header.bits // 8, header.width * header.height, sorted((header.width, header.height))
    each = itemsize * (header.channels + header.alpha)
    joined = area * each * header.alpha  # colours and alpha as one array
    kept = area * (each + FIELD) + joined
    most, working = memory.reading(area, header.channels, itemsize, header.alpha, header.format), 0
    if itemsize == 4:  # floats: the file's bytes besides the pixels; later the picture clipped to [0, 1], and the excess
        most, kept = max(most, 3 * area * each), kept + 8 * header.channels * area
    final = reduced[0] * reduced[1] if reduced else area * prod(network.scale**2 for network in networks)
    waiting = final * each * (blended and bool(networks))  # the result of the first model while the second runs
    kept += waiting
    for network in networks:
        size = area * network.scale**2
        result = size * each + 4 * header.channels * size * ensemble
        short, long = sides
        turned = ensemble or isinstance(network, ForeignNetwork)  # need not be transposed
        shapes = ((short, long), (long, short)) if turned else ((short, long),)
        at_work = max(_working(network, width, height, largest) for width, height in shapes) + 12 * area
        working = max(working, at_work)
        most = max(most, kept + result + at_work)
        area, sides = size, [side * network.scale for side in sides]
        kept += size * each
    if reduced and sorted(reduced) != sides:
        area = reduced[0] * reduced[1]
        kept += area * each
        most = max(most, kept + REDUCING)
    kept -= waiting
    encoder = memory.writing(area, header.channels, itemsize, header.alpha, formats["output"], header.format in memory.LOSSLESS)
    joined = area * each * header.alpha
    return working, max(most, kept + max(joined, encoder))  # drawing a field takes less than searching it


def _working(network: Network, width: int, height: int, largest: int) -> int:
    """Peak bytes besides picture and result, for strips of this width in pixels."""
    area, scale = width * height, network.scale
    if isinstance(network, ForeignNetwork):
        tiling = network.tiling(height, width, largest)
        rows = max(x.last - x.first for x in tiling.rows)
        return network.traits.bytes(tiling.looked) + ROW * rows * width * scale**2
    looked = min(strip_rows(width, largest) + 2 * network.halo, height) * width
    full = _full((network,))
    if isinstance(network, CSNLN):
        features = network.features
        enlarged = 4 if scale == 4 else 1  # the map of twice the resolution that the second stage attends to
        total = features * (CSNLN_KEPT * area * enlarged + CSNLN_STRIP * looked * scale**2)
        keys = area * enlarged // network.SEM.ratio**2
        return int(total + (SCORES + PAIR * keys * looked * enlarged if full else 0))
    drawn = KEPT * area + (FEATURE * network.head.out_channels + DRAWN * scale**2) * looked
    total = int(max(drawn, SEARCHED * area + LEFT * looked))
    return total + (PAIR * (area // network.ratio**2) * looked if full else 0)


def _costly(networks: tuple[Network, ...]) -> bool:
    """Whether processing more pixels at a time may take much more memory."""
    return _full(networks) or any(isinstance(network, ForeignNetwork) for network in networks)


def _full(networks: tuple[Network, ...]) -> bool:
    return any(getattr(layer, "attention", None) == "full" for network in networks for layer in network.modules())


@cache
def baseline(networks: tuple[Network, ...]) -> int:
    """Bytes of the process after a first run of the networks, with no picture loaded; call it before loading any."""
    Upscaler(networks)(np.zeros((16, 16, 3), np.uint8))
    return memory.held()
