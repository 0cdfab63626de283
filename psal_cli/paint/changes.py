"""The changes of a run to a picture, stored in the state folder, so that undo and redo hold nothing in memory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from psal_cli.image.shapes import Region

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Box = tuple[int, int, int, int]  # left, top, width, height


@dataclass(frozen=True, eq=False)
class Change:
    """Pixels with changed values.

    Attributes:
        box: the part of the picture that contains all changes.
        marked: bool [h, w] of the box.
        before, after: [n, C], the values of the n marked pixels in raster order.
    """

    box: Box
    marked: Region
    before: Pixels
    after: Pixels

    @classmethod
    def between(cls, pixels: Pixels, result: Pixels, filled: Region) -> "Change":
        """pixels, result: [H, W, C] before and after; filled: bool [H, W]."""
        rows, columns = np.flatnonzero(filled.any(1)), np.flatnonzero(filled.any(0))
        top, left = int(rows[0]), int(columns[0])
        height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
        inside = np.s_[top : top + height, left : left + width]
        marked = filled[inside]
        return cls((left, top, width, height), marked, pixels[inside][marked], result[inside][marked])

    def apply(self, pixels: Pixels, back: bool = False) -> Pixels:
        """Sets the pixels [H, W, C] of the picture, or resets them with `back`. Returns them."""
        left, top, width, height = self.box
        pixels[top : top + height, left : left + width][self.marked] = self.before if back else self.after
        return pixels

    def undone(self, crop: Pixels, box: Box) -> Pixels:
        """Resets those pixels in a crop, in place. box: of the crop."""
        left, top = max(box[0], self.box[0]), max(box[1], self.box[1])
        right = min(box[0] + box[2], self.box[0] + self.box[2])
        bottom = min(box[1] + box[3], self.box[1] + self.box[3])
        if left >= right or top >= bottom:
            return crop
        width, height = self.box[2], self.box[3]
        own = np.s_[top - self.box[1] : bottom - self.box[1], left - self.box[0] : right - self.box[0]]
        number = np.cumsum(self.marked, dtype=np.int64).reshape(height, width) - 1
        seen = self.marked[own]
        part = crop[top - box[1] : bottom - box[1], left - box[0] : right - box[0]]
        part[seen] = self.before[number[own][seen]]
        return crop

    def save(self, path: Path) -> None:
        bits = np.packbits(self.marked)
        with open(path, "wb") as file:
            np.savez(file, box=np.array(self.box), bits=bits, before=self.before, after=self.after)

    @classmethod
    def load(cls, path: Path) -> "Change":
        """Raises OSError, ValueError or KeyError where there is none."""
        with np.load(path) as stored:
            left, top, width, height = map(int, stored["box"])
            marked = np.unpackbits(stored["bits"], count=width * height).reshape(height, width).astype(bool)
            change = cls((left, top, width, height), marked, stored["before"], stored["after"])
        if len(change.before) != np.count_nonzero(marked) or change.before.shape != change.after.shape:
            raise ValueError(f"{path} is damaged")
        return change


@dataclass(frozen=True, eq=False)
class Whole:
    """A change of all pixels, possibly with more channels, as colorize makes it.

    Attributes:
        box: the whole picture.
        before, after: [H, W, C], memory-mapped files.
    """

    box: Box
    before: Pixels
    after: Pixels

    def apply(self, pixels: Pixels, back: bool = False) -> Pixels:
        """The pixels of the picture, in memory; with `back` the previous ones."""
        return (self.before if back else self.after).copy()

    def undone(self, crop: Pixels, box: Box) -> Pixels:
        """A part of the previous picture. box: of the part."""
        left, top, width, height = box
        return self.before[top : top + height, left : left + width].copy()

    @staticmethod
    def save(path: Path, before: Pixels, after: Pixels) -> None:
        """path: the file for the new pixels; the old ones go beside it."""
        np.save(_before(path), before)
        np.save(path, after)

    @classmethod
    def load(cls, path: Path) -> "Whole":
        """Raises OSError or ValueError where there is none."""
        before, after = np.load(_before(path), mmap_mode="r"), np.load(path, mmap_mode="r")
        if before.shape[:2] != after.shape[:2]:
            raise ValueError(f"{path} is damaged")
        return cls((0, 0, after.shape[1], after.shape[0]), before, after)


def _before(path: Path) -> Path:
    return path.with_name(f"before-{path.name}")


def load_change(path: Path) -> Change | Whole:
    """Raises OSError, ValueError or KeyError where there is none."""
    return Whole.load(path) if path.suffix == ".npy" else Change.load(path)
