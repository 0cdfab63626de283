"""Engine "psal": matches colours from coarse to fine, judges the matches with a network, and applies the colours at full
resolution."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from math import prod

import cv2
import numpy as np
import torch
from torch import Tensor

from psal_cli import weights
from psal_cli.image.arrays import white_of, within_white
from psal_cli.image.cielab import coloured, lab, lightness
from psal_cli.networks.fusion import FusionNetwork
from psal_cli.patchmatch.pyramid import STRIP
from psal_cli.strips import rows_within, strips
from psal_cli.verbs.colorize import matching
from psal_cli.verbs.colorize.guess import colour_guess, misfit
from psal_cli.verbs.colorize.joint_bilateral import JointBilateralUpsampling
from psal_cli.verbs.colorize.options import COARSE, LARGEST
from psal_cli.verbs.colorize.prior import ColourPrior, colour_prior
from psal_cli.verbs.colorize.semantics import semantics
from psal_cli.verbs.colorize.sizes import coarse_size, levels, resized, resized_picture
from psal_cli.verbs.colorize.workload import APPLY, GUESSES, PRIOR, level_cost, match_cost
from psal_cli.verbs.hooks import Meter

INVISIBLE = 0.02  # of chroma / 100
BORROWED = 0.06  # of chroma / 100: above this expected error a colour counts as guessed, not borrowed


@dataclass(frozen=True, eq=False)
class ChromaEstimate:
    """The estimate, at the size that was searched. chroma: float32 [h, w, 2], a* and b* divided by 100;
    light: float32 [h, w], the lightness / 100 of the picture;
    confidence: float32 [h, w], 1 = taken from the references, 0 = guessed from the surroundings;
    origin: int32 [h, w, 3], number of the reference, row and column in its own pixels. Engine "paper" leaves the last two
        None."""

    chroma: np.ndarray
    light: np.ndarray
    confidence: np.ndarray | None
    origin: np.ndarray | None


def colorize(
    pixels: np.ndarray,
    references: list[np.ndarray],
    *,
    visible: list[np.ndarray | None] | None = None,
    seed: int = 0,
    longest: int = COARSE * LARGEST,
    device: str = "cpu",
    semantic: bool = False,
    meter: Meter | None = None,
) -> ChromaEstimate:
    """Finds colours for a picture in references of a similar scene.

    Pixels are matched by descriptors at six scales, from coarse to fine. An embedding (psal_cli.networks.embedding) adds a colour
    prior from all similar places of the references, and a network that has seen photographs (psal_cli.networks.colour_guess)
    guesses without them. A network (psal_cli.networks.fusion) decides which of them to trust and fills the rest.

    Args:
        pixels: uint8, uint16 or float32 [H, W, 1 or 3], as sRGB; only its luminance counts.
        references: uint8, uint16 or float32 [h, w, 3] each, as sRGB, of any sizes.
        visible: bool [h, w] for each reference, the pixels that lend colours; default all.
        seed: the same seed gives the same colours for any number of threads.
        longest: the most pixels of the longer side at which colours are searched; they are then upsampled to the picture's size.
        device: where the search and the network run.
        semantic: also compare features of EfficientNet-Lite0, see psal_cli.verbs.colorize.semantics.
        meter: counts the steps; their costs are those of `workload.level_cost`.

    Raises:
        ValueError: no reference, or no visible pixel in them.
        InputError: missing packages for semantic features.
    """
    if not references:
        raise ValueError("there is no reference: at least one is needed")
    visible = visible or [None] * len(references)
    sizes = coarse_size(pixels.shape[:2])
    factors = levels(pixels.shape[:2], longest)
    meter = meter or Meter(None, 1.0)
    coarser: matching.Matches | None = None
    prior: ColourPrior | None = None
    done: tuple[np.ndarray, np.ndarray] | None = None
    for level, factor in enumerate(factors, 1):
        height, width = (factor * side for side in sizes)
        grey = lightness(resized_picture(pixels, (height, width)))
        atlas = matching.atlas_of([_reduced(*pair, factor) for pair in zip(references, visible, strict=True)])
        if not atlas.valid.any():
            raise ValueError("nothing of the references is visible")
        query, key = grey.size, atlas.valid.size
        meter.begin(level_cost(query, key, level > 1, semantic), f"level {level} of {len(factors)}, {width}x{height}")
        searched = partial(meter.spend, match_cost(query, key, level > 1) / 2)
        meanings = meanings_of(grey, atlas) if semantic and level == 1 else None
        matches = coarser = matching.match(grey, atlas, seed, coarser, device, searched, meanings)
        if prior is None:
            prior = colour_prior(grey, atlas, device, semantic=meanings)
            meter.spend(PRIOR)
            guess, wrong = colour_guess(grey, device), misfit(atlas, device)
            meter.spend(GUESSES)
        with torch.no_grad():
            inputs = matching.cues(grey, atlas, matches, prior.at(grey), guess.at(grey), wrong)
            fused = fusion(device)(inputs.to(device))
        chroma, error = (np.ascontiguousarray(x[0].permute(1, 2, 0).cpu()) for x in fused)
        chroma, error = done = _mixed(done, (chroma, error))
    return ChromaEstimate(chroma, grey, np.exp(-error[..., 0] / BORROWED), _origins(matches.nnf, atlas, references))


def meanings_of(light: np.ndarray, atlas: matching.ReferenceAtlas) -> matching.Meanings:
    """Semantic features of a picture float32 [h, w] in [0, 1], and of each reference on an atlas of Lab / 100."""
    lights = [atlas.colours[:height, left : left + width, 0] for left, width, height in atlas.places]
    return matching.Meanings(semantics(light), [semantics(np.ascontiguousarray(x)) for x in lights])


def blank(pixels: np.ndarray, longest: int = COARSE * LARGEST) -> ChromaEstimate:
    """An estimate without colours for a picture [H, W, 1 or 3], at the size that `colorize` would search."""
    factor = levels(pixels.shape[:2], longest)[-1]
    height, width = (factor * side for side in coarse_size(pixels.shape[:2]))
    light = lightness(resized_picture(pixels, (height, width)))
    return ChromaEstimate(np.zeros((height, width, 2), np.float32), light, np.zeros_like(light), None)


def guessed(pixels: np.ndarray, longest: int = COARSE * LARGEST, device: str = "cpu") -> ChromaEstimate:
    """An estimate without references for a picture [H, W, 1 or 3], of confidence 0 everywhere, at the size that `colorize` would
    search.

    Raises InputError if the weights cannot be read.
    """
    estimate = blank(pixels, longest)
    guess = colour_guess(estimate.light, device).at(estimate.light)
    return replace(estimate, chroma=np.ascontiguousarray(guess[..., :2]))


@cache
def fusion(device: str) -> FusionNetwork:
    """The network with its shipped weights on a device. Raises InputError if they cannot be read."""
    return weights.load_strict(FusionNetwork(), weights.shipped("colorize-fusion"), "colorize-fusion").to(device)


def is_grey(pixels: np.ndarray, visible: np.ndarray | None = None) -> bool:
    """Whether a picture uint8, uint16 or float32 [H, W, 1 or 3] has no visible colours, but for a few pixels.

    visible: bool [H, W], which pixels count, at least one; default all.
    """
    if pixels.shape[2] == 1:
        return True
    size = tuple(map(min, coarse_size(pixels.shape[:2]), pixels.shape[:2]))
    if visible is not None:
        row, column = visible.nonzero()
        pixels = np.where(visible[..., None], pixels, pixels[row[0], column[0]])  # a colour that occurs anyway
    chroma = lab(resized_picture(pixels, size))[..., 1:]
    return float(np.quantile(np.hypot(chroma[..., 0], chroma[..., 1]), 0.999)) < INVISIBLE


def applied(pixels: np.ndarray, predicted: ChromaEstimate, strength: float = 1.0, meter: Meter | None = None) -> np.ndarray:
    """Applies an estimate: [H, W, 3] of the pixels' dtype, with their luminance.

    Args:
        pixels: uint8, uint16 or float32 [H, W, 1 or 3], as sRGB: the picture that the colours were found for.
        strength: of the colours, 0 to 2; 1 leaves them as they were found.
        meter: counts the strips.
    """
    size = pixels.shape[:2]
    out = np.empty((*size, 3), pixels.dtype)
    chroma = predicted.chroma * np.float32(strength)
    enlarged = None if chroma.shape[:2] == size else JointBilateralUpsampling(chroma, predicted.light, size)
    for top, bottom, *_ in strips(size[0], rows_within(STRIP, size[1])):
        rows = pixels[top:bottom]
        colours = chroma[top:bottom] if enlarged is None else enlarged.rows(top, bottom, lightness(within_white(rows)))
        out[top:bottom] = coloured(rows, colours)
        if meter:
            meter.spend(APPLY * rows[..., 0].size)
    return out


def search_cost(size: tuple[int, int], references: Sequence[tuple[int, int]], longest: int, semantic: bool = False) -> float:
    """The cost of finding colours for a picture of `size` in references, (height, width) each; see `workload`."""
    total = 0.0
    for number, factor in enumerate(levels(size, longest)):
        sizes = [coarse_size(reference) for reference in references]
        query = factor**2 * prod(coarse_size(size))
        key = factor**2 * max(height for height, _ in sizes) * sum(width for _, width in sizes)
        total += level_cost(query, key, number > 0, semantic)
    return total


def _reduced(reference: np.ndarray, visible: np.ndarray | None, factor: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Lab and visibility of a reference, `factor` times as large as at the coarse level."""
    height, width = (factor * side for side in coarse_size(reference.shape[:2]))
    if visible is None:
        return lab(resized_picture(reference, (height, width))), None
    # Hidden colours must not mix into visible ones; where all pixels are hidden, use the mean of the visible ones.
    share = visible[..., None].astype(np.float32)
    mean = within_white(reference[visible] if visible.any() else reference.reshape(-1, 3)).mean(0)
    less, weight = resized(np.float32(within_white(reference)) * share, (height, width)), resized(share, (height, width))
    colours = np.where(weight > 0.01, less / weight.clip(0.01), mean).clip(0, white_of(reference.dtype))
    if reference.dtype.kind == "u":
        colours = np.rint(colours)
    return lab(colours.astype(reference.dtype)), weight[..., 0] > 0.5


