"""Weights: the shipped ones, checked against their manifest, and the user's files."""

import copy
import hashlib
import json
import re
import tomllib
import warnings
from functools import cache
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from psal_cli.errors import InputError

Network = TypeVar("Network", bound=nn.Module)
Recipe = dict[str, object]  # how the weights were made, from the file's metadata; any JSON
Entry = TypeVar("Entry", int, str, bool)

# Where checkpoints keep their tensors, the preferred ones first.
NESTED = ("state_dict", "model_state_dict", "params_ema", "params-ema", "params", "model", "net")
CODE = re.compile(r"GLOBAL ([\w.]+)")  # in torch's error about a file that would run code

PACKAGE = Path(__file__).parent
FOLDER = PACKAGE / "shipped" if (PACKAGE / "shipped").exists() else PACKAGE.parent / "weights"  # installed, or a checkout


@cache
def manifest() -> dict[str, dict[str, str]]:
    """name -> file, sha256 and the other entries of weights/manifest.toml."""
    return tomllib.loads((FOLDER / "manifest.toml").read_text())


def shipped(name: str) -> dict[str, Tensor]:
    """The tensors of shipped weights, by name. Raises InputError if the file is missing or its checksum differs."""
    return _safetensors(_shipped_bytes(name), FOLDER / manifest()[name]["file"])


def load_file(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a user's file: .safetensors, or .pt and .pth that contain no code.

    Raises InputError if it cannot be read or holds anything but named tensors.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _safetensors(_read(path), path)
    return _pickled(path)


def resolve(source: str, file: Path | None = None) -> tuple[dict[str, Tensor], Recipe]:
    """The tensors of shipped weights, by name, or of a file, and the recipe that made them if the file has it.

    file: the path that the name `source` stands for; None for shipped weights and for a source that is a path.

    A file is read once: tensors and recipe come from the bytes that were verified. Raises InputError as `shipped` and `load_file`
    do.
    """
    if file is None and source in manifest():
        path, content = FOLDER / manifest()[source]["file"], _shipped_bytes(source)
    else:
        path = file or Path(source)
        if path.suffix != ".safetensors":
            return load_file(path), {}
        content = _read(path)
    return _safetensors(content, path), _recipe(content)


def _shipped_bytes(name: str) -> bytes:
    if name not in manifest():
        raise InputError(f"no weights {name} ship with this psal: there are {', '.join(manifest())}")
    import safetensors.torch  # noqa: F401  # before the file is in memory: with little of it, an import fails more gracefully

    entry = manifest()[name]
    path = FOLDER / entry["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): install psal again") from error
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise InputError(f"{path} is not the file that was shipped, its checksum differs: install psal again")
    return content


def existing(path: Path) -> Path:
    """The path of a readable file. Raises InputError otherwise."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _safetensors(content: bytes, path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return _named_tensors(load(content), path)
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # names and dtypes of any kind
        what = str(error) if isinstance(error, SafetensorError) else type(error).__name__
        raise InputError(f"{path} is not a safetensors file: {what}") from error
    except BaseException as error:  # its Rust code panics when memory is short, which is not an Exception
        if type(error).__name__ != "PanicException":
            raise
        raise MemoryError from error


def entry(recipe: Recipe, name: str, default: Entry) -> Entry:
    """An entry of a recipe, or `default` if it has none. Raises InputError for a value of another type."""
    value = recipe.get(name, default)
    if not isinstance(value, type(default)):
        raise InputError(f"the recipe of the weights has {name} = {value!r}, expected {type(default).__name__}")
    return value


def _recipe(content: bytes) -> Recipe:
    """The "recipe" in the metadata of a safetensors file; empty if another program wrote the file."""
    length = int.from_bytes(content[:8], "little")
    try:
        recipe = json.loads(json.loads(content[8 : 8 + length]).get("__metadata__", {}).get("recipe", "{}"))
    except (ValueError, RecursionError):
        return {}
    return recipe if isinstance(recipe, dict) else {}


def _named_tensors(state: object, path: Path) -> dict[str, Tensor]:
    if not (isinstance(state, dict) and state and all(isinstance(x, Tensor) for x in state.values())):
        raise InputError(f"{path} is not a state_dict, named tensors: save model.state_dict(), not the model")
    return state


def _pickled(path: Path) -> dict[str, Tensor]:
    import torch

    if path.suffix not in (".pt", ".pth"):
        raise InputError(f"{path} is not a file of weights: expected .safetensors, .pt or .pth")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how the file was pickled
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged file may raise anything
        cure = "save model.state_dict(), not the model"
        if code := CODE.search(str(error)):
            raise InputError(f"{path} holds pickled code ({code[1]}), which psal does not run: {cure}") from error
        if "TorchScript" in str(error):
            raise InputError(f"{path} is TorchScript, a program, which psal does not run: {cure}") from error
        raise InputError(f"{path} is damaged or holds more than tensors, which psal does not run: {cure}") from error
    return _named_tensors(_innermost(state), path)


def _innermost(state: object) -> object:
    """The tensors inside a checkpoint, which may hold more, such as the optimizer. An average of the weights is preferred."""
    for name in NESTED:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    return state


def load_strict(network: Network, state: dict[str, Tensor], source: str) -> Network:
    """Loads tensors into a network strictly (all names and shapes must match) and prepares it for inference.

    Raises InputError with the names that are missing, unexpected, of another shape or not finite. source: their name in the
    message.
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
        raise InputError(f"{source} contains NaN or infinity in {bad[0]}: it was saved from a failed training")
    network.load_state_dict({name: state[name].to(x.dtype) for name, x in expected.items()})
    return network.eval().requires_grad_(False)


def private_copy(network: Network) -> Network:
    """A copy of a network that shares its weights. What a caller sets on its layers, such as a seed, is not seen by others.

    Networks with weights are cached and shared between threads; they must never be changed themselves.
    """
    tensors = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(x): x for x in tensors})


def placed(network: Network, device: str) -> Network:
    """Moves a network that is not shared yet to a device, with its convolutions in the fastest memory layout."""
    import torch

    network = network.to(device)
    for x in network.parameters():
        if x.ndim == 4:
            x.data = x.data.contiguous(memory_format=torch.channels_last)
    return network


def on_device(network: Network, device: str) -> Network:
    """The network on a device: itself, or a copy, because moving it would move the shared weights."""
    import torch

    first, wanted = next(network.parameters(), None), torch.device(device)
    if first is None:  # it has no parameters or buffers
        return network
    here = first.device
    if here.type == wanted.type and wanted.index in (None, here.index):
        return network
    return copy.deepcopy(network).to(device)
