"""`psal_cli.outpaint`: enlarges the canvas of a picture and fills the new area."""

from typing import Unpack

import numpy as np
import numpy.typing as npt

from psal_cli.errors import InvalidValueError
from psal_cli.verbs.hooks import Cancel, Progress
from psal_cli.verbs.inpaint.api import InpaintResult, inpaint
from psal_cli.verbs.inpaint.margins import Margins
from psal_cli.verbs.inpaint.options import InpaintChanges, InpaintOptions


def outpaint(
    image: npt.ArrayLike,
    margins: Margins,
    options: InpaintOptions | None = None,
    *,
    mask: npt.ArrayLike | None = None,
    source_mask: npt.ArrayLike | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    max_memory: int | None = None,
    **changes: Unpack[InpaintChanges],
) -> InpaintResult:
    """Enlarges the canvas of a picture and fills the new area, and optionally a mask, as `psal_cli.inpaint` does, by the same
    methods (Newson et al. 2017, Perez et al. 2003).

    Args:
        image: see `psal_cli.inpaint`. The alpha of the new area continues that of the border.
        margins: pixels added at each side; see also `Margins.to_size` and `Margins.to_aspect`.
        options, changes: see `InpaintOptions`.
        mask: bool [H, W] or float32 [H, W], of the original size, what else to fill; default nothing.
        source_mask: bool [H, W], of the original size, what may be copied from.
        progress, cancel, max_memory: see `psal_cli.inpaint`.

    Returns:
        The result on the new canvas, see `InpaintResult`. The original pixels outside the mask are unchanged, bit for bit.

    Raises:
        InvalidValueError: margins that add nothing without a mask, or too much. All other errors are those of `psal_cli.inpaint`.

    Example:
        >>> import numpy as np
        >>> stripes = np.indices((48, 64)).sum(0).astype(np.uint8) % 8 * 30
        >>> result = outpaint(stripes, Margins(left=4, bottom=8), engine="patch")
        >>> result.image.shape, (result.image[:48, 4:] == stripes).all()
        ((56, 68), np.True_)
    """
    picture = np.asarray(image)
    hole = np.zeros(picture.shape[:2], bool) if mask is None else np.asarray(mask)
    if mask is None and margins == Margins():
        raise InvalidValueError("margins", "0 at all sides", "at least one that is larger")
    source = None if source_mask is None else margins.around(np.asarray(source_mask), False)
    return inpaint(
        margins.around(picture),
        margins.around(hole, True),
        options,
        source_mask=source,
        progress=progress,
        cancel=cancel,
        max_memory=max_memory,
        **changes,
    )
