"""Inpainting: fills the masked part of a picture at its own resolution; nothing outside the mask changes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from psal_cli.tasks.blend import blended
from psal_cli.tasks.completion import complete
from psal_cli.tasks.parts import Box, crop, grown, merged, part_boxes
from psal_cli.tasks.pyramid import floats

DEPTHS = (torch.uint8, torch.uint16, torch.float32)


@dataclass
class Filled:
    """What became of the n pixels inside a mask, in raster order.

    values: float32 [n, C] in [0, 1]; origin: int32 [n, 2], the (row, column) that each was copied from.
    picture and mask are those that were given.
    """

    values: Tensor
    origin: Tensor
    picture: Tensor
    mask: Tensor

    @property
    def image(self) -> Tensor:
        """float32 [1, C, H, W] in [0, 1], made anew: the picture, filled."""
        pixels = floats(_pixels(self.picture))
        pixels[self.mask.cpu().numpy()] = self.values.cpu().numpy()
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.picture.device)

    @property
    def nnf(self) -> Tensor:
        """int32 [H, W, 2], made anew: the origin of each filled pixel, -1 outside the mask."""
        nnf = torch.full((*self.mask.shape, 2), -1, dtype=torch.int32, device=self.mask.device)
        nnf[self.mask] = self.origin
        return nnf


def inpaint(
    image: Tensor,
    mask: Tensor,
    *,
    source_mask: Tensor | None = None,
    patch_size: int = 7,
    iterations: int | None = None,
    seed: int = 0,
    blend: bool = True,
    reach: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Filled:
    """Fills a hole with patches of the rest of the picture (see psal_cli.tasks.completion).

    Args:
        image: [1, C, H, W], float32 in [0, 1], or uint8 or uint16 with white = 255 or 65535. Of integers nothing larger is
            kept than they themselves and what is worked on.
        mask: bool [H, W], True = fill; any number of holes of any size, also at the border.
        source_mask: bool [H, W], True = may be copied from; default everywhere outside the mask.
        patch_size: odd, 3 to 31.
        iterations: rounds of search and vote at each level; default more at coarse levels than at fine ones.
        seed: the same seed gives the same picture for any number of threads.
        blend: correct the fill where the light differs across the hole's edge.
        reach: each hole is filled from so many pixels around it, which takes memory for those only; default the whole
            picture. Holes whose surroundings overlap are filled together.
        progress: called before each level with (level, levels, its size as text).

    Raises:
        ValueError: wrong shapes; an empty mask; no whole patch left to copy from.
    """
    _check(image, mask, source_mask, patch_size)
    # The work is many small searches in a row, each over before a GPU had begun: the CPU does it.
    pixels, hole = _pixels(image), mask.cpu().numpy()
    source = None if source_mask is None else source_mask.cpu().numpy()
    inside = np.flatnonzero(hole)
    values = np.empty((len(inside), pixels.shape[2]), np.float32)
    origins = np.empty((len(inside), 2), np.int32)
    boxes = windows(hole, patch_size, reach)
    for number, window in enumerate(boxes, 1):
        view = np.s_[window[0] : window[1], window[2] : window[3]]
        say = progress and _numbered(progress, number, len(boxes))
        part = None if source is None else source[view]
        found = complete(pixels[view], hole[view], part, patch_size, iterations, seed, say)
        while found:
            box, origin = found.pop()
            place = _places(hole[view], box, window, hole.shape[1])
            place = np.searchsorted(inside, place)
            values[place] = _fill(pixels[view], hole[view], box, origin, blend)
            origins[place] = origin.numpy() + np.array([window[0], window[2]], np.int32)
    return Filled(*(torch.from_numpy(x).to(image.device) for x in (values, origins)), image, mask)


def windows(hole: np.ndarray, patch_size: int, reach: int | None) -> list[Box]:
    """The parts of the picture that are worked on one after the other; no two overlap, together they hold the whole hole."""
    if reach is None:
        return [(0, hole.shape[0], 0, hole.shape[1])]
    return merged([grown(box, reach, hole.shape) for box in part_boxes(hole, patch_size)])


def _numbered(progress: Callable[[int, int, str], None], number: int, count: int) -> Callable[[int, int, str], None]:
    return lambda level, levels, text: progress(level, levels, text if count == 1 else f"{text}, part {number} of {count}")


def _places(hole: np.ndarray, box: Box, window: Box, width: int) -> np.ndarray:
    """Flat positions in the whole picture of the hole's pixels in a box of a window of it."""
    row, column = np.nonzero(crop(hole, box))
    return (row + (box[0] + window[0])) * width + (column + (box[2] + window[2]))


def _fill(pixels: np.ndarray, hole: np.ndarray, box: Box, origin: Tensor, blend: bool) -> np.ndarray:
    """float32 [n, C]: what the n pixels of the hole in a box become, in raster order."""
    row, column = origin.numpy().T
    copied = floats(pixels[row, column])
    if not blend:
        return copied
    unknown = torch.from_numpy(crop(hole, box))
    fill = floats(pixels[box[0] : box[1], box[2] : box[3]])
    fill[unknown.numpy()] = copied
    fill = torch.from_numpy(np.ascontiguousarray(fill.transpose(2, 0, 1)))
    return blended(pixels, fill, origin, unknown, box)[:, unknown].clamp_(0, 1).T.numpy()


def _pixels(image: Tensor) -> np.ndarray:
    """[H, W, C], without a copy where it is in memory already."""
    return image[0].cpu().permute(1, 2, 0).numpy()


def _check(image: Tensor, mask: Tensor, source_mask: Tensor | None, patch_size: int) -> None:
    if image.ndim != 4 or image.shape[0] != 1:
        raise ValueError(f"image has shape {list(image.shape)}, expected [1, C, H, W]")
    if image.dtype not in DEPTHS:
        raise ValueError(f"image is {image.dtype}, expected torch.float32, torch.uint8 or torch.uint16")
    for name, m in (("mask", mask), ("source_mask", source_mask)):
        if m is not None and (m.shape != image.shape[2:] or m.dtype != torch.bool):
            raise ValueError(f"{name} is {m.dtype} {list(m.shape)}, expected torch.bool {list(image.shape[2:])}")
    if not mask.any():
        raise ValueError("mask is empty: nothing to fill")
    if mask.all():
        raise ValueError("mask covers the whole picture: nothing is left to copy from")
    if not (3 <= patch_size <= 31 and patch_size % 2):
        raise ValueError(f"patch_size is {patch_size}, expected an odd number from 3 to 31")
