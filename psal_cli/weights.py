"""Weights: those that ship with psal, checked against their manifest, and files that users bring."""

import hashlib
import json
import tomllib
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from psal_cli.errors import InputError

PACKAGE = Path(__file__).parent
FOLDER = PACKAGE / "shipped" if (PACKAGE / "shipped").exists() else PACKAGE.parent / "weights"  # installed, or a checkout


@cache
def manifest() -> dict[str, dict[str, str]]:
    """name -> file, sha256 and what else weights/manifest.toml says of it."""
    return tomllib.loads((FOLDER / "manifest.toml").read_text())


def shipped(name: str) -> dict[str, Tensor]:
    """The tensors of weights of the manifest. Raises InputError when the file is missing or not the one that was shipped."""
    from safetensors.torch import load

    if name not in manifest():
        raise InputError(f"no weights {name} ship with this psal: there are {', '.join(manifest())}; --weights takes a file")
    entry = manifest()[name]
    path = FOLDER / entry["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): install psal again") from error
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise InputError(f"{path} is not the file that was shipped, its checksum differs: install psal again")
    return load(content)


def brought(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file of the user's: .safetensors, or .pt and .pth without any code in them.

    Raises InputError when it cannot be read, or holds anything but named tensors.
    """
    path = Path(path)
    try:
        state = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if not (isinstance(state, dict) and state and all(isinstance(x, Tensor) for x in state.values())):
        raise InputError(f"{path} is no state_dict, named tensors: save model.state_dict(), not the model")
    return state


def found(source: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of weights that ship, by name, or of a file, and the recipe that made them, as far as the file tells.

    Raises InputError, see `shipped` and `brought`.
    """
    from safetensors import safe_open

    path = FOLDER / manifest()[source]["file"] if source in manifest() else Path(source)
    state = shipped(source) if source in manifest() else brought(source)
    if path.suffix != ".safetensors":
        return state, {}
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
    except Exception as error:  # what its bindings make of hostile names
        raise InputError(f"{path} has unusable metadata ({type(error).__name__}): save it anew") from error
    try:
        recipe = json.loads(about.get("recipe", "{}"))
    except (ValueError, RecursionError):  # another program's word
        recipe = {}
    return state, recipe if isinstance(recipe, dict) else {}


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = path.read_bytes()
    try:
        return load(content)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # names and dtypes of any kind
        what = str(error) if isinstance(error, SafetensorError) else type(error).__name__
        raise InputError(f"{path} is no safetensors file: {what}") from error


def _pickled(path: Path) -> object:
    import torch

    if path.suffix not in (".pt", ".pth"):
        raise InputError(f"{path} is no file of weights: expected .safetensors, .pt or .pth")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how the file was pickled
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise anything
        cure = "save model.state_dict(), not the model"
        raise InputError(f"{path} is damaged or holds more than tensors, which psal does not run: {cure}") from error
    return state.get("state_dict", state) if isinstance(state, dict) else state


def fill(network: nn.Module, state: dict[str, Tensor], source: str) -> nn.Module:
    """Puts tensors into a network, every name and shape as it expects; ready for inference.

    Raises InputError with the names that are missing, too many, of another shape or not finite. source: what to call them in it.
    """
    expected = network.state_dict()
    missing, odd = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    wrong = [
        f"{name} is {list(state[name].shape)}, expected {list(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]
    for what, names in (("lacks", missing), ("has unknown", odd), ("has", wrong)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(f"{source} does not fit {type(network).__name__}: it {what} {', '.join(names[:3])}{more}")
    if whole := [name for name, x in expected.items() if x.is_floating_point() and not state[name].is_floating_point()]:
        kind = str(state[whole[0]].dtype).removeprefix("torch.")
        raise InputError(
            f"{source} holds {kind} numbers in {whole[0]}, expected floating-point ones: quantised weights do not fit"
        )
    if bad := [name for name, x in state.items() if not x.isfinite().all()]:
        raise InputError(
            f"{source} holds numbers that are none (NaN or infinite) in {bad[0]}: it was saved from a failed training"
        )
    network.load_state_dict({name: state[name].to(x.dtype) for name, x in expected.items()})
    return network.eval().requires_grad_(False)
