"""Guides of the patch search: they describe what belongs in a hole (see `psal_cli.patchmatch.pyramid.Guide`)."""

import logging
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor

from psal_cli import weights as stored
from psal_cli.memory_fallback import RunMode, first_that_fits, run_modes
from psal_cli.networks.contextual_attention import InpaintingNetwork
from psal_cli.networks.learned_copying import FEATURES, CopyingNetwork
from psal_cli.patchmatch.pyramid import GUIDE_WEIGHT, Floats, blurred
from psal_cli.patchmatch.regions import Box, Region, crop, grown
from psal_cli.verbs.inpaint.options import InpaintOptions
from psal_cli.verbs.inpaint.own_painter import own_painter
from psal_cli.verbs.inpaint.painter import Draw, Painter, painter_for, painting_network

WEIGHTS = "inpaint-guide"  # what ships
# Of the learned features beside colours in [0, 1], by the part of bench_inpaint that is for choosing: more prefers smooth
# sources, less hardly guides.
FEATURE_WEIGHT = 0.04
TILE, MARGIN = 320, 64  # pixels of a level that are described at a time, and seen around them

log = logging.getLogger(__name__)


class ColourGuide:
    """Describes a hole by the blurred colours that a painter expects there, and all else by its own colours, equally blurred.

    draw: what paints, see `Draw`.
    """

    # A painter learnt to fill wider holes, but finer levels would follow its picture's blur where it is unsure, and take patches
    # of a colour in between.
    radius = 12.0
    reach = 512
    features = 3
    cost = 60.0

    def __init__(self, draw: Draw):
        self.draw = draw

    @property
    def device(self) -> str:
        """Where the painter ran."""
        return self.draw.device if isinstance(self.draw, Painter) else "cpu"  # a painter of the user's, too

    def __call__(self, known: Floats, hole: Region) -> Floats:
        expected = known.copy()
        expected[hole] = self.draw(known, hole)
        return GUIDE_WEIGHT * blurred(expected)


class OwnGuide(ColourGuide):
    """Describes a hole by what a painter of the user's expects there.

    It is asked where the hole is wider than for the shipped one, since such networks draw more than blurred colours.
    """

    radius = 32.0
    cost = 4000.0


class FeatureGuide:
    """Describes all places by features that are learnt for copying (`CopyingNetwork`)."""

    radius = 24.0
    reach = 128
    features = FEATURES
    cost = 3500.0

    def __init__(self, network: CopyingNetwork, device: str = "cpu"):
        self.network = network
        self.features = network.features
        self.modes = run_modes(device, TILE, TILE // 2)
        self.device = "cpu"  # where it ran last

    def __call__(self, known: Floats, hole: Region) -> Floats:
        """See `Guide`. Raises torch.OutOfMemoryError when even the CPU has too little memory."""
        image = torch.from_numpy(known).permute(2, 0, 1)[None].expand(1, 3, -1, -1)
        mask = torch.from_numpy(hole.astype(np.float32))[None, None]
        described, mode = first_that_fits(self.modes, lambda mode: self._described(image, mask, mode), log.warning)
        self.device = mode.device
        return described

    @torch.no_grad()
    def _described(self, image: Tensor, mask: Tensor, mode: RunMode) -> Floats:
        """[H, W, F], a tile at a time, each seen with a margin of MARGIN pixels: what lies further away matters little."""
        network = stored.on_device(self.network, mode.device)
        height, width = mask.shape[2:]
        out = np.empty((height, width, network.features), np.float32)
        for core, view in tiles((height, width), mode.largest):
            with torch.autocast(torch.device(mode.device).type, torch.float16, enabled=mode.half):
                _, _, features = network(crop(image, view).to(mode.device), crop(mask, view).to(mode.device))
            top, left = core[0] - view[0], core[2] - view[2]
            inner = features[0, :, top : top + core[1] - core[0], left : left + core[3] - core[2]]
            out[core[0] : core[1], core[2] : core[3]] = inner.permute(1, 2, 0).cpu().numpy()
        return np.multiply(out, np.float32(FEATURE_WEIGHT), out=out)


def tiles(size: tuple[int, int], side: int) -> Iterator[tuple[Box, Box]]:
    """Squares of at most so many pixels side, each with what is seen around it: (core, view)."""
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            core = top, min(top + side, size[0]), left, min(left + side, size[1])
            yield core, grown(core, MARGIN, size)


def kind_of_guide(network: CopyingNetwork | InpaintingNetwork) -> type[ColourGuide | FeatureGuide]:
    """The guide that a network of engine "combined" makes."""
    return FeatureGuide if isinstance(network, CopyingNetwork) else ColourGuide


def guide_for(options: InpaintOptions) -> ColourGuide | FeatureGuide | None:
    """The guide of engine "combined", by the network that the options name; None for other engines."""
    if options.engine != "combined":
        return None
    if options.painter is not None:
        return OwnGuide(own_painter(options))
    network = network_for(options)
    if isinstance(network, CopyingNetwork):
        return FeatureGuide(network, options.device)
    return ColourGuide(painter_for(options))


def network_for(options: InpaintOptions) -> CopyingNetwork | InpaintingNetwork | None:
    """The network that the options name; None with engine "patch" or a painter of the user's.

    It is shared by all callers, who must not change it.

    With "combined" it is one that describes places, unless the options name another attention or weights of one that paints.
    Raises InputError when the weights do not fit.
    """
    if options.engine == "patch" or options.painter is not None:
        return None
    if options.engine == "combined" and (options.weights or options.attention == InpaintOptions.attention):
        network = describing_network(options.weights or WEIGHTS, options.device)
        if network is not None:
            return network
    return painting_network(options)


@cache
def describing_network(source: str, device: str) -> CopyingNetwork | None:
    """A network with weights that ship, by name, or of a file; None where they are of one that paints."""
    state, _ = stored.resolve(source)
    if "matched.weight" not in state:
        return None
    widths = [state[f"down.{number}.0.weight"].shape[0] for number in range(_count(state, "down"))]
    network = CopyingNetwork(tuple(widths), state["matched.weight"].shape[0])
    return stored.placed(stored.load_strict(network, state, source), device)


def _count(state: dict[str, Tensor], part: str) -> int:
    return len({name.split(".")[1] for name in state if name.startswith(f"{part}.")})
