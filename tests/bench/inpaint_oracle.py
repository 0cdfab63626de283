"""Painters that know the truth: how much a perfect guide would be worth to `psal inpaint`.

The one place of the bench that sets constants of psal: when those move, this file follows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from inpaint_methods import Fill, Filler

from psal_cli.image.arrays import replaced
from psal_cli.patchmatch import pyramid
from psal_cli.verbs.inpaint import guide
from psal_cli.verbs.inpaint.fill import fill
from psal_cli.verbs.inpaint.guide import ColourGuide, FeatureGuide
from psal_cli.verbs.inpaint.options import InpaintOptions
from psal_cli.verbs.inpaint.painter import Painter, network_of

PAINTERS = ("none", "features", "network", "truth")
Draw = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Setting:
    """What draws, and how it is followed.

    radius: the hole's inner radius in pixels at the level where it is drawn, at most (`Guide.radius`). weight: of the guide
    (GUIDE_WEIGHT). blur: of the truth, standard deviation in pixels of the level where it is drawn.
    """

    painter: str  # of PAINTERS
    radius: float = ColourGuide.radius
    weight: float = pyramid.GUIDE_WEIGHT
    blur: float = 0

    @property
    def name(self) -> str:
        if self.painter == "none":
            return "none (patch)"
        what = f"truth, blurred by {self.blur:g} px" if self.blur else self.painter
        return f"{what}; {self.radius:g}" + (f", {self.weight:g}" if self.painter != "features" else "")


TODAY = Setting("features", FeatureGuide.radius)  # as psal does it

# In the order of the table's questions: what is there, what following it more closely would give, and both for a guide that is
# right, wholly or but for a blur.
SETTINGS = (
    Setting("none"),
    TODAY,
    Setting("network"),
    Setting("network", 24, 1.4),
    Setting("truth"),
    Setting("truth", blur=4),
    Setting("truth", 24),
    Setting("truth", 24, 1.4, blur=4),
    Setting("truth", 24, 1.4, blur=2),
    Setting("truth", 24, 1.4),
    Setting("truth", 48, 1.4),
)


@contextmanager
def followed(setting: Setting) -> Iterator[None]:
    """Within it psal follows what is drawn by the setting's weight."""
    before = pyramid.GUIDE_WEIGHT
    pyramid.GUIDE_WEIGHT = guide.GUIDE_WEIGHT = setting.weight
    try:
        yield
    finally:
        pyramid.GUIDE_WEIGHT = guide.GUIDE_WEIGHT = before


def halved(picture: np.ndarray) -> np.ndarray:
    """float32 `[H,W,C]` -> `[ceil(H/2),ceil(W/2),C]`: means of 2x2 pixels, as psal's pyramid makes them."""
    padded = np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), "edge")
    return cv2.resize(padded, (padded.shape[1] // 2, padded.shape[0] // 2), interpolation=cv2.INTER_AREA)


def truth_painter(truth: np.ndarray, mask: np.ndarray, blur: float = 0) -> Draw:
    """Draws what really is in the hole, at whatever level it is asked for: a painter takes float32 `[h,w,3]` and the hole, bool
    `[h,w]`, in a window of a level, and returns the hole's colours, float32 `[n,3]`.

    Which window of which level is meant follows from the hole in it.
    """

    def draw(known: np.ndarray, hole: np.ndarray) -> np.ndarray:
        level, level_hole = truth.astype(np.float32) / 255, mask
        while True:
            for top, bottom, left, right in pyramid.guided_windows(level_hole, ColourGuide.reach):
                view = np.s_[top:bottom, left:right]
                if np.array_equal(level_hole[view], hole):
                    shown = cv2.GaussianBlur(level, (0, 0), blur) if blur else level
                    return np.ascontiguousarray(shown[view][hole])
            if min(level_hole.shape) < 2:
                raise ValueError("a hole was to be drawn that is none of this picture's")
            level, level_hole = halved(level), pyramid.halve_mask(level_hole)

    return draw


def oracle(setting: Setting, truth: np.ndarray, mask: np.ndarray) -> Filler:
    """`psal inpaint` with the setting's painter, for one case."""
    guides: dict[str, Callable[[], FeatureGuide | ColourGuide | None]] = {
        "none": lambda: None,
        "features": lambda: guide.guide_for(InpaintOptions()),
        "network": lambda: ColourGuide(Painter(network_of())),
        "truth": lambda: ColourGuide(truth_painter(truth, mask, setting.blur)),
    }
    guided = guides[setting.painter]()
    if guided is not None:
        guided.radius = setting.radius

    def fill_hole(image: np.ndarray, hole: np.ndarray) -> Fill:
        options = InpaintOptions(engine="patch" if guided is None else "combined")
        with followed(setting):
            filled = fill(image, hole, hole, options, guided)
        nnf = np.full((*hole.shape, 2), -1, np.int32)
        nnf[hole] = filled.origins
        return Fill(replaced(image, hole, filled.values), nnf)

    return fill_hole
