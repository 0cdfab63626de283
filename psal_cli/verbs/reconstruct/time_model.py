"""Time model of reconstruct: seconds of each step, from the headers of the pictures."""

from collections.abc import Mapping

from psal_cli import timing
from psal_cli.image import Header
from psal_cli.verbs.reconstruct.options import ReconstructOptions

PREPARE = 40.0  # nanoseconds a pixel of both: features and tables
SEARCH = 3.0  # a pixel, neighbour, round, pixel of a patch and channel
COMPARE = 3.0  # the same, without rounds: the similarities of the matches
MEAN = 60.0  # a pixel and neighbour: the weighted mean; with aggregation for each pixel of a patch
PAIR = 0.12  # a pair of pixels, pixel of a patch and channel, with full attention


def cost(query: Header, key: Header, formats: Mapping[str, str], options: ReconstructOptions) -> timing.Cost:
    """The cost of reading both pictures, rebuilding one of them and writing it.

    Args:
        query, key: their headers.
        formats: option -> Pillow's name of the format that is written; "output" is the result.
    """
    asked, given = (head.width * head.height for head in (query, key))
    compared = query.channels if query.channels == key.channels else 1
    patch = options.patch_size**2 * compared
    files = timing.reading(query) + timing.reading(key) + timing.writing(asked, key.channels, query, formats)
    files += timing.Cost(1e-9 * PREPARE * (asked + given))
    if options.attention == "full":
        return files + timing.Cost(0, 1e-9 * PAIR * patch * asked * given)
    each = (SEARCH * options.iterations + COMPARE) * patch + MEAN
    if options.attention == "aggregation":
        each += MEAN * options.patch_size**2
    return files + timing.Cost(0, 1e-9 * each * options.k * asked)
