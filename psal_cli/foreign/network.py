"""Runs a network of any architecture: pads pictures to the sizes that it accepts, and works on pieces."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli import memory
from psal_cli.foreign.about import About
from psal_cli.foreign.tiling import Tiling, ramps, tiling
from psal_cli.foreign.traits import Traits, traits_of

TIDY = 4  # of a piece's memory: how much the process may grow from piece to piece
Spend = Callable[[int], None]  # called after each piece with the number of its pixels


@dataclass(frozen=True)
class Sizes:
    """The sizes of pictures that a network accepts. minimum: of both sides; multiple: both must be multiples of it; square: they
    must be equal; fixed: (height, width), the only accepted size."""

    minimum: int = 1
    multiple: int = 1
    square: bool = False
    fixed: tuple[int, int] | None = None

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """The smallest accepted size that holds a picture of (height, width); the fixed size if there is one."""
        if self.fixed:
            return self.fixed
        height, width = (-(-max(side, self.minimum) // self.multiple) * self.multiple for side in (height, width))
        return (max(height, width),) * 2 if self.square else (height, width)


class ForeignNetwork(nn.Module):
    """Enlarges RGB in [0, 1] with a network of any architecture.

    The picture is padded on the right and bottom by reflection to an accepted size. A one-channel network gets the three colours
    one after another.
    """

    ratio = 1  # no cross-scale attention whose field could be drawn

    def __init__(self, run: nn.Module, about: About, sizes: Sizes = Sizes(), channels: int = 3):
        """Args:
        run: [B, channels, H, W] in [0, 1] -> the same, `about.scale` times as large.
        sizes: of accepted pictures. channels: 1 or 3.
        """
        super().__init__()
        self.run, self.about, self.sizes, self.channels, self.scale = run, about, sizes, channels, about.scale

    @cached_property
    def traits(self) -> Traits:
        """Its receptive field, memory and time, measured once."""
        return traits_of(self)

    @property
    def cpu_only(self) -> bool:
        """Whether it cannot run on a GPU: it has no tensors that could be moved there."""
        return next(self.run.parameters(), None) is None

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 3, scale * H, scale * W], in one piece."""
        batch, colours, height, width = image.shape
        x = image if self.channels == 3 else image.reshape(batch * colours, 1, height, width)
        given = continued(x, *self.sizes.padded(height, width))
        out: Tensor = self.run(given.clone() if given.data_ptr() == image.data_ptr() else given.contiguous())  # some networks change their input
        out = out[..., : height * self.scale, : width * self.scale]
        return out if self.channels == 3 else out.reshape(batch, colours, *out.shape[2:])

    def tiling(self, height: int, width: int, largest: int) -> Tiling:
        """How a picture is divided into pieces of at most `largest` pixels."""
        return tiling(height, width, largest, self.traits, self.sizes.fixed)

    def pieces(self, image: Tensor, largest: int, spend: Spend = lambda pixels: None) -> Iterator[Tensor]:
        """Yields the rows of the result for [B, 3, H, W] from top to bottom.

        With a bounded reach, each piece sees everything that it depends on, so the result equals that of the whole picture,
        except for rounding. Otherwise the pieces overlap and are blended.
        """
        plan = self.tiling(image.shape[2], image.shape[3], largest)
        yield from self._blended(image, plan, spend) if plan.blended else self._joined(image, plan, spend)

    def _joined(self, image: Tensor, plan: Tiling, spend: Spend) -> Iterator[Tensor]:
        tidy = self._tidying(plan)
        for rows in plan.rows:
            row = []
            for columns in plan.columns:
                seen = image[..., rows.first : rows.last, columns.first : columns.last]
                made = rows.kept(self(seen), self.scale)
                row.append(columns.kept(made.transpose(2, 3), self.scale).transpose(2, 3).clone())
                del made
                tidy()
                spend(seen.shape[2] * seen.shape[3])
            yield torch.cat(row, 3) if len(row) > 1 else row[0]

    def _blended(self, image: Tensor, plan: Tiling, spend: Spend) -> Iterator[Tensor]:
        """Blends pieces with raised cosines, first along rows, then along columns: the weights at each pixel add up to one."""
        tidy = self._tidying(plan)
        across, down = (ramps(spans, self.scale, image) for spans in (plan.columns, plan.rows))
        rest = None
        for number, rows in enumerate(plan.rows):
            height = (rows.last - rows.first) * self.scale
            band = image.new_zeros(*image.shape[:2], height, image.shape[3] * self.scale)
            for columns, weight in zip(plan.columns, across, strict=True):
                seen = image[..., rows.first : rows.last, columns.first : columns.last]
                band[..., columns.first * self.scale : columns.last * self.scale] += self(seen) * weight
                tidy()
                spend(seen.shape[2] * seen.shape[3])
            band *= down[number][:, None]
            if rest is not None:
                band[:, :, : rest.shape[2]] += rest
            following = plan.rows[number + 1].first if number + 1 < len(plan.rows) else rows.last
            done = (following - rows.first) * self.scale
            rest = band[:, :, done:].clone()
            yield band[:, :, :done]

    def _tidying(self, plan: Tiling) -> Callable[[], None]:
        """A callback after each piece that returns freed memory to the system when the process has grown by a share of a piece's
        memory. Small live tensors lie between freed ones, so the C library does not return any by itself.
        """
        most, base = self.traits.bytes(plan.looked) // TIDY, memory.resident() or 0

        def tidy() -> None:
            nonlocal base
            if (memory.resident() or 0) > base + most:
                memory.give_back()
                base = memory.resident() or 0

        return tidy


def continued(image: Tensor, height: int, width: int) -> Tensor:
    """Pads [B, C, h, w] on the right and bottom by reflection, and beyond that by repeating its last row or column."""
    for mode, spare in (("reflect", 1), ("replicate", None)):
        below, beside = height - image.shape[2], width - image.shape[3]
        if spare is not None:
            below, beside = min(below, image.shape[2] - spare), min(beside, image.shape[3] - spare)
        if below > 0 or beside > 0:
            image = F.pad(image, (0, max(beside, 0), 0, max(below, 0)), mode=mode)
    return image
