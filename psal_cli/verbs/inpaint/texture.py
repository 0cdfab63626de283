"""How much texture counts beside colour at each level of a pyramid."""

import cv2
import numpy as np

from psal_cli.patchmatch.pyramid import FAINT, TEXTURE_WEIGHT, TEXTURES, Pyramid
from psal_cli.patchmatch.regions import grown, merged, part_boxes

RING = 15  # pixels of a level around the hole: what is looked at
WINDOW = 7  # pixels: side of the squares in which contrast is measured, that of a patch
LEAST = 3.0  # weight: with less the search does not see that it takes smooth patches for textured ones
# Of two patches of one texture the colours differ by twice its variance, those of one patch and a flat one by half of that. The
# texture features make up for it with a weight of about the contrast of the colours beside the texture.
MARGIN = 1.0


def weigh(pyramid: Pyramid) -> None:
    """Sets the weights of the texture features (`Pyramid.weights`) of each level by what is around the hole.

    The weight is the contrast that the colours have at that level beside the texture. Fine grain fades from level to level, so
    that little weight suffices; a large faint texture, a hillside in the haze, keeps its contrast while its gradients are small,
    and without more weight a fill of it turns to fog.
    """
    levels = len(pyramid.holes)
    weights = [_weight(pyramid, number) for number in range(1, levels)]
    pyramid.weights = [weights[0] if weights else LEAST, *weights]  # the finest as the next: to look at it costs more


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
    faint = FAINT / TEXTURE_WEIGHT / 5  # so that without any texture the weight stays finite
    return float(np.clip(MARGIN * contrasts / (textures + faint * max(count, 1)), LEAST, TEXTURE_WEIGHT))
