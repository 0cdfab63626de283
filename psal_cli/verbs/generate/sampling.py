"""Generates samples whose patches all look like patches of a reference, from noise, without training.

PSin and PSinOT (Cherel, Almansa, Gousseau and Newson, "A patch-based algorithm for diverse and high fidelity single image
generation", ICIP 2022): from the coarsest level of a pyramid to the finest, search alternates with a weighted vote (`synthesis`);
the field is upsampled, not the picture. PSin starts from noise; PSinOT also matches the distribution of patches at coarse levels
to the reference's by optimal transport (`transport`), so that all parts of it are used about equally often.
"""

from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import torch
import torch.nn.functional as F

from psal_cli import ops
from psal_cli.errors import InvalidValueError
from psal_cli.image.arrays import to_depth, white_of
from psal_cli.image.extended_range import compressed, expanded, is_extended, limits
from psal_cli.patchmatch.pyramid import Pyramid, floats
from psal_cli.patchmatch.synthesis import Key
from psal_cli.verbs.generate import transport
from psal_cli.verbs.generate.options import GenerateOptions
from psal_cli.verbs.generate.sample_state import Kept, SampleState, blank, overlap
from psal_cli.verbs.generate.workload import FEATURES, round_cost, settling, transport_cost
from psal_cli.verbs.hooks import Meter, Progress

# The most patches of the reference at the coarsest level if no levels are asked for. With more, the layout is made of smaller
# pieces; with many fewer, it is always the reference's.
COARSEST = {"psin": 800, "psinot": 400}
TRANSPORTED = 1200  # the most patches of the reference at levels that are transported, except the coarsest
TRANSPORTABLE = 4096  # the same at the coarsest: the time grows with the product of both numbers of patches
NOISE = 100.0  # standard deviations of the reference: with less, all samples start from the patches nearest its mean
FAINTEST = 65535  # for floats, 1 / FAINTEST is the least alpha that colours are divided by
DEFAULTS = GenerateOptions()
FIRST = 10  # iterations of the search from noise
TRANSPORTS, FEWEST = 60, 10  # rounds of transport and vote; the fewest, for large samples
COMPARED = 100_000_000  # pairs of patches, of sample and reference, in all rounds
CAREFUL = 5  # rounds in which the sample still changes as a whole
FIRST_STEPS, STEPS = 1000, 100  # of ascent, in each of these rounds and in each later one
WHOLE = 0.7  # of a sample's patches: if more come from one piece, the transport is about to reproduce the reference,
TRIES = 5  # so the sample is restarted from other noise, at most this many attempts in all


@dataclass(frozen=True, eq=False)
class Sample:
    """pixels: [H, W, C], with the dtype and channels of the reference; alpha: [H, W], None if the reference has none; nnf: int32
    [1, 2, H, W], the (row, column) in the reference that each pixel comes from."""

    pixels: np.ndarray
    alpha: np.ndarray | None
    nnf: np.ndarray


