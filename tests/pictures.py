"""Pictures that the tests of files share. Import it as `from .pictures import blocks, save, finest`."""

import numpy as np
from PIL import Image


def blocks(height=40, width=64, channels=3):
    """Flat blocks of 8 pixels, no two alike: exact in lossless formats, within a few levels in JPEG."""
    random = np.random.default_rng(7).integers(0, 256, (height // 8, width // 8, channels), dtype=np.uint8)
    return random.repeat(8, 0).repeat(8, 1)


def save(path, array, **arguments):
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(path, **arguments)
    return path


def finest(suffix):
    """Pillow's arguments that keep the most of the pixels."""
    return {"webp": {"lossless": True, "exact": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
