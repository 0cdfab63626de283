"""`psal_cli.upscale`: enlarges a picture by a factor, or to a size."""

from dataclasses import dataclass, replace
from typing import Unpack

import numpy.typing as npt

from psal_cli.image.arrays import Pixels, joined, split
from psal_cli.verbs.hooks import Cancel, Progress, part_of, watched
from psal_cli.verbs.upscale import memory_model
from psal_cli.verbs.upscale.blending import blend_into
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
        image: the enlarged picture, with the channels and dtype of the input.
        field: the cross-scale match of each pixel (Mei et al. 2020, arXiv 2006.01424), in the picture reduced by 2 (by 3
            for x3). None with full attention or with weights without attention. For a blend it is that of the clean model.
        model: "clean", "photo", or "blend" with a strength between 0 and 1; None with other weights.
        device: where the network ran; "cpu" if a GPU had too little memory for it.

    Example:
        >>> import numpy as np
        >>> result = upscale(np.zeros((12, 16, 3), np.uint8), 2, model="photo")
        >>> result.model, result.device
        ('photo', 'cpu')
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

    Networks enlarge 2, 3 or 4 times, and twice in a row for 6, 8, 9, 12 or 16. For other factors the result of the next larger
    one is reduced by an antialiased cubic kernel. A picture that is larger than the requested size is only reduced.

    Cross-scale attention transfers detail from similar patches of other sizes in the picture (after Mei et al. 2020, arXiv
    2006.01424).

    Args:
        image: [H, W], [H, W, 3] or [H, W, 4], uint8, uint16 or float32; or anything that `np.asarray` turns into such an array.
            Colours of fully transparent pixels are ignored. Floats below 0 or above 1 are kept: the excess, which networks cannot
            handle, is enlarged by the cubic kernel.
        scale: above 1, at most 16; None if the options name a size, or for the scale of the weights in the options. With such
            weights, a whole scale must be theirs or a power of it.
        options: see `UpscaleOptions`; changes: single options by name, which override `options`.
        progress: called several times per strip with the share of the work done, 0 to 1, and the name of the current step.
        cancel: called as often; if it returns True, CancelledError is raised.
        max_memory: most bytes that the process may use. Strips are made as small as necessary.

    Raises:
        InvalidValueError: a picture, a scale or an option that cannot be used; a side too long for the engine.
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
    model, single = _settled(options, layers.pixels)
    networks, size = prepared(layers.pixels.shape[1::-1], scale, single)
    others = prepared(layers.pixels.shape[1::-1], scale, options)[0] if options.blended else ()
    if max_memory is not None:
        formats = {"output": "PNG"}
        plan = memory_model.plan(
            layers.header, formats, networks, ensemble=options.ensemble, limit=max_memory, size=size, blended=options.blended
        )
        strip_pixels = min(plan.largest, options.strip_pixels or plan.largest)
    else:
        strip_pixels = options.strip_pixels or memory_model.strip_pixels(layers.header, networks, options.ensemble)
    enlarge = Upscaler(networks, options.device, largest=strip_pixels, seed=options.seed, ensemble=options.ensemble)
    tell = watched(progress, cancel)
    pixels, alpha = enlarge(layers.pixels, layers.alpha, part_of(tell, 0, 0.5) if others else tell, size)
    device = enlarge.device
    if others:
        second = Upscaler(others, options.device, largest=strip_pixels, seed=options.seed, ensemble=options.ensemble)
        for made, other in zip((pixels, alpha), second(layers.pixels, layers.alpha, part_of(tell, 0.5, 1), size), strict=True):
            if made is not None and other is not None:
                blend_into(made, other, options.strength or 0.0)
        device = second.device if device != "cpu" else device
    return UpscaleResult(joined(pixels, alpha), enlarge.field, model, device)


def _settled(options: UpscaleOptions, pixels: Pixels) -> tuple[str | None, UpscaleOptions]:
    """The name of the model, see `UpscaleResult.model`, and the options of the network that runs (first, for a blend)."""
    if options.weights is not None:
        return None, options
    if options.blended:
        return "blend", options.of("clean")
    if options.strength is not None:
        model = "photo" if options.strength else "clean"
    else:
        model = model_for(pixels) if options.model == "auto" else options.model
    return model, options.of(model)
