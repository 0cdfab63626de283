"""Pyramids of pictures with holes, and fields carried from one level to the next.

Feature maps here are float32 [1, C, H, W] in torch.channels_last memory, so that the engine reads them without a copy.
They are many times larger than the picture, so each is computed on demand, in strips of rows.
"""

from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from psal_cli.patchmatch.diffusion import diffused
from psal_cli.patchmatch.regions import Box, Region, bounds, part_boxes, windows
from psal_cli.strips import rows_within, strips

# Weight of the texture features relative to colours. Newson et al. 2017 use sqrt(50). A vote is a mean and so smoother than its
# sources; with less weight on gradients, the search mistakes smooth patches for textured ones.
TEXTURE_WEIGHT = 20.0
TEXTURES = 2  # channels
PLACES = 2  # channels: row and column, with a guide
GUIDE_BLUR = 1.0  # standard deviation of the blur of expectations, in pixels of the level
GUIDE_WEIGHT = 0.7  # weight of expected texture and colours relative to known ones
LEAST_SIDE = 16  # pixels of a level: narrower holes are compared by nearness as if they were so wide
FAINT = 0.1  # texture below this counts as none
STRIP = 1 << 18  # pixels processed at a time: a few MB


Floats = npt.NDArray[np.float32]


@runtime_checkable
class Guide(Protocol):
    """Describes known and hidden pixels, so that the search finds what belongs in a hole.

    Attributes:
        radius: pixels. It is applied at the finest level at which the hole's inner radius is at most this.
        reach: pixels around the hole that it describes, so that its cost depends on the hole, not on the picture.
        features: approximate number of features per pixel.
        cost: approximate nanoseconds of one CPU core per pixel.
        texture: expected texture in the hole relative to that around it. Above 1, because a search by distance prefers the
            smoother of two patches, and removing a seam removes gradients.
        nearness: the weight of the distance between a place and its source, in heights and widths of the hole, relative to
            colours in [0, 1]: what is near is more likely to continue in the hole.
    """

    radius: float
    reach: int
    features: int
    cost: float
    texture: float
    nearness: float

    def __call__(self, known: Floats, hole: Region) -> Floats:
        """(known pixels float32 [H, W, C], zero in the hole; hole bool [H, W]) -> features float32 [H, W, F], compared by squared
        distance in addition to the colours."""


def floats(pixels: np.ndarray) -> Floats:
    """uint8 or uint16 pixels as float32 in [0, 1]; a copy of float32 ones."""
    out: Floats = pixels.astype(np.float32)
    if pixels.dtype.kind == "u":
        np.divide(out, np.iinfo(pixels.dtype).max, out=out)
    return out