def sample(
    pixels: np.ndarray,
    alpha: np.ndarray | None = None,
    options: GenerateOptions = DEFAULTS,
    *,
    keep: np.ndarray | None = None,
    progress: Progress | None = None,
) -> Sample:
    """Makes a picture whose patches all look like patches of the reference.

    Args:
        pixels: [H, W, C], uint8, uint16 or float32: the reference; alpha: [H, W], of the same dtype, generated with the colours.
        keep: bool [H, W], see `psal_cli.generate`.
        progress: called after each search, and more often.

    Raises:
        InvalidValueError: a level smaller than a patch; too few levels for "psinot".
    """
    patch_size, psinot = options.patch_size, options.method == "psinot"
    own = pixels.shape[0], pixels.shape[1]
    size = options.size or own
    levels = levels_for(own, size, patch_size, options.method, options.levels)
    moved = transported(own, patch_size, levels) if psinot else []
    kept = None if keep is None else Kept.of(keep, size, levels)
    pyramid = Pyramid(_known(pixels, alpha), [np.zeros(halved(own, number), bool) for number in range(levels)])  # no holes
    generator = torch.Generator().manual_seed(options.seed)
    costs = [level_cost(own, size, number, options, moved, pixels.shape[2] + (alpha is not None)) for number in range(levels)]
    meter = Meter(progress, sum(costs))

    def attempt(largest: float) -> SampleState | None:
        """Runs all levels from coarse to fine; None as soon as one piece of the reference makes up more than WHOLE of the
        sample."""
        coarser: SampleState | None = None
        for number in reversed(range(levels)):
            features = pyramid.features(number)
            key = Key(features, features.shape[1])
            state = blank(halved(size, number), key.channels, patch_size, options.wrap, options.coherence)
            meter.begin(costs[number], f"level {levels - number} of {levels}, {state.size[1]}x{state.size[0]}")
            if coarser is None:
                _make_noise(state, key, generator)
            if kept:
                kept.hold(state, key, number)
            if coarser is None:
                state.alternate(key, patch_size, 1, options.seed, FIRST)
            else:
                state.inherit(coarser, key)
            if number in moved:
                if not _transport(state, key, patch_size, generator, largest, meter):
                    meter.restart()
                    return None
            elif coarser is not None or not psinot:
                spent = partial(meter.approach, 1 / (1 + settling(number, options.iterations)))
                state.alternate(key, patch_size, options.iterations, options.seed, searched=spent)
            if number < min(moved, default=levels):
                pyramid.drop(number)
            coarser = state
        state.paste(key, ops.aggregate(key.features, state.nnf, state.logits(), patch_size, softmax=True))
        return state

    attempts = map(attempt, [WHOLE] * (TRIES - 1) + [1.0])
    made = next(state for state in attempts if state is not None)
    meter.begin(0)  # completes the last level, which may have stopped early
    return _sample(made, pixels, alpha, kept)


def levels_for(
    own: tuple[int, int], size: tuple[int, int], patch_size: int, method: str = "psin", levels: int | None = None
) -> int:
    """The number of levels for a reference and a sample of these sizes, (height, width). Raises InvalidValueError if the
    requested levels do not fit, or leave more patches at the coarsest one than can be transported."""
    whole, fitting = f"a patch of {patch_size}x{patch_size}", 0
    while min(halved(own, fitting) + halved(size, fitting)) >= patch_size:
        fitting += 1
    if not fitting:
        what, (height, width) = ("image", own) if min(own) < patch_size else ("size", size)
        raise InvalidValueError(what, f"{width}x{height}", f"at least {whole}")
    if levels is None:
        levels = min(_levels_until(own, patch_size, COARSEST[method]), fitting)
    if levels > fitting:
        coarsest = " and ".join(f"{w}x{h}" for h, w in dict.fromkeys(halved(x, levels - 1) for x in (own, size)))
        raise InvalidValueError("levels", levels, f"at most {fitting}: the coarsest would be {coarsest}, smaller than {whole}")
    fewest = _levels_until(own, patch_size, TRANSPORTABLE)
    if method == "psinot" and levels < fewest:
        many = f"{_patches(own, levels, patch_size)} patches at the coarsest, of at most {TRANSPORTABLE}"
        cure = f"at least {fewest}" if fewest <= fitting else 'method "psin"'
        raise InvalidValueError("levels", levels, f"{cure}: psinot would transport {many}")
    return levels


def transported(own: tuple[int, int], patch_size: int, levels: int) -> list[int]:
    """The levels at which psinot transports. If there are several, the coarsest only initialises the others: transporting there
    would reproduce the reference."""
    able = [number for number in range(levels) if _patches(own, number + 1, patch_size) <= TRANSPORTED] or [levels - 1]
    return able[:-1] or able


def _levels_until(own: tuple[int, int], patch_size: int, patches: int) -> int:
    """The fewest levels at whose coarsest the reference has at most `patches` patches."""
    levels = 1
    while _patches(own, levels, patch_size) > patches:
        levels += 1
    return levels


def _patches(size: tuple[int, int], levels: int, patch_size: int) -> int:
    """The number of patches at the coarsest level."""
    height, width = (max(side - patch_size + 1, 0) for side in halved(size, levels - 1))
    return height * width


def halved(size: tuple[int, int], times: int) -> tuple[int, int]:
    """The size after `times` halvings, rounded up."""
    return -(-size[0] >> times), -(-size[1] >> times)


