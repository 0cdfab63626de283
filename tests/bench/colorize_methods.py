"""The ways to colour that the benches of `psal colorize` compare.

Each takes a grey picture uint8 [H, W, 1] and a reference uint8 [h, w, 3], and returns chroma float32 [H, W, 2], a* and b* / 100.
"""

import cv2
import numpy as np

from psal_cli.image.cielab import lab, lightness
from psal_cli.verbs.colorize import coarse_to_fine, matching, paper
from psal_cli.verbs.colorize.joint_bilateral import JointBilateralUpsampling


def by_paper(layer: str, grey: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return paper.colorize(grey, [reference], attention=layer).chroma


def by_paper_reduced(layer: str, grey: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """At the size that the network was trained with; the chroma enlarged."""
    grey_small, reference_small = (cv2.resize(x, (256, 256), interpolation=cv2.INTER_AREA) for x in (grey, reference))
    return cv2.resize(by_paper(layer, grey_small[..., None], reference_small), grey.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def by_psal(grey: np.ndarray, reference: np.ndarray, semantic: bool = False) -> np.ndarray:
    return _enlarged(coarse_to_fine.colorize(grey, [reference], semantic=semantic), grey)


def by_guess(grey: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Without the reference."""
    return _enlarged(coarse_to_fine.guessed(grey), grey)


def _enlarged(estimate: coarse_to_fine.ChromaEstimate, grey: np.ndarray) -> np.ndarray:
    return JointBilateralUpsampling(estimate.chroma, estimate.light, grey.shape[:2]).rows(0, len(grey), lightness(grey))


def by_votes(grey: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """What psal's matches vote for, all of them believed: without the network."""
    small = coarse_to_fine.coarse_size(grey.shape[:2])
    light = lightness(cv2.resize(grey, small[::-1], interpolation=cv2.INTER_AREA)[..., None])
    references = matching.atlas_of([(lab(cv2.resize(reference, small[::-1], interpolation=cv2.INTER_AREA)), None)])
    votes = matching.votes(references, matching.match(light, references))[0].permute(1, 2, 0).numpy()
    return JointBilateralUpsampling(np.ascontiguousarray(votes), light, grey.shape[:2]).rows(0, len(grey), lightness(grey))
