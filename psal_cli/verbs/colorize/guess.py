"""Colours guessed by a network that has seen photographs, without a reference."""

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from psal_cli import weights
from psal_cli.image.cielab import lightness
from psal_cli.networks.colour_guess import ColourGuessNetwork, colours
from psal_cli.verbs.colorize.coarse_to_fine import BORROWED, MAGNIFIED, ChromaEstimate, blank, resized_picture
from psal_cli.verbs.colorize.joint_bilateral import JointBilateralUpsampling
from psal_cli.verbs.colorize.options import COARSE, LARGEST

SHORT, LONG = 256, 1024  # pixels: the network learned from pictures of about this short side; a limit for panoramas
# Chosen on held-out scenes. The mean of the true distribution is dull, that of the network's is loud, since rare colours counted
# more in training: half of that is undone. The mean of what remains is taken at a temperature (Zhang et al. 2016).
UNDONE, TEMPERATURE = 0.5, 0.5
# Of chroma / 100, chosen on the pairs of tests/bench/colour_pairs.toml for choosing:
GUESSED = 0.12  # the error of a guess, for its weight beside references
FITS, STRANGE = 0.05, 0.08  # the mean expected errors up to which references fit as a whole, and from which they do not


def guessed(pixels: np.ndarray, longest: int = COARSE * LARGEST, device: str = "cpu") -> ChromaEstimate:
    """An estimate for a picture [H, W, 1 or 3], of confidence 0 everywhere, at the size that references would be searched at.

    The colours are the annealed mean of the distribution of `psal_cli.networks.colour_guess`.

    Raises:
        InputError: the weights cannot be read.
    """
    estimate = blank(pixels, longest)
    height, width = pixels.shape[:2]
    scale = min(SHORT / min(height, width), LONG / max(height, width), MAGNIFIED)
    small = lightness(resized_picture(pixels, (max(round(height * scale), 1), max(round(width * scale), 1))))
    net = network(device)
    with torch.no_grad():
        logits = net(torch.from_numpy(small)[None, None].to(device))[0].double().cpu()  # float64: the same for any threads
        shares = ((logits - UNDONE * net.weight.double().cpu().log()[:, None, None]) / TEMPERATURE).softmax(0)
        chroma = torch.einsum("nhw,nc->hwc", shares, colours().double()).float().contiguous().numpy()
    light = resized_picture(small[..., None], chroma.shape[:2])[..., 0]
    size = estimate.light.shape
    return replace(estimate, chroma=JointBilateralUpsampling(chroma, light, size).rows(0, size[0], estimate.light))


def filled(found: ChromaEstimate, guesses: ChromaEstimate) -> ChromaEstimate:
    """Mixes an estimate from references with guesses of its size, the more the larger its expected error is.

    Nothing is mixed if the references fit as a whole, as most frames of one film do. found: with confidence, so not of engine
    "paper".
    """
    assert found.confidence is not None
    error = -BORROWED * np.log(np.maximum(found.confidence, np.finfo(np.float32).tiny))
    unlike = np.clip((error.mean() - FITS) / (STRANGE - FITS), 0, 1)
    share = (unlike * error**2 / (GUESSED**2 + error**2))[..., None].astype(np.float32)
    return replace(found, chroma=share * guesses.chroma + (1 - share) * found.chroma)


@cache
def network(device: str) -> ColourGuessNetwork:
    """The network with its shipped weights on a device. Raises InputError if they cannot be read."""
    return weights.load_strict(ColourGuessNetwork(), weights.shipped("colorize-guess"), "colorize-guess").to(device)
