"""New pictures from one picture: samples whose patches are all like patches of the reference, from noise, with no training.

PSin and PSinOT (Cherel, Almansa, Gousseau and Newson, "A patch-based algorithm for diverse and high fidelity single image
generation", ICIP 2022): from the coarsest level of a pyramid to the finest, search and weighted vote in turn (`synthesis`); the
field is upsampled, not the picture. PSin starts from noise; PSinOT first brings the patches of the coarsest level into agreement
with the reference's by optimal transport (`transport`), so that all of it is used and nothing too often.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli import ops
from psal_cli.tasks import transport
from psal_cli.tasks.parts import Box
from psal_cli.tasks.pyramid import Pyramid, floats, halve_mask, upsample_field
from psal_cli.tasks.synthesis import Estimate, Key, third_quartile

METHODS = ("psinot", "psin")
COARSEST_SIDE = 48  # pixels: the reference's shorter side is less at the coarsest level, where nothing else is asked for
TRANSPORTABLE = 4096  # patches of the reference: the time of a transport grows with their number times that of the sample's
PATCH_SIZE = 11
ROUNDS = 10
NOISE = 100.0  # standard deviations of the reference: with less all samples start from what is nearest to its mean
FIRST = 10  # iterations of the search from noise
TRANSPORTS, FIRST_STEPS, STEPS = 100, 1000, 30  # rounds of transport and vote; steps of ascent in the first, in each other
COHERENCE = 1.0  # the distance of a match that no neighbour goes on with counts so much more
AROUND = ((-1, 0), (1, 0), (0, -1), (0, 1))
LOST = 1 << 20  # pixels: an offset that leads out of every picture


@dataclass
class Sample:
    """pixels: of the dtype and channels of the reference, [H, W, C]; alpha: [H, W], None where that has none. nnf: int32
    [1, 2, H, W], the (row, column) in the reference of what is at each pixel."""

    pixels: np.ndarray
    alpha: np.ndarray | None
    nnf: np.ndarray


@dataclass
class Canvas(Estimate):
    """A sample at one level. Its queries are the centres of whole patches: clipped ones are like too much, and what begins so at
    the border spreads. With `wrap` the sample goes on beyond its border as on the opposite side: everything has a margin of half
    a patch, copied from there."""

    size: tuple[int, int] = field(kw_only=True)  # (height, width) of the level, without the margin
    radius: int = field(kw_only=True)  # of a patch
    wrap: bool = field(kw_only=True)
    coherence: bool = field(kw_only=True)

    @property
    def box(self) -> Box:
        """All of it on the level."""
        beyond = self.radius if self.wrap else 0
        return -beyond, self.size[0] + beyond, -beyond, self.size[1] + beyond

    def logits(self) -> Tensor:
        """exp(-distance / (2 s^2)), s the third quartile of the distances, at least 1 (as in the authors' code): nearly alike, so
        that seams are blended, and where the patches over a pixel agree nothing is blurred."""
        usual = max(third_quartile(-self.similarity[self.queries[:, None]].numpy()), 1)
        return (self.similarity / (2 * usual**2)).masked_fill_(self.nnf[:, :, 0] < 0, -torch.inf)

    def search(self, key: Key, patch_size: int, seed: int, iterations: int = 2) -> None:
        super().search(key, patch_size, seed, iterations)
        if self.coherence:
            self._cohere(key, patch_size)
        self._close(self.nnf, self.similarity)

    def vote(self, key: Key, patch_size: int) -> None:
        super().vote(key, patch_size)
        self._close(self.features)

    def field_over(self, box: Box, size: tuple[int, int], margin: int, scale: int) -> tuple[Tensor, Tensor]:
        """Field and similarities carried to a box of a level that is `scale` times finer, see `upsample_field`."""
        r, (top, bottom, left, right) = self.radius, self.box
        inner = self.nnf[..., r:-r, r:-r], self.similarity[..., r:-r, r:-r]
        return upsample_field(*inner, box, (top + r, bottom - r, left + r, right - r), size, margin, scale)

    def inherit(self, coarser: "Canvas", key: Key) -> None:
        """Starts from the field of the coarser level."""
        self.match(*coarser.field_over(self.box, key.features.shape[2:], self.radius, 2))

    def match(self, nnf: Tensor, similarity: Tensor) -> None:
        """Takes a field, as far as there are queries."""
        outside = ~self.queries[:, None]
        self.nnf, self.similarity = nnf.masked_fill_(outside[:, :, None], -1), similarity.masked_fill_(outside, -torch.inf)
        self._close(self.nnf, self.similarity)

    def _close(self, *maps: Tensor) -> None:
        """Copies the margins of [..., h, w] from the opposite sides, in place."""
        r = self.radius
        for x in maps if self.wrap else ():
            for side in (x, x.transpose(-1, -2)):
                side[..., :r, :] = side[..., -2 * r : -r, :]
                side[..., -r:, :] = side[..., r : 2 * r, :]

    def _cohere(self, key: Key, patch_size: int) -> None:
        """Lets each query take a match that goes on with those around it, where that is not much further (the idea of Hertzmann
        et al. 2001, "Image Analogies", section 3.2)."""
        here = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.int32) for n in self.unknown.shape), indexing="ij"))
        first = torch.tensor([self.radius] * 2)[:, None, None]
        last = torch.tensor(key.features.shape[2:])[:, None, None] - 1 - self.radius
        for parity in (0, 1):  # neighbours take turns: both at once would only swap their matches
            offset = torch.where(self.queries, self.nnf[0, 0] - here, LOST)
            near = [offset.roll(move, (1, 2)) for move in AROUND]
            choices = torch.stack([offset, *near])
            found = choices + here
            found = found.masked_fill(((found < first) | (found > last)).any(1, keepdim=True), -1)[None]
            alone = torch.stack([(choices != other).any(1) for other in near]).float().mean(0)
            similarity = ops.similarity_at(self.features, key.features, found, patch_size)
            best = (similarity * (1 + COHERENCE * alone)).argmax(1, keepdim=True)
            turn = self.queries[:, None] & ((here.sum(0) & 1) == parity)
            taken = found.gather(1, best[:, :, None].expand(-1, -1, 2, -1, -1))
            self.nnf = torch.where(turn[:, :, None], taken, self.nnf)
            self.similarity = torch.where(turn, similarity.gather(1, best), self.similarity)


@dataclass
class Kept:
    """What of the reference is held in place. mask: bool [H, W] of the sample; corner: (row, column) of the reference in it."""

    mask: np.ndarray
    corner: tuple[int, int]

    @staticmethod
    def of(keep: np.ndarray, size: tuple[int, int], levels: int) -> "Kept":
        """keep: bool [H, W] of the reference; size: (height, width) of the sample, in whose middle it is laid: as near as lets
        its corner be a pixel's at the coarsest level."""
        step = 1 << (levels - 1)
        corner = tuple(step * round((n - own) / 2 / step) for n, own in zip(size, keep.shape, strict=True))
        mask = np.zeros(size, bool)
        there, here = _overlap(corner, size, keep.shape)
        mask[there] = keep[here]
        return Kept(mask, corner)

    def hold(self, canvas: Canvas, key: Key, number: int) -> None:
        """Puts what is kept in its place on a level: a coarse pixel is, where all of its pixels are."""
        changes = ~self.mask
        for _ in range(number):
            changes = halve_mask(changes)
        corner = tuple(x >> number for x in self.corner)
        there, here = _overlap(corner, canvas.size, key.features.shape[2:])
        r = canvas.box[1] - canvas.size[0]
        canvas.unknown[r : r + len(changes), r : r + changes.shape[1]] = torch.from_numpy(changes)
        inner = canvas.features[0, :, r : r + len(changes), r : r + changes.shape[1]][:, *there]
        same = torch.from_numpy(~changes[there])
        inner[:, same] = key.features[0][:, *here][:, same]


def generate(
    pixels: np.ndarray,
    alpha: np.ndarray | None = None,
    *,
    size: tuple[int, int] | None = None,
    method: str = "psinot",
    levels: int | None = None,
    patch_size: int = PATCH_SIZE,
    rounds: int = ROUNDS,
    coherence: bool = False,
    wrap: bool = False,
    keep: np.ndarray | None = None,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Sample:
    """A picture whose patches are all like patches of the reference.

    Args:
        pixels: [H, W, C], uint8 or uint16: the reference; alpha: [H, W], of the same dtype, made anew with the colours.
        size: (height, width) of the sample; default that of the reference.
        method: "psinot" or "psin".
        levels: of the pyramid, each half the size of the one before; with more, larger structures of the reference are kept.
            Default until its shorter side is less than 48 pixels.
        patch_size: odd, 3 to 31.
        rounds: of search and vote at each level, at most.
        coherence: prefer matches that go on with those around them: larger pieces of the reference, fewer seams.
        wrap: what leaves the sample on one side comes in on the other: a tile that repeats without a seam.
        keep: bool [H, W], True = hold these pixels of the reference in place. It lies in the middle of a sample of another size
            (its corner on a multiple of 2^(levels - 1) pixels).
        seed: each gives another sample, the same for any number of threads.
        progress: called before each level with (level, levels, its size as text).

    Raises:
        ValueError: an unknown method; a level smaller than a patch; too few levels for "psinot".
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, expected one of {', '.join(METHODS)}")
    own = pixels.shape[:2]
    size = size or own
    levels = levels_for(own, size, patch_size, method, levels)
    kept = None if keep is None else Kept.of(keep, size, levels)
    known = _known(pixels, alpha)
    pyramid = Pyramid(known, _nothing(own, levels))
    generator = torch.Generator().manual_seed(seed)
    canvas = None
    for number in reversed(range(levels)):
        features = pyramid.features(number)
        key = Key(features, features.shape[1])
        coarser, canvas = canvas, _canvas(halved(size, number), key.channels, patch_size, wrap, coherence)
        if progress:
            progress(levels - number, levels, f"{canvas.size[1]}x{canvas.size[0]}")
        if coarser is None:
            canvas.features.normal_(generator=generator)
            spread, mean = (torch.from_numpy(f(features.numpy(), (2, 3), keepdims=True)) for f in (np.std, np.mean))
            canvas.features.mul_(NOISE * spread).add_(mean)
        if kept:
            kept.hold(canvas, key, number)
        if coarser is None:
            canvas.search(key, patch_size, seed, FIRST)
        else:
            canvas.inherit(coarser, key)
        canvas.vote(key, patch_size)
        if coarser is None and method == "psinot":
            _transport(canvas, key, patch_size, generator)
        else:
            canvas.alternate(key, patch_size, rounds, seed)
        pyramid.drop(number)
    canvas.vote(key, patch_size)
    return _sample(canvas, pixels, alpha, kept)


def levels_for(
    own: tuple[int, int], size: tuple[int, int], patch_size: int, method: str = "psin", levels: int | None = None
) -> int:
    """How many levels a reference and a sample of these sizes, (height, width), get. Raises ValueError when those asked for do
    not fit, or leave more patches at the coarsest than can be transported."""
    whole, fitting = f"a patch of {patch_size}x{patch_size}", 0
    while min(halved((*own, *size), fitting)) >= patch_size:
        fitting += 1
    if not fitting:
        small = own if min(own) < patch_size else size
        raise ValueError(f"{small[1]}x{small[0]} is smaller than {whole}")
    fewest = 1
    while method == "psinot" and _patches(own, fewest, patch_size) > TRANSPORTABLE:
        fewest += 1
    if levels is None:
        levels = min(max(1 + (min(own) // COARSEST_SIDE).bit_length(), fewest), fitting)
    if levels > fitting:
        coarsest = " and ".join(f"{w}x{h}" for h, w in dict.fromkeys(halved(x, levels - 1) for x in (own, size)))
        raise ValueError(f"with {levels} levels the coarsest is {coarsest}, smaller than {whole}: at most {fitting} fit")
    if levels < fewest:
        many = f"at the coarsest of {levels} levels psinot would transport {_patches(own, levels, patch_size)} patches"
        cure = f"{fewest} levels" if fewest <= fitting else "psin"
        raise ValueError(f"{many}, at most {TRANSPORTABLE} can be: take {cure}")
    return levels


def _patches(size: tuple[int, int], levels: int, patch_size: int) -> int:
    """Of the coarsest level."""
    height, width = (max(side - patch_size + 1, 0) for side in halved(size, levels - 1))
    return height * width


def halved(size: tuple[int, int], times: int) -> tuple[int, int]:
    return tuple(-(-side >> times) for side in size)


def _nothing(size: tuple[int, int], levels: int) -> list[np.ndarray]:
    """The holes of a pyramid without any."""
    return [np.zeros(halved(size, number), bool) for number in range(levels)]


def _known(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """What is compared and mixed: the pixels; with alpha float32 [H, W, C + 1], colours multiplied by it, and it."""
    if alpha is None:
        return pixels
    out = np.concatenate([floats(pixels), floats(alpha)[..., None]], 2)
    out[..., :-1] *= out[..., -1:]
    return out


def _canvas(size: tuple[int, int], channels: int, patch_size: int, wrap: bool, coherence: bool) -> Canvas:
    """A level of a sample, nothing on it yet."""
    radius = patch_size // 2
    height, width = (side + 2 * radius * wrap for side in size)
    queries = torch.zeros((1, height, width), dtype=torch.bool)
    queries[:, radius : height - radius, radius : width - radius] = True
    unknown = torch.ones((height, width), dtype=torch.bool)
    features = torch.empty((height, width, channels)).permute(2, 0, 1)[None]
    return Canvas(unknown, queries, features, size=size, radius=radius, wrap=wrap, coherence=coherence)


def _transport(canvas: Canvas, key: Key, patch_size: int, generator: torch.Generator) -> None:
    """Brings the patches of a level into agreement with the key's: transport and vote in turn."""
    grid = transport.Grid.of(key.features, patch_size)
    goal = transport.Keys.of(grid.patches(key.features, patch_size))
    columns, r = key.features.shape[3] - patch_size + 1, canvas.radius
    potentials = torch.zeros(len(goal.weight))
    for number in range(TRANSPORTS):
        own = grid.patches(canvas.features, patch_size)
        steps = STEPS if number else FIRST_STEPS
        potentials, chosen, distance = transport.move(own, goal, potentials, steps, generator)
        shape = [side - 2 * r for side in canvas.unknown.shape]
        nnf = torch.stack([chosen // columns, chosen % columns]).int().add_(r).view(1, 1, 2, *shape)
        canvas.match(F.pad(nnf, [r] * 4), F.pad(-distance.view(1, 1, *shape) * grid.step**2, [r] * 4))
        canvas.vote(key, patch_size)


def _sample(canvas: Canvas, pixels: np.ndarray, alpha: np.ndarray | None, kept: Kept | None) -> Sample:
    """What the estimate at the finest level is in the dtype of the reference."""
    height, width = canvas.size
    top, left = canvas.box[0], canvas.box[2]
    made = canvas.features[0, :, -top : height - top, -left : width - left].permute(1, 2, 0).numpy()
    nnf = canvas.field_over((0, height, 0, width), pixels.shape[:2], 0, 1)[0][0].numpy()
    colours, share = made[..., : pixels.shape[2]], None
    if alpha is not None:
        share = made[..., pixels.shape[2]]
        colours = colours / np.maximum(share, 1 / np.iinfo(alpha.dtype).max)[..., None]
        share = _whole(share, alpha.dtype)
    colours = _whole(colours, pixels.dtype)
    if kept:
        there, here = _overlap(kept.corner, canvas.size, pixels.shape[:2])
        same = kept.mask[there]
        colours[there][same] = pixels[here][same]
        if share is not None:
            share[there][same] = alpha[here][same]
        for axis, place in enumerate(np.ogrid[here]):
            nnf[0, axis][there][same] = np.broadcast_to(place, same.shape)[same]
    return Sample(colours, share, nnf)


def _whole(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    white = np.iinfo(dtype).max
    return np.rint(values * np.float32(white)).clip(0, white).astype(dtype)


def _overlap(corner, size, own):
    """Slices of a sample and of a reference of these sizes: where they lie over each other with the reference's corner there."""
    start = [max(c, 0) for c in corner]
    stop = [max(min(c + o, n), s) for c, o, n, s in zip(corner, own, size, start, strict=True)]
    there = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    here = tuple(slice(a - c, b - c) for a, b, c in zip(start, stop, corner, strict=True))
    return there, here
