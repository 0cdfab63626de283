"""Completion by patches: fills holes so that every patch that touches one looks like a patch outside.

Minimises the sum over those patches of the distance to their nearest neighbour outside the hole, alternating search and
weighted voting from coarse to fine (Wexler et al. 2007; Kwatra et al. 2005), with the texture features and the
onion-peel start of Newson et al. 2017 ("Non-local patch-based image inpainting", IPOL). Between levels the field is
upsampled, not the picture, and the last vote is a copy: the result is made of the source's own pixels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli import ops
from psal_cli.tasks.pyramid import Level, build_pyramid, upsample_field

COARSEST_RADIUS = 4  # the widest hole's inner radius at the coarsest level, in pixels: a hole one or two patches wide
COARSEST_SIDE = 32  # smaller than this a picture has too few patches left to tell one thing from another
CONFIDENCE = 0.4  # a patch whose centre lies one pixel deeper in the hole counts e^0.4 times less (Wexler et al. 2007)
SHARPNESS = 2.0  # of a vote: patches at the usual distance, the third quartile, count e^2 times less than perfect ones


@dataclass
class Hole:
    """A part of the hole at one level, on its own crop (top, bottom, left, right) of the picture."""

    box: tuple[int, int, int, int]
    unknown: Tensor  # bool [h, w], to be filled
    queries: Tensor  # bool [1, h, w], centres of the patches that touch the unknown pixels
    distance: Tensor  # float32 [h, w], pixels to the hole's edge, 0 outside
    features: Tensor  # [1, C, h, w], the current estimate
    nnf: Tensor | None = None  # int32 [1, 1, 2, h, w]
    similarity: Tensor | None = None  # float32 [1, 1, h, w]
    origin: Tensor | None = None  # int64 [h, w, 2], the pixel that each unknown one was copied from; set at the end


def crop(x: Tensor, box) -> Tensor:
    return x[..., box[0] : box[1], box[2] : box[3]]


def complete(
    image: Tensor,
    hole: Tensor,
    source: Tensor,
    patch_size: int,
    iterations: int | None,
    seed: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Level, list[Hole]]:
    """Runs the levels; returns the finest one and its filled holes (image: [1, C, H, W] float32, hole, source: bool [H, W])."""
    levels = build_pyramid(image, hole, _depth(hole, source, patch_size))
    sources = _halved_sources(source, [level.size for level in levels])
    holes: list[Hole] = []
    for number in reversed(range(len(levels))):
        level, allowed = levels[number], sources[number] & ~levels[number].hole
        valid = ops.valid_keys(allowed[None], patch_size)
        keys = (valid, ops.keys_by_row(valid))
        coarser, holes = holes, list(_holes(level, patch_size))
        if progress:
            progress(len(levels) - number, len(levels), f"{level.size[1]}x{level.size[0]}")
        for one in holes:
            if coarser:
                parent = next(c for c in coarser if _contains(c.box, one.box))
                _inherit(one, parent, level, patch_size)
            else:
                _peel(one, level, keys, patch_size, seed)
            rounds = iterations or min(8, 2**number)  # fewer where the field is fine already: each vote costs some texture
            _alternate(one, level, keys, patch_size, rounds, seed)
    for one in holes:
        _copy(one, levels[0], patch_size)
    return levels[0], holes


def _depth(hole: Tensor, source: Tensor, patch_size: int) -> int:
    """Levels until the widest hole is narrow, as long as enough of the picture is left to copy from.

    Raises ValueError when nothing is.
    """
    inner = cv2.distanceTransform(np.pad(hole.numpy().astype(np.uint8), 1), cv2.DIST_L2, 3).max()
    levels = 1 + max(0, int(np.ceil(np.log2(max(inner, 1) / COARSEST_RADIUS))))
    if min(hole.shape) < patch_size or not ops.valid_keys((source & ~hole)[None], patch_size).any():
        raise ValueError(f"nothing is left to copy from: no patch of {patch_size}x{patch_size} lies whole outside the mask")
    unknown = (hole | ~source).numpy().astype(np.float32)
    for level in range(1, levels):
        unknown = cv2.resize(unknown, (-(-unknown.shape[1] // 2), -(-unknown.shape[0] // 2)), interpolation=cv2.INTER_AREA)
        if min(unknown.shape) < max(COARSEST_SIDE, 2 * patch_size):
            return level
        if ops.valid_keys(torch.from_numpy(unknown == 0)[None], patch_size).sum() < 4 * patch_size**2:
            return level
    return levels


def _halved_sources(source: Tensor, sizes) -> list[Tensor]:
    out = [source]
    for height, width in sizes[1:]:
        grown = F.pad(
            (~out[-1]).float()[None], (0, 2 * width - out[-1].shape[1], 0, 2 * height - out[-1].shape[0]), mode="replicate"
        )
        out.append(F.max_pool2d(grown, 2)[0] == 0)
    return out


def _holes(level: Level, patch_size: int) -> Iterator[Hole]:
    """The parts of the hole of a level, each with the patches that touch it and a margin for those patches."""
    radius = patch_size // 2
    height, width = level.size
    hole = level.hole.numpy().astype(np.uint8)
    queries = cv2.dilate(hole, np.ones((patch_size, patch_size), np.uint8))
    distance = cv2.distanceTransform(np.pad(hole, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    _, _, stats, _ = cv2.connectedComponentsWithStats(queries, connectivity=8)
    boxes = [(y - radius, y + h + radius, x - radius, x + w + radius) for x, y, w, h, _ in stats[1:].tolist()]
    for top, bottom, left, right in _merged(boxes):
        box = (max(top, 0), min(bottom, height), max(left, 0), min(right, width))
        yield Hole(
            box=box,
            unknown=crop(level.hole, box),
            queries=crop(torch.from_numpy(queries).bool(), box)[None].contiguous(),
            distance=torch.from_numpy(np.ascontiguousarray(distance[box[0] : box[1], box[2] : box[3]])),
            features=crop(level.features, box).clone(memory_format=torch.channels_last),
        )


def _merged(boxes: list) -> list:
    """Unites boxes that overlap, until none do."""
    out: list = []
    for box in boxes:
        while True:
            other = next((o for o in out if box[0] < o[1] and o[0] < box[1] and box[2] < o[3] and o[2] < box[3]), None)
            if other is None:
                break
            out.remove(other)
            box = (min(box[0], other[0]), max(box[1], other[1]), min(box[2], other[2]), max(box[3], other[3]))
        out.append(box)
    return out


def _contains(coarse, fine) -> bool:
    row, column = (fine[0] + fine[1]) // 4, (fine[2] + fine[3]) // 4
    return coarse[0] <= row < coarse[1] and coarse[2] <= column < coarse[3]


def _inherit(one: Hole, parent: Hole, level: Level, patch_size: int) -> None:
    """Starts a level from the field of the coarser one, and pastes the estimate from it."""
    one.nnf = upsample_field(parent.nnf, one.box, parent.box, level.size, patch_size // 2)
    rows = (torch.arange(one.box[0], one.box[1]) // 2 - parent.box[0]).clamp(0, parent.nnf.shape[3] - 1)
    columns = (torch.arange(one.box[2], one.box[3]) // 2 - parent.box[2]).clamp(0, parent.nnf.shape[4] - 1)
    one.similarity = parent.similarity[:, :, rows][:, :, :, columns]
    outside = ~one.queries[:, None]
    one.nnf = one.nnf.masked_fill(outside[:, :, None], -1)
    one.similarity = one.similarity.masked_fill(outside, -torch.inf)
    _vote(one, level, patch_size)


def _logits(one: Hole) -> Tensor:
    """[1, 1, h, w]: how much each patch has to say, -inf where there is none: close matches and outer patches count more."""
    cost = -one.similarity
    usual = cost[one.queries[:, None]].quantile(0.75).clamp_min(1e-6)
    return torch.where(one.nnf[:, :, 0] >= 0, cost / usual * -SHARPNESS - CONFIDENCE * one.distance, -torch.inf)


def _vote(one: Hole, level: Level, patch_size: int) -> None:
    """Each unknown pixel becomes the weighted mean of what the patches over it paste there."""
    pasted = ops.aggregate(level.features, one.nnf, _logits(one), patch_size, softmax=True)
    one.features = torch.where(one.unknown, pasted, one.features).contiguous(memory_format=torch.channels_last)


def _copy(one: Hole, level: Level, patch_size: int) -> None:
    """Each unknown pixel becomes what the best of the patches over it pastes there: a pixel of the source, unmixed."""
    radius = patch_size // 2
    height, width = one.unknown.shape
    logits = F.pad(_logits(one)[0, 0], (radius,) * 4, value=-torch.inf)
    field = F.pad(one.nnf[0, 0].long(), (radius,) * 4)
    best = torch.full((height, width), -torch.inf)
    one.origin = torch.full((height, width, 2), -1)
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            window = (radius + down, radius + down + height, radius + right, radius + right + width)
            value = crop(logits, window)
            better = (value > best) & one.unknown
            best = torch.where(better, value, best)
            source = crop(field, window).permute(1, 2, 0) - torch.tensor([down, right])
            one.origin = torch.where(better[..., None], source, one.origin)
    row, column = one.origin.clamp_min(0).unbind(2)
    one.features = torch.where(one.unknown, level.features[:, :, row, column], one.features)


def _alternate(one: Hole, level: Level, keys: tuple[Tensor, Tensor], patch_size: int, rounds: int, seed: int) -> None:
    """Search and vote in turn, until hardly a match changes."""
    for number in range(rounds):
        before = one.nnf
        one.nnf, one.similarity = ops.search_valid(
            one.features, level.features, patch_size, 1, 2, "l2", one.queries, keys[0], before, "scan", seed + number, keys[1]
        )
        if before is not None and (one.nnf != before).any(2)[one.queries[:, None]].float().mean() < 0.01:
            break
        _vote(one, level, patch_size)


def _peel(one: Hole, level: Level, keys: tuple[Tensor, Tensor], patch_size: int, seed: int) -> None:
    """First estimate, layer by layer from the edge, comparing only what is known of each patch.

    The distance over the known pixels of a patch is a dot product: sum m (q - k)^2 = const - <[2 m q, -m], [k, |k|^2]>.
    """
    key = torch.cat([level.features, level.features.square().sum(1, keepdim=True)], 1).contiguous(
        memory_format=torch.channels_last
    )
    schedule = "exact" if level.hole.numel() <= 1 << 14 else "scan"
    unknown = one.unknown.clone()
    while unknown.any():
        known = (~unknown).float()[None, None]
        ring = unknown & (F.max_pool2d(known, 3, 1, 1)[0, 0] > 0)
        query = torch.cat([2 * known * one.features, -known.expand(1, 1, -1, -1)], 1)
        nnf, _ = ops.search_valid(query, key, patch_size, 1, 8, "dot", ring[None], keys[0], None, schedule, seed, keys[1])
        pasted = ops.aggregate(level.features, nnf, torch.ones_like(nnf[:, :, 0], dtype=torch.float32))
        one.features = torch.where(ring, pasted, one.features)
        unknown &= ~ring
    one.features = one.features.contiguous(memory_format=torch.channels_last)
