"""Costs of the steps of upscale, for progress and time estimates: nanoseconds of one CPU core, measured.
`tests/bench/bench_time.py` compares the estimates with measurements.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from psal_cli.foreign.network import ForeignNetwork
from psal_cli.networks.csnln import CSNLN
from psal_cli.networks.pasting import Pasting
from psal_cli.networks.residual_psal import ResidualPSAL
from psal_cli.networks.upscaling import ResidualBlock, UpscalingNetwork
from psal_cli.strips import strips
from psal_cli.verbs.upscale.networks import Network

BLOCK = 0.23  # a pixel and the square of the features: one residual block
SEARCH = 6000.0  # a pixel: the attention's search
DRAWN = 100.0  # a pixel of the result: enlarging, adding, rounding
OTHER = 0.03  # a pixel and weight: a network of another kind


def network_cost(network: Network, height: int, width: int, rows: int, largest: int) -> float:
    """The cost of a network on a picture, in strips of this many rows or pieces of this many pixels."""
    drawn = DRAWN * height * width * network.scale**2
    if isinstance(network, ForeignNetwork):
        return drawn + network.traits.nanoseconds * network.tiling(height, width, largest).total
    if isinstance(network, CSNLN):
        passes = network.depth * (5 if network.scale == 4 else 1)  # the second stage works at twice the resolution
        return drawn + passes * _published(network) * height * width
    if not isinstance(network, UpscalingNetwork):
        searched = SEARCH if network.cross else 0.0
        return strip_cost(network, height * width) + searched * height * width
    block = BLOCK * network.head.out_channels**2

    def trunk(reduced: int) -> float:
        """The cost of the blocks, on the picture this many times smaller."""
        seen = sum(part.last - part.first for part in strips(-(-height // reduced), rows * reduced, network.halo))
        return block * len(network.body) * seen * (width / reduced)

    if network.cross is None:
        return drawn + trunk(1)
    asked = height * width * (1 + 1 / network.ratio**2)  # the attention first runs on the reduced picture
    return drawn + trunk(1) + trunk(network.ratio) + trunk(network.ratio**2) + (SEARCH + block * network.before) * asked


def strip_cost(network: Network, pixels: int) -> float:
    """The cost of a strip of the input that `metered` does not report."""
    drawn = DRAWN * network.scale**2
    whole = isinstance(network, ResidualPSAL)
    return pixels * (drawn + (OTHER * sum(x.numel() for x in network.parameters()) if whole else 0))


def total_cost(
    networks: Sequence[Network],
    size: tuple[int, int],
    rows_for: Callable[[int], int],
    largest: int,
    maps: int,
    turns: int,
) -> float:
    """The cost of all networks, one after another. size: (height, width); rows_for: width -> rows of a strip; largest: pixels of
    a piece; maps: pictures, and alpha; turns: how many times each is drawn."""
    total, (height, width) = 0.0, (max(size), min(size))  # strips run across the longer side
    for network in networks:
        total += maps * turns * network_cost(network, height, width, rows_for(width), largest)
        height, width = height * network.scale, width * network.scale
    return total


@contextmanager
def metered(network: Network, spend: Callable[[float], None]) -> Iterator[None]:
    """Context in which `spend` is called with the cost of each step of a network, which must not be shared."""

    def block(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        spend(BLOCK * output.shape[1] ** 2 * output.shape[2] * output.shape[3])

    def attention(layer: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        spend((_published(network) if isinstance(network, CSNLN) else SEARCH) * inputs[0].shape[2] * inputs[0].shape[3])

    hooks = [layer.register_forward_hook(block) for layer in network.modules() if isinstance(layer, ResidualBlock)]
    hooks += [layer.register_forward_hook(attention) for layer in network.modules() if isinstance(layer, Pasting)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _published(network: CSNLN) -> float:
    """The cost of a pixel and step of a published network."""
    return OTHER * sum(x.numel() for x in network.SEM.parameters())
