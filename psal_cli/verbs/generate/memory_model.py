"""Memory model of generate: bytes at each step, from the headers of the pictures."""

from functools import cache

import numpy as np

from psal_cli import memory
from psal_cli.image import Header
from psal_cli.patchmatch.pyramid import TEXTURES
from psal_cli.verbs.generate.options import GenerateOptions
from psal_cli.verbs.generate.sampling import halved, levels_for, sample, transported
from psal_cli.verbs.generate.transport import SAMPLE

# Bytes, measured (tests/bench/bench_memory.py compares the estimates with measurements).
FIELD = 76  # per pixel of the sample: field, similarities, masks, sketches and the coarser field
COHERENCE = 330  # per pixel of the sample: the matches of its neighbours
TABLE = 24  # per pixel of the reference: its sketch and the table of sketches
STRIPS = 40_000_000  # of strips


def plan(
    reference: Header,
    size: tuple[int, int],
    formats: dict[str, str],
    keep: Header | None = None,
    *,
    method: str,
    levels: int | None,
    patch_size: int,
    coherence: bool,
    streams: int = 0,
    limit: int | None = None,
) -> memory.Plan:
    """Peak memory of reading a reference, making a sample and writing it.

    Args:
        reference, keep: their headers.
        size: (height, width) of the sample.
        formats: option ("output", "save_offsets") -> Pillow's name of the format that is written.
        method, levels, patch_size, coherence: see `GenerateOptions`.
        streams: bytes that are piped in and out.
        limit: bytes.

    Raises:
        InvalidValueError: levels that do not fit.
        MemoryLimitError: it takes more.
    """
    own = reference.height, reference.width
    levels = levels_for(own, size, patch_size, method, levels)
    read_pixels, made_pixels = reference.height * reference.width, size[0] * size[1]
    reading, kept = memory.reading_all([reference] + ([keep] if keep else []))
    channels, itemsize = reference.channels + reference.alpha, reference.bits // 8
    features = 4 * (channels + TEXTURES)
    floats = (4 + itemsize) * channels * read_pixels * reference.alpha  # with alpha: floats, RGBA in one array
    floats += 2 * itemsize * channels * read_pixels * (reference.bits == 32)  # range-compressed, and the temporaries of that
    finest = (features + TABLE) * read_pixels + (2 * features + FIELD + COHERENCE * coherence) * made_pixels
    halves = features * read_pixels // 3 * (levels > 1)
    working = floats + max(finest + halves // 4, halves)
    for number in transported(own, patch_size, levels) if method == "psinot" else ():
        keys, queries = (height * width for height, width in (halved(own, number), halved(size, number)))
        moving = 3 * features * patch_size**2 * keys + features * patch_size**2 * queries + 12 * min(queries, SAMPLE) * keys
        working = max(working, floats + halves + moving)
    result = (itemsize * channels * (1 + reference.alpha) + 8 + 4 * features) * made_pixels
    writing = memory.writing_result(made_pixels, reference.channels, reference, formats)
    most = memory.libraries(baseline()) + streams + STRIPS + max(reading, kept + max(working, result + writing))
    return memory.whole_plan(most, limit)


@cache
def baseline() -> int:
    """Bytes of the process after a first run of the engine, with no picture loaded; call it before loading any."""
    pixels = np.arange(0, 192, dtype=np.uint8).reshape(8, 8, 3)
    sample(pixels, options=GenerateOptions(patch_size=3, iterations=2))
    return memory.held()
