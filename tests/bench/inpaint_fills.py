"""Fills kept in files, so that what a slow rival made of a large picture need not be made again to be looked at."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from inpaint_cases import Case
from inpaint_methods import Fill, Filler, version_of


@dataclass(frozen=True)
class Timed:
    fill: Fill
    seconds: float
    cpu_seconds: float


def box_of(mask: np.ndarray) -> tuple[slice, slice]:
    """The bounding box of a mask."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def timed(fill: Filler, case: Case) -> Timed:
    """A fill of a case, and what it took."""
    image = case.image
    start, cpu_start = time.perf_counter(), time.process_time()
    filled = fill(image, case.mask)
    return Timed(filled, time.perf_counter() - start, time.process_time() - cpu_start)


def kept_fill(folder: Path, case: Case, method: str, fill: Filler) -> Timed:
    """As `timed`, from a file of the folder where case, method and version are the same, else made and kept there."""
    key = f"{case.name} {case.fingerprint} {method} {version_of(method)}"
    path = folder / f"{case.name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.npz"
    box = box_of(case.mask)
    if path.exists():
        with np.load(path) as kept:
            picture = np.array(case.truth)
            picture[box] = kept["picture"]
            field = None
            if kept["field"].size:
                field = np.full((*case.mask.shape, 2), -1, np.int32)
                field[box] = kept["field"]
            return Timed(Fill(picture, field), float(kept["seconds"]), float(kept["cpu_seconds"]))
    made = timed(fill, case)
    field = np.zeros(0, np.int32) if made.fill.field is None else made.fill.field[box]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, picture=made.fill.picture[box], field=field, seconds=made.seconds, cpu_seconds=made.cpu_seconds)
    return made
