"""Strips of rows of a picture, each with a halo: the rows around it that its result depends on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Strip(NamedTuple):
    """Rows `top` to `bottom` of a picture; with the halo, rows `first` to `last`."""

    top: int
    bottom: int
    first: int
    last: int

    @property
    def rows(self) -> slice:
        """The strip's rows of an array [H, ...], without the halo."""
        return slice(self.top, self.bottom)

    def seen(self, x: Tensor) -> Tensor:
        """Cuts the strip with its halo out of [..., H, W]."""
        return x[..., self.first : self.last, :]

    def kept(self, x: Tensor, scale: int = 1) -> Tensor:
        """Cuts the halo off a result computed from `seen`, which may be `scale` times as large."""
        return x[..., (self.top - self.first) * scale : (self.bottom - self.first) * scale, :]


def strip(top: int, bottom: int, height: int, halo: int) -> Strip:
    """Rows of a picture with `halo` more on both sides, clipped to the picture."""
    return Strip(top, bottom, max(top - halo, 0), min(bottom + halo, height))


def strips(height: int, rows: int | None, halo: int = 0) -> Iterator[Strip]:
    """Splits a picture into strips of `rows` rows; None: one strip."""
    rows = rows or height
    for top in range(0, height, rows):
        yield strip(top, min(top + rows, height), height, halo)


def rows_within(most: int, width: int, multiple: int = 1) -> int:
    """How many rows of `width` pixels (or bytes) fit into `most`; at least one, or `multiple`."""
    return max(most // width // multiple, 1) * multiple
