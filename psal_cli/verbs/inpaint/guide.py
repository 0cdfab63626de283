"""Guides of the patch search, which describe the expected content of a hole (see `psal_cli.patchmatch.pyramid.Guide`)."""

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

WEIGHTS = "inpaint-guide"  # the shipped weights
# Weight of the learned features relative to colours in [0, 1], chosen on the tuning cases of bench_inpaint together with the
# expected texture: more prefers smooth sources, less hardly guides.
FEATURE_WEIGHT = 0.06
TILE, MARGIN = 320, 64  # pixels of a level: side of a tile, and the margin around it

log = logging.getLogger(__name__)


class ColourGuide:
    """Describes a hole by the blurred colours that a painter draws there, and everything else by its own colours, equally
    blurred.

    draw: the painter, see `Draw`.
    """

    # Painters were trained on wider holes, but finer levels would follow their blur where they are unsure and pick patches of an
    # in-between colour.
    radius = 12.0
    reach = 512
    features = 3
    cost = 60.0
    texture = 2.25
    nearness = 0.0  # what is drawn says more

    def __init__(self, draw: Draw):
        self.draw = draw

    @property
    def device(self) -> str:
        """Where the painter ran."""
        return self.draw.device if isinstance(self.draw, Painter) else "cpu"  # also of a user's painter

    def __call__(self, known: Floats, hole: Region) -> Floats:
        expected = known.copy()
        expected[hole] = self.draw(known, hole)
        return GUIDE_WEIGHT * blurred(expected)


class OwnGuide(ColourGuide):
    """Describes a hole by what a user's painter draws there.

    It is applied to wider holes (finer levels) than the shipped painter, because such networks draw more than blurred colours.
    """

    radius = 32.0
    cost = 4000.0


class FeatureGuide:
    """Describes all pixels by features learned for copying (`CopyingNetwork`)."""

    radius = 24.0
    reach = 128
    features = FEATURES
    cost = 3500.0
    # More texture would put pieces of rough objects on smooth ground; more nearness repeats what is beside the hole.
    texture = 4.5
    nearness = 0.06

    def __init__(self, network: CopyingNetwork, device: str = "cpu"):
        self.network = network
        self.features = network.features
        self.modes = run_modes(device, TILE, TILE // 2)
        self.device = "cpu"  # where it ran last

    def __call__(self, known: Floats, hole: Region) -> Floats:
        """See `Guide`. Raises torch.OutOfMemoryError if even the CPU has too little memory."""
        image = torch.from_numpy(known).permute(2, 0, 1)[None].expand(1, 3, -1, -1)
        mask = torch.from_numpy(hole.astype(np.float32))[None, None]
        described, mode = first_that_fits(self.modes, lambda mode: self._described(image, mask, mode), log.warning)
        self.device = mode.device
        return described

    @torch.no_grad()
    def _described(self, image: Tensor, mask: Tensor, mode: RunMode) -> Floats:
        """[H, W, F], computed in tiles with a margin of MARGIN pixels; more distant pixels matter little."""
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
    """Square tiles of at most this side, each with its margin: (core, view)."""
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            core = top, min(top + side, size[0]), left, min(left + side, size[1])
            yield core, grown(core, MARGIN, size)


def kind_of_guide(network: CopyingNetwork | InpaintingNetwork) -> type[ColourGuide | FeatureGuide]:
    """The guide for a network of engine "combined"."""
    return FeatureGuide if isinstance(network, CopyingNetwork) else ColourGuide


def guide_for(options: InpaintOptions) -> ColourGuide | FeatureGuide | None:
    """The guide of engine "combined" for the network in the options; None for other engines."""
    if options.engine != "combined":
        return None
    if options.painter is not None:
        return OwnGuide(own_painter(options))
    network = network_for(options)
    if isinstance(network, CopyingNetwork):
        return FeatureGuide(network, options.device)
    return ColourGuide(painter_for(options))


def network_for(options: InpaintOptions) -> CopyingNetwork | InpaintingNetwork | None:
    """The network that the options name; None with engine "patch" or a user's painter.

    It is shared by all callers, who must not change it.

    With "combined" it is one that computes features, unless the options name another attention or the weights of a painter.
    Raises InputError if the weights do not fit.
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
    """A network that computes features, with shipped weights, by name, or those of a file; None if they belong to a painter."""
    state, _ = stored.resolve(source)
    if "matched.weight" not in state:
        return None
    widths = [state[f"down.{number}.0.weight"].shape[0] for number in range(_count(state, "down"))]
    network = CopyingNetwork(tuple(widths), state["matched.weight"].shape[0])
    return stored.placed(stored.load_strict(network, state, source), device)


def _count(state: dict[str, Tensor], part: str) -> int:
    return len({name.split(".")[1] for name in state if name.startswith(f"{part}.")})
