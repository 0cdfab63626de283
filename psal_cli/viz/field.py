"""The match field of a verb, where each pixel of a result comes from: as arrays, as a picture, as a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from psal_cli.errors import InvalidValueError
from psal_cli.files import atomic_file
from psal_cli.image import Picture, write_picture
from psal_cli.image.arrays import split, to_depth
from psal_cli.storage import as_path
from psal_cli.viz.drawing import draw_field
from psal_cli.viz.rich import png_of

Over = Picture | npt.ArrayLike | None


@dataclass(frozen=True, eq=False)
class Field:
    """Where each pixel of a result comes from: a nearest-neighbour field (Barnes et al. 2009, "PatchMatch").

    Attributes:
        sources: int32 [k, 2, H, W], absolute (row, column) in the source, best first; -1 where a pixel has none. H, W is the size
            that was searched, which may be smaller than the result.
        source_size: (height, width) of each source, in the units of `sources`; fractional if a picture was searched at a fraction
            of its size.
        source_index: int32 [H, W], the index of each pixel's source; None if there is only one.
        score: float32 [k, H, W], similarity of each match, larger is closer; None if the verb does not keep it.
        pixelwise: count offsets in pixels even if the source has another size than the field. Otherwise the source is scaled to
            the size of the field.

    Example:
        >>> import numpy as np
        >>> field = Field(np.stack(np.indices((4, 6), np.int32))[None] // 2, ((2, 3),))
        >>> field.sources.shape, field.offsets().any()
        ((1, 2, 4, 6), np.False_)
    """

    sources: npt.NDArray[np.int32]
    source_size: tuple[tuple[float, float], ...]
    source_index: npt.NDArray[np.int32] | None = None
    score: npt.NDArray[np.float32] | None = None
    pixelwise: bool = False

    @property
    def _laid_over(self) -> tuple[tuple[float, float], ...]:
        """The sizes that are scaled to the field: those of the sources or, if `pixelwise`, its own."""
        return (self.sources.shape[2:],) * len(self.source_size) if self.pixelwise else self.source_size

    def offsets(self) -> npt.NDArray[np.int32]:
        """int32 [k, 2, H, W], (rows, columns) from each pixel to its match, in pixels of the source; 0 where there is none.

        Unless `pixelwise`, a source of another size is scaled to the field, so a pixel that matches the same relative position
        has offset 0. With several sources, a third plane holds their index, [k, 3, H, W].
        """
        offsets = between(self.sources, self._laid_over, self.source_index)
        offsets[:, :2][np.broadcast_to(self.sources[:, :1] < 0, self.sources.shape)] = 0
        return offsets

    def draw(self, over: Over = None, *, arrows: bool = False) -> npt.NDArray[np.uint8]:
        """Draws the best matches as colours, uint8 [h, w, 3], with a legend in a strip below.

        Hue is the direction to the source, saturation the distance: white is near, full colour the distance that only 5 % pass.

        Args:
            over: the picture of the field, dimmed below the colours; its size sets the unit of the legend. An array as the verbs
                take it, or a `psal_cli.image.Picture`. Default black.
            arrows: draw some arrows from pixels to their sources instead of colouring all pixels.

        Raises:
            InvalidValueError: `over` is not a picture.
        """
        return np.asarray(self._drawn(over, arrows).pixels, np.uint8)

    def save(self, path: str | PathLike[str], over: Over = None, *, arrows: bool = False, force: bool = False) -> None:
        """Writes the field, by the extension of the path.

        `.npy`: the offsets, see `offsets`. `.npz`: all attributes, for `load`. A picture's extension: the drawing.

        Args:
            over, arrows: see `draw`.
            force: overwrite the file if it exists.

        Raises:
            InputError: another extension, or the file exists.
            WriteError: the file cannot be written; an existing one is left intact.
        """
        path = as_path(path)
        suffix = path.suffix.lower()
        if suffix not in (".npy", ".npz"):
            write_picture(self._drawn(over, arrows), path, force)
            return
        with atomic_file(path, force) as file:
            if suffix == ".npy":
                np.save(file, self.offsets())
            else:
                more = {"source_index": self.source_index, "score": self.score}
                given: dict[str, np.ndarray] = {name: x for name, x in more.items() if x is not None}
                sizes, pixelwise = np.array(self.source_size), np.array(self.pixelwise)
                np.savez_compressed(
                    file, allow_pickle=False, sources=self.sources, source_size=sizes, pixelwise=pixelwise, **given
                )

    @staticmethod
    def load(path: str | PathLike[str]) -> "Field":
        """Reads a field that `save` wrote as `.npz`. Raises OSError, and ValueError for any other file."""
        with np.load(Path(path), allow_pickle=False) as parts:
            if "sources" not in parts:
                raise InvalidValueError("path", path, "a field that was saved as .npz")
            sizes = tuple((float(height), float(width)) for height, width in parts["source_size"])
            index, score = (parts.get(name) for name in ("source_index", "score"))
            return Field(parts["sources"], sizes, index, score, bool(parts["pixelwise"]))

    def _repr_png_(self) -> bytes:
        """The drawing as a PNG file, for notebooks."""
        return png_of(self.draw())

    def _drawn(self, over: Over, arrows: bool) -> Picture:
        below = _below(over, self.sources.shape[2:])
        return draw_field(self.sources[0], self._laid_over, below, self.source_index, arrows=arrows)


def _below(over: Over, size: tuple[int, ...]) -> Picture:
    if isinstance(over, Picture):
        return over
    if over is None:
        return Picture(np.zeros((*size, 1), np.uint8))
    pixels, alpha = split(over, "over")
    if pixels.dtype.kind == "f":
        pixels, alpha = to_depth(pixels, np.uint8), None if alpha is None else to_depth(alpha, np.uint8)
    return Picture(np.ascontiguousarray(pixels), alpha)


def between(
    nnf: npt.NDArray[np.int32], sizes: Sequence[tuple[float, float]], which: npt.NDArray[np.int32] | None = None
) -> npt.NDArray[np.int32]:
    """int32 [k, 2 or 3, h, w], see `Field.offsets`; sizes, which: source_size and source_index."""
    number: npt.NDArray[np.int32] | int = 0 if which is None else which
    out = np.empty((nnf.shape[0], 2 + (len(sizes) > 1), *nnf.shape[2:]), np.int32)
    for axis, places in enumerate(np.ogrid[: nnf.shape[2], : nnf.shape[3]]):
        sides = np.array([size[axis] for size in sizes])[number]
        own = np.floor((places + 0.5) * sides / nnf.shape[2 + axis]).astype(np.int32)
        np.subtract(nnf[:, axis], own, out=out[:, axis])
    out[:, 2:] = number
    return out
