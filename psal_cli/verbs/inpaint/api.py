"""`psal_cli.inpaint`: fills the masked part of a picture."""

from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np
import numpy.typing as npt

from psal_cli.errors import InvalidValueError, MemoryLimitError
from psal_cli.image.arrays import Layers, Pixels, replaced, split
from psal_cli.image.extended_range import compressed, expanded
from psal_cli.verbs.hooks import Cancel, Progress, watched
from psal_cli.verbs.inpaint import memory_model
from psal_cli.verbs.inpaint.completion import NothingToCopyError
from psal_cli.verbs.inpaint.fill import fill
from psal_cli.verbs.inpaint.guide import guide_for, network_for
from psal_cli.verbs.inpaint.options import InpaintChanges, InpaintOptions
from psal_cli.verbs.inpaint.own_painter import own_painter
from psal_cli.verbs.inpaint.painter import painter_for
from psal_cli.verbs.inpaint.transparency import covered
from psal_cli.viz.field import Field
from psal_cli.viz.rich import Shown

Region = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class InpaintResult(Shown):
    """What `psal_cli.inpaint` returns.

    Attributes:
        image: the filled picture, with the shape and dtype of the input. Pixels outside the mask are unchanged, bit for bit.
        filled: bool [H, W], the n pixels that were filled.
        origins: int32 [n, 2], the (row, column) that each of the n filled pixels was copied from, in raster order (the shift
            map of Newson et al. 2017 plus the pixel's position); None with engine "network".
        reach: pixels around each hole that patches were copied from; None for the whole picture.
        device: where the network ran; "cpu" if a GPU had too little memory for it, and if there is no network.

    Example:
        >>> import numpy as np
        >>> filled, origins = np.array([[True, False, False]]), np.array([[0, 2]], np.int32)
        >>> InpaintResult(np.zeros((1, 3), np.uint8), filled, origins, None).field.sources.tolist()  # rows, columns
        [[[[0, -1, -1]], [[2, -1, -1]]]]
    """

    image: Pixels
    filled: Region
    origins: npt.NDArray[np.int32] | None
    reach: int | None
    device: str = "cpu"

    @property
    def field(self) -> Field | None:
        """The origins as a field of the whole picture, -1 outside the mask; None with engine "network". Each call creates it."""
        if self.origins is None:
            return None
        height, width = self.filled.shape
        sources = np.full((1, 2, height, width), -1, np.int32)
        sources[0][:, self.filled] = self.origins.T
        return Field(sources, ((height, width),))