def _mixed(coarse: tuple[np.ndarray, np.ndarray] | None, fine: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Combines chroma [h, w, 2] and expected error [h, w, 1] of two levels, weighted by the inverse square of the error."""
    if coarse is None:
        return fine
    size = fine[0].shape[1::-1]
    before, error = (cv2.resize(x, size, interpolation=cv2.INTER_LINEAR).reshape(*size[::-1], -1) for x in coarse)
    share = error**2 / (error**2 + fine[1] ** 2).clip(1e-12)
    return share * fine[0] + (1 - share) * before, np.minimum(error, fine[1])


def _origins(nnf: Tensor, atlas: matching.ReferenceAtlas, references: list[np.ndarray]) -> np.ndarray:
    """int32 [h, w, 3]: atlas positions as number of the reference, row and column in its own pixels."""
    row, column = nnf[0, 0].numpy()
    lefts = np.array([left for left, _, _ in atlas.places])
    number = np.searchsorted(lefts, column, side="right") - 1
    scale = [(r.shape[0] / height, r.shape[1] / width) for r, (_, width, height) in zip(references, atlas.places, strict=True)]
    down, right = np.array(scale).T
    place = ((row + 0.5) * down[number], (column - lefts[number] + 0.5) * right[number])
    return np.stack([number, *place], 2).astype(np.int32)
