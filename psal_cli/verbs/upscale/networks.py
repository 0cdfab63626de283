"""The networks of `psal_cli.upscale`: those that ship, and files of the user's."""

from functools import cache

import torch
from torch import Tensor

from psal_cli import weights as stored
from psal_cli.errors import InputError, InvalidValueError
from psal_cli.networks.csnln import CSNLN
from psal_cli.networks.residual_psal import ResidualPSAL
from psal_cli.networks.upscaling import UpscalingNetwork
from psal_cli.verbs.upscale.options import SCALES

PASSES = {2: (2,), 3: (3,), 4: (4,), 8: (2, 4)}  # with 4 first the second network would see sixteen times the pixels

Network = ResidualPSAL | UpscalingNetwork | CSNLN


def networks_for(
    scale: int, model: str = "clean", weights: str | None = None, attention: str = "psal", device: str = "cpu"
) -> tuple[Network, ...]:
    """The network of each pass; a second one always sees a clean picture.

    They are shared by all callers, who must not change them: see `psal_cli.weights.private_copy`.

    Raises:
        InvalidValueError: another scale, or weights for a scale that takes two networks.
        InputError: weights that do not fit.
    """
    if scale not in PASSES:
        raise InvalidValueError("scale", scale, f"one of {', '.join(map(str, SCALES))}")
    if weights and len(PASSES[scale]) > 1:
        raise InvalidValueError("weights", weights, f"none with scale {scale}, which takes two networks")
    if weights:
        return (network_of(weights, scale, attention, device),)
    models = (model, "clean")
    sources = [(weights_of(x, models[number]), x) for number, x in enumerate(PASSES[scale])]
    return tuple(network_of(source, x, attention, device) for source, x in sources)


def weights_of(scale: int, model: str) -> str:
    """The name of the weights that ship."""
    return f"upscale-x{scale}" + ("" if model == "clean" else f"-{model}")


def network_of(source: str, scale: int, attention: str = "psal", device: str = "cpu") -> Network:
    """A network with weights that ship, by name, or of a file: psal's own, or those published with CSNLN.

    The architecture shows in the shapes of the tensors. Raises InputError when they do not fit, or are of another scale.
    """
    return _cached(source, scale, attention, device)


@cache
def _cached(source: str, scale: int, attention: str, device: str) -> Network:
    state, recipe = stored.resolve(source)
    make = _published if any(name.startswith("SEM.") for name in state) else _residual if "merge.weight" in state else _own
    try:
        network = make(state, recipe, attention)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{source} is no network for super-resolution that psal knows ({error})") from error
    if network.scale != scale:
        raise InvalidValueError("scale", scale, f"{network.scale}, by which {source} enlarges, or other weights")
    return stored.placed(stored.load_strict(network, state, source), device)


def _residual(state: dict[str, Tensor], recipe: stored.Recipe, attention: str) -> Network:
    features, scale = state["head.weight"].shape[0], round((state["tail.weight"].shape[0] / 3) ** 0.5)
    blocks = len({name.split(".")[1] for name in state if name.startswith("body.")})
    cross = "cross.mix.weight" in state
    before = stored.entry(recipe, "before", min(3, blocks - 1))
    return ResidualPSAL(scale, features, blocks, before, cross=cross, attention=attention, kept=torch.float16)


def _own(state: dict[str, Tensor], recipe: stored.Recipe, attention: str) -> Network:
    features, scale = state["head.weight"].shape[0], round((state["tail.weight"].shape[0] / 3) ** 0.5)
    blocks = len({name.split(".")[1] for name in state if name.startswith("body.")})
    before = stored.entry(recipe, "before", 4)
    if any(name.startswith("cross.") for name in state):
        return UpscalingNetwork(scale, features, blocks, before, attention=attention, kept=torch.float16)
    return UpscalingNetwork(scale, features, blocks, before, cross=False)


def _published(state: dict[str, Tensor], recipe: stored.Recipe, attention: str) -> Network:
    features = state["head.0.0.weight"].shape[0]
    depth = state["tail.0.weight"].shape[1] // features
    scale = 4 if "SEM.down_sample_3.0.weight" in state else {9: 3}.get(state["SEM.down_sample_1.0.weight"].shape[2], 2)
    white = 255.0 if state["sub_mean.bias"].abs().max() > 1 else 1.0  # the mean colour tells the range of the values
    in_scale = "full" if attention == "full" else "local"
    return CSNLN(scale, features, depth, attention=attention, in_scale=in_scale, white=white)
