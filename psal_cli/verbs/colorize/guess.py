"""Colours guessed by a network that has seen photographs, without a reference."""

from functools import cache

import numpy as np
import torch

from psal_cli import weights
from psal_cli.networks.colour_guess import ColourGuessNetwork, colours
from psal_cli.verbs.colorize.matching import ReferenceAtlas
from psal_cli.verbs.colorize.prior import ColourPrior
from psal_cli.verbs.colorize.sizes import MAGNIFIED, resized_picture

SHORT, LONG = 256, 1024  # pixels: the network learned from pictures of about this short side; a limit for panoramas
# Chosen on held-out scenes. The mean of the true distribution is dull, that of the network's is loud, since rare colours counted
# more in training: half of that is undone. The mean of what remains is taken at a temperature (Zhang et al. 2016).
UNDONE, TEMPERATURE = 0.5, 0.5


def colour_guess(lightness: np.ndarray, device: str = "cpu") -> ColourPrior:
    """The annealed mean and the deviation of the distribution of `psal_cli.networks.colour_guess`, for lightness / 100, float32
    [h, w].

    Raises InputError if the weights cannot be read.
    """
    height, width = lightness.shape
    scale = min(SHORT / min(height, width), LONG / max(height, width), MAGNIFIED)
    small = resized_picture(lightness[..., None], (max(round(height * scale), 1), max(round(width * scale), 1)))
    net = network(device)
    with torch.no_grad():
        logits = net(torch.from_numpy(small[..., 0])[None, None].to(device))[0].double().cpu()
        # float64: the same for any number of threads
        shares = ((logits - UNDONE * net.weight.double().cpu().log()[:, None, None]) / TEMPERATURE).softmax(0)
        grid = colours().double()
        mean = torch.einsum("nhw,nc->hwc", shares, grid)
        square = torch.einsum("nhw,n->hw", shares, grid.square().sum(1))
        deviation = (square - mean.square().sum(2)).clamp_min(0).sqrt()
    chroma = np.ascontiguousarray(torch.cat([mean, deviation[..., None]], 2).float().numpy())
    return ColourPrior(chroma, resized_picture(small, chroma.shape[:2])[..., 0])


def misfit(references: ReferenceAtlas, device: str = "cpu") -> float:
    """The mean error of guesses on references, Lab / 100: of photographs with unusual colours it is large."""
    errors, count = 0.0, 0
    for left, width, height in references.places:
        part = np.s_[:height, left : left + width]
        light, valid = np.ascontiguousarray(references.colours[(*part, 0)]), references.valid[part]
        gap = colour_guess(light, device).at(light)[..., :2] - references.colours[part][..., 1:]
        errors += float(np.abs(gap).mean(2)[valid].sum(dtype=np.float64))
        count += int(valid.sum())
    return errors / max(count, 1)


@cache
def network(device: str) -> ColourGuessNetwork:
    """The network with its shipped weights on a device. Raises InputError if they cannot be read."""
    return weights.load_strict(ColourGuessNetwork(), weights.shipped("colorize-guess"), "colorize-guess").to(device)
