"""Pictures that the tests of files share. Import it as `from .pictures import blocks, save, finest`."""

import numpy as np
import torch
from PIL import Image

from psal_cli.image.arrays import replaced

TURNED = {  # how a stored picture with this orientation is looked at
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def blocks(height=40, width=64, channels=3):
    """Flat blocks of 8 pixels, no two alike: exact in lossless formats, within a few levels in JPEG."""
    random = np.random.default_rng(7).integers(0, 256, (height // 8, width // 8, channels), dtype=np.uint8)
    return random.repeat(8, 0).repeat(8, 1)


def save(path, array, **arguments):
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(path, **arguments)
    return path


def noise(height=96, width=128, seed=0):
    """float32 [height, width, 3] in [0, 1]."""
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))[0].permute(1, 2, 0).numpy().copy()


def hole_of(image, *boxes):
    """A mask of the image: True inside of boxes (top, bottom, left, right)."""
    mask = np.zeros(image.shape[:2], bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def pixels_of(path):
    return np.asarray(Image.open(path))


def filled(picture, values, mask, share=None):
    """The picture with its pixels inside the mask set to values, see `psal_cli.image.arrays.replaced`."""
    return picture.with_array(replaced(picture.array(), mask, values, share))


def finest(suffix):
    """Pillow's arguments that keep the most of the pixels."""
    return {"webp": {"lossless": True, "exact": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
