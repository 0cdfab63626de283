"""A colour prior: chroma predicted by soft attention over all places of the references. Blurred, but seldom far off."""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli import weights
from psal_cli.networks.embedding import EmbeddingNetwork, attended
from psal_cli.networks.unet import half
from psal_cli.verbs.colorize.joint_bilateral import JointBilateralUpsampling
from psal_cli.verbs.colorize.matching import Meanings, ReferenceAtlas

SEMANTIC = 3.0**0.5  # weight of semantic features relative to the embedding
UNSEEN = 3.0  # temperature for unseen pictures: the embedding is overconfident (Guo et al. 2017)
SAMPLED = 500  # pixels of the target, at least, by which references are compared


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
    target = torch.from_numpy(lightness)[None, None].to(device)
    keys, values, valid = list[Tensor](), list[Tensor](), list[Tensor]()
    with torch.no_grad():
        query = network(target)
        for left, width, height in references.places:  # one reference at a time: neighbours on the atlas are unrelated
            part = np.s_[:height, left : left + width]
            colours = torch.from_numpy(references.colours[part]).permute(2, 0, 1)[None].to(device)
            means, some = pooled(colours[:, 1:], torch.from_numpy(references.valid[part])[None, None].to(device))
            keys.append(network(colours[:, :1].contiguous()))
            values.append(means)
            valid.append(some)
        unlike = unlikeness(query, keys, valid, temperature)
        if semantic is not None:
            sizes = [query.shape[2:], *(x.shape[2:] for x in values)]
            seen = [semantic.target, *semantic.references]
            first, *others = (
                temperature**0.5 * (SEMANTIC * x.at((size[0], size[1])).to(device)) for x, size in zip(seen, sizes, strict=True)
            )
            query, keys = torch.cat([query, first], 1), [torch.cat(pair, 1) for pair in zip(keys, others, strict=True)]
        if len(keys) > 1:  # a further feature, whose squared distance is the unlikeness
            query = F.pad(query, (0, 0, 0, 0, 0, 1))
            keys = [F.pad(key, (0, 0, 0, 0, 0, 1), value=(temperature * x) ** 0.5) for key, x in zip(keys, unlike, strict=True)]
        mean = attended(query, keys, values, valid, temperature=temperature)
    chroma, square = mean[:, :2], mean[:, 2:]
    spread = (square - chroma.square().sum(1, keepdim=True)).clamp_min(0).sqrt()
    prior = torch.cat([chroma, spread], 1)[0].permute(1, 2, 0)
    return ColourPrior(np.ascontiguousarray(prior.cpu()), half(half(target))[0, 0].cpu().numpy())


def unlikeness(query: Tensor, keys: list[Tensor], valid: list[Tensor], temperature: float) -> list[float]:
    """How much worse each reference explains the target than the best one does: differences of mean log likelihoods, 0 or more.

    The likelihood of a target pixel is the mean of exp(-squared distance / temperature) over the valid pixels of a reference (a
    kernel density estimate). A reference without valid pixels counts like the best one, since it lends nothing.

    query, keys, valid: see `psal_cli.networks.embedding.attended`.
    """
    pixels = query[0].flatten(1).T
    pixels = pixels[:: max(1, len(pixels) // SAMPLED)]
    evidence = []
    for features, counts in zip(keys, valid, strict=True):
        key = features[0].flatten(1).T[counts.flatten()]
        near = torch.logsumexp(-torch.cdist(pixels, key).square() / temperature, 1) - math.log(max(len(key), 1))
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
