"""Pictures at the library's boundary: one numpy array each.

An array is `[H, W]` (grey), `[H, W, 2]` (grey and alpha), `[H, W, 3]` or `[H, W, 4]`, uint8, uint16 or float32. White is 255,
65535 or 1; floats may lie outside [0, 1]. The verbs work on colours `[H, W, C]`, C = 1 or 3, and alpha `[H, W]` separately;
`split` and `joined` convert.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from psal_cli.errors import InvalidValueError
from psal_cli.image.header import Header

DEPTHS = ("uint8", "uint16", "float32")

Array = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
Pixels = npt.NDArray[np.generic]  # any of these


class Layers(NamedTuple):
    """pixels: [H, W, C], C = 1 or 3; alpha: [H, W] of the same dtype, or None. Views of the caller's array."""

    pixels: np.ndarray
    alpha: np.ndarray | None

    @property
    def header(self) -> Header:
        """The header that a file of this picture would have, for the memory models."""
        height, width, channels = self.pixels.shape
        return Header("PNG", width, height, channels, 8 * self.pixels.itemsize, self.alpha is not None)

    @property
    def visible(self) -> np.ndarray | None:
        """bool [H, W], the pixels with alpha of at least one half; None if all are."""
        return None if self.alpha is None else self.alpha > half_of(self.alpha.dtype)


def split(image: npt.ArrayLike, what: str = "image") -> Layers:
    """Splits a picture into colours and alpha.

    Args:
        image: anything that `np.asarray` turns into an array as above.
        what: the name of the argument, for errors.

    Raises:
        InvalidValueError: another shape or dtype, no pixels, floats that are not finite.
    """
    array = np.asarray(image)
    if array.dtype.name not in DEPTHS:
        raise InvalidValueError(what, f"an array of {array.dtype}", "uint8, uint16 or float32, white = 1")
    if array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= array.shape[2] <= 4) or not array.size:
        raise InvalidValueError(what, f"an array of shape {list(array.shape)}", "[H, W], [H, W, 3] or [H, W, 4]")
    if array.dtype.kind == "f":
        least, most = float(array.min()), float(array.max())
        if not (np.isfinite(least) and np.isfinite(most)):
            raise InvalidValueError(what, "an array with NaN or infinity", "finite values")
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[2] % 2:
        return Layers(array, None)
    return Layers(array[..., :-1], array[..., -1])


def joined(pixels: np.ndarray, alpha: np.ndarray | None = None) -> np.ndarray:
    """The array of a picture: [H, W] if it is grey; not copied if it has no alpha."""
    if alpha is not None:
        return np.concatenate([pixels, alpha[..., None]], 2)
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def replaced(
    array: np.ndarray, mask: npt.NDArray[np.bool_], values: npt.NDArray[np.float32], share: np.ndarray | None = None
) -> np.ndarray:
    """A copy of a picture with the colours of the n pixels inside `mask`, in raster order, set to `values`; everything else is
    unchanged, bit for bit.

    Besides the copy, time and memory grow with the size of the mask only.

    Args:
        array: see above; alpha does not change. mask: bool [H, W].
        values: float32 [n, C], white = 1, rounded and clipped if the array has integers.
        share: float32 [H, W] in [0, 1], the opacity of the new values inside the mask; default 1.

    Raises:
        ValueError: shapes that do not fit.
    """
    channels = split(array).pixels.shape[2]
    inside, white = np.flatnonzero(mask), white_of(array.dtype)
    if mask.shape != array.shape[:2] or values.shape != (len(inside), channels):
        expected = f"a mask of {list(array.shape[:2])} and values [{len(inside)}, {channels}]"
        raise ValueError(f"mask has shape {list(mask.shape)} and values {list(values.shape)}, expected {expected}")
    out = np.array(array, order="C")
    flat = out.reshape(mask.size, -1)[:, :channels]
    values = values * white
    if share is not None:
        part = share.reshape(-1)[inside, None]
        values = part * values + (1 - part) * flat[inside]
    flat[inside] = (np.rint(values).clip(0, white) if array.dtype.kind == "u" else values).astype(array.dtype)
    return out


def white_of(dtype: npt.DTypeLike) -> int:
    """The value of white: 255, 65535 or 1."""
    dtype = np.dtype(dtype)
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else 1


def within_white(pixels: np.ndarray) -> np.ndarray:
    """Clips floats to [0, 1]; integers are returned without a copy."""
    return pixels.clip(0, 1) if pixels.dtype.kind == "f" else pixels


def half_of(dtype: npt.DTypeLike) -> float:
    """The largest value that counts as less than half of white."""
    return white_of(dtype) // 2 if np.dtype(dtype).kind == "u" else 0.5


def to_depth(shares: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    """Converts values with white = 1 to a dtype, clipped, and rounded for integers."""
    white = white_of(dtype)
    values = shares.clip(0, 1) * np.float32(white)
    return (np.rint(values) if np.dtype(dtype).kind == "u" else values).astype(dtype)
