"""`psal_cli.generate`: new pictures whose patches all look like patches of one picture."""

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
    """What `psal_cli.generate` returns.

    Attributes:
        image: the sample, with the channels and the dtype of the reference.
        field: where in the reference what is at each pixel comes from.
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
    """Makes a picture whose patches are all like patches of a reference, while the whole is not.

    PSin and PSinOT, Cherel, Almansa, Gousseau and Newson, "A patch-based algorithm for diverse and high fidelity single image
    generation", ICIP 2022.

    Args:
        image: the reference, [H, W], [H, W, 3] or [H, W, 4], uint8, uint16 or float32; whatever `np.asarray` makes such an array
            of. Alpha is made anew with the colours. Floats beyond black (0) and white (1) are compared and mixed compressed.
        options: see `GenerateOptions`; changes: single options by name, which override it.
        keep: bool [H, W], True = hold this pixel of the reference in place. The reference lies in the middle of a sample of
            another size, its corner on a multiple of 2^(levels - 1) pixels.
        progress: called with the share of the work that is done, from 0 to 1, and with what is being done, several times a level.
        cancel: called as often; when it returns True, CancelledError is raised.
        max_memory: bytes that the process may hold.

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
