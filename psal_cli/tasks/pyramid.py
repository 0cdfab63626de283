"""Pyramids of pictures with holes, and fields carried from one level to the next.

Feature maps here are float32 [1, C, H, W] in torch.channels_last memory, so that the engine reads them without a copy.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

# Of the texture features beside the colours. Newson et al. 2017 have sqrt(50); a vote is a mean and so smoother than its
# sources, and with less weight than this on gradients the search takes smooth patches for textured ones.
TEXTURE_WEIGHT = 20.0


@dataclass
class Level:
    """One resolution: features [1, C, H, W] (colours, then texture; zero in the hole) and hole, bool [H, W]."""

    features: Tensor
    hole: Tensor
    colours: int

    @property
    def size(self) -> tuple[int, int]:
        return tuple(self.hole.shape)


def build_pyramid(image: Tensor, hole: Tensor, levels: int) -> list[Level]:
    """Halves a picture `levels - 1` times, finest level first.

    A coarse pixel is the mean of its four pixels; it belongs to the hole when any of them does, so that what lies in the
    hole never reaches a known pixel. Texture features are the mean absolute gradients of the finest level under each
    coarse pixel: what a coarse level could not see otherwise (Newson et al. 2017).

    Args:
        image: float32 [1, C, H, W]. hole: bool [H, W].
        levels: >= 1.
    """
    picture = image[0].permute(1, 2, 0).contiguous().numpy()
    unknown = hole.numpy()
    texture = _gradients(picture, unknown)
    out = []
    for level in range(levels):
        known = np.concatenate([picture, texture], axis=2)
        known[unknown] = 0
        out.append(Level(_maps(known), torch.from_numpy(unknown), picture.shape[2]))
        if level + 1 < levels:
            picture, texture = _halve(picture), _halve(texture)
            unknown = _halve(unknown.astype(np.float32))[..., 0] > 0
    return out


def _maps(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]


def _halve(picture: np.ndarray) -> np.ndarray:
    """[H, W, C] -> [ceil(H / 2), ceil(W / 2), C]: means of 2x2 pixels, the last row and column repeated where odd."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        picture = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    half = cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return half.reshape(*half.shape[:2], -1)


def _gradients(picture: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """[H, W, 2]: absolute differences of grey to the next row and column, times TEXTURE_WEIGHT; zero across the hole's edge."""
    channels = picture.shape[2]
    grey = cv2.transform(picture, np.full((1, channels), TEXTURE_WEIGHT / channels, np.float32)).reshape(picture.shape[:2])
    out = np.zeros((*grey.shape, 2), np.float32)
    for steps, first, second, hidden in (
        (out[:-1, :, 0], grey[:-1], grey[1:], unknown[:-1] | unknown[1:]),
        (out[:, :-1, 1], grey[:, :-1], grey[:, 1:], unknown[:, :-1] | unknown[:, 1:]),
    ):
        np.abs(second - first, out=steps)
        steps[hidden] = 0
    return out


def upsample_field(nnf: Tensor, box, coarse_box, size: tuple[int, int], margin: int) -> Tensor:
    """A coarse field at twice the resolution: each match keeps its place inside its coarse pixel.

    Args:
        nnf: int32 [1, 1, 2, h, w], the field of the crop coarse_box of the coarser level.
        box: (top, bottom, left, right) of the crop at the finer level; every pixel of it lies in a pixel of coarse_box or
            beside it.
        size: (Hk, Wk) of the finer key; margin: matches are kept so far from its border.
    """
    top, bottom, left, right = box
    rows, columns = torch.arange(top, bottom), torch.arange(left, right)
    coarse = nnf[0, 0].index_select(1, (rows // 2 - coarse_box[0]).clamp(0, nnf.shape[3] - 1))
    coarse = coarse.index_select(2, (columns // 2 - coarse_box[2]).clamp(0, nnf.shape[4] - 1))
    fine = torch.stack([coarse[0] * 2 + (rows % 2)[:, None], coarse[1] * 2 + columns % 2]).int()
    for axis in (0, 1):
        fine[axis].clamp_(margin, size[axis] - 1 - margin)
    return fine.masked_fill_(coarse[:1] < 0, -1)[None, None]
