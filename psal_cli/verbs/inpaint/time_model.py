"""Time model of inpaint: seconds of each step, from the header of the picture and its hole."""

from collections.abc import Mapping, Sequence

import numpy as np

from psal_cli import timing
from psal_cli.image import Header
from psal_cli.networks.contextual_attention import MULTIPLE
from psal_cli.patchmatch.pyramid import halve_mask
from psal_cli.patchmatch.regions import Region, area, crop, inner_radius, part_boxes, windows
from psal_cli.verbs.inpaint.completion import COARSEST_SIDE, guided_level, levels_of
from psal_cli.verbs.inpaint.guide import kind_of_guide, network_for
from psal_cli.verbs.inpaint.options import InpaintOptions
from psal_cli.verbs.inpaint.painter import PIECE, pieces
from psal_cli.verbs.inpaint.workload import FEATURES, PYRAMID, workload

COMPOSE = 400.0  # nanoseconds a pixel of the hole: the last composition, and the result
INSPECT = 6.0  # a pixel of the picture: labelling parts, visibility and the result
# Engine "network", nanoseconds: a pixel of the picture, and a pixel that the network sees.
CONTEXT, DRAWN = 690.0, 2300.0


def cost(
    header: Header, formats: Mapping[str, str], hole: Region, options: InpaintOptions, masks: Sequence[Header] = ()
) -> timing.Cost:
    """The cost of reading, filling and writing a picture.

    Args:
        header: of the picture; masks: headers of its masks.
        formats: option -> Pillow's name of the format that is written; "output" is the result.
        hole: bool [H, W]; if it is empty, the picture is only copied.
    """
    files = timing.reading(header) + timing.writing(hole.size, header.channels, header, formats)
    for mask in masks:
        files += timing.reading_mask(mask)
    inside = int(np.count_nonzero(hole))
    if not inside:
        return files
    files += timing.Cost(1e-9 * INSPECT * hole.size)
    if options.engine == "network":
        whole = np.pad(hole, [(0, -side % MULTIPLE) for side in hole.shape])
        looked = sum(area(piece.view) for piece in pieces(whole, PIECE))
        return files + timing.Cost(0, 1e-9 * (CONTEXT * hole.size + DRAWN * looked))
    boxes = windows(hole.shape, part_boxes(hole, options.patch_size), options.reach)
    for box in boxes:
        files += _completion(crop(hole, box), header.channels, options)
    return files + timing.Cost(0, 1e-9 * COMPOSE * inside)


def _completion(hole: Region, channels: int, options: InpaintOptions) -> timing.Cost:
    """The cost of completing a window of the picture."""
    holes, radius = [hole], inner_radius(hole)
    for _ in range(1, levels_of(radius)):
        smaller = halve_mask(holes[-1])
        if min(smaller.shape) < max(COARSEST_SIDE, 2 * options.patch_size) or smaller.all():
            break
        holes.append(smaller)
    network = network_for(options)
    guide = None if network is None else kind_of_guide(network)
    level = None if guide is None else guided_level(radius, len(holes), guide.radius)
    work = workload(holes, guide if level else None, level or 0, options.iterations, options.patch_size, channels)
    serial = PYRAMID * hole.size + sum(FEATURES[number > 0] * level.size for number, level in enumerate(holes))
    return timing.Cost(1e-9 * serial, 1e-9 * (work.total - serial))
