"""Joint bilateral upsampling of chroma to the size of the picture, so that colours stop at edges."""

import cv2
import numpy as np

LIKE = 0.2  # of lightness / 100: a difference this large halves the weight, roughly
SHARPNESS = -0.75  # parameter of the cubic kernel, as in OpenCV


class JointBilateralUpsampling:
    """Cubic interpolation, corrected at edges: the difference that bilinear interpolation makes when its four neighbours are
    weighted by similarity of lightness (joint bilateral upsampling, Kopf et al. 2007). Computed in strips of rows."""

    def __init__(self, chroma: np.ndarray, guide: np.ndarray, size: tuple[int, int]):
        """chroma: float32 [h, w, C]; guide: float32 [h, w], lightness / 100 at the same size; size: (H, W) of the result."""
        self.chroma, self.guide, self.size = chroma, guide, size
        self.wide = cv2.resize(chroma, (size[1], chroma.shape[0]), interpolation=cv2.INTER_CUBIC)

    def rows(self, top: int, bottom: int, light: np.ndarray) -> np.ndarray:
        """float32 [bottom - top, W, C]; light: float32 [bottom - top, W], lightness / 100 of these rows of the picture."""
        (height, width), coarse = self.size, self.guide.shape
        first, down = _places(np.arange(top, bottom), height, coarse[0])
        left, right = _places(np.arange(width), width, coarse[1])
        plain, guided = (np.zeros((*light.shape, self.chroma.shape[2]), np.float32) for _ in range(2))
        total = np.zeros((*light.shape, 1), np.float32)
        for row, vertical in ((first, 1 - down), (first + 1, down)):
            for column, horizontal in ((left, 1 - right), (left + 1, right)):
                at = np.ix_(row.clip(0, coarse[0] - 1), column.clip(0, coarse[1] - 1))
                share = (vertical[:, None] * horizontal)[..., None]
                part = self.chroma[at] * share
                likeness = np.exp(-(((self.guide[at] - light) / np.float32(LIKE)) ** 2) / 2)[..., None]
                plain += part
                guided += likeness * part
                total += likeness * share
        return self._cubic(first, down) + guided / np.maximum(total, 1e-12) - plain

    def _cubic(self, first: np.ndarray, down: np.ndarray) -> np.ndarray:
        out = np.zeros((len(first), *self.wide.shape[1:]), np.float32)
        for step in (-1, 0, 1, 2):
            row = (first + step).clip(0, len(self.wide) - 1)
            out = out + _kernel(np.abs(down - step))[:, None, None] * self.wide[row]
        return out


def _places(places: np.ndarray, size: int, coarse: int) -> tuple[np.ndarray, np.ndarray]:
    """The coarse pixel before each position along an axis, and the distance from its centre."""
    at = (places + 0.5) * (coarse / size) - 0.5
    first = np.floor(at).astype(np.intp)
    return first, (at - first).astype(np.float32)


def _kernel(x: np.ndarray) -> np.ndarray:
    """The kernel of cubic convolution (Keys 1981) at distances from 0 to 2."""
    near = ((SHARPNESS + 2) * x - (SHARPNESS + 3)) * x * x + 1
    far = SHARPNESS * (((x - 5) * x + 8) * x - 4)
    return np.asarray(np.where(x <= 1, near, far), np.float32)
