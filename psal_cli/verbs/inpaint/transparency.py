"""Fully transparent pixels: their colours are meaningless and must not reach visible pixels."""

import cv2
import numpy as np

from psal_cli.patchmatch.regions import Region, crop, grown, merged, part_boxes

REACH = 64  # pixels around a hole; hidden colours further away are never compared


def covered(pixels: np.ndarray, visible: Region, hole: Region) -> np.ndarray:
    """Replaces the colours of fully transparent pixels around the hole by those of the nearest visible pixels.

    A fill that ends at an alpha edge is compared and joined with the pixels beyond it, which should continue the visible ones
    instead of being black.

    Args:
        pixels: [H, W, C], returned as it is if nothing changes, else copied. visible: bool [H, W]; hole: bool [H, W].

    Example:
        >>> covered(picture, alpha > 0, mask)  # doctest: +SKIP
    """
    out = pixels
    for box in merged([grown(box, REACH, hole.shape) for box in part_boxes(hole, 1)]):
        shown = crop(visible, box) & ~crop(hole, box)
        hidden = ~(crop(visible, box) | crop(hole, box))
        if not hidden.any() or not shown.any():
            continue
        out = pixels.copy() if out is pixels else out
        view = out[box[0] : box[1], box[2] : box[3]]
        labels = np.empty(shown.shape, np.int32)
        distance = np.empty(shown.shape, np.float32)
        cv2.distanceTransformWithLabels((~shown).astype(np.uint8), cv2.DIST_L2, 3, distance, labels, cv2.DIST_LABEL_PIXEL)
        colours = np.empty((labels.max() + 1, pixels.shape[2]), pixels.dtype)
        colours[labels[shown]] = view[shown]  # each visible pixel has its own label
        view[hidden] = colours[labels[hidden]]
    return out
