"""Loads networks of others: .pth and .safetensors with spandrel, .onnx with onnxruntime."""

from pathlib import Path

import torch
from torch import Tensor, nn

from psal_cli.errors import InputError, InvalidValueError
from psal_cli.foreign import onnx_files, spandrel_files
from psal_cli.foreign.about import ENLARGES, About
from psal_cli.foreign.network import ForeignNetwork, Sizes

CHANNELS = (1, 3)
TRIED = 48  # pixels: side of the picture that probes the scale of a module


def is_onnx(path: Path) -> bool:
    return path.suffix.lower() == ".onnx"


def enlarging(path: Path, state: dict[str, Tensor] | None, name: str) -> ForeignNetwork:
    """The network for super-resolution in a file.

    Args:
        path: of the file; state: its tensors, None for an ONNX file; name: for errors.

    Raises:
        InputError: it cannot be read, or is for another task.
    """
    run, about, sizes, channels = loaded(path, state, name)
    if about.task != ENLARGES or about.scale < 2:
        raise InputError(f"{name} is a network ({about.architecture}) for {about.task}: expected one for {ENLARGES}")
    if channels not in CHANNELS:
        raise InputError(f"{name} ({about.architecture}) is not of 3 channels, red, green and blue: give another file")
    return ForeignNetwork(run, about, sizes, channels)


def loaded(path: Path, state: dict[str, Tensor] | None, name: str) -> tuple[nn.Module, About, Sizes, int]:
    """(network, facts, the sizes that it accepts, its channels), for any task; see `enlarging`."""
    return onnx_files.load(path, name) if state is None else spandrel_files.load(path, state, name)


def of_module(module: nn.Module) -> ForeignNetwork:
    """Wraps the caller's module, [B, 3, H, W] in [0, 1] -> [B, 3, s H, s W]; the scale s is probed with a small picture.

    Raises:
        InvalidValueError: it does not enlarge RGB by a whole number.
    """
    parameter = next(module.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    name = type(module).__name__
    image = torch.full((1, 3, TRIED, TRIED), 0.5)
    expected = "a module that makes [B, 3, n * H, n * W] of [B, 3, H, W], n at least 2, in evaluation mode"
    if device.type != "cpu":
        raise InvalidValueError("weights", f"{name} on {device}", "a module on the CPU: the device is an option of its own")
    if module.training:
        raise InvalidValueError("weights", f"{name} in training mode", expected)
    try:
        with torch.no_grad():
            out = module(image)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InvalidValueError("weights", f"{name}, which fails on {list(image.shape)}", expected) from error
    scale = out.shape[-1] // TRIED if isinstance(out, Tensor) and out.ndim == 4 else 0
    if scale < 2 or tuple(out.shape) != (1, 3, scale * TRIED, scale * TRIED):
        made = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise InvalidValueError("weights", f"{name}, which makes {made} of {list(image.shape)}", expected)
    parameters = sum(x.numel() for x in module.parameters())
    return ForeignNetwork(module, About(name, name, ENLARGES, scale, parameters))
