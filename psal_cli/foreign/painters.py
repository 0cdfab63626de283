"""Networks of others that fill a picture given a mask: TorchScript, ONNX, and formats that spandrel reads."""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from psal_cli import weights as stored
from psal_cli.errors import InputError, is_out_of_memory
from psal_cli.foreign import onnx_files, spandrel_files
from psal_cli.foreign.info import INPAINTS, NetworkInfo, digest
from psal_cli.foreign.network import Sizes, continued
from psal_cli.foreign.protobuf import parameters

NATIVE = 512  # pixels: side of the pictures on which published networks were trained
MULTIPLE = 8  # multiple of the sides assumed for TorchScript files, which do not state one

log = logging.getLogger(__name__)
Fill = Callable[[Tensor, Tensor], Tensor]  # [1, 3, H, W] in [0, 1] and [1, 1, H, W], 1 = fill -> [1, 3, H, W]


@dataclass(frozen=True)
class ForeignPainter:
    """A network that fills a picture given a mask. name: for messages; sizes: of accepted pictures."""

    run: Fill
    name: str
    sizes: Sizes

    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        """Its drawing, [1, 3, H, W], at the size of the picture, which is padded by reflection to an accepted size.

        Raises:
            InputError: it fails, or returns another shape.
        """
        height, width = image.shape[2:]
        size = self.sizes.padded(height, width)
        try:
            with torch.no_grad():
                drawn = self.run(continued(image, *size).contiguous(), continued(mask, *size).contiguous())
        except Exception as error:
            if is_out_of_memory(error):
                raise
            what = " ".join(str(error).split())[-160:]
            raise InputError(f"{self.name} fails on a picture of {size[1]}x{size[0]} with a mask: {what}") from error
        if tuple(drawn.shape) != (1, 3, *size):
            raise InputError(
                f"{self.name} draws {list(drawn.shape)}, expected {[1, 3, *size]}: it is not a network that fills masks"
            )
        return drawn[..., :height, :width]


def load_painter(path: Path) -> ForeignPainter:
    """Loads the network in a file, once. A TorchScript file contains code, which a warning reports.

    Raises:
        InputError: none that can be read, or one of another task.
    """
    return _loaded(path, digest(stored.existing(path)))


@cache
def _loaded(path: Path, sha256: str) -> ForeignPainter:
    if path.suffix.lower() == ".onnx":
        return _onnx(path)
    if _is_torchscript(path):
        return _torchscript(path)
    network, info, sizes, _ = spandrel_files.load(path, stored.load_file(path), str(path))
    if info.task != INPAINTS:
        raise InputError(f"{path} is a network ({info.architecture}) for {info.task}: expected one for {INPAINTS}")
    return ForeignPainter(network, str(path), sizes)


def info_of(path: Path) -> NetworkInfo | None:
    """Facts about a file that no other loader accepts, without running it; None if it is not a painter."""
    if path.suffix.lower() == ".onnx":
        try:
            Graph(path)
        except InputError:
            return None
        return NetworkInfo(str(path), "ONNX", INPAINTS, 1, parameters(path.read_bytes()), sha256=digest(path))
    return NetworkInfo(str(path), "TorchScript", INPAINTS, 1, 0, sha256=digest(path)) if _is_torchscript(path) else None


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _torchscript(path: Path) -> ForeignPainter:
    log.warning("%s is TorchScript: it carries code, which runs as psal does; use files that you trust", path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that TorchScript is deprecated
            module = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except Exception as error:
        if is_out_of_memory(error):
            raise
        what = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is not a TorchScript file that torch {torch.__version__} loads ({what})") from error

    def run(image: Tensor, mask: Tensor) -> Tensor:
        drawn = module(image, mask)
        made: Tensor = drawn[0] if isinstance(drawn, tuple | list) else drawn
        return made.float()

    return ForeignPainter(run, str(path), Sizes(multiple=MULTIPLE))


class Graph:
    """An ONNX graph with a picture and a mask as inputs. A first run tells the range of its output and whether it fills 1 or
    0."""

    KINDS = onnx_files.NUMBERS | {"tensor(uint8)": np.uint8}

    def __init__(self, path: Path):
        self.session = onnx_files.session_of(path, str(path))
        inputs = self.session.get_inputs()
        masks = [x for x in inputs if "mask" in x.name.lower()] or [x for x in inputs if x.shape[1:2] == [1]]
        images = [x for x in inputs if x not in masks]
        if len(masks) != 1 or len(images) != 1 or any(x.type not in self.KINDS or len(x.shape) != 4 for x in inputs):
            takes = ", ".join(f"{x.name} {x.type} {x.shape}" for x in inputs)
            raise InputError(f"{path} takes {takes}: expected a picture [1, 3, H, W] and a mask [1, 1, H, W]")
        self.image, self.mask = images[0], masks[0]
        height, width = self.image.shape[2:]
        fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        self.sizes = Sizes(multiple=MULTIPLE, fixed=fixed)
        self.inverted, self.range = False, (0.0, 1.0)  # whether it fills 0; black and white in its output

    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        low, high = self.range
        return (self._raw(image, 1 - mask if self.inverted else mask) - low) / (high - low)

    def _raw(self, image: Tensor, mask: Tensor) -> Tensor:
        given = {x.name: self._array(x.type, value) for x, value in ((self.image, image), (self.mask, mask))}
        made = torch.from_numpy(np.asarray(self.session.run([self.session.get_outputs()[0].name], given)[0], np.float32))
        return made if made.ndim != 4 or made.shape[1] == 3 else made.permute(0, 3, 1, 2)

    def _array(self, kind: str, value: Tensor) -> np.ndarray:
        dtype = self.KINDS[kind]
        return (value * 255).round().numpy().astype(dtype) if dtype is np.uint8 else value.numpy().astype(dtype)

    def learn(self) -> None:
        """Finds the range and polarity: outside the hole, a network that fills masks returns the picture."""
        height, width = self.sizes.fixed or (NATIVE // 2, NATIVE // 2)
        image = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(0))
        mask = torch.zeros((1, 1, height, width))
        mask[..., height // 3 : height // 2, width // 3 : width // 2] = 1
        known = mask[:, 0] == 0
        errors = {}
        for inverted in (False, True):
            drawn = self._raw(image, 1 - mask if inverted else mask)
            low = -1.0 if float(drawn.min()) < -0.2 and float(drawn.max()) < 4 else 0.0
            limits = low, 255.0 if float(drawn.max()) > 4 else 1.0
            given = (drawn - low) / (limits[1] - low)
            errors[inverted, limits] = float((given - image).abs().mean(1)[known].mean())
        self.inverted, self.range = min(errors, key=lambda candidate: errors[candidate])


def _onnx(path: Path) -> ForeignPainter:
    graph = Graph(path)
    try:
        graph.learn()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        what = " ".join(str(error).split())[-160:]
        raise InputError(f"{path} fails on a picture and a mask: it is not a network that fills masks ({what})") from error
    return ForeignPainter(graph, str(path), graph.sizes)
