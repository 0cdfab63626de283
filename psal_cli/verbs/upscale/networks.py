"""The networks of `psal_cli.upscale`: shipped ones and the user's."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from psal_cli import weights as stored
from psal_cli.errors import InputError, InvalidValueError
from psal_cli.foreign import files as foreign
from psal_cli.foreign import folder
from psal_cli.foreign.network import ForeignNetwork
from psal_cli.networks.csnln import CSNLN
from psal_cli.networks.residual_psal import ResidualPSAL
from psal_cli.networks.upscaling import UpscalingNetwork
from psal_cli.verbs.upscale.options import MODELS, UpscaleOptions, Weights
from psal_cli.verbs.upscale.sizes import PASSES, Size, asked, check_factor, factor_for, passes_of, size_wanted

OwnNetwork = ResidualPSAL | UpscalingNetwork | CSNLN
Network = OwnNetwork | ForeignNetwork

Maker = Callable[[dict[str, Tensor], stored.Recipe, str], OwnNetwork]

_modules: WeakKeyDictionary[nn.Module, tuple[int, ForeignNetwork]] = WeakKeyDictionary()
_lock = Lock()


def networks_for(
    scale: int, model: str = "clean", weights: Weights | None = None, attention: str = "psal", device: str = "cpu"
) -> tuple[Network, ...]:
    """The network of each pass; none for a scale of 1. A second shipped one is always the clean model, as its input is clean.

    They are shared by all callers, who must not change them: see `psal_cli.weights.private_copy`.

    Raises:
        InvalidValueError: a scale that the networks do not have.
        InputError: weights that do not fit.
    """
    if scale == 1:
        return ()
    if weights is not None:
        network = network_of(weights, None, attention, device)
        passes = passes_of(network.scale)
        check_factor(scale, passes, called(weights))
        return (network,) * len(passes[scale])
    if scale not in PASSES:
        raise InvalidValueError("scale", scale, f"one of {', '.join(map(str, PASSES))}")
    models = (model, "clean")
    sources = [(weights_of(x, models[number]), x) for number, x in enumerate(PASSES[scale])]
    return tuple(network_of(source, x, attention, device) for source, x in sources)


def prepared(size: Size, scale: float | None, options: UpscaleOptions) -> tuple[tuple[Network, ...], Size]:
    """The network of each pass for a picture of size (width, height), and the size of the result.

    With a strength, they are those of the photo model.

    scale: None for the size in the options or, if they name none, the scale of the user's network.

    Raises:
        InvalidValueError: an impossible factor or size.
        InputError: weights that do not fit.
    """
    passes = PASSES
    if options.weights is not None:
        own = network_of(options.weights, None, options.attention, options.device)
        passes = passes_of(own.scale)
        sized = any(x is not None for x in (options.width, options.height, options.long_side, options.megapixels))
        scale = own.scale if scale is None and not sized else scale
        check_factor(scale, passes, called(options.weights))
    wanted = size_wanted(size, scale, options)
    factor = factor_for(size, wanted, passes, asked(scale, options)[0])
    model = options.model if options.strength is None else "photo"
    if options.strength is not None and factor > 1:
        _check_partners(PASSES[factor][0])
    return networks_for(factor, model, options.weights, options.attention, options.device), wanted


def _check_partners(scale: int) -> None:
    """Raises InputError if one of the two blended models does not ship for this scale of the first pass."""
    for model in MODELS:
        if (name := weights_of(scale, model)) not in stored.manifest():
            raise InputError(f"a strength blends two models, and {name} does not ship: leave the strength out")


def weights_of(scale: int, model: str) -> str:
    """The name of the shipped weights."""
    return f"upscale-x{scale}" + ("" if model == "clean" else f"-{model}")


def called(source: Weights) -> str:
    """How messages refer to weights."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else type(source).__name__


def network_of(source: Weights, scale: int | None = None, attention: str = "psal", device: str = "cpu") -> Network:
    """A network with shipped weights, by name, from a file or the user's model folder, or the caller's module.

    The architecture is told from the tensors: psal's own, that of CSNLN, or one that spandrel knows.

    Args:
        scale: the required scale, None for any.

    Raises:
        InputError: weights that do not fit.
        InvalidValueError: weights of another scale, or a module that does not enlarge.
    """
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        path = None if name in stored.manifest() else folder.find(name)
        network = _cached(name, path and _Stamp.of(path), attention, device)
    elif isinstance(source, nn.Module):
        network = _of_module(source)
    else:
        raise InvalidValueError("weights", type(source).__name__, "a file, the name of one, or a torch.nn.Module")
    if scale is not None and network.scale != scale:
        raise InvalidValueError("scale", scale, f"{network.scale}, by which {called(source)} enlarges, or other weights")
    return network


