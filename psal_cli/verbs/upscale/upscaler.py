"""Super-resolution of a whole picture, in strips; only what the attention needs is kept in memory."""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli.errors import InvalidValueError
from psal_cli.foreign.network import ForeignNetwork
from psal_cli.image.arrays import to_depth, white_of
from psal_cli.image.reduction import reduced_to
from psal_cli.memory_fallback import RunMode, first_that_fits, run_modes
from psal_cli.networks.pasting import Pasting
from psal_cli.networks.upscaling import enlarged
from psal_cli.ops.validation import MAX_SIDE
from psal_cli.patchmatch.diffusion import diffused
from psal_cli.strips import rows_within, strips
from psal_cli.verbs.hooks import Meter, Progress
from psal_cli.verbs.upscale.networks import Network
from psal_cli.verbs.upscale.options import STRIPS
from psal_cli.verbs.upscale.workload import metered, network_cost, strip_cost, total_cost
from psal_cli.viz.field import Field
from psal_cli.weights import on_device, private_copy

LARGEST, FEWEST = STRIPS[0], STRIPS[3]
LEAST_ROWS = 8
BAND = 1 << 22  # values rounded at a time
SEEN = 2  # support of the bicubic kernel, in pixels of the input

log = logging.getLogger(__name__)


class Upscaler:
    """Enlarges with networks, one after another.

    The networks are copied with shared weights, so settings made here are not seen elsewhere.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        device: str = "cpu",
        *,
        largest: int = LARGEST,
        seed: int = 0,
        ensemble: bool = False,
    ):
        """largest: pixels of the input processed at a time; seed, ensemble: see `UpscaleOptions`."""
        self.networks = [x if isinstance(x, ForeignNetwork) else private_copy(x) for x in networks]  # it has no seed to set
        self.ensemble = ensemble
        device = "cpu" if any(isinstance(x, ForeignNetwork) and x.cpu_only for x in networks) else device
        self.modes = run_modes(device, largest, FEWEST)
        self.field: Field | None = None  # of the last picture
        self.device = device  # where the last picture was enlarged; "cpu" if any part of it was
        for layer in _attention_layers(self.networks):
            layer.seed = seed

    def __call__(
        self,
        pixels: np.ndarray,
        alpha: np.ndarray | None = None,
        progress: Progress | None = None,
        size: tuple[int, int] | None = None,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Enlarges pixels [H, W, C] and alpha [H, W], of the same dtype.

        The part of floats below 0 and above 1, which networks cannot handle, is enlarged by the cubic kernel and added.

        Args:
            size: (width, height) to which the result is reduced.

        Raises:
            InvalidValueError: a side too long for the engine.
            torch.OutOfMemoryError: even the CPU has too little memory.
        """
        check_sides(self.networks, pixels.shape[1], pixels.shape[0])
        if alpha is not None and not alpha.all():
            pixels = _spread(pixels, alpha)
        maps, turns = 1 + (alpha is not None), 8 if self.ensemble else 1
        rows_for = partial(strip_rows, largest=self.modes[0].largest)
        meter = Meter(progress, total_cost(self.networks, pixels.shape[:2], rows_for, self.modes[0].largest, maps, turns))
        times = prod(network.scale for network in self.networks)
        meter.text = f"{pixels.shape[1] * times}x{pixels.shape[0] * times}"
        self._watch(pixels.shape[0], pixels.shape[1])
        self.device = self.modes[0].device
        given = pixels
        for network in self.networks:
            pixels = self._enlarged(network, pixels, meter)
        if self.networks and given.dtype.kind == "f":
            _add_excess(pixels, given, times)
        if alpha is not None:
            for network in self.networks:
                alpha = _flat_kept(alpha, self._enlarged(network, alpha[..., None], meter)[..., 0], network.scale)
        if size is not None and size != pixels.shape[1::-1]:
            pixels = reduced_to(pixels, size)
            alpha = None if alpha is None else reduced_to(alpha[..., None], size)[..., 0]
        return pixels, alpha

    def _watch(self, height: int, width: int) -> None:
        """Keeps the first field of the first network that covers the whole picture: others belong to a reduced or rotated one."""
        self.field = None
        if not self.networks:
            return
        ratio = self.networks[0].ratio
        lies = _lies((height, width))

        def keep(places: Tensor) -> None:
            nnf = places[:1].swapaxes(2, 3).flip(1) if lies else places[:1]
            if self.field is None and nnf.shape[2] >= height and nnf.shape[3] >= width:
                sources = nnf[:, :, :height, :width].cpu().numpy()
                self.field = Field(sources, ((height / ratio, width / ratio),))

        for layer in _attention_layers(self.networks[:1]):
            layer.matched = keep

    def _enlarged(self, network: Network, pixels: np.ndarray, meter: Meter) -> np.ndarray:
        out, mode = first_that_fits(self.modes, lambda mode: self._drawn(network, pixels, mode, meter), log.warning)
        if mode.device == "cpu":
            self.device = "cpu"
        return out

    def _drawn(self, network: Network, pixels: np.ndarray, mode: RunMode, meter: Meter) -> np.ndarray:
        """Strips run across the longer side, where they and their halos are shortest."""
        height, width, channels = pixels.shape
        lies = _lies((height, width)) and not isinstance(network, ForeignNetwork)
        if isinstance(network, ForeignNetwork):
            _say_if_blended(network, height, width, mode.largest)
        out = np.empty((height * network.scale, width * network.scale, channels), pixels.dtype)
        view, seen = (x.swapaxes(0, 1) if lies else x for x in (out, pixels))
        if not self.ensemble:
            for rows, part in self._parts(network, seen, mode, meter):
                view[rows] = to_depth(part, pixels.dtype)
            return out
        total = np.zeros(view.shape, np.float32)
        for turned, *flips in product((False, True), repeat=3):
            step = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
            sums, given = (x[step].swapaxes(0, 1) if turned else x[step] for x in (total, seen))
            for rows, part in self._parts(network, given, mode, meter):
                sums[rows] += part
        for rows in (part.rows for part in strips(len(total), rows_within(BAND, total[0].size))):
            view[rows] = to_depth(total[rows] / 8, pixels.dtype)
        return out

    @torch.no_grad()
    def _parts(self, network: Network, pixels: np.ndarray, mode: RunMode, meter: Meter) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields rows of the result and their values, float32 [h, w, C], white = 1."""
        network = on_device(network, mode.device)
        height, width, channels = pixels.shape
        white = white_of(pixels.dtype)
        values = np.array(pixels.transpose(2, 0, 1), np.float32, order="C")  # a copy, because it is divided in place
        image = torch.from_numpy(values).to(mode.device).div_(white)
        image = image.clamp_(0, 1)[None].expand(1, 3, -1, -1)
        top, rows = 0, strip_rows(width, mode.largest)
        meter.begin(network_cost(network, height, width, rows, mode.largest))
        if isinstance(network, ForeignNetwork):
            parts = network.pieces(image, mode.largest, lambda pixels: meter.spend(network.traits.nanoseconds * pixels))
        else:
            parts = network.parts(image, rows)
        with torch.autocast(torch.device(mode.device).type, torch.float16, enabled=mode.half), metered(network, meter.spend):
            for part in parts:
                drawn = part[0].float()
                drawn = drawn if channels == 3 else drawn.mean(0, keepdim=True)
                bottom = top + drawn.shape[1]
                yield slice(top, bottom), drawn.permute(1, 2, 0).cpu().numpy()
                top = bottom
                meter.spend(strip_cost(network, drawn[0].numel() // network.scale**2))


def _say_if_blended(network: ForeignNetwork, height: int, width: int, largest: int) -> None:
    plan = network.tiling(height, width, largest)
    if plan.blended:
        side = f"{plan.columns[0].last - plan.columns[0].first}x{plan.rows[0].last - plan.rows[0].first}"
        why = "takes pictures of one size" if network.sizes.fixed else "looks at the whole picture, which takes more memory"
        log.warning("%s %s: drawn in overlapping tiles of %s and blended", network.about.source, why, side)


def _add_excess(pixels: np.ndarray, given: np.ndarray, times: int) -> None:
    """Adds the enlarged excess of the original, float32 [H, W, C], below 0 and above 1 to the result, in place."""
    for part in strips(len(given), rows_within(BAND, given[0].size * times**2), SEEN):
        near = torch.from_numpy(np.ascontiguousarray(given[part.first : part.last].transpose(2, 0, 1)))[None]
        for excess, sign in (((near - 1).clamp(min=0), 1), ((-near).clamp(min=0), -1)):
            if bool(excess.any()):
                added = part.kept(enlarged(excess, times), times).clamp(min=0)[0].permute(1, 2, 0).numpy()
                pixels[part.top * times : part.bottom * times] += sign * added


def _lies(size: tuple[int, int]) -> bool:
    """Whether a picture of (height, width) is transposed for its strips."""
    return size[1] > size[0]


def strip_rows(width: int, largest: int) -> int:
    """Rows of the input processed at a time."""
    return max(largest // width, LEAST_ROWS)


def check_sides(networks: Sequence[Network], *sides: int) -> None:
    """Raises InvalidValueError if a side of the picture, or of a second network's input, is too long for the engine."""
    longest = max(sides)
    for network in networks:
        if longest + network.scale > MAX_SIDE:
            most = MAX_SIDE - network.scale
            raise InvalidValueError("image", f"{longest} pixels long", f"at most {most} to be enlarged: cut it in parts")
        longest *= network.scale


def _attention_layers(networks: Sequence[Network]) -> Iterator[Pasting]:
    return (layer for network in networks for layer in network.modules() if isinstance(layer, Pasting))


def _spread(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Diffuses colours into fully transparent pixels: the network would see an edge."""
    hidden = torch.from_numpy(alpha == 0)[None, None].float()
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32))[None]
    filled = diffused(image * (1 - hidden), hidden)[0].permute(1, 2, 0).numpy()
    filled = np.rint(filled) if pixels.dtype.kind == "u" else filled
    return np.where(alpha[..., None] == 0, filled, pixels).astype(pixels.dtype)


def _flat_kept(alpha: np.ndarray, enlarged: np.ndarray, scale: int) -> np.ndarray:
    """Enlarged alpha, kept exact where it is uniformly opaque or transparent."""
    image = torch.from_numpy(alpha.astype(np.float32))[None, None]
    side = 2 * SEEN + 1
    most, least = (F.max_pool2d(x, side, 1, SEEN)[0, 0].numpy() for x in (image, -image))
    flat = np.kron(most == -least, np.ones((scale, scale), bool))
    return np.where(flat, np.kron(alpha, np.ones((scale, scale), alpha.dtype)), enlarged)
