"""Lets a network draw a hole at full resolution, at a cost that depends on the size of the hole, not of the picture."""

import logging
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from psal_cli import weights as stored
from psal_cli.attention import ContextualAttention, HoleAttention, PSAttention
from psal_cli.memory_fallback import RunMode, first_that_fits, run_modes
from psal_cli.networks.contextual_attention import CONTEXT_REACH, MULTIPLE, REACH, InpaintingNetwork, composed, padded
from psal_cli.patchmatch.pyramid import Floats
from psal_cli.patchmatch.regions import Box, Region, area, crop, grown, merged, part_boxes
from psal_cli.strips import rows_within, strips
from psal_cli.verbs.inpaint.options import InpaintOptions

WEIGHTS = "inpaint"  # the shipped weights
PATCH = 7
ITERATIONS = 5  # of the search in the attention
SCALE = 4  # pixels per side that one attended feature covers
PIECE = 1 << 21  # pixels drawn at a time
STRIP = 4  # features are computed for this many times fewer pixels at a time
CELL = 256  # pixels: side of the pieces of a scattered hole

log = logging.getLogger(__name__)
# What `Painter` does: (known pixels float32 [H, W, C], zero in the hole; hole bool [H, W]) -> colours of its n pixels, float32
# [n, C].
Draw = Callable[[Floats, Region], Floats]


def attention_of(name: str, iterations: int = ITERATIONS) -> nn.Module:
    """An attention layer for the network, by name.

    "psal" is that of Cherel et al. 2022, section 4.4: k = 3, 7x7 patches, no downsampling, the centre pixel, 5 iterations;
    "aggregation" is the same with aggregation (section 3.4.3); "original" is that of Yu et al. 2018, "original-sum" its other
    normalisation. Similarity and temperature follow the original: the dot product with a key of unit norm, scaled because a query
    of 7x7 features is 7 / 3 times as long as one of 3x3.
    """
    if name.startswith("original"):
        return ContextualAttention("sum" if name == "original-sum" else "maximum")
    temperature = PATCH / 3 / 10
    return HoleAttention(
        PSAttention(PATCH, 3, iterations, aggregation=name == "aggregation", similarity="key_cosine", temperature=temperature)
    )


def painting_network(options: InpaintOptions) -> InpaintingNetwork:
    """The network that the options name. Shared by all callers, see `network_of`."""
    iterations = options.iterations if options.engine == "network" else None
    return network_of(options.attention, options.weights or WEIGHTS, iterations or ITERATIONS, options.device)


def painter_for(options: InpaintOptions) -> "Painter":
    """A painter with the network that the options name."""
    return Painter(painting_network(options), options.device, seed=options.seed)


def network_of(
    attention: str = "psal", source: str = WEIGHTS, iterations: int = ITERATIONS, device: str = "cpu"
) -> InpaintingNetwork:
    """A network with shipped weights, by name, or those of a file: as its metadata say, or the published one if it has none.

    It is shared by all callers, who must not change it: see `psal_cli.weights.private_copy`. Raises InputError if the weights do
    not fit.
    """
    return _cached(attention, source, iterations, device)


@cache
def _cached(attention: str, source: str, iterations: int, device: str) -> InpaintingNetwork:
    state, recipe = stored.resolve(source)
    network = InpaintingNetwork(
        stored.entry(recipe, "width", 32),
        attention_of(attention, iterations),
        fill=stored.entry(recipe, "fill", "zeros"),
        residual=stored.entry(recipe, "residual", False),
    )
    return stored.placed(stored.load_strict(network, state, source), device)


class Piece(NamedTuple):
    """view: the part of the picture that the network sees; core: the part of it that it draws. Sides are multiples of 8."""

    core: Box
    view: Box


