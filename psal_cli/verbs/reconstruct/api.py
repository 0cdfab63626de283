"""`psal_cli.reconstruct`: rebuilds a picture from the pixels of another."""

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
    """What `psal_cli.reconstruct` returns: the sums of equation 5 or 10 of Cherel et al. (arXiv 2202.03163) and their matches.

    Attributes:
        image: with the size, dtype and alpha of the picture and the colour channels of the reference.
        field: the k matches of each pixel in the reference, best first. None with full attention.
        psnr: of the colours against the picture's in decibels, -10 log10(mean squared error) with white = 1; infinite if they are
            equal; None if only one of the two is grey.

    Example:
        >>> import numpy as np
        >>> picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
        >>> result = reconstruct(picture, picture, attention="full", patch_size=1, temperature=1e-4)
        >>> result.psnr > 40, result.field is None
        (True, True)
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

    Each pixel is the mean of the reference's pixels with the nearest patches, weighted by softmax(-squared distance /
    temperature). If only one of the two pictures is grey, they are compared by luminance.

    Args:
        image: [H, W], [H, W, 3] or [H, W, 4], uint8, uint16 or float32, sRGB; or anything that `np.asarray` turns into such an
            array. Sides must be at least patch_size. Alpha is kept. Floats below 0 or above 1 are range-compressed for comparing
            and mixed as they are.
        reference: as image, of any size. Mostly transparent pixels, and patches with any of them, are not used.
        options: see `ReconstructOptions`; changes: single options by name, which override `options`.
        progress: called before and after the layer with the share of the work done, 0 to 1, and the name of the current step.
        cancel: called as often; if it returns True, CancelledError is raised.
        max_memory: most bytes that the process may use.

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
