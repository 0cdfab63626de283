"""psal and its rivals behind one call: `fill(image, mask) -> filled`, uint8 RGB `[H,W,3]`, bool mask `[H,W]`, True = fill.

Each loader imports its package and raises ImportError when that is not installed. What a method does outside the mask is not
judged: the bench puts the picture's own pixels back there.
"""

from collections.abc import Callable

import cv2
import numpy as np

Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]


def load_psal(engine: str, attention: str = "psal") -> Fill:
    import torch

    from psal_cli.tasks.inpaint import inpaint
    from psal_cli.tasks.network import Painter, network_of

    painter = None if engine == "patch" else Painter(network_of(attention))

    def fill(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        picture = torch.from_numpy(image).permute(2, 0, 1)[None].float().div(255).contiguous()
        filled = inpaint(picture, torch.from_numpy(mask), seed=0, engine=engine, painter=painter)
        return filled.image[0].permute(1, 2, 0).mul(255).round().clamp(0, 255).to(torch.uint8).numpy()

    return fill


def load_opencv(method: int) -> Fill:
    # Radius 3 is what OpenCV's own samples use. 8-bit RGB or BGR makes no difference to these two.
    return lambda image, mask: cv2.inpaint(image, mask.astype(np.uint8) * 255, 3, method)


def load_biharmonic() -> Fill:
    from skimage.restoration import inpaint_biharmonic

    def fill(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        # One sparse solve for each hole gives the same picture as one for all, in less memory. It returns float64 in [0,1].
        filled = inpaint_biharmonic(image, mask, channel_axis=-1, split_into_regions=True)
        return (filled.clip(0, 1) * 255).round().astype(np.uint8)

    return fill


def load_xphoto(algorithm: str) -> Fill:
    if not hasattr(cv2, "xphoto"):
        raise ImportError("opencv-contrib-python-headless")
    code = getattr(cv2.xphoto, algorithm)
    # FSR takes BGR, shift map a CIELab picture; in both the mask is the other way round, 0 = fill.
    there, back = (
        (cv2.COLOR_RGB2Lab, cv2.COLOR_Lab2RGB) if algorithm == "INPAINT_SHIFTMAP" else (cv2.COLOR_RGB2BGR, cv2.COLOR_BGR2RGB)
    )

    def fill(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        filled = np.zeros_like(image)
        cv2.xphoto.inpaint(cv2.cvtColor(image, there), (~mask).astype(np.uint8) * 255, filled, code)
        return cv2.cvtColor(filled, back)

    return fill


def load_pypatchmatch(radius: int) -> Fill:
    import patchmatch

    if not patchmatch.patchmatch_available:
        raise ImportError("pypatchmatch is there, its native library does not load")

    def fill(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        patchmatch.set_random_seed(0)
        # Its patch_size is a radius: 3 means the 7x7 patches that psal uses.
        return patchmatch.inpaint(image, mask.astype(np.uint8) * 255, patch_size=radius)

    return fill


# In the order of the table's rows and the page's columns.
LOADERS: dict[str, Callable[[], Fill]] = {
    "psal combined": lambda: load_psal("combined"),
    "psal patch": lambda: load_psal("patch"),
    "psal network, PSAL-3": lambda: load_psal("network"),
    "psal network, aggregation": lambda: load_psal("network", "aggregation"),
    "psal network, original": lambda: load_psal("network", "original"),
    "cv2 Telea": lambda: load_opencv(cv2.INPAINT_TELEA),
    "cv2 Navier-Stokes": lambda: load_opencv(cv2.INPAINT_NS),
    "skimage biharmonic": load_biharmonic,
    "xphoto FSR fast": lambda: load_xphoto("INPAINT_FSR_FAST"),
    "xphoto FSR best": lambda: load_xphoto("INPAINT_FSR_BEST"),
    "xphoto shift map": lambda: load_xphoto("INPAINT_SHIFTMAP"),
    "PyPatchMatch 7x7": lambda: load_pypatchmatch(3),
    "PyPatchMatch 11x11": lambda: load_pypatchmatch(5),
    "PyPatchMatch 31x31": lambda: load_pypatchmatch(15),  # the package's default
}
SLOW = ("xphoto FSR best",)  # minutes more in all: only when asked for
