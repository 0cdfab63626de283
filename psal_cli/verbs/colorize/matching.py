"""Matches a grey picture (target) with its references: one field from target to references, one back."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli import ops
from psal_cli.verbs.colorize.descriptors import CHANNELS, describe
from psal_cli.verbs.colorize.semantics import Semantics

POSITION = np.array([4, 2], np.float32)  # weights of row and column: they break ties, and the sky is rarely at the bottom
FORWARD, BACKWARD = 8, 6  # iterations of the search: from target to reference, and back
REFINING = 2  # of both if they start from a coarser field
FINE, REDUCED = 32, 24  # features compared at a finer level: its own, and those of the coarser level
SEMANTIC = 2.0  # weight of semantic features relative to the descriptors
MISFIT = 4.0  # factor of the error of guesses on the references, as a cue
VOTE = 5  # side of the patches whose matches vote for the colour of a pixel


class ReferenceAtlas(NamedTuple):
    """References side by side. colours: float32 [H, W, 3]; valid: bool [H, W]; position: float32 [H, W, 2] in [0, 1]; places:
    (left, width, height) of each in pixels of the atlas."""

    colours: np.ndarray
    valid: np.ndarray
    position: np.ndarray
    places: list[tuple[int, int, int]]


class Meanings(NamedTuple):
    """Semantic features of a target and of each reference on an atlas."""

    target: Semantics
    references: list[Semantics]

    def beside(self, target: Tensor, references: ReferenceAtlas) -> tuple[Tensor, Tensor]:
        """float32 [1, C, h, w] of the target's features [1, _, h, w], and [1, C, H, W] of the atlas."""
        query = self.target.at((target.shape[2], target.shape[3]))
        key = torch.zeros(1, query.shape[1], *references.valid.shape)
        for (left, width, height), seen in zip(references.places, self.references, strict=True):
            key[..., :height, left : left + width] = seen.at((height, width))
        return query, key


class Matches(NamedTuple):
    """nnf: int32 [1, 1, 2, h, w], positions on the atlas; back: int32 [1, 1, 2, H, W], positions in the target for each atlas
    pixel; similarity: float32 [1, 1, h, w]; query, key: float32 [1, REDUCED, H, W], their leading features, for a finer level."""

    nnf: Tensor
    back: Tensor
    similarity: Tensor
    query: Tensor
    key: Tensor


