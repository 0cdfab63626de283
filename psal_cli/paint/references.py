"""Reference pictures dropped on the page: temporary files of the server, by number."""

import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np

from psal_cli import memory
from psal_cli.errors import InvalidValueError
from psal_cli.image import Picture, read_header, read_picture
from psal_cli.paint.tiles import Shown, halved, shown

MOST = 8  # at a time; another one replaces the oldest
THUMBNAIL = 320  # pixels, about its longer side


class References:
    """The dropped pictures. They are decoded on use, not kept in memory."""

    def __init__(self, max_pixels: int):
        self.max_pixels, self.folder = max_pixels, Path(tempfile.mkdtemp(prefix="psal-paint-"))
        self.kept: dict[int, Path] = {}
        self.next, self.lock = 0, threading.Lock()

    def add(self, content: bytes) -> int:
        """Adds a picture from the bytes of its file and returns its number. Raises PsalError if psal cannot read it."""
        with self.lock:
            number, self.next = self.next, self.next + 1
        path = self.folder / f"reference{number}"
        path.write_bytes(content)
        try:
            head = read_header(path, self.max_pixels)
            needed = memory.reading(head.width * head.height, head.channels, head.bits // 8, head.alpha, head.format)
            memory.check_available((memory.resident() or 0) + needed)
            read_picture(path, self.max_pixels)
        except BaseException:
            path.unlink()
            raise
        with self.lock:
            self.kept[number] = path
            while len(self.kept) > MOST:
                self.kept.pop(min(self.kept)).unlink()
        return number

    def path(self, number: int) -> Path:
        with self.lock:
            if number not in self.kept:
                raise InvalidValueError("reference", number, "the number of a picture that was dropped")
            return self.kept[number]

    def read(self, number: int) -> Picture:
        return read_picture(self.path(number), self.max_pixels)

    def thumbnail(self, number: int) -> Shown:
        """uint8 [h, w, C]."""
        picture = self.read(number)
        small = shown(picture.pixels, picture.alpha, picture.metadata.icc)
        while max(small.shape[:2]) > 2 * THUMBNAIL:
            small = halved(small)
        return np.ascontiguousarray(small)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
