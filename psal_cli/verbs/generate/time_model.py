"""Time model of generate: seconds of each step, from the header of the picture."""

from collections.abc import Mapping

from psal_cli import timing
from psal_cli.image import Header
from psal_cli.verbs.generate.options import GenerateOptions
from psal_cli.verbs.generate.sampling import level_cost, levels_for, transported

ATTEMPTS = 1.3  # of "psinot": a sample that reproduces the reference is restarted


def cost(reference: Header, size: tuple[int, int], formats: Mapping[str, str], options: GenerateOptions) -> timing.Cost:
    """The cost of reading a reference, making a sample of `size` (height, width) and writing it.

    Args:
        reference: its header.
        formats: option -> Pillow's name of the format that is written; "output" is the result.

    Raises:
        InvalidValueError: levels that do not fit.
    """
    own, psinot = (reference.height, reference.width), options.method == "psinot"
    levels = levels_for(own, size, options.patch_size, options.method, options.levels)
    moved = transported(own, options.patch_size, levels) if psinot else []
    channels = reference.channels + reference.alpha
    work = [level_cost(own, size, number, options, moved, channels) for number in range(levels)]
    files = timing.reading(reference) + timing.writing(size[0] * size[1], reference.channels, reference, formats)
    return files + timing.Cost(0, 1e-9 * sum(work) * (ATTEMPTS if psinot else 1))
