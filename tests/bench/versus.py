"""Two builds of libpsal in one process, each case run by both in turn: what a change of ext/ did to time and recall.

    .venv/bin/python tests/bench/bench_engine.py --baseline OTHER/libpsal.so [--cases "scan 256" ...]

Both builds meet the same load of the machine, and the least CPU seconds of several runs on one thread are compared. The
C interface of psal.h must be the same in both. Features are those of `pair_features`: 16
channels, patches of 7, l2, k = 3.
"""

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from methods import PATCH
from truth import Truth

from psal_cli import native
from psal_cli.benchmarks.pairs import FEATURES, pair_features

K = 3
SEED = 0
SECONDS = 4  # a case is repeated for about so long with each build
MOST_RUNS = 9
SAMPLE = {256: 2048, 512: 2048, 1024: 512, 2700: 64}  # queries whose exact matches are sought; of other heights 512
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SCHEDULES = ("scan", "jump-flood", "exact")
WINDOWS = ("gather", "spread", "scatter", "log_total")


@dataclass(frozen=True)
class Case:
    """One row: "scan 512 float16 10" is a schedule (or a sum of windows.h), a height, a dtype and iterations."""

    operation: str
    height: int
    dtype: str = "float32"
    iterations: int = 5
    noise: bool = False

    @staticmethod
    def of(text: str) -> "Case":
        operation, height, *rest = text.split()
        dtype = next((word for word in rest if word in DTYPES), "float32")
        iterations = next((int(word) for word in rest if word.isdigit()), 5)
        return Case(operation, int(height), dtype, iterations, "noise" in rest)

    @property
    def name(self) -> str:
        words = [self.operation, f"{self.height}x{self.width}", self.dtype]
        if self.operation in ("scan", "jump-flood"):
            words.append(f"{self.iterations} iterations")
        return ", ".join(words + ["noise"] * self.noise)

    @property
    def width(self) -> int:
        return 3300 if self.height == 2700 else self.height


DEFAULT = [
    *(f"scan {side} {dtype}" for side in (256, 512, 1024) for dtype in DTYPES),
    *("scan 256 10", "scan 256 15", "jump-flood 256", "jump-flood 512", "exact 256"),
    *(f"{name} {side}" for side in (512, 1024) for name in WINDOWS),
]


class Pictures:
    """Features of one height, channels-last, and the exact matches of a sample of their queries."""

    def __init__(self, case: Case, folder: Path | None):
        if case.noise:
            generator = torch.Generator().manual_seed(0)
            shape = 2, 1, FEATURES, case.height, case.width
            query, key = torch.randn(shape, generator=generator)
        else:
            query, key = pair_features(folder, case.height, case.width)
        self.truth = None if case.noise else Truth(query, key, SAMPLE.get(case.height, 512), K)
        self.query, self.key = (x.permute(0, 2, 3, 1).contiguous() for x in (query, key))


