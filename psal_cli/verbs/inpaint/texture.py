"""The weight of texture relative to colour at each level of a pyramid."""

import cv2
import numpy as np

from psal_cli.patchmatch.pyramid import FAINT, TEXTURE_WEIGHT, TEXTURES, Pyramid
from psal_cli.patchmatch.regions import grown, merged, part_boxes

RING = 15  # pixels of a level around the hole that are analysed
WINDOW = 7  # pixels: side of the squares in which contrast is measured, that of a patch
LEAST = 3.0  # weight: with less, the search mistakes smooth patches for textured ones
# The colours of two patches of one texture differ by twice its variance, those of a textured and a flat patch by half of that.
# Texture features compensate if their weight is about the ratio of colour contrast to texture.
MARGIN = 1.0


def weigh(pyramid: Pyramid) -> None:
    """Sets the weights of the texture features (`Pyramid.weights`) of each level from the surroundings of the hole.

    The weight is the ratio of colour contrast to texture at that level. Fine grain fades from level to level, so little weight
    suffices. A large faint texture, such as a hazy hillside, keeps its contrast while its gradients are small; with too little
    weight, its fill turns to fog.
    """
    levels = len(pyramid.holes)
    weights = [_weight(pyramid, number) for number in range(1, levels)]
    pyramid.weights = [weights[0] if weights else LEAST, *weights]  # the finest level takes the value of the next, to save time


def _weight(pyramid: Pyramid, number: int) -> float:
    hole, known = pyramid.holes[number], pyramid.coarse[number]
    contrasts, textures, count = 0.0, 0.0, 0
    for top, bottom, left, right in merged([grown(box, RING, hole.shape) for box in part_boxes(hole, 1)]):
        view = np.s_[top:bottom, left:right]
        share = cv2.blur((~hole[view]).astype(np.float32), (WINDOW, WINDOW))
        colours = known[view][..., :-TEXTURES]
        means, squares = (cv2.blur(x, (WINDOW, WINDOW)).reshape(colours.shape) for x in (colours, colours**2))
        around = ~hole[view] & (share > 0.5)
        share = share[around][:, None]
        variance = squares[around] / share - (means[around] / share) ** 2
        contrasts += float(np.sqrt(variance.clip(0).mean(1)).sum())
        textures += float(known[view][around][:, -TEXTURES:].mean(1).sum()) / TEXTURE_WEIGHT
        count += int(around.sum())
    faint = FAINT / TEXTURE_WEIGHT / 5  # keeps the weight finite without any texture
    return float(np.clip(MARGIN * contrasts / (textures + faint * max(count, 1)), LEAST, TEXTURE_WEIGHT))
