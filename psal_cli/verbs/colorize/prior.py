"""A colour prior: chroma predicted by soft attention over all places of the references. Blurred, but seldom far off."""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from psal_cli import weights
from psal_cli.networks.embedding import EmbeddingNetwork
from psal_cli.networks.unet import half
from psal_cli.verbs.colorize.joint_bilateral import JointBilateralUpsampling
from psal_cli.verbs.colorize.matching import Meanings, ReferenceAtlas

SEMANTIC = 3.0**0.5  # weight of semantic features relative to the embedding
UNSEEN = 3.0  # temperature for unseen pictures: the embedding is overconfident (Guo et al. 2017)
SAMPLED = 500  # pixels of the target, at least, by which references are compared

Reference = tuple[Tensor, Tensor, Tensor]  # lightness, values, valid pixels: see `EmbeddingNetwork.attended`
Beside = tuple[Tensor, list[Tensor]]  # further features of the target, and of each reference


class ColourPrior(NamedTuple):
    """At a quarter of the search size.

    chroma: float32 [h, w, 3], the mean of a* and b*, divided by 100, and their standard deviation; light: float32 [h, w],
    lightness / 100 of the picture.
    """

    chroma: np.ndarray
    light: np.ndarray

    def at(self, lightness: np.ndarray) -> np.ndarray:
        """float32 [H, W, 3], upsampled with the edges of lightness / 100, float32 [H, W]."""
        return JointBilateralUpsampling(self.chroma, self.light, lightness.shape).rows(0, len(lightness), lightness)


def colour_prior(
    lightness: np.ndarray,
    references: ReferenceAtlas,
    device: str = "cpu",
    temperature: float = UNSEEN,
    semantic: Meanings | None = None,
) -> ColourPrior:
    """Predicts colours for a grey picture, float32 [h, w] in [0, 1], from all visible pixels of references, Lab divided by 100.

    The more a reference looks like the picture, the more its pixels weigh.
    """
    network = embedding(device)
    sides = []
    for left, width, height in references.places:  # one reference at a time: neighbours on the atlas are unrelated
        part = np.s_[:height, left : left + width]
        colours = torch.from_numpy(references.colours[part]).permute(2, 0, 1)[None].to(device)
        valid = torch.from_numpy(references.valid[part])[None, None].to(device)
        sides.append((colours[:, :1].contiguous(), *pooled(colours[:, 1:], valid)))
    target = torch.from_numpy(lightness)[None, None].to(device)
    beside = None
    if semantic is not None:
        sizes = [half(half(target)).shape[2:], *(values.shape[2:] for _, values, _ in sides)]
        seen = [semantic.target, *semantic.references]
        first, *others = (SEMANTIC * x.at((size[0], size[1])).to(device) for x, size in zip(seen, sizes, strict=True))
        beside = first, others
    if len(sides) > 1:  # a further feature, whose squared distance is the unlikeness
        unlike = unlikeness(network, target, sides, temperature)
        maps = [values.new_full((1, 1, *values.shape[2:]), x**0.5) for x, (_, values, _) in zip(unlike, sides, strict=True)]
        beside = _joined(beside, (torch.zeros_like(half(half(target))), maps))
    with torch.no_grad():
        mean = network.attended(target, sides, temperature=temperature, beside=beside)
    chroma, square = mean[:, :2], mean[:, 2:]
    spread = (square - chroma.square().sum(1, keepdim=True)).clamp_min(0).sqrt()
    prior = torch.cat([chroma, spread], 1)[0].permute(1, 2, 0)
    return ColourPrior(np.ascontiguousarray(prior.cpu()), half(half(target))[0, 0].cpu().numpy())


def _joined(first: Beside | None, second: Beside) -> Beside:
    """The features of both, as `EmbeddingNetwork.attended` takes them."""
    if first is None:
        return second
    return torch.cat([first[0], second[0]], 1), [torch.cat(pair, 1) for pair in zip(first[1], second[1], strict=True)]


@torch.no_grad()
def unlikeness(network: EmbeddingNetwork, target: Tensor, references: list[Reference], temperature: float) -> list[float]:
    """How much worse each reference explains the target than the best one does: differences of mean log likelihoods, 0 or more.

    The likelihood of a target pixel is the mean of exp(-squared distance / temperature) over the valid pixels of a reference (a
    kernel density estimate). A reference without valid pixels counts like the best one, since it lends nothing.

    Args:
        target: lightness [1, 1, H, W]. references: see `EmbeddingNetwork.attended`.
    """
    query = network(target)[0].flatten(1).T
    query = query[:: max(1, len(query) // SAMPLED)]
    evidence = []
    for light, _, valid in references:
        key = network(light)[0].flatten(1).T[valid.flatten()]
        near = torch.logsumexp(-torch.cdist(query, key).square() / temperature, 1) - math.log(max(len(key), 1))
        evidence.append(float(near.mean()) if len(key) else -math.inf)
    return [max(evidence) - x if math.isfinite(x) else 0.0 for x in evidence]


def pooled(chroma: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """([1, 3, h, w], bool [1, h, w]): means of a*, b* and a*^2 + b*^2 over the valid pixels of each 4x4 block, and whether it has
    any.

    chroma: [1, 2, H, W]; valid: bool [1, 1, H, W].
    """
    share = half(half(valid.to(chroma)))
    values = torch.cat([chroma, chroma.square().sum(1, keepdim=True)], 1)
    return half(half(values * valid)) / share.clamp_min(1e-6), share[:, 0] > 0


@cache
def embedding(device: str) -> EmbeddingNetwork:
    """The network with its shipped weights on a device. Raises InputError if they cannot be read."""
    return weights.load_strict(EmbeddingNetwork(), weights.shipped("colorize-embedding"), "colorize-embedding").to(device)