def trunk_of(source: str, scale: int) -> OwnNetwork:
    """A new network of psal's own, in float32, from weights by name or path, without its attention.

    Raises InputError if they are of another architecture or scale.
    """
    state, recipe = stored.resolve(source)
    trunk = {name: x for name, x in state.items() if not name.startswith("cross.")}
    make = _maker(trunk)
    if make not in (_residual, _own):
        raise InputError(f"{source} is not a network of psal's own for super-resolution")
    network = make(trunk, recipe, "psal")
    if network.scale != scale:
        raise InputError(f"{source} enlarges {network.scale} times, not {scale} times")
    return stored.load_strict(network, trunk, source)


def _of_module(module: nn.Module) -> Network:
    """Wraps the caller's module. It is measured once, and again after its weights have changed in place."""
    if isinstance(module, Network):
        return module
    version = sum(x._version for x in (*module.parameters(), *module.buffers()))
    with _lock:
        known = _modules.get(module)
    if known is None or known[0] != version:
        known = (version, foreign.of_module(module))
        with _lock:
            _modules[module] = known
    return known[1]


class _Stamp(NamedTuple):
    """The identity of a file, so that a replaced or rewritten one is loaded again."""

    path: Path
    changed: int
    size: int

    @classmethod
    def of(cls, path: Path) -> _Stamp:
        facts = stored.existing(path).stat()
        return cls(path.resolve(), facts.st_mtime_ns, facts.st_size)


@cache
def _cached(source: str, stamp: _Stamp | None, attention: str, device: str) -> Network:
    """stamp: of the file, None for shipped weights."""
    path = stamp.path if stamp else None
    if path and foreign.is_onnx(path):
        return foreign.enlarging(path, None, source)
    state, recipe = stored.resolve(source, path)
    make = _maker(state)
    if make is None and path:
        network = foreign.enlarging(path, state, source)
        return network if network.cpu_only else stored.placed(network, device)
    assert make is not None, "what ships is psal's own"
    try:
        own = make(state, recipe, attention)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{source} is not a network for super-resolution that psal knows ({error})") from error
    return stored.placed(stored.load_strict(own, state, source), device)


def _maker(state: dict[str, Tensor]) -> Maker | None:
    """A function that builds a network from these tensors, None if it is not one of psal's own architectures."""
    if any(name.startswith("SEM.") for name in state):
        return _published
    if {"merge.weight", "head.weight", "tail.weight"} <= state.keys():
        return _residual
    return _own if {"head.weight", "last.weight", "tail.weight"} <= state.keys() else None


def _residual(state: dict[str, Tensor], recipe: stored.Recipe, attention: str) -> OwnNetwork:
    features, scale = state["head.weight"].shape[0], round((state["tail.weight"].shape[0] / 3) ** 0.5)
    blocks = len({name.split(".")[1] for name in state if name.startswith("body.")})
    cross = "cross.mix.weight" in state
    before = stored.entry(recipe, "before", min(3, blocks - 1))
    return ResidualPSAL(scale, features, blocks, before, cross=cross, attention=attention, kept=torch.float16)


def _own(state: dict[str, Tensor], recipe: stored.Recipe, attention: str) -> OwnNetwork:
    features, scale = state["head.weight"].shape[0], round((state["tail.weight"].shape[0] / 3) ** 0.5)
    blocks = len({name.split(".")[1] for name in state if name.startswith("body.")})
    before = stored.entry(recipe, "before", 4)
    if any(name.startswith("cross.") for name in state):
        return UpscalingNetwork(scale, features, blocks, before, attention=attention, kept=torch.float16)
    return UpscalingNetwork(scale, features, blocks, before, cross=False)


def _published(state: dict[str, Tensor], recipe: stored.Recipe, attention: str) -> OwnNetwork:
    features = state["head.0.0.weight"].shape[0]
    depth = state["tail.0.weight"].shape[1] // features
    scale = 4 if "SEM.down_sample_3.0.weight" in state else {9: 3}.get(state["SEM.down_sample_1.0.weight"].shape[2], 2)
    white = 255.0 if state["sub_mean.bias"].abs().max() > 1 else 1.0  # the mean colour tells the range of values
    in_scale = "full" if attention == "full" else "local"
    return CSNLN(scale, features, depth, attention=attention, in_scale=in_scale, white=white)
