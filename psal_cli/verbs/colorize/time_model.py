"""Time model of colorize: seconds of each step, from the headers of the pictures."""

from collections.abc import Mapping, Sequence

from psal_cli import timing
from psal_cli.image import Header
from psal_cli.verbs.colorize import coarse_to_fine, workload
from psal_cli.verbs.colorize.options import PAPER_ITERATIONS, ColorizeOptions

INSPECT = 25.0  # nanoseconds per pixel of all pictures: testing for grey, resizing


def cost(target: Header, references: Sequence[Header], formats: Mapping[str, str], options: ColorizeOptions) -> timing.Cost:
    """The cost of reading, colouring and writing a picture.

    Args:
        target, references: their headers.
        formats: option -> Pillow's name of the format that is written; "output" is the result.
    """
    files = timing.writing(target.width * target.height, 3, target, formats)
    sizes = [head.width * head.height for head in (target, *references)]
    for head in (target, *references):
        files += timing.reading(head)
    files += timing.Cost(1e-9 * (INSPECT * sum(sizes) + workload.APPLY * sizes[0]))
    if options.engine == "paper":
        rounds = options.iterations or PAPER_ITERATIONS
        return files + timing.Cost(0, 1e-9 * workload.paper_cost(sizes[0], sum(sizes[1:]), options.attention, rounds))
    if not references:
        return files + timing.Cost(0, 1e-9 * workload.GUESS * options.auto)
    shapes = [(head.height, head.width) for head in references]
    size, semantic = (target.height, target.width), options.features == "semantic"
    return files + timing.Cost(0, 1e-9 * coarse_to_fine.search_cost(size, shapes, options.longest_side, semantic))