def inpaint(
    image: npt.ArrayLike,
    mask: npt.ArrayLike,
    options: InpaintOptions | None = None,
    *,
    source_mask: npt.ArrayLike | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    max_memory: int | None = None,
    **changes: Unpack[InpaintChanges],
) -> InpaintResult:
    """Fills the masked part of a picture with fitting patches from the rest of it, at full resolution.

    Patches are searched and copied from coarse to fine (after Newson et al. 2017, "Non-local patch-based image inpainting",
    IPOL), guided by learned features (`psal_cli.networks.learned_copying`), and joined in the gradient domain (Perez et al.
    2003). Engine "network" is the network of Yu et al. 2018 with the attention of Cherel et al. 2022 (arXiv 2202.03163).

    Args:
        image: [H, W], [H, W, 3] or [H, W, 4], uint8, uint16 or float32; or anything that `np.asarray` turns into such an array.
            Alpha does not change. Fully transparent pixels are not copied. Floats may lie outside [0, 1]: such values are
            range-compressed for comparing and joining patches, and clipped for networks.
        mask: bool [H, W], True = fill; any number of holes of any size, also at the border. Or float32 [H, W] in [0, 1], the
            opacity of the fill: all pixels above 0 are filled and blended with the original.
        options: see `InpaintOptions`; changes: single options by name, which override `options`.
        source_mask: bool [H, W], True = may be copied from; default: everywhere outside the mask. The network sees the whole
            picture.
        progress: called several times per level with the share of the work done, 0 to 1, and the name of the current step.
        cancel: called as often; if it returns True, CancelledError is raised.
        max_memory: most bytes that the process may use. Holes are then filled from the largest reach that fits.

    Raises:
        InvalidValueError: a picture, a mask or an option that cannot be used; an empty mask; nothing left to copy from.
        InputError: weights that cannot be read or do not fit.
        MemoryLimitError: even the smallest reach that leaves enough to copy from takes more than max_memory.
        CancelledError: `cancel` returned True.
        torch.OutOfMemoryError: even the CPU has too little memory.

    Example:
        >>> import numpy as np
        >>> stripes = np.indices((48, 64)).sum(0).astype(np.uint8) % 8 * 30
        >>> mask = np.zeros((48, 64), bool)
        >>> mask[20:30, 24:36] = True
        >>> result = inpaint(np.where(mask, 255, stripes).astype(np.uint8), mask, engine="patch")
        >>> (result.image == stripes).all(), result.field.sources.shape
        (np.True_, (1, 2, 48, 64))
    """
    options = replace(options or InpaintOptions(), **changes)
    layers = split(image)
    hole, share = _hole(mask, layers)
    source = None if source_mask is None else _region("source_mask", source_mask, layers)
    visible = None if layers.alpha is None or layers.alpha.all() else layers.alpha > 0
    barred = hole
    for allowed in (source, visible):
        barred = barred if allowed is None else barred | ~allowed
    reach = options.reach
    if max_memory is not None:
        reach = _reach(layers, hole, options, max_memory, source=barred is not hole, soft=share is not None)
    pixels = compressed(layers.pixels)
    pixels = pixels if visible is None else covered(pixels, visible, hole)
    network = (
        guide_for(options) if options.engine != "network" else own_painter(options) if options.painter else painter_for(options)
    )
    try:
        filled = fill(pixels, hole, barred, replace(options, reach=reach), network, watched(progress, cancel))
    except NothingToCopyError as error:
        if reach == options.reach:
            raise
        raise MemoryLimitError(f"the memory allowed suffices for {reach} pixels around each hole: {error}") from error
    values = expanded(filled.values)
    if filled.origins is not None and not options.blend and layers.pixels.dtype.kind == "f":  # exact copies
        values = layers.pixels[filled.origins[:, 0], filled.origins[:, 1]]
    composed = replaced(np.asarray(image), hole, values, share)
    device = "cpu" if network is None else network.device
    return InpaintResult(composed, hole, filled.origins, None if filled.origins is None else reach, device)


def _reach(layers: Layers, hole: Region, options: InpaintOptions, limit: int, *, source: bool, soft: bool) -> int | None:
    """The largest reach within a memory limit, at most that of the options."""
    plan = memory_model.plan(
        layers.header,
        {"output": "PNG"},
        hole,
        source=source,
        soft=soft,
        patch_size=options.patch_size,
        engine=options.engine,
        network=network_for(options),
        limit=limit,
        at_most=options.reach,
    )
    return plan.reach


def _hole(mask: npt.ArrayLike, layers: Layers) -> tuple[Region, npt.NDArray[np.float32] | None]:
    """The hole, bool [H, W], and for a float mask the opacity of the fill."""
    array, share = np.asarray(mask), None
    if array.dtype == np.float32:
        if not (array.min(initial=0) >= 0 and array.max(initial=0) <= 1):  # NaN too
            raise InvalidValueError("mask", f"an array of values from {array.min():g} to {array.max():g}", "values in [0, 1]")
        share, array = array, array > 0
    hole = _region("mask", array, layers)
    if not hole.any():
        raise InvalidValueError("mask", "empty", "at least one pixel to fill")
    if hole.all():
        raise InvalidValueError("mask", "as large as the picture", "some pixels outside of it, to copy from")
    return hole, share


def _region(what: str, given: npt.ArrayLike, layers: Layers) -> Region:
    region = np.asarray(given)
    if region.dtype != np.bool_ or region.shape != layers.pixels.shape[:2]:
        expected = f"bool {list(layers.pixels.shape[:2])}, the size of the picture"
        raise InvalidValueError(what, f"{region.dtype} {list(region.shape)}", expected)
    return region
