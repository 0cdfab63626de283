"""Guided colorization by the network of the paper (Cherel et al., arXiv 2202.03163, section 4.3), at full resolution."""

from functools import cache

import numpy as np
import torch
from torch import nn

from psal_cli import weights as stored
from psal_cli.attention import FullAttention, LocalAttention, PSAttention
from psal_cli.image.arrays import to_depth, white_of, within_white
from psal_cli.image.cielab import lab, lightness, tone
from psal_cli.networks.colorization import ColorizationNetwork
from psal_cli.verbs.colorize.coarse_to_fine import ChromaEstimate
from psal_cli.verbs.colorize.matching import atlas_of
from psal_cli.verbs.colorize.options import PAPER_ITERATIONS

PATCH = 7
LAYERS = ("psal1", "psal3", "psal7", "psal15", "aggregation", "full", "full_dot", "local")


def layer(name: str, iterations: int = PAPER_ITERATIONS) -> nn.Module:
    """The attention layers that the paper compares, by the names used in weights/."""
    if name.startswith("psal"):
        return PSAttention(PATCH, k=int(name.removeprefix("psal")), iterations=iterations)
    if name == "aggregation":
        return PSAttention(PATCH, k=1, iterations=iterations, aggregation=True)
    if name == "local":
        return LocalAttention(PATCH, window=49)
    return FullAttention(PATCH, stride=3, similarity="dot" if name == "full_dot" else "l2")


def colorize(
    pixels: np.ndarray,
    references: list[np.ndarray],
    *,
    visible: list[np.ndarray | None] | None = None,
    attention: str = "aggregation",
    iterations: int = PAPER_ITERATIONS,
    weights: str | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> ChromaEstimate:
    """Finds colours for a whole picture at once, without confidence and origins.

    Args:
        pixels, references, visible, seed: see psal_cli.verbs.colorize.coarse_to_fine.
        attention: the layer, and the weights that were trained with it: "aggregation", "psal3", "psal1", "full" or "local".
        iterations: rounds of search.
        weights: a file of other weights.

    Raises:
        ValueError: as the layer raises.
        InputError: weights that do not fit.
    """
    network = stored.private_copy(network_of(attention, iterations, weights, device))
    reseed(network, seed)
    target = torch.from_numpy(tone(pixels))[None, None].expand(1, 3, -1, -1)
    placed = atlas_of([(_levelled(x), mask) for x, mask in zip(references, visible or [None] * len(references), strict=True)])
    reference = torch.from_numpy(placed.colours).permute(2, 0, 1)[None]
    valid = None if placed.valid.all() else torch.from_numpy(placed.valid)[None].to(device)
    with torch.no_grad():
        out = network(target.to(device), reference.to(device), key_mask=valid)[0].cpu().permute(1, 2, 0).numpy()
    out += (out.mean(2) - tone(_rounded(out)))[..., None]
    return ChromaEstimate(lab(_rounded(out))[..., 1:], lightness(pixels), None, None)


def reseed(network: ColorizationNetwork, seed: int) -> None:
    """Seeds the random search, if the layer has one."""
    if isinstance(network.attention, PSAttention):
        network.attention.seed = seed


def _levelled(reference: np.ndarray) -> np.ndarray:
    """Shifts a reference float32 [H, W, 3] so that the mean of its channels equals its luminance.

    The network was trained on grey pictures that are the mean of the channels, as in the paper, but users' grey pictures are
    luminance. With a levelled reference the mean of the output stands for luminance and is shifted back afterwards.
    """
    reference = within_white(reference)
    shares = reference.astype(np.float32) / white_of(reference.dtype)
    return np.asarray(shares + (tone(reference) - shares.mean(2))[..., None])


def _rounded(shares: np.ndarray) -> np.ndarray:
    return to_depth(shares, np.uint16)


def network_of(
    attention: str, iterations: int = PAPER_ITERATIONS, path: str | None = None, device: str = "cpu"
) -> ColorizationNetwork:
    """The paper's network with one of its layers and shipped or other weights. Shared by all callers, see `private_copy`."""
    return _cached(attention, iterations, path, device)


@cache
def _cached(attention: str, iterations: int, path: str | None, device: str) -> ColorizationNetwork:
    name = f"colorize-paper-{attention}"
    state = stored.shipped(name) if path is None else stored.load_file(path)
    return stored.load_strict(ColorizationNetwork(layer(attention, iterations)), state, path or name).to(device)