class Pyramid:
    """A picture with holes at several resolutions, 0 the finest.

    A coarse pixel is the mean of four pixels; it belongs to the hole if any of them does, so that values in the hole never reach
    a known pixel. Texture features are the mean absolute gradients of the finest level under each coarse pixel, which a coarse
    level cannot see otherwise (Newson et al. 2017).
    """

    def __init__(self, pixels: np.ndarray, holes: list[Region]):
        """pixels: [H, W, C], as `floats` takes; holes: bool [H, W] of each level, halved (`halve_mask`)."""
        self.pixels, self.holes = pixels, holes
        self.weights = [TEXTURE_WEIGHT] * len(holes)  # weight of the texture features of each level, see `texture.weigh`
        self.coarse: dict[int, Floats] = {}  # pixels of the coarser levels
        self.guides: dict[int, Floats] = {}  # guides of the levels that have one
        for number in range(1, len(holes)):
            self.coarse[number] = self._halved(number)

    def keep(self, level: int, box: Box) -> None:
        """Crops a level other than the finest to a box, and the coarser ones to the same area: the corner and sides of the box
        must be multiples of their reduction, except at the end of the level."""
        for number in range(max(level, 1), len(self.holes)):  # the finest one is never cropped
            view = np.s_[box[0] : box[1], box[2] : box[3]]
            self.coarse[number] = np.ascontiguousarray(self.coarse[number][view])
            self.holes[number] = np.ascontiguousarray(self.holes[number][view])
            box = halved_box(box)

    def guide(self, level: int, guide: Guide) -> None:
        """Makes the search of a level and the coarser ones compare the guide's features and the places, and expect texture in the
        hole. Beyond the guide's reach its features are 0."""
        hole, colours = self.holes[level], self.pixels.shape[2]
        places = _places(hole, guide.nearness)
        known = self._known(level, 0, len(hole))
        maps: Floats | None = None
        for top, bottom, left, right in guided_windows(hole, guide.reach):
            view = np.s_[top:bottom, left:right]
            seen, inside = np.ascontiguousarray(known[view]), hole[view]
            # Without texture, smooth patches would fit best: expected colours deep in a hole have none.
            texture = GUIDE_WEIGHT * blurred(_expected_texture(seen[..., colours:], inside, guide.texture))
            features = guide(seen[..., :colours].clip(0, 1), inside)  # what the guide's network was trained on
            if maps is None:
                maps = np.zeros((*hole.shape, TEXTURES + PLACES + features.shape[2]), np.float32)
            np.concatenate([texture, places[view], features], 2, out=maps[view])
        assert maps is not None  # the hole is not empty
        self.guides[level] = maps
        for number in range(level + 1, len(self.holes)):
            self.guides[number] = _halve(self.guides[number - 1])

    def features(self, number: int, energy: bool = False) -> Tensor:
        """float32 [1, C + 2, H, W] of a level: colours, then texture; zero in the hole. With a guide, expected texture, places
        and its features follow. With `energy`, the sums of squares of both follow, a channel each."""
        known, guide, share = self.coarse.get(number), self.guides.get(number), self.weights[number] / TEXTURE_WEIGHT
        if known is None or guide is not None or energy or share != 1:
            height, width = self.holes[number].shape
            seen = self.pixels.shape[2] + TEXTURES
            maps = [seen] if guide is None else [seen, guide.shape[2]]
            known = np.empty((height, width, sum(maps) + energy * len(maps)), np.float32)
            for top, bottom, *_ in strips(height, rows_within(STRIP, width)):
                parts = [self._known(number, top, bottom)] + ([] if guide is None else [guide[top:bottom]])
                np.concatenate(parts, 2, out=known[top:bottom, :, : sum(maps)])
                # Known texture is the last part of the first group; expected texture follows directly.
                known[top:bottom, :, seen - TEXTURES : seen + TEXTURES * (len(maps) - 1)] *= share
                parts = np.split(known[top:bottom, :, : sum(maps)], [seen] * (len(maps) - 1), 2)
                if energy:
                    for channel, part in enumerate(parts, sum(maps)):
                        known[top:bottom, :, channel] = _maps(part).square().sum(1)[0].numpy()
        return _maps(known)

    def drop(self, number: int) -> None:
        """Frees the cached features of a level."""
        self.coarse.pop(number, None)
        self.guides.pop(number, None)

    def _known(self, number: int, top: int, bottom: int) -> Floats:
        """[bottom - top, W, C + 2]: rows of a level, zero in the hole."""
        if number:
            return self.coarse[number][top:bottom]
        hole = self.holes[0][top : bottom + 1]  # one more row, if there is one, for the gradients of the last row
        picture = floats(self.pixels[top : bottom + 1])
        known = np.concatenate([picture, _gradients(picture, hole)], axis=2)[: bottom - top]
        known[hole[: bottom - top]] = 0
        return known

    def _halved(self, number: int) -> Floats:
        """A level from the next finer one."""
        height, width = self.holes[number - 1].shape
        colours = self.pixels.shape[2]
        out = np.empty((*self.holes[number].shape, colours + TEXTURES), np.float32)
        for top, bottom, *_ in strips(height, rows_within(STRIP, width, 2)):
            known = self._known(number - 1, top, bottom)
            rows = slice(top // 2, -(-bottom // 2))
            out[rows, :, :colours], out[rows, :, colours:] = _halve(known[..., :colours]), _halve(known[..., colours:])
        out[self.holes[number]] = 0
        return out


def guided_windows(hole: Region, reach: int) -> list[Box]:
    """The windows of a level around a hole, bool [H, W], that a guide with this reach sees."""
    return windows((hole.shape[0], hole.shape[1]), part_boxes(hole, 1), reach)


def blurred(maps: Floats) -> Floats:
    """[H, W, C], blurred as much as the expectation in the hole."""
    return np.asarray(cv2.GaussianBlur(maps, (0, 0), GUIDE_BLUR), np.float32).reshape(maps.shape)


def _places(hole: Region, weight: float) -> Floats:
    """[H, W, 2]: row and column, relative to the middle of the hole, bool [H, W], in sides of its largest part, times a weight.

    Relative to each side, because a long hole along an edge must be filled from before its ends, not from across the edge.
    """
    boxes, whole = np.array(part_boxes(hole, 1)), bounds(hole)
    out = np.empty((*hole.shape, PLACES), np.float32)
    for axis, (first, last) in enumerate(((0, 1), (2, 3))):
        scale = weight / max((boxes[:, last] - boxes[:, first]).max(), LEAST_SIDE)
        middle = (whole[first] + whole[last]) / 2  # small numbers near the hole: peeling subtracts sums of their squares
        line = scale * (np.arange(hole.shape[axis]) + 0.5 - middle)
        out[..., axis] = np.expand_dims(line, 1 - axis)
    return out


def _expected_texture(texture: Floats, hole: Region, share: float) -> Floats:
    """[H, W, 2]: fills the hole, bool [H, W], of texture features from its surroundings, times a share: the logarithms of their
    local means diffuse into it, so that an edge beside a hole does not roughen all of it."""
    known = cv2.GaussianBlur((~hole).astype(np.float32), (0, 0), GUIDE_BLUR)[..., None]
    means = cv2.GaussianBlur(np.ascontiguousarray(texture), (0, 0), GUIDE_BLUR) / np.maximum(known, 1e-3)
    logs = np.where(hole[..., None], 0, np.log(means + FAINT)).astype(np.float32)
    mask = torch.from_numpy(hole.astype(np.float32))[None, None]
    inside = np.exp(diffused(_maps(logs), mask)[0].permute(1, 2, 0).numpy()) - FAINT
    return np.where(hole[..., None], share * inside, texture)


def _maps(known: Floats) -> Tensor:
    return torch.from_numpy(known).permute(2, 0, 1)[None]


def _halve(picture: Floats) -> Floats:
    """[H, W, C] -> [ceil(H / 2), ceil(W / 2), C]: means of 2x2 pixels, the last row and column repeated if odd."""
    height, width, channels = picture.shape
    picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    out = np.empty((picture.shape[0] // 2, picture.shape[1] // 2, channels), np.float32)
    cv2.resize(picture, out.shape[1::-1], out, interpolation=cv2.INTER_AREA)
    return out


def halved_box(box: Box) -> Box:
    """A box of a level, with an even corner -> the same area of the next coarser one."""
    return box[0] // 2, -(-box[1] // 2), box[2] // 2, -(-box[3] // 2)


def halve_mask(mask: Region) -> Region:
    """bool [H, W] -> bool [ceil(H / 2), ceil(W / 2)]: True if any of the four pixels is."""
    rows = mask[::2].copy()
    rows[: len(mask) // 2] |= mask[1::2]
    out = rows[:, ::2].copy()
    out[:, : mask.shape[1] // 2] |= rows[:, 1::2]
    return out


def _gradients(picture: Floats, unknown: Region) -> Floats:
    """[H, W, 2]: absolute differences of grey to the next row and column, times TEXTURE_WEIGHT; zero across the hole's edge."""
    channels = picture.shape[2]
    grey = np.empty(picture.shape[:2], np.float32)
    cv2.transform(picture, np.full((1, channels), TEXTURE_WEIGHT / channels, np.float32), grey)
    out = np.zeros((*grey.shape, TEXTURES), np.float32)
    for steps, first, second, hidden in (
        (out[:-1, :, 0], grey[:-1], grey[1:], unknown[:-1] | unknown[1:]),
        (out[:, :-1, 1], grey[:, :-1], grey[:, 1:], unknown[:, :-1] | unknown[:, 1:]),
    ):
        np.abs(second - first, out=steps)
        steps[hidden] = 0
    return out


def upsample_field(
    nnf: Tensor, similarity: Tensor, box: Box, coarse_box: Box, size: tuple[int, int], margin: int, scale: int = 2
) -> tuple[Tensor, Tensor]:
    """Upsamples a coarse field: each match keeps its position inside its coarse pixel, and its similarity. Outside, the field is
    extrapolated from its border.

    Args:
        nnf: int32 [1, 1, 2, h, w] and similarity: float32 [1, 1, h, w], the field of the crop coarse_box of the coarser level.
        box: (top, bottom, left, right) of the crop at the finer level.
        size: (Hk, Wk) of the finer key; margin: the least distance of matches from its border.
        scale: between the levels; 1 only extrapolates the field.
    """
    fine, shift = nnf, []
    for axis, (first, last) in enumerate(zip(box[::2], box[1::2], strict=True)):
        places = torch.arange(first, last, dtype=torch.int32)
        start, stop = coarse_box[2 * axis : 2 * axis + 2]
        coarse = (places // scale).clamp(start, stop - 1)
        fine, similarity = fine.index_select(3 + axis, coarse - start), similarity.index_select(2 + axis, coarse - start)
        shift.append((places - scale * coarse)[:, None] if axis == 0 else places - scale * coarse)
    outside = fine[0, 0, 0] < 0
    fine.mul_(scale)
    for axis, moved in enumerate(shift):
        fine[0, 0, axis].add_(moved).clamp_(margin, size[axis] - 1 - margin)
    return fine.masked_fill_(outside, -1), similarity
