"""Estimates of time. Costs are seconds of one core of the reference machine, scaled to this machine.

The reference machine is an AMD EPYC (family 26, avx512f). `tests/bench/bench_time.py` compares estimates with measurements.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from psal_cli.memory import LOSSLESS, Sized

# Nanoseconds a pixel of three channels of 8 bits, by format.
READ = {"JPEG": 13, "PNG": 24, "TIFF": 20, "WEBP": 19, "BMP": 10, "AVIF": 22, "HEIF": 60, "JXL": 20}
WRITE = {"JPEG": 8, "PNG": 60, "TIFF": 86, "WEBP": 92, "BMP": 5, "AVIF": 650, "HEIF": 1850, "JXL": 260, "NPY": 10}
LOSSLESS_WEBP = 900
DEEP = 1.5  # factor for 16 bits
DRAW = 60  # nanoseconds per pixel of a field or a comparison, without writing its file
OPENED = 0.01  # seconds per picture, whatever its size
MASK = 4  # nanoseconds per pixel of a mask
PROBE = 0.0054  # seconds that the probe takes on the reference machine
SHARED = 0.8  # cores that each thread after the first adds


@dataclass(frozen=True)
class Cost:
    """Seconds of one core of the reference machine. serial: work of one thread; parallel: work that all threads share."""

    serial: float = 0.0
    parallel: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.serial + other.serial, self.parallel + other.parallel)


def seconds(cost: Cost, threads: int) -> float:
    """Seconds on this machine with so many threads, if nothing else runs on it."""
    cores = min(threads, os.cpu_count() or 1)
    return slowness() * (cost.serial + cost.parallel / (1 + SHARED * (cores - 1)))


@cache
def slowness() -> float:
    """How much slower one core is than on the reference machine, measured by a search of some hundredths of a second. The best of
    a few CPU times counts, so other processes do not.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return min(map(_probe, range(4))) / PROBE
    finally:
        torch.set_num_threads(threads)


def _probe(seed: int, clock: Callable[[], float] = time.process_time) -> float:
    import torch

    from psal_cli import ops

    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 64, 64, 5, generator=generator).permute(0, 3, 1, 2)
    start = clock()
    ops.search(features[:1], features[1:], 7, 1, 2, seed=seed)
    return clock() - start


def reading(head: Sized) -> Cost:
    """The cost of reading the picture with this header."""
    return Cost(OPENED + 1e-9 * head.width * head.height * READ.get(head.format, 30) * _depth(head.channels, head))


def reading_mask(head: Sized) -> Cost:
    return Cost(1e-9 * head.width * head.height * (MASK + READ.get(head.format, 30) / 8))


def writing(pixels: int, channels: int, source: Sized, formats: Mapping[str, str]) -> Cost:
    """The cost of writing all files of a result. source: the header of the input; formats: option -> format of its file."""
    total = 0.0
    for option, format in formats.items():
        exact = format == "WEBP" and (source.format in LOSSLESS or source.alpha)
        each = LOSSLESS_WEBP if exact else WRITE.get(format, 100)
        depth = _depth(channels, source) if option == "output" else 1.0
        total += pixels * (each * depth + (0 if option == "output" else DRAW))
    return Cost(1e-9 * total)


def _depth(channels: int, head: Sized) -> float:
    """The size of a pixel relative to three channels of 8 bits."""
    return (channels + head.alpha) / 3 * (DEEP if head.bits > 8 else 1)


def in_words(estimate: float) -> str:
    """Seconds as text: "about 4 s", "about 12 min"."""
    if estimate < 9.5:
        return f"about {estimate:.1g} s" if estimate < 1 else f"about {estimate:.0f} s"
    if estimate < 99.5:
        return f"about {5 * round(estimate / 5)} s"
    minutes = round(estimate / 60)
    return f"about {minutes} min" if minutes < 100 else f"about {minutes / 60:.0f} h"
