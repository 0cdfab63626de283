"""psal and its rivals behind one call: `fill(image, mask) -> Fill`, uint8 RGB `[H,W,3]`, bool mask `[H,W]`, True = fill.

Each loader imports its package and raises ImportError when that is not installed. What a method does outside the mask is not
judged: the bench puts the picture's own pixels back there.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np


@dataclass(frozen=True)
class Fill:
    picture: np.ndarray  # uint8 [H,W,3]
    field: np.ndarray | None = None  # int32 [H,W,2], the (row, column) that each filled pixel was copied from, where known


Filler = Callable[[np.ndarray, np.ndarray], Fill]


@dataclass(frozen=True)
class Method:
    load: Callable[[], Filler]
    package: str  # whose version decides whether an earlier result still holds


def load_psal(engine: str, attention: str = "psal") -> Filler:
    import psal_cli

    def fill(image: np.ndarray, mask: np.ndarray) -> Fill:
        filled = psal_cli.inpaint(image, mask, seed=0, engine=engine, attention=attention)
        return Fill(filled.image, None if filled.field is None else filled.field.sources[0].transpose(1, 2, 0))

    return fill


def load_opencv(method: int) -> Filler:
    # Radius 3 is what OpenCV's own samples use. 8-bit RGB or BGR makes no difference to these two.
    return lambda image, mask: Fill(cv2.inpaint(image, mask.astype(np.uint8) * 255, 3, method))


def load_biharmonic() -> Filler:
    from skimage.restoration import inpaint_biharmonic

    def fill(image: np.ndarray, mask: np.ndarray) -> Fill:
        # One sparse solve for each hole gives the same picture as one for all, in less memory. It returns float64 in [0,1].
        filled = inpaint_biharmonic(image, mask, channel_axis=-1, split_into_regions=True)
        return Fill((filled.clip(0, 1) * 255).round().astype(np.uint8))

    return fill


def load_xphoto(algorithm: str) -> Filler:
    if not hasattr(cv2, "xphoto"):
        raise ImportError("opencv-contrib-python-headless")
    code = getattr(cv2.xphoto, algorithm)
    # FSR takes BGR, shift map a CIELab picture; in both the mask is the other way round, 0 = fill.
    there, back = (
        (cv2.COLOR_RGB2Lab, cv2.COLOR_Lab2RGB) if algorithm == "INPAINT_SHIFTMAP" else (cv2.COLOR_RGB2BGR, cv2.COLOR_BGR2RGB)
    )

    def fill(image: np.ndarray, mask: np.ndarray) -> Fill:
        filled = np.zeros_like(image)
        cv2.xphoto.inpaint(cv2.cvtColor(image, there), (~mask).astype(np.uint8) * 255, filled, code)
        return Fill(cv2.cvtColor(filled, back))

    return fill


def load_pypatchmatch(radius: int) -> Filler:
    import patchmatch

    if not patchmatch.patchmatch_available:
        raise ImportError("pypatchmatch is there, its native library does not load")

    def fill(image: np.ndarray, mask: np.ndarray) -> Fill:
        patchmatch.set_random_seed(0)
        # Its patch_size is a radius: 3 means the 7x7 patches that psal uses.
        return Fill(patchmatch.inpaint(image, mask.astype(np.uint8) * 255, patch_size=radius))

    return fill


@cache
def psal_version() -> str:
    """The version of psal and a digest of its code and weights: any change to it makes earlier results void."""
    import psal_cli
    from psal_cli.weights import FOLDER

    digest = hashlib.sha256()
    package = Path(psal_cli.__file__).parent
    for folder, patterns in ((package, ("*.py", "*.so")), (FOLDER, ("*.safetensors",))):
        for path in sorted(path for pattern in patterns for path in folder.rglob(pattern)):
            digest.update(path.read_bytes())
    return f"{version('psal')}+{digest.hexdigest()[:12]}"


def version_of(method: str) -> str | None:
    """The version of the package that a method is from; None when it is not installed."""
    package = METHODS[method].package
    try:
        return psal_version() if package == "psal" else version(package)
    except PackageNotFoundError:
        return None


OPENCV, CONTRIB = "opencv-python-headless", "opencv-contrib-python-headless"

# In the order of the table's rows and the page's columns.
METHODS: dict[str, Method] = {
    "psal combined": Method(lambda: load_psal("combined"), "psal"),
    "psal patch": Method(lambda: load_psal("patch"), "psal"),
    "psal network, PSAL-3": Method(lambda: load_psal("network"), "psal"),
    "psal network, aggregation": Method(lambda: load_psal("network", "aggregation"), "psal"),
    "psal network, original": Method(lambda: load_psal("network", "original"), "psal"),
    "cv2 Telea": Method(lambda: load_opencv(cv2.INPAINT_TELEA), OPENCV),
    "cv2 Navier-Stokes": Method(lambda: load_opencv(cv2.INPAINT_NS), OPENCV),
    "skimage biharmonic": Method(load_biharmonic, "scikit-image"),
    "xphoto FSR fast": Method(lambda: load_xphoto("INPAINT_FSR_FAST"), CONTRIB),
    "xphoto FSR best": Method(lambda: load_xphoto("INPAINT_FSR_BEST"), CONTRIB),
    "xphoto shift map": Method(lambda: load_xphoto("INPAINT_SHIFTMAP"), CONTRIB),
    "PyPatchMatch 7x7": Method(lambda: load_pypatchmatch(3), "PyPatchMatch"),
    "PyPatchMatch 11x11": Method(lambda: load_pypatchmatch(5), "PyPatchMatch"),
    "PyPatchMatch 31x31": Method(lambda: load_pypatchmatch(15), "PyPatchMatch"),  # the package's default
}
USUAL = ("psal combined", "psal patch", "PyPatchMatch 7x7", "cv2 Telea")  # unless others are asked for
