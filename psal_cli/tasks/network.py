"""The inpainting networks by name: their attention, and their weights."""

from functools import cache

from torch import nn

from psal_cli import weights as stored
from psal_cli.attention import ContextualAttention, HoleAttention, PSAttention
from psal_cli.networks.contextual_attention import InpaintingNetwork

PATCH = 7
ATTENTIONS = ("psal", "aggregation", "original", "original-sum")


def attention_of(name: str, iterations: int = 5, seed: int = 0) -> nn.Module:
    """The attention layers that can be plugged in.

    "psal" is that of Cherel et al. 2022, section 4.4: k = 3, 7x7 patches, no downsampling, the centre pixel, 5 iterations;
    "aggregation" the same with section 3.4.3; "original" that of Yu et al. 2018, "original-sum" its other normalisation.
    They compare as the original does, by the product with a key of unit norm, and as sharply: a query of 7x7 features is 7 / 3
    times as long as one of 3x3.
    """
    if name.startswith("original"):
        return ContextualAttention("sum" if name == "original-sum" else "maximum")
    temperature = PATCH / 3 / 10
    return HoleAttention(
        PSAttention(
            PATCH, 3, iterations, aggregation=name == "aggregation", similarity="key_cosine", temperature=temperature, seed=seed
        )
    )


@cache
def network_of(attention: str, source: str, iterations: int = 5, seed: int = 0) -> InpaintingNetwork:
    """A network with weights that ship, by name, or of a file: what its metadata say it is, or without any the published one.

    Raises InputError when they do not fit.
    """
    state, recipe = stored.found(source)
    kept = {name: recipe[name] for name in ("width", "fill", "residual") if name in recipe}
    return stored.fill(InpaintingNetwork(attention=attention_of(attention, iterations, seed), **kept), state, source)
