"""Super-resolution: a whole picture at once, in strips of which only what the attention needs is kept."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import count, pairwise, product
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli import weights as stored
from psal_cli.errors import InputError
from psal_cli.networks.csnln import CSNLN, CrossScaleAttention
from psal_cli.networks.diffusion import diffused
from psal_cli.networks.upscaling import UpscalingNetwork

PASSES = {2: (2,), 3: (3,), 4: (4,), 8: (2, 4)}  # scale -> those of the networks: the larger one last, it sees four times as much
MODELS = ("clean", "photo")  # trained with pictures reduced, and nothing else; and with compression and noise too
CHOICES = tuple(1 << power for power in range(19, 11, -1))  # pixels of the input that are worked on at a time
LARGEST, FEWEST = CHOICES[0], CHOICES[3]
LEAST_ROWS = 8
SEEN = 2  # pixels around one of the bicubic enlargement on which it depends

Report = Callable[[int, int, str], None]


def weights_of(scale: int, model: str) -> str:
    """The name of the weights that ship."""
    return f"upscale-x{scale}" + ("" if model == "clean" else f"-{model}")


@cache
def network_of(source: str, scale: int, attention: str = "psal") -> nn.Module:
    """A network with weights that ship, by name, or of a file: psal's own, or those published with CSNLN.

    What the network is like shows in the shapes. Raises InputError when they do not fit, or are of another scale.
    """
    state, recipe = stored.found(source)
    published = any(name.startswith("SEM.") for name in state)
    try:
        make = _published if published else _own
        network = make(state, recipe, attention)
    except KeyError as error:
        raise InputError(f"{source} is no network for super-resolution: it has no {error.args[0]}") from error
    if network.scale != scale:
        raise InputError(f"{source} enlarges {network.scale} times, not {scale}: give --scale {network.scale}, or other weights")
    return stored.fill(network, state, source).to(memory_format=torch.channels_last)


def _own(state: dict[str, Tensor], recipe: dict, attention: str) -> UpscalingNetwork:
    features, scale = state["head.weight"].shape[0], round((state["tail.weight"].shape[0] / 3) ** 0.5)
    blocks = len({name.split(".")[1] for name in state if name.startswith("body.")})
    before = {"before": recipe["before"]} if "before" in recipe else {}
    cross = any(name.startswith("cross.") for name in state)
    return UpscalingNetwork(scale, features, blocks, cross=cross, attention=attention, kept=torch.float16, **before)


def _published(state: dict[str, Tensor], recipe: dict, attention: str) -> CSNLN:
    features = state["head.0.0.weight"].shape[0]
    depth = state["tail.0.weight"].shape[1] // features
    scale = 4 if "SEM.down_sample_3.0.weight" in state else {9: 3}.get(state["SEM.down_sample_1.0.weight"].shape[2], 2)
    white = 255.0 if state["sub_mean.bias"].abs().max() > 1 else 1.0  # the mean colour tells in what it is
    in_scale = "full" if attention == "full" else "local"
    return CSNLN(scale, features, depth, attention=attention, in_scale=in_scale, white=white)


class Way(NamedTuple):
    """How a network is run. half: in half precision; largest: see `Upscaler`."""

    device: str
    half: bool
    largest: int


class Upscaler:
    """Enlarges by networks, one after another.

    The same seed gives the same picture for any number of threads.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        device: str = "cpu",
        *,
        largest: int = LARGEST,
        seed: int = 0,
        ensemble: bool = False,
        say: Callable[[str], None] = warnings.warn,
    ):
        """Args:
        largest: pixels of its input that a network works on at a time.
        seed: of the search.
        ensemble: the mean of the results for the picture turned and mirrored in all eight ways, at eight times the cost.
        say: is told when the memory of a GPU does not suffice.
        """
        self.networks, self.seed, self.ensemble, self.say = networks, seed, ensemble, say
        self.ways = [Way(device, False, largest)]
        if device != "cpu":
            self.ways += [Way(device, True, largest), Way(device, True, FEWEST), Way("cpu", False, largest)]

    def __call__(
        self, pixels: np.ndarray, alpha: np.ndarray | None = None, progress: Report | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels and alpha, so many times larger, of the same dtype.

        Args:
            pixels: uint8 or uint16 [H, W, C], C 1 or 3. alpha: None or the same dtype [H, W]. Colours under an alpha of 0 are
                not looked at.
            progress: called before each part of the work with (number, of how many, what).

        Raises:
            torch.OutOfMemoryError: in each of the ways.
        """
        if alpha is not None and not alpha.all():
            pixels = _spread(pixels, alpha)
        tell = progress and self._counter(progress, pixels.shape[:2], 1 + (alpha is not None))
        for network in self.networks:
            pixels = self._enlarged(network, pixels, tell)
        if alpha is not None:
            for network in self.networks:
                alpha = _flat_kept(alpha, self._enlarged(network, alpha[..., None], tell)[..., 0], network.scale)
        return pixels, alpha

    def _counter(self, progress: Report, size: tuple[int, int], maps: int) -> Callable[[], None]:
        """What tells of each strip before it is worked on."""
        total, (height, width) = 0, size
        for network in self.networks:
            strips = -(-height // strip_rows(width, self.ways[0].largest))
            total += maps * strips * (8 if self.ensemble else 1)
            height, width = height * network.scale, width * network.scale
        numbers = count(1)

        def tell() -> None:
            number = next(numbers)
            progress(min(number, total), max(number, total), f"{width}x{height}")  # more where a GPU's memory was short

        return tell

    def _enlarged(self, network: nn.Module, pixels: np.ndarray, tell: Callable[[], None] | None) -> np.ndarray:
        """`_drawn` in the first way for which there is memory."""
        for way, other in pairwise(self.ways):
            try:
                return self._drawn(network, pixels, way, tell)
            except torch.OutOfMemoryError:
                how = f"{'half' if other.half else 'full'} precision, {other.largest} pixels at a time"
                self.say(f"the network does not fit into the memory of {way.device}: now on {other.device}, {how}")
        return self._drawn(network, pixels, self.ways[-1], tell)

    def _drawn(self, network: nn.Module, pixels: np.ndarray, way: Way, tell: Callable[[], None] | None) -> np.ndarray:
        white = np.iinfo(pixels.dtype).max
        height, width, channels = pixels.shape
        size = height * network.scale, width * network.scale, channels
        if not self.ensemble:
            out = np.empty(size, pixels.dtype)
            for rows, part in self._parts(network, pixels, way, tell):
                out[rows] = _rounded(part, white)
            return out
        total = np.zeros(size, np.float32)
        for turned, *flips in product((False, True), repeat=3):
            step = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
            view, seen = total[step], pixels[step]
            if turned:
                view, seen = view.swapaxes(0, 1), seen.swapaxes(0, 1)
            for rows, part in self._parts(network, seen, way, tell):
                view[rows] += part
        return _rounded(total / 8, white)

    @torch.no_grad()
    def _parts(
        self, network: nn.Module, pixels: np.ndarray, way: Way, tell: Callable[[], None] | None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields rows of the result, and what is in them: float32 [h, w, C], white = 1."""
        network.to(way.device)
        for layer in network.modules():
            if isinstance(layer, CrossScaleAttention):
                layer.seed = self.seed
        height, width, channels = pixels.shape
        white = np.iinfo(pixels.dtype).max
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)).to(way.device).div_(white)
        image = image[None].expand(1, 3, -1, -1)
        top = 0
        with torch.autocast(torch.device(way.device).type, torch.float16, enabled=way.half):
            if tell:
                tell()
            for part in network.parts(image, strip_rows(width, way.largest)):
                found = part[0].float()
                found = found if channels == 3 else found.mean(0, keepdim=True)
                bottom = top + found.shape[1]
                yield slice(top, bottom), found.permute(1, 2, 0).cpu().numpy()
                top = bottom
                if tell and top < height * network.scale:
                    tell()


