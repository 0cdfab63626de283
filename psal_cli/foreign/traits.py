"""What has to be known of a network before it sees a large picture, measured once: its reach, its memory, its time."""

import json
import os
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import torch

from psal_cli import memory, timing
from psal_cli.foreign.reach import reach_of

if TYPE_CHECKING:
    from psal_cli.foreign.network import ForeignNetwork

VERSION = 1  # of what is measured and how: others are measured again
SIDES = (64, 128, 256, 512)  # pixels of the pieces on which memory is measured, until it shows
SHOWN = 200_000_000  # bytes: less is lost in what the process holds anyway
SPARE = 1.15  # times what was measured
UNKNOWN = 40_000  # bytes a pixel, where the system does not tell: those of ESRGAN x4, and a third more
GLOBAL = 1.25  # the power of the pixels from which on memory is said to grow faster than they do

_lock = Lock()


@dataclass(frozen=True)
class Traits:
    """How a network behaves.

    Attributes:
        reach: pixels around one on which it depends, a multiple of `period`; None where it depends on the whole picture.
        period: a picture moved by a multiple of so many pixels gives the same result, moved.
        bytes_per_pixel: what it holds while it looks at a piece of `measured` pixels.
        power: of the pixels, with which memory grows: 1, or up to 2 where each is compared with all.
        measured: pixels of that piece.
        nanoseconds: of a pixel that is looked at, on one core of the machine that psal's other figures are of.
    """

    reach: int | None
    period: int
    bytes_per_pixel: float
    power: float
    measured: int
    nanoseconds: float

    @property
    def text(self) -> str:
        """In words."""
        grid = f" on a grid of {self.period}" if self.period > 1 else ""
        looks = "looks at the whole picture" if self.reach is None else f"looks {self.reach} pixels around each{grid}"
        return f"{looks}, {self.bytes_per_pixel / 1000:.1f} kB a pixel"

    def bytes(self, pixels: int) -> int:
        """What it holds while it looks at a piece of so many pixels."""
        most = max(pixels, self.measured) if self.power > 1 else pixels
        return int(self.bytes_per_pixel * pixels * (most / self.measured) ** (self.power - 1))


def traits_of(network: "ForeignNetwork") -> Traits:
    """What is known of the network's file from an earlier run, else what is measured now, and kept for later ones."""
    sha256 = network.about.sha256
    with _lock:  # two measurements at a time would count each other's memory
        known = _load(sha256) if sha256 else None
        if known is None:
            known = _measured(network)
            if sha256:
                _save(sha256, known)
    return known


def cache_folder() -> Path:
    """Where psal keeps what can be measured again."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "psal" / "networks"


def _load(sha256: str) -> Traits | None:
    try:
        found = json.loads((cache_folder() / f"{sha256}.json").read_text())
        return Traits(**found["traits"]) if found["version"] == VERSION else None
    except (OSError, ValueError, TypeError, KeyError, RuntimeError):  # RuntimeError: there is no home
        return None


def _save(sha256: str, traits: Traits) -> None:
    """Without it nothing is lost but the time of the next measurement."""
    with suppress(OSError, RuntimeError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{sha256}.{os.getpid()}.part"
        part.write_text(json.dumps({"version": VERSION, "traits": asdict(traits)}))
        part.replace(folder / f"{sha256}.json")


def _measured(network: "ForeignNetwork") -> Traits:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the architecture's own code
        found, seconds = _memory(network)
        reach, period = reach_of(network)
    _give_back()
    pixels = max(found)
    each = found[pixels] / pixels
    small = min(found)
    grows = _power(found[small] / small, each, pixels / small) if small < pixels else 1.0
    least = 8 * (3 + 3 * network.scale**2)  # what goes in and out, twice
    return Traits(
        reach, period, SPARE * max(each, least), grows, pixels, 1e9 * seconds / pixels / timing.slowness() if seconds else 0.0
    )


def _power(small: float, large: float, times: float) -> float:
    """With which memory grows, of the bytes a pixel of two pieces, the larger one of so many times the pixels."""
    if small <= 0 or large < small * times ** (GLOBAL - 1):
        return 1.0
    return 2.0


@torch.no_grad()
def _memory(network: "ForeignNetwork") -> tuple[dict[int, float], float]:
    """Bytes that the process grew by, for pieces of so many pixels, the last two; CPU seconds of the last one."""
    fixed = network.sizes.fixed
    sizes = [fixed] if fixed else [network.sizes.padded(side, side) for side in SIDES]
    found: dict[int, float] = {}
    seconds = 0.0
    for height, width in sizes:
        piece = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        _give_back()
        memory.reset_peak()
        before, start = memory.resident(), time.process_time()
        network(piece)
        seconds = time.process_time() - start
        most = memory.peak()
        if before is None or most is None:
            return {height * width: float(UNKNOWN * height * width)}, seconds
        found[height * width] = float(max(most - before, 0))
        if found[height * width] >= SHOWN:
            break
    return dict(sorted(found.items())[-2:]), seconds


def _give_back() -> None:
    """Gives back to the system what the process no longer uses, so that what follows shows as growth."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):  # a C library other than glibc
            ctypes.CDLL(None).malloc_trim(0)
