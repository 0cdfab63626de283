"""Properties of a network that must be known before it runs on a large picture, measured once: receptive field, memory, time."""

import json
import os
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch

from psal_cli import memory, timing, user_folders
from psal_cli.foreign.reach import reach_of

if TYPE_CHECKING:
    from psal_cli.foreign.network import ForeignNetwork

VERSION = 1  # version of the measurements; older ones are repeated
SIDES = (64, 128, 256, 512)  # pixels of the pieces for measuring memory, until it is significant
SHOWN = 200_000_000  # bytes: less is lost in the noise of the process
LIGHT = 10_000  # bytes per pixel: a network that takes more would need ten times as much for gradients
SPARE = 1.15  # safety factor on the measurement
UNKNOWN = 40_000  # bytes per pixel if the system does not report memory: ESRGAN x4 plus a third
GLOBAL = 1.25  # the exponent above which memory counts as growing faster than the pixels

_lock = Lock()


@dataclass(frozen=True)
class Traits:
    """Measured properties of a network.

    Attributes:
        reach: radius of the receptive field in pixels, a multiple of `period`; None if it is the whole picture.
        period: shifting the picture by a multiple of it shifts the result.
        memory: (pixels, bytes) of pieces, smallest first: growth of the process for a piece of this size or smaller.
        power: exponent of the growth beyond the largest piece: 1, or 2 if all pixels are compared with each other.
        nanoseconds: per input pixel, on one core of the reference machine (`psal_cli.timing`).
    """

    reach: int | None
    period: int
    memory: tuple[tuple[int, int], ...]
    power: float
    nanoseconds: float

    @property
    def text(self) -> str:
        """In words."""
        grid = f" on a grid of {self.period}" if self.period > 1 else ""
        looks = "looks at the whole picture" if self.reach is None else f"looks {self.reach} pixels around each{grid}"
        pixels, size = self.memory[-1]
        return f"{looks}, {size / pixels / 1000:.1f} kB a pixel"

    def bytes(self, pixels: int) -> int:
        """Peak bytes for a piece of this many pixels.

        Small pieces take more per pixel: the C library keeps memory between small tensors.
        """
        last, size = self.memory[-1]
        if pixels >= last:
            return int(size * (pixels / last) ** self.power)
        return int(np.interp(pixels, [few for few, _ in self.memory], [taken for _, taken in self.memory]))


def traits_of(network: "ForeignNetwork") -> Traits:
    """The traits of the network's file, from an earlier run or else measured now and saved."""
    sha256 = network.about.sha256
    with _lock:  # concurrent measurements would count each other's memory
        known = _load(sha256) if sha256 else None
        if known is None:
            known = _measured(network)
            if sha256:
                _save(sha256, known)
    return known


def cache_folder() -> Path:
    """The folder of saved measurements, which can be repeated."""
    return user_folders.cache_folder() / "networks"


def _load(sha256: str) -> Traits | None:
    try:
        record = json.loads((cache_folder() / f"{sha256}.json").read_text())
        if record["version"] != VERSION:
            return None
        measured = tuple((int(pixels), int(size)) for pixels, size in record["traits"].pop("memory"))
        return Traits(memory=measured, **record["traits"]) if measured else None
    except (OSError, ValueError, TypeError, KeyError, RuntimeError):  # RuntimeError: there is no home
        return None


def _save(sha256: str, traits: Traits) -> None:
    """Saves the traits. A failure only costs the time of the next measurement."""
    with suppress(OSError, RuntimeError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{sha256}.{os.getpid()}.part"
        part.write_text(json.dumps({"version": VERSION, "traits": asdict(traits)}))
        part.replace(folder / f"{sha256}.json")


def _measured(network: "ForeignNetwork") -> Traits:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the architecture's own code
        points_of_memory, seconds = _memory(network)
        reach, period = reach_of(network, gradients=max(taken / pixels for pixels, taken in points_of_memory[-2:]) < LIGHT)
    memory.give_back()
    least = 8 * (3 + 3 * network.scale**2)  # bytes per pixel: input and output, twice
    sizes = [max(int(SPARE * grown), least * pixels) for pixels, grown in points_of_memory]
    points = tuple(zip((pixels for pixels, _ in points_of_memory), accumulate(sizes, max), strict=True))
    nanoseconds = 1e9 * seconds / points[-1][0] / timing.slowness()
    return Traits(reach, period, points, _power(points), nanoseconds)


def _power(points: Sequence[tuple[int, int]]) -> float:
    """The exponent of memory growth, from the last two pieces."""
    if len(points) < 2 or points[-2][1] < SHOWN // 20:
        return 1.0
    (small, few), (large, many) = points[-2:]
    return 2.0 if many / few > (large / small) ** GLOBAL else 1.0


@torch.no_grad()
def _memory(network: "ForeignNetwork") -> tuple[list[tuple[int, int]], float]:
    """(pixels, growth of the process in bytes) of pieces, smallest first; CPU seconds of the last one."""
    fixed = network.sizes.fixed
    sizes = [fixed] if fixed else [network.sizes.padded(side, side) for side in SIDES]
    points: list[tuple[int, int]] = []
    seconds = 0.0
    for number, (height, width) in enumerate([sizes[0], *sizes]):
        piece = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        memory.give_back()
        memory.reset_peak()
        before, start = memory.resident(), time.process_time()
        network(piece)
        if not number:  # the first run also pays for what libraries set up once
            continue
        seconds = time.process_time() - start
        most = memory.peak()
        if before is None or most is None:
            return [(height * width, UNKNOWN * height * width)], seconds
        points.append((height * width, max(most - before, 0)))
        if points[-1][1] >= SHOWN:
            break
    return points, seconds
