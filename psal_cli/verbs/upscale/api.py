"""`psal_cli.upscale`: enlarge a picture by a factor, or to a size."""

from dataclasses import dataclass, replace
from typing import Unpack

import numpy.typing as npt

from psal_cli.image.arrays import Pixels, joined, split
from psal_cli.verbs.hooks import Cancel, Progress, watched
from psal_cli.verbs.upscale import memory_model
from psal_cli.verbs.upscale.degradation import model_for
from psal_cli.verbs.upscale.networks import prepared
from psal_cli.verbs.upscale.options import UpscaleChanges, UpscaleOptions
from psal_cli.verbs.upscale.upscaler import Upscaler
from psal_cli.viz.field import Field
from psal_cli.viz.rich import Shown


@dataclass(frozen=True, eq=False)
class UpscaleResult(Shown):
    """What `psal_cli.upscale` returns.

    Attributes:
        image: the enlarged picture, with the channels and the dtype that it had.
        field: where across the scales each pixel of the picture found what is most like it, in the picture reduced by 2 (x3:
            by 3). None with full attention, or weights without attention.
        model: "clean" or "photo", None with weights of the user's.
        device: where the network ran, "cpu" where a GPU had too little memory for it.
    """

    image: Pixels
    field: Field | None
    model: str | None
    device: str = "cpu"


def upscale(
    image: npt.ArrayLike,
    scale: float | None = None,
    options: UpscaleOptions | None = None,
    *,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    max_memory: int | None = None,
    **changes: Unpack[UpscaleChanges],
) -> UpscaleResult:
    """Enlarges a picture by a factor, or to a size.

    Networks enlarge 2, 3 or 4 times, twice in a row for 6, 8, 9, 12 or 16. For anything between, the next larger of these factors
    is taken and its result reduced by the cubic kernel, without aliasing. A picture that is larger than asked is reduced only.

    A network draws the picture at the higher resolution; cross-scale attention adds what the picture shows elsewhere at
    another size (after Mei et al. 2020, arXiv 2006.01424).

    Args:
        image: [H, W], [H, W, 3] or [H, W, 4], uint8, uint16 or float32; whatever `np.asarray` makes such an array of.
            Colours under full transparency do not count. Floats below 0 or above 1, which no network has seen, are kept: what
            they have beyond is enlarged by the cubic kernel.
        scale: above 1, at most 16; None where the options name a size, or for the scale of the options' weights. A whole scale
            must be one of those weights', or a power of it.
        options: see `UpscaleOptions`; changes: single options by name, which override it.
        progress: called with the share of the work that is done, from 0 to 1, and with what is being done, several times a strip.
        cancel: called as often; when it returns True, CancelledError is raised.
        max_memory: bytes that the process may hold. Strips are made as small as that needs.

    Raises:
        InvalidValueError: a picture, a scale or an option that cannot be used; a side that the search cannot count.
        InputError: weights that cannot be read or do not fit.
        MemoryLimitError: even the smallest strips take more than max_memory.
        CancelledError: `cancel` returned True.
        torch.OutOfMemoryError: even the CPU has too little memory.

    Example:
        >>> import numpy as np
        >>> result = upscale(np.zeros((12, 16, 3), np.uint8), 2)
        >>> result.image.shape, result.field.sources.shape
        ((24, 32, 3), (1, 2, 12, 16))
    """
    options = replace(options or UpscaleOptions(), **changes)
    layers = split(image)
    if options.model == "auto" and options.weights is None:
        options = replace(options, model=model_for(layers.pixels))
    networks, size = prepared(layers.pixels.shape[1::-1], scale, options)
    if max_memory is not None:
        formats = {"output": "PNG"}
        plan = memory_model.plan(layers.header, formats, networks, ensemble=options.ensemble, limit=max_memory, size=size)
        strip_pixels = min(plan.largest, options.strip_pixels or plan.largest)
    else:
        strip_pixels = options.strip_pixels or memory_model.strip_pixels(layers.header, networks, options.ensemble)
    enlarge = Upscaler(networks, options.device, largest=strip_pixels, seed=options.seed, ensemble=options.ensemble)
    pixels, alpha = enlarge(layers.pixels, layers.alpha, watched(progress, cancel), size)
    model = options.model if options.weights is None else None
    return UpscaleResult(joined(pixels, alpha), enlarge.field, model, enlarge.device)
