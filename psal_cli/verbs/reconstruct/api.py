"""`psal_cli.reconstruct`: rebuild a picture from the pixels of another."""

from dataclasses import dataclass, replace
from typing import Unpack

import numpy.typing as npt

from psal_cli.image.arrays import Pixels, joined, split
from psal_cli.verbs.hooks import Cancel, Meter, Progress, watched
from psal_cli.verbs.reconstruct import memory_model
from psal_cli.verbs.reconstruct.options import ReconstructChanges, ReconstructOptions
from psal_cli.verbs.reconstruct.rebuild import psnr, rebuild
from psal_cli.viz.field import Field
from psal_cli.viz.rich import Shown


@dataclass(frozen=True, eq=False)
class ReconstructResult(Shown):
    """What `psal_cli.reconstruct` returns.

    Attributes:
        image: of the size, the dtype and the alpha of the picture, with the colour channels of the reference.
        field: the k matches of each pixel in the reference, best first. None with full attention.
        psnr: decibels of the colours against the picture's, infinite where they are equal; None where one of the two is grey.
    """

    image: Pixels
    field: Field | None
    psnr: float | None


def reconstruct(
    image: npt.ArrayLike,
    reference: npt.ArrayLike,
    options: ReconstructOptions | None = None,
    *,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    max_memory: int | None = None,
    **changes: Unpack[ReconstructChanges],
) -> ReconstructResult:
    """Rebuilds a picture from the pixels of another through one attention layer (Cherel et al., arXiv 2202.03163, section 4.2).

    Each pixel is the softmax(-squared distance / temperature) weighted mean of the reference's pixels whose patches are
    nearest. If only one of the two pictures is grey they are compared by their luminance.

    Args:
        image: [H, W], [H, W, 3] or [H, W, 4], uint8, uint16 or float32, sRGB; whatever `np.asarray` makes such an array of. Sides
            from patch_size on. Its alpha is passed on. Floats beyond black (0) and white (1) are compared compressed, and mixed
            as they are.
        reference: the same, of any size. What is more transparent than opaque is not used; a patch needs all of its pixels.
        options: see `ReconstructOptions`; changes: single options by name, which override it.
        progress: called with the share of the work that is done, from 0 to 1, and with what is being done: before and after the
            layer.
        cancel: called as often; when it returns True, CancelledError is raised.
        max_memory: bytes that the process may hold.

    Raises:
        InvalidValueError: a picture or an option that cannot be used.
        ValueError: a reference with fewer whole patches than k.
        MemoryLimitError: it takes more than max_memory.
        CancelledError: `cancel` returned True.

    Example:
        >>> import numpy as np
        >>> picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
        >>> result = reconstruct(picture, picture[:, ::-1], k=2)
        >>> result.image.shape, result.field.sources.shape
        ((24, 32, 3), (2, 2, 24, 32))
    """
    options = replace(options or ReconstructOptions(), **changes)
    query, key = split(image), split(reference, "reference")
    if max_memory is not None:
        layer = {"patch_size": options.patch_size, "k": options.k}
        memory_model.plan(query.header, key.header, {"output": "PNG"}, attention=options.attention, limit=max_memory, **layer)
    meter = Meter(watched(progress, cancel), 1.0)
    meter.begin(1.0, f"{query.header.width}x{query.header.height}")
    rebuilt = rebuild(query.pixels, key.pixels, options, visible=key.visible)
    meter.spend(1.0)
    height, width = key.pixels.shape[:2]
    field = None if rebuilt.nnf is None else Field(rebuilt.nnf, ((height, width),))
    alike = rebuilt.pixels.shape == query.pixels.shape
    return ReconstructResult(joined(rebuilt.pixels, query.alpha), field, psnr(rebuilt.pixels, query.pixels) if alike else None)
