"""Rows of a picture worked on one after another, each with as much around it as what is wanted of it depends on."""

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor


class Strip(NamedTuple):
    """Rows top to bottom of a picture, and those that are looked at for them, first to last."""

    top: int
    bottom: int
    first: int
    last: int

    def seen(self, x: Tensor) -> Tensor:
        """[..., H, W] -> its rows that are looked at."""
        return x[..., self.first : self.last, :]

    def kept(self, x: Tensor, scale: int = 1) -> Tensor:
        """What was made of the rows that are looked at, `scale` times as large -> that of the rows themselves."""
        return x[..., (self.top - self.first) * scale : (self.bottom - self.first) * scale, :]


def strip(top: int, bottom: int, height: int, halo: int) -> Strip:
    """Some rows of a picture, looked at with `halo` more on both sides, as far as the picture goes."""
    return Strip(top, bottom, max(top - halo, 0), min(bottom + halo, height))


def strips(height: int, rows: int | None, halo: int) -> Iterator[Strip]:
    """All rows of a picture in strips of so many, None: in one."""
    rows = rows or height
    for top in range(0, height, rows):
        yield strip(top, min(top + rows, height), height, halo)
