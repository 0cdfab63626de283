"""File descriptors and memory of one process that fills many pictures: what is left grows with nothing.

    nice python tests/bench/bench_leaks.py [--pictures 300]

One `psal inpaint` over a folder of small pictures in every format that psal writes. After each picture the open file descriptors
and the resident memory of the process are noted; what counts is the growth from the middle of the run to its end.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from foreign_verbs import FORMATS, run

from psal_cli.commands import inpaint as command
from psal_cli.image import Picture, write_picture


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measured(pictures: int, folder: Path) -> tuple[list[int], list[int]]:
    """(descriptors, bytes) after each picture."""
    rng, photos = np.random.default_rng(0), folder / "photos"
    photos.mkdir()
    for number in range(pictures):
        height, width = rng.integers(40, 120, 2)
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        write_picture(Picture(pixels), photos / f"{number:04}.{FORMATS[number % len(FORMATS)]}")
    descriptors, sizes = list[int](), list[int]()
    write = command.Inpaint.write

    def noting(self, *given):
        done = write(self, *given)
        descriptors.append(len(os.listdir("/proc/self/fd")))
        sizes.append(resident())
        return done

    command.Inpaint.write = noting
    try:
        code, said = run(["inpaint", str(photos), "-o", str(folder / "out"), "--box", "9,9,9,9", "--threads", "1"], 3600)
    finally:
        command.Inpaint.write = write
    if code or len(sizes) != pictures:
        raise SystemExit(f"{len(sizes)} pictures written, exit code {code}: {said[-1000:]}")
    return descriptors, sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=300)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        descriptors, sizes = measured(chosen.pictures, Path(folder))
    fifth = max(1, chosen.pictures // 5)
    print(f"{chosen.pictures} pictures: {descriptors[fifth]} descriptors after a fifth of them, {descriptors[-1]} at the end")
    parts = [statistics.median(sizes[at : at + fifth]) / 1e6 for at in range(0, len(sizes) - fifth + 1, fifth)]
    print("resident memory by fifths of the run, MB: " + ", ".join(f"{part:.1f}" for part in parts))


if __name__ == "__main__":
    main()
