"""Memory of upscale: bytes at each of its steps, from the header of the picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from psal_cli import memory
from psal_cli.errors import MemoryLimitError
from psal_cli.image import Header
from psal_cli.networks.csnln import CSNLN
from psal_cli.verbs.upscale.networks import Network
from psal_cli.verbs.upscale.options import STRIPS as CHOICES
from psal_cli.verbs.upscale.upscaler import Upscaler, check_sides, strip_rows

# Bytes, measured.
SEARCHED, KEPT = 630, 380  # for each pixel of the input: while the attention searches, and what it keeps
LEFT = 430  # for each pixel that is looked at at a time: what the pass over the reduced picture has not given back by then
FEATURE, DRAWN = 18.4, 35  # for each of those while strips are drawn: by feature, and by pixel drawn from it
CSNLN_KEPT, CSNLN_STRIP = 32, 19  # of a published network, by feature: for each pixel of the input, and of a strip of the result
SCORES = 70_000_000  # of its full attention within the scale, which is chunked
PAIR = 9  # of a query that is worked on at a time and a key, with full attention
ROOM = 2_000_000_000  # what full attention may take where no limit is given
FIELD = 8  # of a pixel of the input: where it was found across the scales
STRIPS = 60_000_000  # of what is made a band of rows at a time, and of a sheet for --compare


@dataclass(frozen=True)
class Plan:
    """bytes: the most memory that the process will hold; largest: see `Upscaler`; text: both in words, for the user."""

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
) -> Plan:
    """The most memory that a process will hold that reads, enlarges and writes a picture, and the strips that keep to a limit.

    Args:
        header: what the file says of the picture .
        formats: of what is written, as Pillow names them: "output", and "compare" where there is one.
        networks, ensemble: see `Upscaler`.
        streams: bytes that are piped in and out.
        limit: bytes.

    Raises:
        InvalidValueError: a side that the search cannot count.
        MemoryLimitError: even the smallest strips take more.
    """
    check_sides(networks, header.width, header.height)
    libraries = memory.libraries(baseline(networks))
    for largest in CHOICES:
        working, most = _most(header, formats, networks, ensemble, largest)
        most += libraries + streams + STRIPS
        fits = most <= limit if limit is not None else largest == CHOICES[-1] or working <= ROOM or not _full(networks)
        if fits:
            return Plan(most, largest, f"{memory.in_words(most)}, {largest} pixels at a time")
    size, allowed = f"{header.width}x{header.height}", memory.at_most(limit or 0)
    raise MemoryLimitError(f"{size} takes {memory.in_words(most)} at least, {allowed} are allowed", most, limit)


def strip_pixels(header: Header, networks: tuple[Network, ...], ensemble: bool) -> int:
    """How many pixels to work on at a time where no limit is given: fewer where full attention would take much memory."""
    formats = {"output": "PNG"}
    fitting = (size for size in CHOICES if _most(header, formats, networks, ensemble, size)[0] <= ROOM or not _full(networks))
    return next(fitting, CHOICES[-1])


def _most(
    header: Header, formats: Mapping[str, str], networks: tuple[Network, ...], ensemble: bool, largest: int
) -> tuple[int, int]:
    """Bytes of what a network works on, at most, and at the most expensive of: reading, each pass, writing."""
    itemsize, area, sides = header.bits // 8, header.width * header.height, sorted((header.width, header.height))
    each = itemsize * (header.channels + header.alpha)
    joined = area * each * header.alpha  # colours and alpha as one array
    kept = area * (each + FIELD) + joined
    most, working = memory.reading(area, header.channels, itemsize, header.alpha, header.format), 0
    for network in networks:
        size = area * network.scale**2
        result = size * each + 4 * header.channels * size * ensemble
        short, long = sides
        shapes = ((short, long), (long, short)) if ensemble else ((short, long),)
        at_work = max(_working(network, width, height, largest) for width, height in shapes) + 12 * area
        working = max(working, at_work)
        most = max(most, kept + result + at_work)
        area, sides = size, [side * network.scale for side in sides]
        kept += size * each
    encoder = memory.writing(area, header.channels, itemsize, header.alpha, formats["output"], header.format in memory.LOSSLESS)
    joined = area * each * header.alpha
    return working, max(most, kept + max(joined, encoder))  # a field is drawn for less than it was searched for


def _working(network: Network, width: int, height: int, largest: int) -> int:
    """Bytes that are taken, at most, beside picture and result, with strips of so many pixels' width."""
    area, scale = width * height, network.scale
    looked = min(strip_rows(width, largest) + 2 * network.halo, height) * width
    full = _full((network,))
    if isinstance(network, CSNLN):
        features = network.features
        enlarged = 4 if scale == 4 else 1  # the map of twice the resolution, to which the second stage attends
        total = features * (CSNLN_KEPT * area * enlarged + CSNLN_STRIP * looked * scale**2)
        keys = area * enlarged // network.SEM.ratio**2
        return int(total + (SCORES + PAIR * keys * looked * enlarged if full else 0))
    drawn = KEPT * area + (FEATURE * network.head.out_channels + DRAWN * scale**2) * looked
    total = int(max(drawn, SEARCHED * area + LEFT * looked))
    return total + (PAIR * (area // network.ratio**2) * looked if full else 0)


def _full(networks: tuple[Network, ...]) -> bool:
    return any(getattr(layer, "attention", None) == "full" for network in networks for layer in network.modules())


@cache
def baseline(networks: tuple[Network, ...]) -> int:
    """Bytes that the process holds when the networks have run once and no picture is loaded: to be called before any is."""
    Upscaler(networks)(np.zeros((16, 16, 3), np.uint8))
    return memory.held()