class Build:
    """One libpsal."""

    def __init__(self, path: str):
        self.library = ctypes.CDLL(path)
        for name in ("search", *WINDOWS):  # an older build may lack the others
            kernel = getattr(self.library, f"psal_{name}_cpu")
            kernel.argtypes, kernel.restype = [ctypes.c_void_p], ctypes.c_char_p

    def search(self, case: Case, query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, Callable[[], None]]:
        """The packed field [H * W, k], and what fills it."""
        size = case.height, case.width
        field, best = torch.zeros(size[0] * size[1], K, dtype=torch.int32), torch.zeros(size[0] * size[1], K)
        args = native.SearchArgs(
            native.Place(1, 0, None), native.DTYPES[query.dtype], native.SIMILARITIES["l2"], native.SCHEDULES[case.operation],
            1, FEATURES, *size, *size, PATCH, K, case.iterations, 0, SEED,
            query.data_ptr(), key.data_ptr(), None, None, None, None, field.data_ptr(), best.data_ptr(), None,
        )  # fmt: skip
        return field, lambda: (done(self.library.psal_search_cpu(ctypes.byref(args))), best)[0]

    def window(self, case: Case, query: torch.Tensor, key: torch.Tensor, field: torch.Tensor) -> Callable[[], None]:
        """One sum of windows.h over the matches of a field, as similarity_at, aggregate and their gradients use it."""
        size = case.height, case.width
        nnf = torch.stack((field >> 16 & 0xFFFF, field & 0xFFFF), 1).view(*size, 2, K).permute(3, 2, 0, 1).contiguous()
        position = (nnf[:, 0].long() * size[1] + nnf[:, 1]).flatten()
        order = position.argsort(stable=True)
        first = torch.searchsorted(position[order], torch.arange(size[0] * size[1] + 1))
        weight, log_total = torch.full((K, *size), -1.0), torch.full(size, 5.0)
        out = torch.empty(max(K, FEATURES), *size)
        args = native.WindowArgs(
            native.Place(1, 0, None), native.DTYPES[query.dtype], native.SIMILARITIES["dot"], 1, FEATURES, *size, *size, PATCH, K,
            query.data_ptr(), key.data_ptr(), nnf.data_ptr(), weight.data_ptr(), log_total.data_ptr(), None, order.data_ptr(),
            first.data_ptr(), 0, out.data_ptr(),
        )  # fmt: skip
        kernel = getattr(self.library, f"psal_{case.operation}_cpu")
        kept = nnf, order, first, weight, log_total, out
        return lambda: (done(kernel(ctypes.byref(args))), kept)[0]


def done(message: bytes | None) -> None:
    if message:
        raise RuntimeError(message.decode())


def least_seconds(runs: list[Callable[[], None]]) -> list[float]:
    """The least CPU seconds of each of the runs, which take turns."""
    times: list[list[float]] = [[] for _ in runs]
    began = time.process_time()
    while not times[0] or (len(times[0]) < MOST_RUNS and time.process_time() - began < SECONDS * len(runs)):
        for run, seconds in zip(runs, times, strict=True):
            start = time.process_time()
            run()
            seconds.append(time.process_time() - start)
    return [min(seconds) for seconds in times]


def recall(pictures: Pictures, case: Case, field: torch.Tensor) -> float | None:
    if pictures.truth is None:
        return None
    found = (field.long() >> 16 & 0xFFFF) * case.width + (field & 0xFFFF)
    return pictures.truth.recall(np.arange(len(found)), found.numpy(), True)[0]


def compare(case: Case, builds: list[Build], pictures: Pictures) -> dict:
    """{"name", "seconds": of each build, "recall": of each or None, "same": whether the fields are equal}."""
    query, key = pictures.query.to(DTYPES[case.dtype]), pictures.key.to(DTYPES[case.dtype])
    if case.operation in SCHEDULES:
        fields, runs = zip(*(build.search(case, query, key) for build in builds), strict=True)
        seconds = least_seconds(list(runs))
        recalls = [recall(pictures, case, field) for field in fields]
        return {"name": case.name, "seconds": seconds, "recall": recalls, "same": all(map(fields[0].equal, fields))}
    field, search = builds[0].search(Case("scan", case.height), pictures.query, pictures.key)
    search()
    seconds = least_seconds([build.window(case, query, key, field) for build in builds])
    return {"name": case.name, "seconds": seconds, "recall": None, "same": None}


def run(baseline: str, cases: list[str], folder: Path | None, show: Callable[[dict], None]) -> list[dict]:
    """The rows of all cases, in order; `show` is called with each as it is measured."""
    builds = [Build(baseline), Build(native.library()._name)]
    rows, pictures, last = [], None, None
    for case in map(Case.of, cases or DEFAULT):
        if pictures is None or last != (case.height, case.noise):
            pictures, last = Pictures(case, folder), (case.height, case.noise)
        rows.append(compare(case, builds, pictures))
        show(rows[-1])
    return rows


def table_row(row: dict) -> list:
    before, after = row["seconds"]
    recalls = ["-" if x is None else f"{x:.3f}" for x in row["recall"] or (None, None)]
    return [row["name"], f"{before:.3g}", f"{after:.3g}", f"{before / after:.2f}", *recalls]


COLUMNS = ["", "baseline, CPU s", "this build, CPU s", "times as fast", "recall@3 before", "recall@3 after"]
