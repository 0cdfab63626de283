"""Files about a field: pictures of it, or its numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from psal_cli.drawing import reference_wheel
from psal_cli.files import atomic_file
from psal_cli.image import Picture, write_picture


def write_offsets(path: Path, force: bool, offsets: Callable[[], np.ndarray], drawn: Callable[[], Picture]) -> None:
    """Writes the offsets where the name ends in .npy, a picture of them elsewhere. Raises what `write_picture` does."""
    if path.suffix.lower() != ".npy":
        write_picture(drawn(), path, force)
        return
    with atomic_file(path, force) as file:
        np.save(file, offsets())


def write_field(
    path: Path, force: bool, nnf: np.ndarray, size: tuple[float, float], picture: Picture, *, arrows: bool = False
) -> None:
    """`write_offsets` of a field, int32 [k, 2, h, w], into one source of (height, width); drawn is the first of the k."""

    def drawn() -> Picture:
        origin = np.concatenate([np.zeros_like(nnf[:1, 0]), nnf[0]]).transpose(1, 2, 0)
        return reference_wheel(origin, [size], picture, arrows=arrows)

    write_offsets(path, force, lambda: between(nnf, [size]), drawn)


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
    own = np.indices(nnf.shape[2:]) + 0.5
    number = np.zeros(nnf.shape[2:], np.int32) if which is None else which
    sides = np.array(sizes)[number]  # [h, w, 2]
    out = [nnf[:, axis] - np.floor(own[axis] * sides[..., axis] / nnf.shape[2 + axis]) for axis in range(2)]
    if len(sizes) > 1:
        out.append(np.broadcast_to(number, out[0].shape))
    return np.stack(out, 1).astype(np.int32)