def _known(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """The values that are compared and mixed: range-compressed pixels; with alpha float32 [H, W, C + 1], premultiplied colours
    and alpha."""
    pixels = compressed(pixels)
    if alpha is None:
        return pixels
    out = np.concatenate([floats(pixels), floats(alpha)[..., None]], 2)
    out[..., :-1] *= out[..., -1:]
    return out


def _make_noise(state: SampleState, key: Key, generator: torch.Generator) -> None:
    spread, mean = (torch.from_numpy(f(key.features.numpy(), (2, 3), keepdims=True)) for f in (np.std, np.mean))
    state.features.normal_(generator=generator).mul_(NOISE * spread).add_(mean)


def _rounds(queries: int, keys: int) -> list[range]:
    """The steps of ascent in each round of transport, for these numbers of patches."""
    count = min(max(COMPARED // (queries * keys), FEWEST), TRANSPORTS)
    careful, later = range(1, 1 + FIRST_STEPS), range(10, 10 + STEPS)  # later steps are smaller and start near the solution
    return [careful if number < CAREFUL else later for number in range(count)]


def level_cost(
    own: tuple[int, int], size: tuple[int, int], number: int, options: GenerateOptions, moved: list[int], channels: int
) -> float:
    """The cost of a level, 0 the finest. own, size: (height, width) of reference and sample at the finest level; moved: see
    `transported`; channels: of the picture, with alpha."""
    patch_size, queries = options.patch_size, prod(halved(size, number))
    each = round_cost(queries, patch_size, channels, options.coherence)
    if number not in moved:
        return FEATURES * prod(halved(own, number)) + settling(number, options.iterations) * each
    pairs = _patches(size, number + 1, patch_size), _patches(own, number + 1, patch_size)
    return sum(each / 2 + transport_cost(*pairs, len(steps), patch_size, channels) for steps in _rounds(*pairs))


def _transport(state: SampleState, key: Key, patch_size: int, generator: torch.Generator, limit: float, meter: Meter) -> bool:
    """Matches the distribution of a level's patches to the key's, alternating vote and transport. Stops and returns False as soon
    as more than WHOLE of them come from one piece of the key."""
    grid = transport.Grid.of(key.features, patch_size)
    goal = transport.Keys.of(grid.patches(key.features, patch_size))
    columns, r = key.features.shape[3] - patch_size + 1, state.radius
    potentials = torch.zeros(len(goal.weight))
    shape = [side - 2 * r for side in state.unknown.shape]
    rounds = _rounds(shape[0] * shape[1], len(goal.weight))
    for steps in rounds:
        state.paste(key, ops.aggregate(key.features, state.nnf, state.logits(), patch_size, softmax=True))
        own = grid.patches(state.features, patch_size)
        potentials, chosen, distance = transport.move(own, goal, potentials, steps, generator)
        nnf = torch.stack([chosen // columns, chosen % columns]).int().add_(r).view(1, 1, 2, *shape)
        state.match(F.pad(nnf, [r] * 4), F.pad(-distance.view(1, 1, *shape) * grid.step**2, [r] * 4))
        if state.largest_piece() > limit:
            return False
        meter.spend((meter.end - meter.begun) * len(steps) / sum(map(len, rounds)))
    return True


def _sample(state: SampleState, pixels: np.ndarray, alpha: np.ndarray | None, kept: Kept | None) -> Sample:
    """Converts the estimate at the finest level to the dtype of the reference."""
    height, width = state.size
    top, left = state.box[0], state.box[2]
    made = state.features[0, :, -top : height - top, -left : width - left].permute(1, 2, 0).numpy()
    nnf = state.field_over((0, height, 0, width), (pixels.shape[0], pixels.shape[1]), 0, 1)[0][0].numpy()
    colours, share = made[..., : pixels.shape[2]], None
    if alpha is not None:
        share = made[..., pixels.shape[2]]
        colours = colours / np.maximum(share, 1 / (white_of(alpha.dtype) if alpha.dtype.kind == "u" else FAINTEST))[..., None]
        share = to_depth(share, alpha.dtype)
    if is_extended(pixels):
        colours = expanded(colours.clip(*limits(compressed(pixels)))).astype(pixels.dtype)
    else:
        colours = to_depth(colours, pixels.dtype)
    if kept:
        there, here = overlap(kept.corner, state.size, (pixels.shape[0], pixels.shape[1]))
        same = kept.mask[there]
        colours[there][same] = pixels[here][same]
        if share is not None and alpha is not None:
            share[there][same] = alpha[here][same]
        for axis, place in enumerate(np.ogrid[here]):
            nnf[0, axis][there][same] = np.broadcast_to(place, same.shape)[same]
    return Sample(colours, share, nnf)
