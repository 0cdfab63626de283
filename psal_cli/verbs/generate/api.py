"""`psal_cli.generate`: makes pictures whose patches all look like patches of a given one."""

from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np
import numpy.typing as npt

from psal_cli.errors import InvalidValueError
from psal_cli.image.arrays import Layers, Pixels, joined, split
from psal_cli.verbs.generate import memory_model
from psal_cli.verbs.generate.options import GenerateChanges, GenerateOptions
from psal_cli.verbs.generate.sampling import sample
from psal_cli.verbs.hooks import Cancel, Progress, watched
from psal_cli.viz.field import Field
from psal_cli.viz.rich import Shown


@dataclass(frozen=True, eq=False)
class GenerateResult(Shown):
    """What `psal_cli.generate` returns: a sample of PSin or PSinOT (Cherel et al., ICIP 2022) and its match field.

    Attributes:
        image: the sample, with the channels and the dtype of the reference.
        field: where in the reference each pixel comes from.

    Example:
        >>> import numpy as np
        >>> tiles = np.indices((24, 24)).sum(0).astype(np.uint8) % 4 * 60
        >>> result = generate(tiles, patch_size=5, method="psin")
        >>> result.image.dtype, result.field.sources.shape
        (dtype('uint8'), (1, 2, 24, 24))
    """

    image: Pixels
    field: Field


def generate(
    image: npt.ArrayLike,
    options: GenerateOptions | None = None,
    *,
    keep: npt.ArrayLike | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    max_memory: int | None = None,
    **changes: Unpack[GenerateChanges],
) -> GenerateResult:
    """Makes a new picture whose patches all look like patches of a reference.

    The methods are PSin and PSinOT (Cherel, Almansa, Gousseau and Newson, "A patch-based algorithm for diverse and high fidelity
    single image generation", ICIP 2022).

    Args:
        image: the reference, [H, W], [H, W, 3] or [H, W, 4], uint8, uint16 or float32; or anything that `np.asarray` turns into
            such an array. Alpha is generated together with the colours. Floats below 0 or above 1 are range-compressed for
            comparing and mixing.
        options: see `GenerateOptions`; changes: single options by name, which override `options`.
        keep: bool [H, W], True = keep this pixel of the reference in place. If the sample has another size, the reference is
            centred in it, its corner rounded to a multiple of 2^(levels - 1) pixels.
        progress: called several times per level with the share of the work done, 0 to 1, and the name of the current step.
        cancel: called as often; if it returns True, CancelledError is raised.
        max_memory: most bytes that the process may use.

    Raises:
        InvalidValueError: a picture or an option that cannot be used; levels that do not fit.
        MemoryLimitError: it takes more than max_memory.
        CancelledError: `cancel` returned True.

    Example:
        >>> import numpy as np
        >>> tiles = np.indices((24, 24)).sum(0).astype(np.uint8) % 4 * 60
        >>> generate(tiles, size=(16, 40), patch_size=5, method="psin").image.shape
        (16, 40)
    """
    options = replace(options or GenerateOptions(), **changes)
    reference = split(image)
    mask = None if keep is None else _mask(keep, reference)
    if max_memory is not None:
        size = options.size or (reference.pixels.shape[0], reference.pixels.shape[1])
        memory_model.plan(
            reference.header,
            size,
            {"output": "PNG"},
            method=options.method,
            levels=options.levels,
            patch_size=options.patch_size,
            coherence=options.coherence,
            limit=max_memory,
        )
    sampled = sample(reference.pixels, reference.alpha, options, keep=mask, progress=watched(progress, cancel))
    height, width = reference.pixels.shape[:2]
    return GenerateResult(joined(sampled.pixels, sampled.alpha), Field(sampled.nnf, ((height, width),), pixelwise=True))


def _mask(keep: npt.ArrayLike, reference: Layers) -> npt.NDArray[np.bool_]:
    mask = np.asarray(keep)
    if mask.dtype != np.bool_ or mask.shape != reference.pixels.shape[:2]:
        expected = f"bool {list(reference.pixels.shape[:2])}, the size of the picture"
        raise InvalidValueError("keep", f"{mask.dtype} {list(mask.shape)}", expected)
    return mask
