"""Tiles of a picture for the screen: 8-bit sRGB at full size or reduced by a power of two, made on request."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from psal_cli.image.fitting import plain, rounded
from psal_cli.paint.changes import Box, Pixels
from psal_cli.strips import rows_within, strips

Shown = npt.NDArray[np.uint8]

TILE = 512  # pixels, the side of a tile
QUALITY = 95
BAND = 1 << 21  # pixels that are reduced at a time
BEHIND = 204  # of 255, the grey behind transparent pixels
ROOM = 6 * BAND * 4  # bytes needed while a picture is reduced


def levels_of(width: int, height: int) -> int:
    """How many times a picture is halved until it fits into one tile."""
    return max((max(width, height) - 1).bit_length() - TILE.bit_length() + 1, 0)


def shown(pixels: Pixels, alpha: npt.NDArray[np.generic] | None, icc: bytes | None) -> Shown:
    """A crop of a picture as uint8 [h, w, C] in sRGB, with grey behind transparent pixels."""
    pixels_shown = plain(pixels, icc)
    if alpha is not None:
        share = rounded(alpha)[..., None].astype(np.uint16)
        pixels_shown = ((pixels_shown * share + BEHIND * (255 - share) + 127) // 255).astype(np.uint8)
    return pixels_shown


class Pyramid:
    """A picture at half its size, a quarter, and so on, until it fits into one tile. The full size is read on request."""

    def __init__(self, size: tuple[int, int], read: Callable[[Box], Shown]):
        """size: (width, height); read: returns a part of the picture at full size, uint8 [h, w, C]."""
        self.size, self.read = size, read
        self.halves: list[Shown] = []
        for _ in range(levels_of(*size)):
            width, height = self.size_of(len(self.halves) + 1)
            first = self._crop(len(self.halves), (0, 0, 1, 1))
            self.halves.append(np.empty((height, width, first.shape[2]), np.uint8))
            self._reduce(len(self.halves), 0, height, 0, width)

    def size_of(self, level: int) -> tuple[int, int]:
        """(width, height) of a level; each level halves the one before."""
        return -(-self.size[0] >> level), -(-self.size[1] >> level)

    def copied(self) -> list[Shown]:
        return [half.copy() for half in self.halves]

    def update(self, box: Box) -> None:
        """Updates all levels after a part of the picture has changed."""
        left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
        for level in range(1, len(self.halves) + 1):
            left, top, right, bottom = left // 2, top // 2, -(-right // 2), -(-bottom // 2)
            self._reduce(level, top, bottom, left, right)

    def tile(self, level: int, column: int, row: int) -> Shown | None:
        """uint8 [h, w, C], None where there is none."""
        box = self.box_of(level, column, row)
        return None if box is None else self._crop(level, box)

    def box_of(self, level: int, column: int, row: int) -> Box | None:
        """The box of a tile within its level, None where there is none."""
        if not 0 <= level <= len(self.halves) or min(column, row) < 0:
            return None
        width, height = self.size_of(level)
        left, top = column * TILE, row * TILE
        return (left, top, min(TILE, width - left), min(TILE, height - top)) if left < width and top < height else None

    def _crop(self, level: int, box: Box) -> Shown:
        left, top, width, height = box
        if level == 0:
            return self.read(box)
        return self.halves[level - 1][top : top + height, left : left + width].copy()

    def _reduce(self, level: int, top: int, bottom: int, left: int, right: int) -> None:
        """Computes rows top to bottom and columns left to right of a level from the previous level."""
        width, height = self.size_of(level - 1)
        for band in strips(bottom - top, rows_within(BAND // 4, max(right - left, 1))):
            first, last = 2 * (top + band.top), min(2 * (top + band.bottom), height)
            part = self._crop(level - 1, (2 * left, first, min(2 * right, width) - 2 * left, last - first))
            self.halves[level - 1][top + band.top : top + band.bottom, left:right] = halved(part)


def halved(pixels: Shown) -> Shown:
    """uint8 [H, W, C] -> [ceil(H / 2), ceil(W / 2), C]: means of 2x2 pixels."""
    import cv2

    height, width, channels = pixels.shape
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    size = pixels.shape[1] // 2, pixels.shape[0] // 2
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8).reshape(size[1], size[0], channels)


def jpeg(pixels: Shown, quality: int = QUALITY) -> bytes:
    """A JPEG file with full colour resolution."""
    import cv2

    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", pixels[..., ::-1] if pixels.shape[2] == 3 else pixels, settings)
    if not done:
        raise ValueError(f"a tile of {pixels.shape} cannot be encoded")
    return data.tobytes()
