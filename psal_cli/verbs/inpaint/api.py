"""Inpainting: fills the masked part of a picture at its own resolution; nothing outside the mask changes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from psal_cli import memory, ops
from psal_cli.errors import MemoryLimitError
from psal_cli.patchmatch.pyramid import floats
from psal_cli.patchmatch.regions import Box, crop, part_boxes, windows
from psal_cli.verbs.inpaint import memory_model as costs
from psal_cli.verbs.inpaint.completion import complete
from psal_cli.verbs.inpaint.guide import Painter, network_of

ENGINES = ("combined", "patch", "network")
DEPTHS = (torch.uint8, torch.uint16, torch.float32)
# Of the composition: the copies' own colours count enough to keep what differs over tens of pixels, a shadow or a gradient. The
# residual is left where it is below the steps of 16-bit pixels.
FIDELITY, STEPS, TOLERANCE = 0.001, 200, 1e-4
REACHES = tuple(int(2 ** (n / 2)) for n in range(30, 13, -1))  # 32768 to 128, each 0.7 of the one before


@dataclass
class Filled:
    """What became of the n pixels inside a mask, in raster order.

    values: float32 [n, C] in [0, 1]; origin: int32 [n, 2], the (row, column) that each was copied from, None where a network
    drew them. picture and mask are those that were given.
    """

    values: Tensor
    origin: Tensor | None
    picture: Tensor
    mask: Tensor

    @property
    def image(self) -> Tensor:
        """float32 [1, C, H, W] in [0, 1], made anew: the picture, filled."""
        pixels = floats(_pixels(self.picture))
        pixels[self.mask.cpu().numpy()] = self.values.cpu().numpy()
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.picture.device)

    @property
    def nnf(self) -> Tensor | None:
        """int32 [H, W, 2], made anew: the origin of each filled pixel, -1 outside the mask."""
        if self.origin is None:
            return None
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
    engine: str = "combined",
    painter: Painter | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Filled:
    """Fills a hole with patches of the rest of the picture (see psal_cli.verbs.inpaint.completion), by a network, or by both.

    Args:
        image: [1, C, H, W], float32 in [0, 1], or uint8 or uint16 with white = 255 or 65535. Of integers nothing larger is
            kept than they themselves and what is worked on.
        mask: bool [H, W], True = fill; any number of holes of any size, also at the border.
        source_mask: bool [H, W], True = may be copied from; default everywhere outside the mask.
        patch_size: odd, 3 to 31.
        iterations: rounds of search and vote at each level; default more at coarse levels than at fine ones.
        seed: the same seed gives the same picture for any number of threads.
        blend: remove the seams between copies, and the differences of light at the hole's edge, in the gradient domain. Without
            it the fill is made of exact copies.
        reach: each hole is filled from so many pixels around it, which takes memory for those only; default the whole
            picture. Holes whose surroundings overlap are filled together.
        engine: "combined": a network draws where the hole is a few pixels wide, the patches follow it from there;
            "patch": the patches alone; "network": the network alone, at the picture's own size (see
            psal_cli.verbs.inpaint.guide), which looks at image, mask and painter only.
        painter: of the network; default that of the weights that ship.
        progress: called before each level with (level, levels, its size as text).

    Raises:
        ValueError: wrong shapes; an empty mask; no whole patch left to copy from; an unknown engine.
        MemoryLimitError: none within the reach.
    """
    _check(image, mask, source_mask, patch_size, reach, engine)
    painter = None if engine == "patch" else painter or Painter(network_of(), str(image.device), seed=seed)
    # The work is many small searches in a row, each over before a GPU had begun: the CPU does it.
    pixels, hole = _pixels(image), mask.cpu().numpy()
    barred = hole if source_mask is None else hole | ~source_mask.cpu().numpy()
    if engine == "network":
        values = painter(floats(pixels), hole).clip(0, 1)
        return Filled(torch.from_numpy(values).to(image.device), None, image, mask)
    inside = np.flatnonzero(hole)
    values = np.empty((len(inside), pixels.shape[2]), np.float32)
    origins = np.empty((len(inside), 2), np.int32)
    boxes = windows(hole.shape, part_boxes(hole, patch_size) if reach else [], reach)
    for number, window in enumerate(boxes, 1):
        view = np.s_[window[0] : window[1], window[2] : window[3]]
        say = progress and _numbered(progress, number, len(boxes))
        try:
            found = complete(pixels[view], hole[view], barred[view], patch_size, iterations, seed, say, painter)
        except ValueError as error:
            if reach is None:
                raise
            raise MemoryLimitError(f"{error}, {reach} pixels around: allow more with --max-memory") from error
        while found:
            box, origin = found.pop()
            place = _places(hole[view], box, window, hole.shape[1])
            place = np.searchsorted(inside, place)
            values[place] = _fill(pixels[view], hole[view], barred[view], box, origin.numpy(), blend)
            origins[place] = origin.numpy() + np.array([window[0], window[2]], np.int32)
    return Filled(*(torch.from_numpy(x).to(image.device) for x in (values, origins)), image, mask)


def plan(
    size: tuple[int, int],
    channels: int,
    itemsize: int,
    hole: np.ndarray | None = None,
    *,
    alpha: bool = False,
    source: bool = False,
    soft: bool = False,
    patch_size: int = 7,
    reads: str = "JPEG",
    writes: str = "JPEG",
    draws: str | None = None,
    mask: int = 0,
    streams: int = 0,
    limit: int | None = None,
    engine: str = "patch",
    painter: Painter | None = None,
) -> memory.Plan:
    """The most memory that a process will hold that reads, fills and writes one picture, and the reach that keeps to a limit.

    Args:
        size: (height, width). channels: 1 or 3; itemsize: bytes a channel of the picture's pixels; alpha: whether it has some.
        hole: bool [H, W]; where it is None or empty, a small one is assumed.
        source, soft: whether there are a source mask and a feathered mask.
        reads, writes, draws: the formats of the picture, of the result, and of a picture of the field where one is written, as
            Pillow names them.
        mask: bytes a pixel while the mask's file is decoded; streams: bytes that are piped in and out.
        limit: bytes. The whole picture at once where that allows it, else the largest reach that it allows.
        engine, painter: see `inpaint`; a painter for each engine but "patch".

    Raises:
        MemoryLimitError: even the smallest reach that leaves enough to copy from takes more.
    """
    about = costs.measured(hole, patch_size, engine)
    files = costs.Files(size[0] * size[1], channels, itemsize, alpha, source, soft, reads, writes, draws, mask, streams)

    def needed(reach: int | None) -> int:
        if engine == "network":
            return costs.whole(files, about, costs.painting(size[0] * size[1], about.piece, painter.network))
        boxes = windows(size, about.boxes or [(0, 1, 0, 1)], reach)
        return costs.whole(files, about, max(costs.window(box, about, channels, painter and painter.network) for box in boxes))

    least = max([REACHES[-1], *(min(bottom - top, right - left) // 2 for top, bottom, left, right in about.boxes)])
    reaches = [None, *(reach for reach in REACHES if least <= reach < max(size) and engine != "network")]
    libraries = memory.libraries(costs.baseline())
    fitting = [reach for reach in reaches if limit is None or libraries + needed(reach) <= limit]
    if not fitting:
        lowest, given = memory.in_words(libraries + needed(reaches[-1])), memory.at_most(limit)
        cure = "allow more with --max-memory, or give a smaller picture"
        raise MemoryLimitError(f"{size[1]}x{size[0]} takes {lowest} at least, {given} are allowed: {cure}")
    reach = fitting[0]
    most = libraries + needed(reach)
    how = "the whole picture at once" if reach is None else f"{reach} pixels around each hole"
    return memory.Plan(most, reach, f"{memory.in_words(most)}, {how}{'' if about.boxes else ' (for a small hole)'}")


def _numbered(progress: Callable[[int, int, str], None], number: int, count: int) -> Callable[[int, int, str], None]:
    return lambda level, levels, text: progress(level, levels, text if count == 1 else f"{text}, part {number} of {count}")


def _places(hole: np.ndarray, box: Box, window: Box, width: int) -> np.ndarray:
    """Flat positions in the whole picture of the hole's pixels in a box of a window of it."""
    row, column = np.nonzero(crop(hole, box))
    return (row + (box[0] + window[0])) * width + (column + (box[2] + window[2]))


def _fill(pixels: np.ndarray, hole: np.ndarray, barred: np.ndarray, box: Box, origin: np.ndarray, blend: bool) -> np.ndarray:
    """float32 [n, C]: what the n pixels of the hole in a box become, in raster order."""
    if not blend:
        return floats(pixels[origin[:, 0], origin[:, 1]])
    unknown = crop(hole, box)
    return ops.compose(pixels, barred, unknown, origin, (box[0], box[2]), FIDELITY, STEPS, TOLERANCE).clip(0, 1)


def _pixels(image: Tensor) -> np.ndarray:
    """[H, W, C], without a copy where it is in memory already."""
    return image[0].cpu().permute(1, 2, 0).numpy()


def _check(image: Tensor, mask: Tensor, source_mask: Tensor | None, patch_size: int, reach: int | None, engine: str) -> None:
    if engine not in ENGINES:
        raise ValueError(f"engine is {engine!r}, expected one of {', '.join(ENGINES)}")
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
    if reach is not None and reach < 1:
        raise ValueError(f"reach is {reach}, expected at least 1 pixel")
