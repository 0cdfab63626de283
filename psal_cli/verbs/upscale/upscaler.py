"""Super-resolution: a whole picture at once, in strips of which only what the attention needs is kept."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from itertools import count, product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli import weights as stored
from psal_cli.errors import InputError
from psal_cli.memory_fallback import RunMode, first_that_fits, run_modes
from psal_cli.networks.csnln import CSNLN, Pasting
from psal_cli.networks.upscaling import RATIOS, UpscalingNetwork
from psal_cli.ops.validation import MAX_SIDE
from psal_cli.patchmatch.diffusion import diffused

PASSES = {2: (2,), 3: (3,), 4: (4,), 8: (2, 4)}  # of the networks; with 4 first the second would see sixteen times the pixels
MODELS = ("clean", "photo")  # for pictures that were reduced and nothing else; for compressed, noisy, sharpened ones
CHOICES = tuple(1 << power for power in range(19, 11, -1))  # pixels of the input that are worked on at a time
LARGEST, FEWEST = CHOICES[0], CHOICES[3]
LEAST_ROWS = 8
BAND = 1 << 22  # numbers that are rounded at a time
SEEN = 2  # pixels around one of the bicubic enlargement on which it depends

Report = Callable[[int, int, str], None]
Matched = Callable[[np.ndarray, tuple[float, float]], None]


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
    largest: int = LARGEST,
    say: Callable[[str], None] = warnings.warn,
    progress: Report | None = None,
    matched: Matched | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """A picture 2, 3, 4 or 8 times larger; 8 is 2, then 4. Returns pixels and alpha.

    Args:
        pixels: uint8 or uint16 [H, W, C], C 1 or 3. alpha: None or the same dtype [H, W]; colours where it is 0 do not count.
        model: which of the weights that ship, "clean" or "photo". weights: other ones, a file.
        attention: "psal" or "full".
        seed: of the search; the same seed gives the same picture for any number of threads.
        ensemble: the mean of the results for the picture turned and mirrored in all eight ways, at eight times the cost.
        largest: pixels that are worked on at a time.
        say: is told when the memory of a GPU does not suffice.
        progress: called before each strip with (number, of how many, the size of the result).
        matched: called with where across the scales each pixel of the picture found what is most like it, int32 [1, 2, H, W],
            and the (height, width) of what it was found in, the picture reduced; of PSAL alone.

    Raises:
        ValueError: another scale or model.
        InputError: weights that do not fit; a side that the search cannot count.
        torch.OutOfMemoryError: even the CPU has too little.
    """
    networks = networks_for(scale, model, weights, attention)
    enlarge = Upscaler(networks, device, largest=largest, seed=seed, ensemble=ensemble, say=say, matched=matched)
    return enlarge(pixels, alpha, progress)


def networks_for(scale: int, model: str, weights: str | None = None, attention: str = "psal") -> tuple[nn.Module, ...]:
    """The networks of each pass: a second one always sees a clean picture. Raises what `upscale` does."""
    if scale not in PASSES or model not in MODELS:
        raise ValueError(f"scale is {scale}, model is {model!r}: expected one of 2, 3, 4, 8, and one of {', '.join(MODELS)}")
    if weights:
        return (network_of(weights, scale, attention),)
    models = (model, "clean")
    return tuple(network_of(weights_of(x, models[number]), x, attention) for number, x in enumerate(PASSES[scale]))


def weights_of(scale: int, model: str) -> str:
    """The name of the weights that ship."""
    return f"upscale-x{scale}" + ("" if model == "clean" else f"-{model}")


@cache
def network_of(source: str, scale: int, attention: str = "psal") -> nn.Module:
    """A network with weights that ship, by name, or of a file: psal's own, or those published with CSNLN.

    What the network is like shows in the shapes. Raises InputError when they do not fit, or are of another scale.
    """
    state, recipe = stored.found(source)
    make = _published if any(name.startswith("SEM.") for name in state) else _own
    try:
        network = make(state, recipe, attention)
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"{source} is no network for super-resolution that psal knows ({error})") from error
    if network.scale != scale:
        raise InputError(f"{source} enlarges {network.scale} times, not {scale}: give --scale {network.scale}, or other weights")
    return stored.fill(network, state, source).to(memory_format=torch.channels_last)


def _own(state: dict[str, Tensor], recipe: dict, attention: str) -> UpscalingNetwork:
    features, scale = state["head.weight"].shape[0], round((state["tail.weight"].shape[0] / 3) ** 0.5)
    blocks = len({name.split(".")[1] for name in state if name.startswith("body.")})
    before = {"before": recipe["before"]} if "before" in recipe else {}
    cross = any(name.startswith("cross.") for name in state)
    layer = {"attention": attention, "kept": torch.float16} if cross else {}
    return UpscalingNetwork(scale, features, blocks, cross=cross, **layer, **before)


def _published(state: dict[str, Tensor], recipe: dict, attention: str) -> CSNLN:
    features = state["head.0.0.weight"].shape[0]
    depth = state["tail.0.weight"].shape[1] // features
    scale = 4 if "SEM.down_sample_3.0.weight" in state else {9: 3}.get(state["SEM.down_sample_1.0.weight"].shape[2], 2)
    white = 255.0 if state["sub_mean.bias"].abs().max() > 1 else 1.0  # the mean colour tells in what it is
    in_scale = "full" if attention == "full" else "local"
    return CSNLN(scale, features, depth, attention=attention, in_scale=in_scale, white=white)


class Upscaler:
    """Enlarges by networks, one after another; see `upscale`."""

    def __init__(
        self,
        networks: Sequence[nn.Module],
        device: str = "cpu",
        *,
        largest: int = LARGEST,
        seed: int = 0,
        ensemble: bool = False,
        say: Callable[[str], None] = warnings.warn,
        matched: Matched | None = None,
    ):
        self.networks, self.seed, self.ensemble, self.say, self.matched = networks, seed, ensemble, say, matched
        self.modes = run_modes(device, largest, FEWEST)

    def __call__(
        self, pixels: np.ndarray, alpha: np.ndarray | None = None, progress: Report | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels and alpha, so many times larger, of the same dtype. Raises what `upscale` does."""
        check_sides(self.networks, pixels.shape[1], pixels.shape[0])
        if alpha is not None and not alpha.all():
            pixels = _spread(pixels, alpha)
        tell = progress and self._counter(progress, pixels.shape[:2], 1 + (alpha is not None))
        for network in self.networks:
            with self._followed(network, pixels.shape[:2]) if network is self.networks[0] else nullcontext():
                pixels = self._enlarged(network, pixels, tell)
        if alpha is not None:
            for network in self.networks:
                alpha = _flat_kept(alpha, self._enlarged(network, alpha[..., None], tell)[..., 0], network.scale)
        return pixels, alpha

    def _counter(self, progress: Report, size: tuple[int, int], maps: int) -> Callable[[], None]:
        """What tells of each strip before it is worked on."""
        total, (height, width) = 0, size
        for network in self.networks:
            across, along = sorted((height, width))
            total += maps * -(-along // strip_rows(across, self.modes[0].largest)) * (8 if self.ensemble else 1)
            height, width = height * network.scale, width * network.scale
        numbers = count(1)

        def tell() -> None:
            number = next(numbers)
            progress(min(number, total), max(number, total), f"{width}x{height}")  # more where a GPU's memory was short

        return tell

    @contextmanager
    def _followed(self, network: nn.Module, size: tuple[int, int]) -> Iterator[None]:
        """Tells `matched` of the first field of the network that is of the whole picture: others are of it reduced, or turned."""
        pasting = next((layer for layer in network.modules() if isinstance(layer, Pasting)), None)
        if self.matched is None or pasting is None:
            yield
            return
        lies, fields = _lies(size), []

        def keep(places: Tensor) -> None:
            nnf = places[:1].swapaxes(2, 3).flip(1) if lies else places[:1]
            if not fields and nnf.shape[2] >= size[0] and nnf.shape[3] >= size[1]:
                fields.append(nnf[:, :, : size[0], : size[1]].cpu().numpy())

        pasting.matched = keep
        try:
            yield
        finally:
            pasting.matched = None
        if fields:
            ratio = RATIOS[network.scale]
            self.matched(fields[0], (size[0] / ratio, size[1] / ratio))

    def _enlarged(self, network: nn.Module, pixels: np.ndarray, tell: Callable[[], None] | None) -> np.ndarray:
        return first_that_fits(self.modes, lambda mode: self._drawn(network, pixels, mode, tell), self.say)

    def _drawn(self, network: nn.Module, pixels: np.ndarray, mode: RunMode, tell: Callable[[], None] | None) -> np.ndarray:
        """Strips lie across the longer side: they and what is looked at around them are then the shortest."""
        white = np.iinfo(pixels.dtype).max
        height, width, channels = pixels.shape
        lies = _lies((height, width))
        out = np.empty((height * network.scale, width * network.scale, channels), pixels.dtype)
        view, seen = (x.swapaxes(0, 1) if lies else x for x in (out, pixels))
        if not self.ensemble:
            for rows, part in self._parts(network, seen, mode, tell):
                view[rows] = _rounded(part, white)
            return out
        total = np.zeros(view.shape, np.float32)
        for turned, *flips in product((False, True), repeat=3):
            step = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
            sums, given = (x[step].swapaxes(0, 1) if turned else x[step] for x in (total, seen))
            for rows, part in self._parts(network, given, mode, tell):
                sums[rows] += part
        band = max(BAND // total[0].size, 1)
        for top in range(0, len(total), band):
            view[top : top + band] = _rounded(total[top : top + band] / 8, white)
        return out

    @torch.no_grad()
    def _parts(
        self, network: nn.Module, pixels: np.ndarray, mode: RunMode, tell: Callable[[], None] | None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Yields rows of the result, and what is in them: float32 [h, w, C], white = 1."""
        network.to(mode.device)
        for layer in network.modules():
            if isinstance(layer, Pasting):
                layer.seed = self.seed
        height, width, channels = pixels.shape
        white = np.iinfo(pixels.dtype).max
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)).to(mode.device).div_(white)
        image = image[None].expand(1, 3, -1, -1)
        top = 0
        with torch.autocast(torch.device(mode.device).type, torch.float16, enabled=mode.half):
            if tell:
                tell()
            for part in network.parts(image, strip_rows(width, mode.largest)):
                found = part[0].float()
                found = found if channels == 3 else found.mean(0, keepdim=True)
                bottom = top + found.shape[1]
                yield slice(top, bottom), found.permute(1, 2, 0).cpu().numpy()
                top = bottom
                if tell and top < height * network.scale:
                    tell()


def _lies(size: tuple[int, int]) -> bool:
    """Whether a picture of (height, width) is turned for its strips."""
    return size[1] > size[0]


def strip_rows(width: int, largest: int) -> int:
    """Rows of the input that are worked on at a time."""
    return max(largest // width, LEAST_ROWS)


def check_sides(networks: Sequence[nn.Module], *sides: int) -> None:
    """Raises InputError where a side, or that of what a second network sees, is longer than the search can count."""
    longest = max(sides)
    for network in networks:
        if longest + network.scale > MAX_SIDE:
            raise InputError(f"a side has {longest} pixels, {MAX_SIDE - network.scale} at most can be enlarged: cut it in parts")
        longest *= network.scale


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
