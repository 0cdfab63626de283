"""Probes the receptive field of a network and its grid, which files do not state."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from psal_cli.foreign.network import ForeignNetwork

LENGTHS = (128, 512)  # pixels: lengths of the probes
GRADIENTS = 128  # pixels: the longest probe with gradients
ACROSS = 48  # pixels: width of the probes, a multiple of all common windows
BLOCK = 16  # pixels in the middle whose dependence is tested
NOTHING = 1e-7  # effect of changing all farther pixels from black to white; below the rounding of float32
EQUAL = 1e-5  # of white: tolerance for results that are equal except for rounding, two thirds of a step of 16 bits
DARKER = 0.1
WHOLE = -1  # in place of a distance: everything counts
FLAT = 0.4  # share beyond three quarters of a probe, of what counts beyond half of it; one half if all pixels count equally
MARGIN = 1.25  # factor on the probed distance: other pictures may reach farther
PERIODS = (1, 2, 4, 8, 16, 32, 64, 3, 6, 12, 24, 48, 96, 5, 10, 20, 40, 7, 14, 28)


def reach_of(network: "ForeignNetwork", gradients: bool = True) -> tuple[int | None, int]:
    """(reach, period) as in `Traits`.

    Gradients of a few pixels in the middle of noise tell what they depend on. For ONNX graphs, which have no gradients, for long
    distances, and without `gradients` (deep networks need much memory for them), distant pixels are changed instead. Two views of
    the same noise, one shifted, must then agree. (None, 1): the result depends on the whole picture, or on more than was probed.
    """
    probed = 0
    for axis in (2, 3):
        distance = _probed(network, axis, gradients)
        if distance is None:
            return None, 1
        probed = max(probed, distance)
    reach = int(MARGIN * probed) + 1
    for period in PERIODS:
        rounded = -(-reach // period) * period
        if all(_agrees(network, axis, rounded, period) for axis in (2, 3)):
            return rounded, period
    return None, 1


def _probed(network: "ForeignNetwork", axis: int, gradients: bool) -> int | None:
    for length in LENGTHS if network.sizes.fixed is None else network.sizes.fixed[axis - 2 : axis - 1]:
        image = _noise(network, axis, length)
        if image.shape[axis] < BLOCK + 4:
            return None
        try:
            changes = not gradients or network.cpu_only or image.shape[axis] > GRADIENTS
            distance = _by_changes(network, image, axis) if changes else _by_gradients(network, image, axis)
        except RuntimeError as error:  # a network with in-place operations may have no gradients
            if "in-place" not in str(error) and "inplace" not in str(error):
                raise
            distance = _by_changes(network, image.detach(), axis)
        if distance is not None:
            return None if distance == WHOLE else distance
    return None


def _noise(network: "ForeignNetwork", axis: int, length: int, seed: int = 0) -> Tensor:
    """Noise [1, 3, H, W] of about this length, in an accepted size."""
    size = (length, ACROSS) if axis == 2 else (ACROSS, length)
    height, width = network.sizes.padded(*size)
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def _middle(length: int) -> slice:
    start = (length - BLOCK) // 2
    return slice(start, start + BLOCK)


def _by_gradients(network: "ForeignNetwork", image: Tensor, axis: int) -> int | None:
    """The distance beyond which no pixel counts; None if some do up to the end of the image, `WHOLE` if all do."""
    block = _middle(image.shape[axis])
    image.requires_grad_(True)
    with torch.enable_grad():
        out = network(image * 1)
        part = out.narrow(axis, block.start * network.scale, BLOCK * network.scale)
        signs = torch.randint(0, 2, part.shape, generator=torch.Generator().manual_seed(1)).float() * 2 - 1
        (gradient,) = torch.autograd.grad((part * signs).sum(), image)
    counts = gradient.abs().double().sum([x for x in range(4) if x != axis])
    if not bool(counts.isfinite().all()):
        return None
    # beyond[d]: sum over all rows more than d away from the block, on either side
    before, after = counts[: block.start].cumsum(0), counts.flip(0)[: len(counts) - block.stop].cumsum(0)
    room = min(len(before), len(after))
    beyond = (before[len(before) - room :] + after[len(after) - room :]).flip(0)  # [d]: at a distance of more than d
    below = (beyond <= NOTHING).nonzero()
    if not len(below):
        return WHOLE if beyond[3 * room // 4] > FLAT * beyond[room // 2] else None
    distance = int(below[0])
    return distance if distance < 0.9 * room else None


@torch.no_grad()
def _by_changes(network: "ForeignNetwork", image: Tensor, axis: int) -> int | None:
    block = _middle(image.shape[axis])
    wanted = network(image).narrow(axis, block.start * network.scale, BLOCK * network.scale)
    others = 1 - image, DARKER * image  # the second has another mean, which networks with pooling notice
    equal = EQUAL / 2 * max(1.0, float(wanted.abs().max()))

    def differs(distance: int) -> bool:
        first, last = block.start - distance, block.stop + distance
        for other in others:
            mixed = other.clone()
            mixed.narrow(axis, first, last - first).copy_(image.narrow(axis, first, last - first))
            result = network(mixed).narrow(axis, block.start * network.scale, BLOCK * network.scale)
            if (result - wanted).abs().max() > equal:
                return True
        return False

    low, high = -1, int(0.9 * min(block.start, image.shape[axis] - block.stop))
    if differs(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if differs(middle) else (low, middle)
    return high


@torch.no_grad()
def _agrees(network: "ForeignNetwork", axis: int, reach: int, period: int) -> bool:
    """Whether results shifted by the period agree, farther than the reach from all borders."""
    if network.sizes.fixed:
        length = network.sizes.fixed[axis - 2]
    else:
        length = _noise(network, axis, 2 * reach + period + BLOCK).shape[axis]
    count = length - 2 * reach - period
    if count < 1:
        return False
    shape = [1, 3, ACROSS, ACROSS]
    shape[5 - axis] = network.sizes.padded(length, ACROSS)[1] if axis == 2 else network.sizes.padded(ACROSS, length)[0]
    shape[axis] = length + period
    noise = torch.rand(*shape, generator=torch.Generator().manual_seed(2))
    first, second = (network(noise.narrow(axis, start, length)) for start in (0, period))
    scale = network.scale
    first = first.narrow(axis, (reach + period) * scale, count * scale)
    second = second.narrow(axis, reach * scale, count * scale)
    return bool((first - second).abs().max() <= EQUAL * max(1.0, float(first.abs().max())))