def atlas_of(references: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> ReferenceAtlas:
    """Lays references side by side: colours float32 [H, W, 3] of any size, and bool [H, W], what may be matched (None = all).

    `match` and `cues` expect Lab divided by 100.
    """
    height, width = max(x.shape[0] for x, _ in references), sum(x.shape[1] for x, _ in references)
    out = ReferenceAtlas(
        np.zeros((height, width, 3), np.float32), np.zeros((height, width), bool), np.zeros((height, width, 2), np.float32), []
    )
    left = 0
    for colours, valid in references:
        h, w = colours.shape[:2]
        out.colours[:h, left : left + w] = colours
        out.valid[:h, left : left + w] = True if valid is None else valid
        out.position[:h, left : left + w] = positions(h, w)
        out.places.append((left, w, h))
        left += w
    return out


def positions(height: int, width: int) -> np.ndarray:
    """float32 [H, W, 2]: (row, column) of each pixel's centre, 1 = the longer side."""
    grid = np.moveaxis(np.mgrid[:height, :width].astype(np.float32), 0, 2)
    return np.asarray((grid + np.float32(0.5)) / np.float32(max(height, width)))


def match(
    lightness: np.ndarray,
    references: ReferenceAtlas,
    seed: int = 0,
    coarser: Matches | None = None,
    device: str = "cpu",
    searched: Callable[[], None] | None = None,
    semantic: Meanings | None = None,
) -> Matches:
    """Finds the most similar position on the atlas for each pixel of a grey picture float32 [h, w] in [0, 1].

    coarser: the matches of the same pictures at a smaller size; their features are compared too, and the search starts from them.
    device: where the search runs. searched: called after each of the two searches. semantic: semantic features of both, compared
        besides the descriptors; not in `similarity`, nor at a finer level.
    """
    channels, factor = (CHANNELS, 0) if coarser is None else (FINE + REDUCED, lightness.shape[0] // coarser.nnf.shape[3])
    query_features = np.empty((*lightness.shape, channels + 2), np.float32)
    _fill(query_features, lightness, positions(*lightness.shape), None if coarser is None else coarser.query)
    lent = np.zeros((*references.valid.shape, channels + 2), np.float32)
    for left, width, height in references.places:  # one reference at a time: neighbours on the atlas are unrelated
        part = np.s_[:height, left : left + width]
        small = coarser and coarser.key[..., : height // factor, left // factor : (left + width) // factor]
        _fill(lent[part], references.colours[(*part, 0)], references.position[part], small)
    query, key = (torch.from_numpy(x).permute(2, 0, 1)[None].to(device) for x in (query_features, lent))
    own = query, key
    if semantic is not None:
        query, key = (
            torch.cat([x, SEMANTIC * y.to(device)], 1) for x, y in zip(own, semantic.beside(query, references), strict=True)
        )
    forward, backward, rounds, fewer = None, None, FORWARD, BACKWARD
    if coarser is not None:
        forward, backward = (_finer(x, factor).to(device) for x in (coarser.nnf, coarser.back))
        rounds = fewer = REFINING
    valid = None if references.valid.all() else torch.from_numpy(references.valid)[None].to(device)
    nnf, similarity = ops.search(query, key, 1, 1, rounds, "l2", None, valid, forward, seed=seed)
    if searched:
        searched()
    back, _ = ops.search(key, query, 1, 1, fewer, "l2", valid, None, backward, seed=seed + 1)
    if searched:
        searched()
    if semantic is not None:
        similarity = _similarity(*own, nnf)
    query, key = (x[:, :REDUCED].cpu().contiguous(memory_format=torch.channels_last) for x in (query, key))
    return Matches(nnf.cpu(), back.cpu(), similarity.cpu(), query, key)


def _similarity(query: Tensor, key: Tensor, nnf: Tensor) -> Tensor:
    """float32 [1, 1, h, w], minus the squared distance between the features of each pixel and its match."""
    row, column = nnf[0, 0].long()
    similarity: Tensor = -(query[0] - key[0][:, row, column]).square().sum(0)
    return similarity[None, None]


def _fill(out: np.ndarray, lightness: np.ndarray, position: np.ndarray, coarse: Tensor | None) -> None:
    """Fills features [H, W, C] of a picture: descriptors, position and, if there is a coarser level, its descriptors."""
    own = out.shape[2] - 2 - (0 if coarse is None else REDUCED)
    describe(lightness, out[..., :own])
    out[..., own : own + 2] = position * POSITION
    if coarse is not None:
        large = F.interpolate(coarse, lightness.shape, mode="bilinear", align_corners=False)
        out[..., own + 2 :] = large[0].permute(1, 2, 0).numpy()


def _finer(nnf: Tensor, factor: int) -> Tensor:
    """Upsamples a field by `factor`: each pixel keeps its position inside the coarse one."""
    fine = nnf.repeat_interleave(factor, 3).repeat_interleave(factor, 4) * factor
    for axis in (3, 4):
        inside = torch.arange(fine.shape[axis], dtype=torch.int32) % factor
        fine[:, :, axis - 3] += inside[:, None] if axis == 3 else inside
    return fine


def agreement(matches: Matches) -> Tensor:
    """float32 [h, w], forward-backward error in pixels: the distance from each pixel to the match of its match."""
    row, column = matches.nnf[0, 0].long()
    returned = matches.back[0, 0, :, row, column].float()  # [2, h, w]
    here = torch.stack(torch.meshgrid(*(torch.arange(n) for n in row.shape), indexing="ij"))
    distance: Tensor = torch.linalg.vector_norm(returned - here, dim=0)
    return distance


def cues(
    lightness: np.ndarray, references: ReferenceAtlas, matches: Matches, likely: np.ndarray, guess: np.ndarray, misfit: float
) -> Tensor:
    """float32 [1, 19, h, w]: the cues by which the fusion network judges a match.

    0 lightness; 1-2 chroma of the match; 3-4 chroma voted by the matches of the surrounding patch; 5-7 the colour prior: mean
    chroma of all similar places, and its deviation; 8 forward-backward error; 9 similarity; 10 difference in lightness; 11
    coherence with the neighbours; 12-14 chroma guessed without references, and its deviation; 15 the error of such guesses on
    the references; 16-18 the means of 8, 9 and 11 over the picture.

    likely, guess: float32 [h, w, 3]; misfit: see `psal_cli.verbs.colorize.guess.misfit`.
    """
    grey = torch.from_numpy(np.ascontiguousarray(lightness))
    row, column = matches.nnf[0, 0].long()
    matched = torch.from_numpy(references.colours)[row, column].permute(2, 0, 1)  # [3, h, w]
    agreed, similar, coherent = (
        torch.exp(-agreement(matches) / 4)[None], torch.exp(matches.similarity[0] / 4), _coherence(matches.nnf)[None],
    )  # fmt: skip
    whole = [float(x.mean(dtype=torch.float64)) for x in (agreed, similar, coherent)]  # float32 would depend on the threads
    return torch.cat(
        [
            grey[None],
            matched[1:],
            votes(references, matches)[0],
            torch.from_numpy(likely).permute(2, 0, 1),
            agreed,
            similar,
            (matched[:1] - grey) * 4,
            coherent,
            torch.from_numpy(guess).permute(2, 0, 1),
            *(torch.full_like(coherent, x) for x in (misfit * MISFIT, *whole)),
        ]
    )[None]


def votes(references: ReferenceAtlas, matches: Matches) -> Tensor:
    """float32 [1, 2, h, w]: the mean chroma that the matches of the patch around each pixel vote for."""
    valid = torch.from_numpy(references.valid).float()[None, None]  # hidden pixels and gaps between references do not vote
    chroma = torch.from_numpy(np.ascontiguousarray(references.colours[..., 1:].transpose(2, 0, 1)))[None] * valid
    even = torch.ones_like(matches.similarity)
    return ops.aggregate(chroma, matches.nnf, even, VOTE) / ops.aggregate(valid, matches.nnf, even, VOTE)


def _coherence(nnf: Tensor) -> Tensor:
    """[h, w]: the share of the eight neighbours whose match has the same offset, within 2 pixels."""
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
