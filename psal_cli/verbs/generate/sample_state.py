"""The state of a sample at one level of the pyramid, and the part of the reference that is kept in place."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from psal_cli import ops
from psal_cli.patchmatch.pyramid import halve_mask, upsample_field
from psal_cli.patchmatch.regions import Box
from psal_cli.patchmatch.synthesis import Estimate, Key, third_quartile

COHERENCE = 1.0  # factor on the distance of a match that does not continue any neighbour's
AROUND = ((-1, 0), (1, 0), (0, -1), (0, 1))
LOST = 1 << 20  # pixels: an offset that leads outside every picture


@dataclass
class SampleState(Estimate):
    """A sample at one level. Queries are the centres of whole patches: clipped patches match too easily, and such errors spread
    from the border. With `wrap`, the sample continues at its border with the opposite side: all maps have a margin of half a
    patch that is copied from there."""

    size: tuple[int, int] = field(kw_only=True)  # (height, width) of the level, without the margin
    radius: int = field(kw_only=True)  # of a patch
    wrap: bool = field(kw_only=True)
    coherence: bool = field(kw_only=True)

    @property
    def box(self) -> Box:
        """The whole level as a box."""
        beyond = self.radius if self.wrap else 0
        return -beyond, self.size[0] + beyond, -beyond, self.size[1] + beyond

    def logits(self) -> Tensor:
        """-distance / (2 s^2), where s is the third quartile of the distances, at least 1 (as in the authors' code). The weights
        are nearly equal: this blends seams, and blurs nothing where the patches over a pixel agree."""
        usual = max(float(third_quartile(-self.at_queries(self.similarity))), 1.0)
        return (self.similarity / (2 * usual**2)).masked_fill_(self.nnf[:, :, 0] < 0, -torch.inf)

    def settle(self, key: Key, patch_size: int) -> None:
        if self.coherence:
            self._cohere(key, patch_size)
        self._close(self.nnf, self.similarity)

    def paste(self, key: Key, pasted: Tensor) -> None:
        super().paste(key, pasted)
        self._close(self.features)

    def field_over(self, box: Box, size: tuple[int, int], margin: int, scale: int) -> tuple[Tensor, Tensor]:
        """The field and its similarities for a box of a level that is `scale` times finer, see `upsample_field`."""
        r, (top, bottom, left, right) = self.radius, self.box
        inner = self.nnf[..., r:-r, r:-r], self.similarity[..., r:-r, r:-r]
        return upsample_field(*inner, box, (top + r, bottom - r, left + r, right - r), size, margin, scale)

    def inherit(self, coarser: "SampleState", key: Key) -> None:
        """Starts from the field of the coarser level."""
        self.match(*coarser.field_over(self.box, size_of(key), self.radius, 2))

    def match(self, nnf: Tensor, similarity: Tensor) -> None:
        super().match(nnf, similarity)
        self._close(self.nnf, self.similarity)

    def largest_piece(self) -> float:
        """The largest share of the generated patches whose matches have the same offset; 0 if there are none."""
        rows, columns = (self.queries[0] & self.unknown).nonzero(as_tuple=True)
        down, right = (self.nnf[0, 0, axis, rows, columns] - place for axis, place in enumerate((rows, columns)))
        counts = torch.unique(down * LOST + right, return_counts=True)[1]
        return float(counts.max()) / len(rows) if len(rows) else 0.0

    def _close(self, *maps: Tensor) -> None:
        """Copies the margins of [..., h, w] from the opposite sides, in place."""
        r = self.radius
        for x in maps if self.wrap else ():
            for side in (x, x.transpose(-1, -2)):
                side[..., :r, :] = side[..., -2 * r : -r, :]
                side[..., -r:, :] = side[..., r : 2 * r, :]

    def _cohere(self, key: Key, patch_size: int) -> None:
        """Replaces a query's match by one that continues a neighbour's, if that is not much less similar (an idea of Hertzmann et
        al. 2001, "Image Analogies", section 3.2)."""
        here = torch.stack(torch.meshgrid(*(torch.arange(n, dtype=torch.int32) for n in self.unknown.shape), indexing="ij"))
        first = torch.tensor([self.radius] * 2)[:, None, None]
        last = torch.tensor(key.features.shape[2:])[:, None, None] - 1 - self.radius
        for parity in (0, 1):  # in a checkerboard: neighbours updated at once would only swap their matches
            offset = torch.where(self.queries, self.nnf[0, 0] - here, LOST)
            near = [offset.roll(move, (1, 2)) for move in AROUND]
            choices = torch.stack([offset, *near])
            candidates = choices + here
            candidates = candidates.masked_fill(((candidates < first) | (candidates > last)).any(1, keepdim=True), -1)[None]
            alone = torch.stack([(choices != other).any(1) for other in near]).float().mean(0)
            similarity = ops.similarity_at(self.features, key.features, candidates, patch_size)
            best = (similarity * (1 + COHERENCE * alone)).argmax(1, keepdim=True)
            turn = self.queries[:, None] & ((here.sum(0) & 1) == parity)
            taken = candidates.gather(1, best[:, :, None].expand(-1, -1, 2, -1, -1))
            self.nnf = torch.where(turn[:, :, None], taken, self.nnf)
            self.similarity = torch.where(turn, similarity.gather(1, best), self.similarity)


@dataclass
class Kept:
    """The part of the reference that is kept in place. mask: bool [H, W] of the sample; corner: (row, column) of the reference in
    it."""

    mask: np.ndarray
    corner: tuple[int, int]

    @staticmethod
    def of(keep: np.ndarray, size: tuple[int, int], levels: int) -> "Kept":
        """Centres the reference in a sample of (height, width) `size`, its corner rounded to a pixel of the coarsest level. keep:
        bool [H, W] of the reference."""
        step = 1 << (levels - 1)
        own = keep.shape[0], keep.shape[1]
        top, left = (step * round((n - side) / 2 / step) for n, side in zip(size, own, strict=True))
        mask = np.zeros(size, bool)
        there, here = overlap((top, left), size, own)
        mask[there] = keep[here]
        return Kept(mask, (top, left))

    def hold(self, state: SampleState, key: Key, number: int) -> None:
        """Puts the kept pixels in their place on a level. A coarse pixel is kept if all of its fine pixels are."""
        changes = ~self.mask
        for _ in range(number):
            changes = halve_mask(changes)
        there, here = overlap((self.corner[0] >> number, self.corner[1] >> number), state.size, size_of(key))
        r = state.box[1] - state.size[0]
        state.unknown[r : r + len(changes), r : r + changes.shape[1]] = torch.from_numpy(changes)
        inner = state.features[0, :, r : r + len(changes), r : r + changes.shape[1]][:, *there]
        same = torch.from_numpy(~changes[there])
        inner[:, same] = key.features[0][:, *here][:, same]


def size_of(key: Key) -> tuple[int, int]:
    """(height, width) of the features of a level."""
    return key.features.shape[2], key.features.shape[3]


def blank(size: tuple[int, int], channels: int, patch_size: int, wrap: bool, coherence: bool) -> SampleState:
    """An empty level of a sample."""
    radius = patch_size // 2
    height, width = (side + 2 * radius * wrap for side in size)
    queries = torch.zeros((1, height, width), dtype=torch.bool)
    queries[:, radius : height - radius, radius : width - radius] = True
    unknown = torch.ones((height, width), dtype=torch.bool)
    features = torch.empty((height, width, channels)).permute(2, 0, 1)[None]
    return SampleState(unknown, queries, features, size=size, radius=radius, wrap=wrap, coherence=coherence)


def overlap(
    corner: tuple[int, int], size: tuple[int, int], own: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The slices of a sample and of a reference where they overlap, with the reference's corner at `corner` in the sample."""

    def along(axis: int) -> tuple[slice, slice]:
        first = max(corner[axis], 0)
        last = max(min(corner[axis] + own[axis], size[axis]), first)
        return slice(first, last), slice(first - corner[axis], last - corner[axis])

    (rows, own_rows), (columns, own_columns) = along(0), along(1)
    return (rows, columns), (own_rows, own_columns)
