"""Memory model of reconstruct: bytes at each step, from the headers of the pictures."""

from functools import cache

import numpy as np

from psal_cli import memory
from psal_cli.attention.patches import CHUNK
from psal_cli.image import Header
from psal_cli.verbs.reconstruct.rebuild import rebuild

# Bytes, measured (tests/bench/bench_memory.py compares the estimates with measurements).
MATCH = 24  # per pixel and neighbour
TABLE = 24  # per pixel of the key: its sketch and the table of sketches
SKETCH = 16  # per pixel of the query
PLACES = 50  # per pixel of the query with full attention, besides its patches
STRIPS = 40_000_000  # of strips


def plan(
    query: Header,
    key: Header,
    formats: dict[str, str],
    *,
    attention: str,
    patch_size: int,
    k: int,
    streams: int = 0,
    limit: int | None = None,
) -> memory.Plan:
    """Peak memory of reading, rebuilding and writing a picture.

    Args:
        query, key: their headers.
        formats: option ("output", "save_offsets") -> Pillow's name of the format that is written.
        attention, patch_size, k: see `ReconstructOptions`.
        streams: bytes that are piped in and out.
        limit: bytes.

    Raises:
        MemoryLimitError: it takes more.
    """
    asked, given = (head.width * head.height for head in (query, key))
    reading, kept = memory.reading_all([query, key])
    kept += given * (key.bits // 8) * (key.channels + 1) * key.alpha  # colours and alpha as one array
    compared = query.channels if query.channels == key.channels else 1
    features = 4 * (compared * (asked + given) + key.channels * (given if compared != key.channels else 0))
    features += sum(8 * x.channels * x.width * x.height * (x.bits == 32) for x in (query, key))  # range-compressed
    if attention == "full":
        patches, gathered = 4 * (compared + 1) * patch_size**2 * given, 8 * patch_size**2 * given
        working = features + PLACES * given + 8 * key.channels * asked + patches + max(gathered, 4 * CHUNK)
    else:
        aggregated = 4 * key.channels * asked * (attention == "aggregation")
        working = features + TABLE * given + max(MATCH * k + SKETCH, 12 * key.channels) * asked + aggregated
    itemsize = query.bits // 8
    result = asked * key.channels * itemsize + 8 * k * asked * (attention != "full")
    writing = memory.writing_result(asked, key.channels, query, formats, k)
    most = memory.libraries(baseline()) + streams + STRIPS + max(reading, kept + max(working, result + writing))
    return memory.whole_plan(most, limit)


@cache
def baseline() -> int:
    """Bytes of the process after a first run of the engine, with no picture loaded; call it before loading any."""
    pixels = np.arange(0, 192, dtype=np.uint8).reshape(8, 8, 3)
    rebuild(pixels, pixels)
    return memory.held()
