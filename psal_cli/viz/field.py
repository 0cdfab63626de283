"""Files about a field: pictures of it, or its numbers."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from psal_cli.files import atomic_file
from psal_cli.image import Picture, write_picture
from psal_cli.viz.drawing import reference_wheel


def write_offsets(path: Path, force: bool, offsets: Callable[[], np.ndarray], drawn: Callable[[], Picture]) -> None:
    """Writes the offsets where the name ends in .npy, a picture of them elsewhere. Raises what `write_picture` does."""
    if path.suffix.lower() != ".npy":
        write_picture(drawn(), path, force)
        return
    with atomic_file(path, force) as file:
        np.save(file, offsets())


def write_field(
    path: Path,
    force: bool,
    nnf: np.ndarray,
    sizes: Sequence[tuple[float, float]],
    picture: Picture,
    which: np.ndarray | None = None,
    *,
    arrows: bool = False,
) -> None:
    """`write_offsets` of a field, int32 [k, 2, h, w]; sizes and which: see `between`. Drawn is the first of the k."""
    drawn = partial(reference_wheel, nnf[0], sizes, picture, which, arrows=arrows)
    write_offsets(path, force, partial(between, nnf, sizes, which), drawn)


def inside(origin: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """int32 [1, 2, H, W]: offsets (rows, columns) to origin, int32 [n, 2], of the n pixels in mask, bool [H, W]; 0 elsewhere."""
    out = np.zeros((1, 2, *mask.shape), np.int32)
    rows, columns = np.nonzero(mask)
    out[0, 0, rows, columns] = origin[:, 0] - rows
    out[0, 1, rows, columns] = origin[:, 1] - columns
    return out


def between(nnf: np.ndarray, sizes: Sequence[tuple[float, float]], which: np.ndarray | None = None) -> np.ndarray:
    """int32 [k, 2, h, w]: the offsets of a field, int32 [k, 2, h, w], in pixels of what it points to.

    sizes: (height, width) of each source. A place of a source that is not of the size of the field begins where it would if
    it lay over it, as large: the offset is what is left. which: int32 [h, w], the number of each place's source; of several it
    is a third plane of the result.
    """
    number = 0 if which is None else which
    out = np.empty((nnf.shape[0], 2 + (len(sizes) > 1), *nnf.shape[2:]), np.int32)
    for axis, places in enumerate(np.ogrid[: nnf.shape[2], : nnf.shape[3]]):
        sides = np.array([size[axis] for size in sizes])[number]
        own = np.floor((places + 0.5) * sides / nnf.shape[2 + axis]).astype(np.int32)
        np.subtract(nnf[:, axis], own, out=out[:, axis])
    out[:, 2:] = number
    return out
