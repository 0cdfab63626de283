"""The layers of the paper's comparison, and their costs, counted before they run."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from psal_cli.attention import (
    FullAttention,
    LinearAttention,
    LocalAttention,
    PerformerAttention,
    PSAttention,
    ReformerAttention,
)
from psal_cli.attention.fused import flex_local_attention, sdpa_attention
from psal_cli.attention.local import BLOCK
from psal_cli.attention.patches import CHUNK
from psal_cli.attention.performer import default_features

FLOAT = 4  # bytes
WINDOW = 49  # the paper has 50; a window around a pixel has an odd side
BUCKET, ROUNDS = 64, 4
ITERATIONS = 5


@dataclass(frozen=True)
class Case:
    """Square maps: query and key [1, channels, side, side], value [1, value_channels, side, side]."""

    side: int
    channels: int = 16
    value_channels: int = 16
    patch_size: int = 7

    @property
    def queries(self) -> int:
        return self.side**2

    @property
    def keys(self) -> int:
        return (self.side - self.patch_size + 1) ** 2

    @property
    def numbers(self) -> int:
        """Of a patch."""
        return self.channels * self.patch_size**2

    @property
    def extended(self) -> int:
        """Of a patch as the dense layers compare it: l2 takes a channel more, see `attention.patches.pixel_vectors`."""
        return self.numbers + self.patch_size**2


class Work(NamedTuple):
    """flop: floating-point operations, two per multiply-add; bytes: peak memory besides query, key and value.

    Each as (forward, forward and backward).
    """

    flop: tuple[float, float]
    bytes: tuple[float, float]


@dataclass(frozen=True)
class Layer:
    """title: as in the paper. make(temperature, seed): the layer. work: what it costs. paper: gigabytes in table 1 by side.

    partial: whether its time is proportional to the queries, so that a part of them suffices. trains_on_cpu: False for no
        gradient.
    compiles: whether it is compiled for each size at its first run.
    """

    title: str
    make: Callable[[float, int], Callable[..., Tensor]]
    work: Callable[[Case], Work]
    paper: dict[int, float]
    partial: bool = False
    trains_on_cpu: bool = True
    compiles: bool = False


def full(case: Case, stride: int = 1) -> Work:
    n, m, d = case.queries, (math.ceil((case.side - case.patch_size + 1) / stride)) ** 2, case.extended
    products, values = 2 * n * m * d, 2 * n * m * case.value_channels
    cut = FLOAT * (m * (2 * d + 2 * case.patch_size**2) + 3 * n * d / case.patch_size**2) + 2 * FLOAT * min(CHUNK, n * m)
    kept = FLOAT * (n * m + n * d + 3 * m * d) + 8 * case.patch_size**2 * n
    return Work((products + values, 3 * products + 3 * values), (cut, cut + kept))


def local(case: Case) -> Work:
    radius, reach = case.patch_size // 2, WINDOW // 2
    starts = range(0, case.side, BLOCK)
    blocks = [(min(start + BLOCK, case.side) - start, _reached(start, case.side, radius, reach)) for start in starts]
    pairs, keys = sum(a * b for a, b in blocks) ** 2, sum(b for _, b in blocks) ** 2
    n, d = case.queries, case.extended
    products, values = 2 * pairs * d, 2 * pairs * case.value_channels
    once = FLOAT * 4 * (BLOCK + WINDOW) ** 2 * (d + BLOCK**2)
    kept = FLOAT * (pairs + d * (keys + n)) + pairs
    maps = FLOAT * 3 * n * d / case.patch_size**2
    return Work((products + values, 3 * products + 3 * values), (maps + once, maps + once + kept))


def _reached(start: int, side: int, radius: int, reach: int) -> int:
    """Keys of the windows of a block of queries along one side."""
    return min(min(start + BLOCK, side) + reach, side - radius) - max(start - reach, radius)


def _maps(case: Case) -> float:
    """Bytes of what is made of whole maps: query and key with a margin, and two results beside each other."""
    return FLOAT * case.queries * 2 * (case.channels + case.value_channels + 1)


def linear(case: Case) -> Work:
    n, d = case.queries, case.numbers
    query_products, key_products = (2 * places * d * (case.value_channels + 1) for places in (n, case.keys))
    forward = query_products + key_products
    chunk = FLOAT * min(CHUNK, n * d)
    return Work((forward, 3 * forward + query_products), (4 * chunk + _maps(case), 6 * chunk + 3 * _maps(case)))


def performer(case: Case) -> Work:
    d = case.numbers
    count, places = default_features(d), case.queries + case.keys
    drawn, summed = 2 * places * d * count, 2 * places * count * (case.value_channels + 1)
    chunk, drawings = FLOAT * min(CHUNK, case.queries * (d + count)), 3 * FLOAT * d * count
    held = 3 * chunk + drawings + _maps(case), 6 * chunk + drawings + 3 * _maps(case)
    return Work((drawn + summed, 3 * drawn + 4 * summed), held)


def reformer(case: Case) -> Work:
    n, m, d, p = case.queries, case.keys, case.extended, case.patch_size
    half = 0 if 2 * m <= BUCKET else math.ceil(math.ceil(2 * m / BUCKET) ** 0.5 / 2)
    hashed = ROUNDS * 2 * (n + m) * case.numbers * 2 * half
    chunk = min(BUCKET, n)
    attended = ROUNDS * 2 * math.ceil(n / chunk) * chunk * min(2 * BUCKET, m) * (d + case.value_channels)
    once = FLOAT * min(CHUNK, 3 * n * d)
    rest = FLOAT * n * (ROUNDS * (case.value_channels + 3) + 3 * d / p**2)
    return Work((hashed + attended, hashed + 4 * attended), (4 * once + rest, 7 * once + 2 * rest))


def sdpa(case: Case) -> Work:
    n, m, d = case.queries, case.keys, case.extended
    forward = 4 * n * m * d
    chunk = FLOAT * min(CHUNK, n * d)
    return Work((forward, 4.5 * forward), (4 * chunk + 3 * FLOAT * m * d, 6 * chunk + 6 * FLOAT * m * d))


def flex(case: Case) -> Work:
    """Of the windows alone; blocks are compared whole."""
    n, d = case.queries, case.extended
    pairs = min(WINDOW**2, n) * n
    forward = 2 * pairs * (d + case.value_channels)
    return Work((forward, 3.5 * forward), (FLOAT * 5 * n * d, FLOAT * 8 * n * d))


def psal(case: Case, k: int = 3, aggregation: bool = False) -> Work:
    """At most: each candidate of each iteration compared whole. The engine leaves most early, and skips those it has seen."""
    n, c, cv = case.queries, case.channels, case.value_channels
    draws = math.floor(math.log2(case.side)) + 1
    candidates = k + ITERATIONS * (2 * k + 6 + draws + 4 * k)
    pasted = k * (case.patch_size**2 if aggregation else 1)
    forward = n * (3 * case.numbers * (candidates + k) + 2 * cv * pasted)
    backward = n * (6 * case.numbers * k + 4 * cv * pasted)
    held = n * FLOAT * (2 * c + 5 * k + cv)
    return Work((forward, forward + backward), (held, held + n * FLOAT * (2 * c + 5 * k + 2 * cv)))


def _psal(temperature: float, seed: int, k: int = 3, aggregation: bool = False) -> nn.Module:
    return PSAttention(k=k, iterations=ITERATIONS, aggregation=aggregation, temperature=temperature, seed=seed)


def _sized(*gigabytes: float) -> dict[int, float]:
    return dict(zip((64, 128, 256, 512), gigabytes, strict=True))


LAYERS = {
    "full": Layer(
        "Full attention", lambda t, _: FullAttention(temperature=t), full, _sized(0.30, 4.98, 15.26, 250.04), partial=True
    ),
    "local": Layer(
        "Local attention", lambda t, _: LocalAttention(window=WINDOW, temperature=t), local, _sized(0.19, 0.64, 3.23, 13.12),
        partial=True,
    ),
    "linear": Layer("Linear attention", lambda *_: LinearAttention(), linear, _sized(0.11, 0.46, 1.85, 7.47)),
    "performer": Layer(
        "Performer", lambda t, seed: PerformerAttention(temperature=t, seed=seed), performer, _sized(0.71, 2.84, 11.55, 17.68)
    ),
    "reformer": Layer(
        "Reformer", lambda t, seed: ReformerAttention(chunk_size=BUCKET, rounds=ROUNDS, temperature=t, seed=seed), reformer,
        _sized(0.47, 1.86, 7.42, 21.47),
    ),
    "psal3": Layer("PSAL 3", _psal, psal, _sized(0.01, 0.01, 0.04, 0.18)),
    "aggregation": Layer(
        "PSAL Aggreg.", partial(_psal, k=1, aggregation=True), partial(psal, k=1, aggregation=True),
        _sized(0.05, 0.19, 0.74, 2.95),
    ),
    "sdpa": Layer("Full, by torch's SDPA", lambda t, _: partial(sdpa_attention, temperature=t), sdpa, {}, partial=True),
    "flex": Layer(
        "Local, by torch's flex_attention", lambda t, _: partial(flex_local_attention, window=WINDOW, temperature=t), flex, {},
        trains_on_cpu=False, compiles=True,
    ),
}  # fmt: skip
