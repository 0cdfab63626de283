"""What a Dask cluster costs beside one process: CPU seconds a picture of `psal inpaint` with --jobs 1 and --cluster local:N.

    nice python tests/bench/bench_cluster.py --write-readme

CPU seconds of the command and all its workers between two pictures in the middle of a batch, so that neither the start nor the
end, at which workers wait, is counted. The ways take turns, and each round compares with its own --jobs 1: CPU seconds say what a
machine is busy with, whatever else runs on it. Pictures a second are of the wall clock, and say more on a machine of its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from report import header, write_json, write_readme

from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.output import markdown_table

PSAL = [sys.executable, "-c", "import sys; from psal_cli.commands import main; sys.argv[0] = 'psal'; main()"]
SIZE = (1632, 1224)
WAYS = {"--jobs 1": 1, "--cluster local:1": 1, "--cluster local:2": 2, "--cluster local:4": 4}  # -> workers


def make_inputs(folder: Path, source: Path, count: int) -> None:
    """Pictures of 2 megapixels, and a mask of a hole of 60 x 40 pixels."""
    (folder / "photos").mkdir()
    picture = Image.open(source).convert("RGB").resize(SIZE)
    for number in range(count):
        picture.rotate(number / 10).save(folder / "photos" / f"{number:03}.jpg", quality=92)
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[600:640, 800:860] = 255
    Image.fromarray(mask).save(folder / "mask.png")


def spent(process: psutil.Process) -> float:
    """CPU seconds so far of a process and those below it, which all live."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def measured(folder: Path, way: str, pictures: int) -> dict[str, float]:
    """CPU seconds a picture, pictures a second, and CPU seconds until the first picture was done, of one run."""
    workers = WAYS[way]
    command = [*PSAL, "inpaint", "photos", "--mask", "mask.png", "-o", "out/", "--force", "--engine", "patch", "--json"]
    command += [*way.split(), "--threads", "1"]
    first, last = 2 * workers, pictures - workers  # between these all workers are busy
    marks: dict[int, tuple[float, float]] = {}
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        tree = psutil.Process(process.pid)
        assert process.stdout
        for number, _ in enumerate(process.stdout, 1):
            if number in (1, first, last):
                marks[number] = spent(tree), time.perf_counter()
    if process.returncode or last not in marks:
        raise SystemExit(f"{way}: exit code {process.returncode}")
    (begun, at), (ended, then) = marks[first], marks[last]
    count = last - first
    return {"cpu": (ended - begun) / count, "rate": count / (then - at), "start": marks[1][0]}


def markdown(results: dict[str, Any]) -> str:
    rows = []
    for way, runs in results["ways"].items():
        cpu, rate, start = (statistics.median(run[name] for run in runs) for name in ("cpu", "rate", "start"))
        pairs = zip(runs, results["ways"]["--jobs 1"], strict=True)
        over = statistics.median(run["cpu"] / own["cpu"] - 1 for run, own in pairs)
        rows.append(
            [f"`{way}`", f"{cpu:.3f}", f"{100 * over:+.0f} %" if way != "--jobs 1" else "", f"{start:.1f}", f"{rate:.2f}"]
        )
    names = ["", "CPU s a picture", "more than `--jobs 1`", "CPU s to the first", "pictures a second"]
    say = f"{results['pictures']} pictures of 1632x1224 a run, {results['rounds']} rounds in turn, one thread a picture, medians"
    return f"{markdown_table(names, rows)}\n\n{say}. {where(results)} Load {results['load']:.0f}: the last column says little."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", type=Path, default=Path("examples/dandelions.jpg"))
    parser.add_argument("--write-readme", action="store_true", help="also put the table into README.md")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    ways: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, arguments.source, arguments.pictures)
        (folder / "out").mkdir()
        for _ in range(arguments.rounds):
            for way in WAYS:
                ways[way].append(measured(folder, way, arguments.pictures))
                print(way, ways[way][-1], flush=True)
    results = header("psal", "distributed") | {"pictures": arguments.pictures, "rounds": arguments.rounds}
    results |= {"load": os.getloadavg()[2], "ways": ways}
    print(markdown(results))
    if arguments.write_readme:
        write_json("cluster", results)
        write_readme("cluster", markdown(results))


if __name__ == "__main__":
    main()
