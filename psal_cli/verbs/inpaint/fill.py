"""Fills a hole, each part from its surroundings, with patches that are copied and joined or with the drawing of a network."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from psal_cli import ops
from psal_cli.image.extended_range import limits
from psal_cli.patchmatch.pyramid import Floats, Guide, floats
from psal_cli.patchmatch.regions import Box, Region, area, crop, part_boxes, windows
from psal_cli.verbs.hooks import Meter, Progress, part_of
from psal_cli.verbs.inpaint.completion import NothingToCopyError, complete
from psal_cli.verbs.inpaint.options import InpaintOptions
from psal_cli.verbs.inpaint.painter import Draw

# Parameters of the composition: the weight of the copies' own colours, enough to keep differences over tens of pixels (shadows,
# gradients), and the residual, below one step of 16 bits.
FIDELITY, STEPS, TOLERANCE = 0.001, 200, 1e-4
JOINING = 0.03  # of the time: the composition


@dataclass(frozen=True, eq=False)
class Filled:
    """The result for the n pixels of a hole, in raster order.

    Attributes:
        values: float32 [n, C], in [0, 1] or within the range of the picture, if that is wider.
        origins: int32 [n, 2], the (row, column) that each was copied from; None if a network drew them.
    """

    values: Floats
    origins: npt.NDArray[np.int32] | None


def fill(
    pixels: np.ndarray,
    hole: Region,
    barred: Region,
    options: InpaintOptions,
    network: Draw | Guide | None = None,
    progress: Progress | None = None,
) -> Filled:
    """Fills a hole with patches of the rest of the picture (see `completion`), with a network, or with both.

    Args:
        pixels: [H, W, C], uint8, uint16 or float32, C 1 or 3, range-compressed (`psal_cli.image.extended_range`). Integers are
            converted to floats only where they are processed.
        hole: bool [H, W], True = fill; any number of parts of any size, also at the border.
        barred: bool [H, W], what may not be copied from, including the hole.
        options: see `InpaintOptions`.
        network: the one that draws (engine "network") or guides the search ("combined"); None with "patch".

    Raises:
        NothingToCopyError: there is no whole patch to copy from.
        ValueError: as the attention of the network raises.
    """
    if options.engine == "network":
        assert network is not None
        meter = Meter(progress, 1.0)
        meter.begin(1.0, f"{hole.shape[1]}x{hole.shape[0]}")
        drawn = network(floats(pixels).clip(0, 1), hole).clip(0, 1)
        meter.spend(1.0)
        return Filled(drawn, None)
    guide = network if options.engine == "combined" and isinstance(network, Guide) else None
    inside, span = np.flatnonzero(hole), limits(pixels)
    values = np.empty((len(inside), pixels.shape[2]), np.float32)
    origins = np.empty((len(inside), 2), np.int32)
    boxes = windows(hole.shape, part_boxes(hole, options.patch_size) if options.reach else [], options.reach)
    shares = np.cumsum([0, *map(area, boxes)]) / sum(map(area, boxes))
    for number, window in enumerate(boxes, 1):
        view = np.s_[window[0] : window[1], window[2] : window[3]]
        start, stop = shares[number - 1 : number + 1]
        joining = stop - JOINING * (stop - start)
        part = "" if len(boxes) == 1 else f", part {number} of {len(boxes)}"
        tell, mended = part_of(progress, start, joining, part), part_of(progress, joining, stop, part)
        try:
            parts = complete(
                pixels[view], hole[view], barred[view], options.patch_size, options.iterations, options.seed, tell, guide
            )
        except NothingToCopyError as error:
            raise NothingToCopyError(error.patch_size, options.reach) from error
        count = len(parts)
        while parts:
            if mended:
                mended(1 - len(parts) / count, "joining the copies")
            box, sources = parts.pop()
            origin: npt.NDArray[np.int32] = sources.numpy()
            place = np.searchsorted(inside, _places(hole[view], box, window, hole.shape[1]))
            values[place] = _joined(pixels[view], hole[view], barred[view], box, origin, options.blend).clip(*span)
            origins[place] = origin + np.array([window[0], window[2]], np.int32)
    return Filled(values, origins)


def _places(hole: Region, box: Box, window: Box, width: int) -> npt.NDArray[np.intp]:
    """Flat indices, in the whole picture, of the hole's pixels inside a box of a window."""
    row, column = np.nonzero(crop(hole, box))
    return (row + (box[0] + window[0])) * width + (column + (box[2] + window[2]))


def _joined(pixels: np.ndarray, hole: Region, barred: Region, box: Box, origin: npt.NDArray[np.int32], blend: bool) -> np.ndarray:
    """float32 [n, C]: the values of the n hole pixels in a box, in raster order."""
    if not blend:
        return floats(pixels[origin[:, 0], origin[:, 1]])
    unknown = crop(hole, box)
    return ops.compose(pixels, barred, unknown, origin, (box[0], box[2]), FIDELITY, STEPS, TOLERANCE)
