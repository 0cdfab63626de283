"""Colours guessed by a network that has seen photographs, without a reference."""

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from psal_cli import weights
from psal_cli.image.cielab import lightness
from psal_cli.networks.colour_guess import ColourGuessNetwork, colours
from psal_cli.verbs.colorize.coarse_to_fine import ChromaEstimate, blank, resized_picture
from psal_cli.verbs.colorize.joint_bilateral import JointBilateralUpsampling
from psal_cli.verbs.colorize.options import COARSE, LARGEST

SHORT, LONG = 256, 1024  # pixels: the network learned from pictures of about this short side; a limit for panoramas
TEMPERATURE = 0.38  # of the distribution whose mean is taken: between its mean, which is dull, and its mode (Zhang et al. 2016)


def guessed(pixels: np.ndarray, longest: int = COARSE * LARGEST, device: str = "cpu") -> ChromaEstimate:
    """An estimate for a picture [H, W, 1 or 3], of confidence 0 everywhere, at the size that references would be searched at.

    The colours are the annealed mean of the distribution of `psal_cli.networks.colour_guess`.

    Raises:
        InputError: the weights cannot be read.
    """
    estimate = blank(pixels, longest)
    height, width = pixels.shape[:2]
    scale = min(SHORT / min(height, width), LONG / max(height, width))
    small = lightness(resized_picture(pixels, (max(round(height * scale), 1), max(round(width * scale), 1))))
    with torch.no_grad():
        logits = network(device)(torch.from_numpy(small)[None, None].to(device))[0].cpu()
        shares = (logits.double() / TEMPERATURE).softmax(0)  # float64: the same result for any number of threads
        chroma = torch.einsum("nhw,nc->hwc", shares, colours().double()).float().contiguous().numpy()
    light = resized_picture(small[..., None], chroma.shape[:2])[..., 0]
    size = estimate.light.shape
    return replace(estimate, chroma=JointBilateralUpsampling(chroma, light, size).rows(0, size[0], estimate.light))


def filled(found: ChromaEstimate, guesses: ChromaEstimate) -> ChromaEstimate:
    """Mixes an estimate with guesses of its size, the less the more confident it is."""
    confidence = np.ones_like(found.light) if found.confidence is None else found.confidence
    share = confidence[..., None]
    return replace(found, chroma=share * found.chroma + (1 - share) * guesses.chroma)


@cache
def network(device: str) -> ColourGuessNetwork:
    """The network with its shipped weights on a device. Raises InputError if they cannot be read."""
    return weights.load_strict(ColourGuessNetwork(), weights.shipped("colorize-guess"), "colorize-guess").to(device)
