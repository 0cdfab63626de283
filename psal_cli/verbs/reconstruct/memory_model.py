"""Memory of reconstruct: bytes at each of its steps, from the headers of its pictures."""

from functools import cache

import numpy as np

from psal_cli import memory
from psal_cli.attention.patches import CHUNK
from psal_cli.image import Header
from psal_cli.verbs.reconstruct.rebuild import rebuild

# Bytes, measured.
MATCH = 24  # of each neighbour of a pixel
TABLE = 24  # of each pixel of the key: its sketch, and the table of sketches
SKETCH = 16  # of each pixel of the query
PLACES = 50  # the same, of full attention, beside its patches
STRIPS = 40_000_000  # of what is made a strip of rows at a time


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
    """The most memory that a process will hold that reads, rebuilds and writes a picture.

    Args:
        query, key: what their files say of them.
        formats: of what is written, as Pillow names them: "output", and "save_offsets" where there is one.
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
    features += sum(8 * x.channels * x.width * x.height * (x.bits == 32) for x in (query, key))  # compressed beyond white
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
    """Bytes that the process holds when the engine has run once and no picture is loaded: to be called before any is."""
    pixels = np.arange(0, 192, dtype=np.uint8).reshape(8, 8, 3)
    rebuild(pixels, pixels)
    return memory.held()