def strip_rows(width: int, largest: int) -> int:
    """Rows of the input that are worked on at a time."""
    return max(largest // width, LEAST_ROWS)


def _rounded(values: np.ndarray, white: int) -> np.ndarray:
    return np.rint(values.clip(0, 1) * white).astype(np.uint8 if white == 255 else np.uint16)


def _spread(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The picture with the colours around what is wholly transparent diffused into it: the network would see its edge."""
    hidden = torch.from_numpy(alpha == 0)[None, None].float()
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32))[None]
    filled = diffused(image * (1 - hidden), hidden)[0].permute(1, 2, 0).numpy()
    return np.where(alpha[..., None] == 0, np.rint(filled), pixels).astype(pixels.dtype)


def _flat_kept(alpha: np.ndarray, enlarged: np.ndarray, scale: int) -> np.ndarray:
    """Enlarged alpha, with what is opaque or transparent all around exactly so."""
    image = torch.from_numpy(alpha.astype(np.float32))[None, None]
    side = 2 * SEEN + 1
    most, least = (F.max_pool2d(x, side, 1, SEEN)[0, 0].numpy() for x in (image, -image))
    flat = np.kron(most == -least, np.ones((scale, scale), bool))
    return np.where(flat, np.kron(alpha, np.ones((scale, scale), alpha.dtype)), enlarged)


def upscale(
    pixels: np.ndarray,
    scale: int,
    *,
    alpha: np.ndarray | None = None,
    model: str = "clean",
    weights: str | None = None,
    attention: str = "psal",
    device: str = "cpu",
    seed: int = 0,
    ensemble: bool = False,
    progress: Report | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """A picture 2, 3, 4 or 8 times larger; 8 is 2, then 4. See `Upscaler`.

    model: which of the weights that ship, "clean" or "photo". weights: other ones, a file. attention: "psal" or "full".
    Raises ValueError for another scale or model, InputError for weights that do not fit.
    """
    networks = networks_for(scale, model, weights, attention)
    return Upscaler(networks, device, seed=seed, ensemble=ensemble)(pixels, alpha, progress)


def networks_for(scale: int, model: str, weights: str | None = None, attention: str = "psal") -> tuple[nn.Module, ...]:
    """The networks of each pass: a second one always sees a clean picture. Raises what `upscale` does."""
    if scale not in PASSES or model not in MODELS:
        raise ValueError(f"scale is {scale}, model is {model!r}: expected one of 2, 3, 4, 8, and one of {', '.join(MODELS)}")
    if weights:
        return (network_of(weights, scale, attention),)
    models = (model, "clean")
    return tuple(network_of(weights_of(x, models[number]), x, attention) for number, x in enumerate(PASSES[scale]))
