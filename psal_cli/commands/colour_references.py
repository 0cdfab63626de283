"""The references of `psal colorize`: which belong to a picture, and reading each that all pictures share only once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from psal_cli import storage
from psal_cli.batch.inputs import Item
from psal_cli.errors import InputError

if TYPE_CHECKING:
    from psal_cli.image import Header, Picture


class References:
    """The references of all pictures. shared: those that were named as a file, for all; may be read in parallel."""

    def __init__(self, shared: Iterable[Path], max_pixels: int):
        self.locks = {path: Lock() for path in shared}
        self.known: dict[Path, Picture] = {}
        self.max_pixels = max_pixels

    def headers(self, item: Item) -> list[Header]:
        """The headers of a picture's references. Raises InputError as `pictures` does."""
        from psal_cli.image import read_header

        return [read_header(path, self.max_pixels) for path in self._paths(item)]

    def pictures(self, item: Item) -> list[Picture]:
        """The references of a picture. Raises InputError if the picture is one of them, or one cannot be read."""
        return [self._picture(path) for path in self._paths(item)]

    def _paths(self, item: Item) -> tuple[Path, ...]:
        paths = item.sidecars.get("ref", ())
        for path in paths:
            if storage.are_same(path, item.input):
                raise InputError(f"{path} is the picture itself, it has nothing to lend: give another with --ref")
        return paths

    def _picture(self, path: Path) -> Picture:
        from psal_cli import image

        if path not in self.locks:
            return image.read_picture(path, self.max_pixels)
        with self.locks[path]:
            if path not in self.known:
                self.known[path] = image.read_picture(path, self.max_pixels)
            return self.known[path]
