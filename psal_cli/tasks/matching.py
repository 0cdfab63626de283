"""Where in some references the colours of a grey picture are: a field from target to reference, and one back."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli import ops
from psal_cli.networks.descriptor import DescriptorNetwork

POSITION = 1.0  # weight of the place in the picture: breaks ties between what looks alike
FORWARD, BACKWARD = 8, 6  # iterations of the search, from target to reference and back
VOTE = 5  # side of the patches whose matches vote for the colour of a pixel
CUES = 9


class Canvas(NamedTuple):
    """References side by side. lab: float32 [H, W, 3], valid: bool [H, W], position: float32 [H, W, 2] in [0, 1],
    places: (left, width, height) of each in pixels of the canvas."""

    lab: np.ndarray
    valid: np.ndarray
    position: np.ndarray
    places: list[tuple[int, int, int]]


class Matches(NamedTuple):
    """nnf: int32 [1, 1, 2, h, w], places on the canvas; similarity: float32 [1, 1, h, w]; distance: float32 [h, w], pixels
    between where a pixel is and where its match finds itself in the target: small where both searches agree."""

    nnf: Tensor
    similarity: Tensor
    distance: Tensor


def canvas(references: list[np.ndarray]) -> Canvas:
    """References float32 [H, W, 3] (Lab divided by 100) of any sizes as one picture."""
    height, width = max(r.shape[0] for r in references), sum(r.shape[1] for r in references)
    out = Canvas(
        np.zeros((height, width, 3), np.float32), np.zeros((height, width), bool), np.zeros((height, width, 2), np.float32), []
    )
    left = 0
    for reference in references:
        h, w = reference.shape[:2]
        out.lab[:h, left : left + w] = reference
        out.valid[:h, left : left + w] = True
        out.position[:h, left : left + w] = positions(h, w)
        out.places.append((left, w, h))
        left += w
    return out


def positions(height: int, width: int) -> np.ndarray:
    """float32 [H, W, 2]: (row, column) of each pixel's centre, 1 = the longer side."""
    grid = np.stack(np.mgrid[:height, :width].astype(np.float32), 2)
    return (grid + np.float32(0.5)) / np.float32(max(height, width))


def described(network: DescriptorNetwork, lightness: np.ndarray, position: np.ndarray) -> Tensor:
    """float32 [1, 34, H, W], torch.channels_last: the descriptors of a picture and the places in it, as `ops.search` takes it."""
    with torch.no_grad():
        found = network(torch.from_numpy(np.ascontiguousarray(lightness))[None, None])
    place = torch.from_numpy(position).permute(2, 0, 1)[None] * (2 * POSITION)
    return torch.cat([found, place], 1).contiguous(memory_format=torch.channels_last)


def match(network: DescriptorNetwork, lightness: np.ndarray, references: Canvas, seed: int = 0) -> Matches:
    """Finds, for each pixel of a grey picture float32 [h, w] in [0, 1], the place on the canvas that looks most like it."""
    query = described(network, lightness, positions(*lightness.shape))
    parts = []
    for left, width, height in references.places:  # each described by itself: its neighbours are strangers
        part = np.s_[:height, left : left + width]
        parts.append((part, described(network, references.lab[(*part, 0)], references.position[part])))
    key = query.new_zeros((1, query.shape[1], *references.valid.shape)).contiguous(memory_format=torch.channels_last)
    for part, found in parts:
        key[(..., *part)] = found
    valid = None if references.valid.all() else torch.from_numpy(references.valid)[None]
    nnf, similarity = ops.search(query, key, 1, 1, FORWARD, "l2", key_mask=valid, seed=seed)
    back, _ = ops.search(key, query, 1, 1, BACKWARD, "l2", query_mask=valid, seed=seed + 1)
    row, column = nnf[0, 0].long()
    returned = back[0, 0, :, row, column].float()  # [2, h, w]
    here = torch.stack(torch.meshgrid(*(torch.arange(n) for n in lightness.shape), indexing="ij"))
    return Matches(nnf, similarity, torch.linalg.vector_norm(returned - here, dim=0))


def cues(lightness: np.ndarray, references: Canvas, found: Matches) -> Tensor:
    """float32 [1, 9, h, w]: what the fusion network judges a match by.

    0 lightness; 1-2 chroma of the match; 3-4 chroma that the matches of the patch around vote for; 5 agreement of both
    searches; 6 similarity; 7 difference in lightness; 8 how many of the neighbours match neighbours.
    """
    grey = torch.from_numpy(np.ascontiguousarray(lightness))
    row, column = found.nnf[0, 0].long()
    matched = torch.from_numpy(references.lab)[row, column].permute(2, 0, 1)  # [3, h, w]
    chroma = torch.from_numpy(np.ascontiguousarray(references.lab[..., 1:].transpose(2, 0, 1)))[None]
    even = torch.ones_like(found.similarity)
    votes = ops.aggregate(chroma, found.nnf, even, VOTE) / ops.aggregate(torch.ones_like(chroma[:, :1]), found.nnf, even, VOTE)
    return torch.cat(
        [
            grey[None],
            matched[1:],
            votes[0],
            torch.exp(-found.distance / 4)[None],
            torch.exp(found.similarity[0] / 4),
            (matched[:1] - grey) * 4,
            _coherence(found.nnf)[None],
        ]
    )[None]


def _coherence(nnf: Tensor) -> Tensor:
    """[h, w]: the share of the eight neighbours whose matches lie, but for 2 pixels, as they do themselves."""
    height, width = nnf.shape[3:]
    offset = nnf[0, 0].float() - torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    around = F.pad(offset[None], (1, 1, 1, 1), "replicate")[0]
    share = torch.zeros(height, width)
    for down in range(3):
        for right in range(3):
            if (down, right) != (1, 1):
                apart = around[:, down : down + height, right : right + width] - offset
                share += apart.abs().amax(0) <= 2
    return share / 8


def reduced(picture: np.ndarray, longest: int) -> np.ndarray:
    """A picture with its longer side at most `longest`."""
    height, width = picture.shape[:2]
    scale = min(longest / max(height, width), 1)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
