"""What kind of ground a hole lies on: smooth (also blurred), structured or textured."""

import cv2
import numpy as np
from metrics import luminance, ring_around

GROUNDS = ("smooth", "structured", "textured")
SMOOTH_DETAIL = 2.0  # grey levels: detail with a smaller standard deviation hides no seam
SMOOTH_SHARE = 0.7  # of the pixels in and around a hole on smooth ground
COHERENT = 0.57  # structure: gradients that agree more than this on a direction (about half of what is not smooth)


def smooth_places(picture: np.ndarray) -> np.ndarray:
    """Where a picture, uint8 `[H,W,3]`, has no detail: bool `[H,W]`.

    Detail is what lies between Gaussians of 1 and 4 pixels, which leaves out noise and slow shading. Its standard deviation is
    taken over 17x17 pixels.
    """
    lum = luminance(picture) * 255
    detail = cv2.GaussianBlur(lum, (0, 0), 1) - cv2.GaussianBlur(lum, (0, 0), 4)
    return cv2.blur(detail**2, (17, 17)) < SMOOTH_DETAIL**2


def coherence(lum: np.ndarray, region: np.ndarray) -> float:
    """How far gradients agree on one direction with those around them, 0 to 1, in a region of luminance `[H,W]`: near 1 along
    edges and lines, near 0 in a texture (structure tensor of Gaussian 4 px, Bigun & Granlund 1987)."""
    across, down = cv2.Sobel(lum, cv2.CV_32F, 1, 0), cv2.Sobel(lum, cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.GaussianBlur(x, (0, 0), 4)[region].astype(np.float64) for x in (across**2, down**2, across * down))
    return float(np.hypot(xx - yy, 2 * xy).sum() / max((xx + yy).sum(), 1e-12))


def ground_of(picture: np.ndarray, mask: np.ndarray, smooth: np.ndarray) -> str:
    """The kind of ground in and around a hole; `smooth`: the picture's `smooth_places`."""
    region = mask | ring_around(mask)
    if smooth[region].mean() >= SMOOTH_SHARE:
        return "smooth"
    return "structured" if coherence(luminance(picture), region) >= COHERENT else "textured"
