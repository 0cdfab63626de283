"""Time model of upscale: seconds of each step, from the header of the picture."""

from collections.abc import Mapping
from functools import partial
from math import prod

from psal_cli import timing
from psal_cli.image import Header
from psal_cli.verbs.upscale.networks import Network
from psal_cli.verbs.upscale.upscaler import strip_rows
from psal_cli.verbs.upscale.workload import total_cost

REDUCED = 12.0  # nanoseconds per value while a result is reduced to its size


def cost(
    header: Header,
    formats: Mapping[str, str],
    networks: tuple[Network, ...],
    largest: int,
    ensemble: bool = False,
    size: tuple[int, int] | None = None,
    blended: bool = False,
) -> timing.Cost:
    """The cost of reading, enlarging and writing a picture.

    Args:
        header: of the picture.
        formats: option -> Pillow's name of the format that is written; "output" is the result.
        networks, largest, ensemble: see `Upscaler`; size: (width, height) to which the result is reduced.
        blended: whether a second model runs after the first.
    """
    drawn = header.width * header.height * prod(network.scale**2 for network in networks)
    made = prod(size) if size else drawn
    files = timing.reading(header) + timing.writing(made, header.channels, header, formats)
    rows_for = partial(strip_rows, largest=largest)
    work = total_cost(networks, (header.height, header.width), rows_for, largest, 1 + header.alpha, 8 if ensemble else 1)
    reduction = REDUCED * drawn * header.channels if made < drawn else 0.0
    models = 1 + (blended and bool(networks))  # a picture that is only reduced needs no model
    return files + timing.Cost(1e-9 * reduction * models, 1e-9 * work * models)