class Painter:
    """Lets a network draw a hole.

    The result equals that of the network on the whole picture, except for rounding: attended features are computed for the whole
    picture, in strips, and everything else only as far around the hole as it has influence. The network is copied with shared
    weights, so settings made here are not seen elsewhere.
    """

    def __init__(self, network: InpaintingNetwork, device: str = "cpu", *, largest: int = PIECE, seed: int = 0):
        """largest: the most pixels drawn at a time, except for the smallest pieces. seed: of the search, if there is one."""
        self.network = stored.private_copy(network)
        self.modes = run_modes(device, largest, CELL**2)
        self.ran_on: set[str] = set()
        for layer in self.network.modules():
            if isinstance(layer, PSAttention):
                layer.seed = seed

    def __call__(self, known: Floats, hole: Region) -> Floats:
        """float32 [n, C] in [0, 1]: the n pixels of the hole, in raster order.

        Args:
            known: float32 [H, W, C] in [0, 1], C 1 or 3; values in the hole are ignored. hole: bool [H, W].

        Raises:
            ValueError: as the attention raises.
            torch.OutOfMemoryError: even the CPU has too little memory.
        """
        image = torch.from_numpy(known).permute(2, 0, 1)[None].expand(1, 3, -1, -1)
        mask = torch.from_numpy(hole.astype(np.float32))[None, None]
        image, mask = padded(image * 2 - 1), padded(mask)
        output, mode = first_that_fits(self.modes, lambda mode: self._drawn(image, mask, mode), log.warning)
        self.ran_on.add(mode.device)
        height, width = hole.shape
        drawn: Floats = output[0, :, :height, :width].permute(1, 2, 0).numpy()[hole]
        inside = drawn / np.float32(2) + np.float32(0.5)
        return inside if known.shape[2] == 3 else inside.mean(1, dtype=np.float32, keepdims=True)

    @property
    def device(self) -> str:
        """Where the network ran: "cpu" if any part was drawn there, or nothing was drawn."""
        return "cpu" if "cpu" in self.ran_on or not self.ran_on else next(iter(self.ran_on))

    @torch.no_grad()
    def _drawn(self, image: Tensor, mask: Tensor, mode: RunMode) -> Tensor:
        """[1, 3, H, W] in [-1, 1], on the CPU: the picture with its hole drawn."""
        network = stored.on_device(self.network, mode.device)
        work = list(pieces(mask[0, 0].numpy() > 0, mode.largest))
        image, mask = image.to(mode.device), mask.to(mode.device)
        composite = network.filled(image, mask)
        with torch.autocast(torch.device(mode.device).type, torch.float16, enabled=mode.half):
            firsts = [(core, view, network.coarse(crop(composite, view), crop(mask, view))) for core, view in work]
            for core, view, first in firsts:
                _put(composite, first, mask, core, view)
            del firsts
            attended = network.fine_generator.contextul_attention(_context(network, composite, mask, mode.largest), mask)
            out = composite.clone()
            for core, view in work:
                top, bottom, left, right = (side // SCALE for side in view)
                around = crop(attended, (top, bottom, left, right))
                _put(out, network.refined(crop(composite, view), crop(mask, view), around), mask, core, view)
        return out.float().cpu()


def _context(network: InpaintingNetwork, composite: Tensor, mask: Tensor, largest: int) -> Tensor:
    """[1, C, H / 4, W / 4]: the attended features, computed in strips of rows."""
    height, width = mask.shape[2:]
    attended = []
    for part in strips(height, rows_within(largest // STRIP, width, MULTIPLE), CONTEXT_REACH):
        view = part.first, part.last, 0, width
        features = network.context(crop(composite, view), crop(mask, view))
        attended.append(features[:, :, (part.top - part.first) // SCALE : (part.bottom - part.first) // SCALE])
    return torch.cat(attended, 2)


def pieces(hole: Region, largest: int) -> Iterator[Piece]:
    """Splits a hole, bool [H, W] with sides that are multiples of 8, into pieces: each part of it, or the part's cells if those
    are less work or the part is larger than `largest` pixels."""
    for core in merged([_aligned(grown(box, REACH, hole.shape), hole.shape) for box in part_boxes(hole, 1)]):
        whole = Piece(core, core)
        cells = [Piece(cell, grown(cell, REACH, hole.shape)) for cell in _cells(hole, core)]
        if area(core) <= min(largest, sum(area(cell.view) for cell in cells)):
            yield whole
        else:
            yield from cells


def _aligned(box: Box, size: tuple[int, int]) -> Box:
    top, bottom, left, right = box
    return grown(
        (
            top // MULTIPLE * MULTIPLE,
            -(-bottom // MULTIPLE) * MULTIPLE,
            left // MULTIPLE * MULTIPLE,
            -(-right // MULTIPLE) * MULTIPLE,
        ),
        0,
        size,
    )


def _cells(hole: Region, box: Box) -> Iterator[Box]:
    """The cells of a grid over a box that contain hole pixels."""
    for top in range(box[0], box[1], CELL):
        for left in range(box[2], box[3], CELL):
            cell = top, min(top + CELL, box[1]), left, min(left + CELL, box[3])
            if crop(hole, cell).any():
                yield cell


def _put(picture: Tensor, drawn: Tensor, mask: Tensor, core: Box, view: Box) -> None:
    """Copies the drawing of a view into the hole of its core."""
    inner = core[0] - view[0], core[1] - view[0], core[2] - view[2], core[3] - view[2]
    crop(picture, core).copy_(composed(crop(picture, core), crop(drawn, inner), crop(mask, core)))
