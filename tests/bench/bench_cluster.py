"""What a Dask cluster costs: CPU seconds a picture of `psal inpaint` with --cluster local:N, beside N processes with --jobs 1.

    nice python tests/bench/bench_cluster.py --write-readme

CPU seconds of the command and all its workers between two pictures in the middle of a batch, so that neither the start nor the
end, at which workers wait, is counted. The ways take turns. Processes that share caches and cores slow each other down, so each
way is compared with as many processes that know nothing of each other, which share the pictures; their own rows are compared with
one process. Pictures a second are of the wall clock, and say more on a machine of its own.
"""

import argparse
import os
import shlex
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
COUNTS = (1, 2, 4)  # workers
WAYS = {way: count for count in COUNTS for way in (f"{count} x --jobs 1", f"--cluster local:{count}")}


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


def commands(folder: Path, way: str) -> list[str]:
    """The command lines of a way, which run at once."""
    names = sorted(f"photos/{path.name}" for path in (folder / "photos").iterdir())
    count, _, jobs = way.partition(" x ")
    parts = [names[number :: int(count)] for number in range(int(count))] if jobs else [["photos"]]
    options = ["--mask", "mask.png", "-o", "out/", "--force", "--engine", "patch", "--json", "--threads", "1"]
    return [shlex.join([*PSAL, "inpaint", *part, *options, *(jobs or way).split()]) for part in parts]


def measured(folder: Path, way: str, pictures: int) -> dict[str, float]:
    """CPU seconds a picture, pictures a second, and CPU seconds until the first picture was done, of one run."""
    command = ["sh", "-c", " & ".join(commands(folder, way)) + " & wait"]
    first, last = 2 * WAYS[way], pictures * 3 // 4  # between these all workers are busy
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
        base = f"{1 if way.endswith('--jobs 1') else WAYS[way]} x --jobs 1"
        pairs = zip(runs, results["ways"][base], strict=True)
        over = statistics.median(run["cpu"] / own["cpu"] - 1 for run, own in pairs)
        more = f"{100 * over:+.0f} % against `{base}`" if way != base else ""
        rows.append([f"`{way}`", f"{cpu:.3f}", more, f"{start:.1f}", f"{rate:.2f}"])
    names = ["", "CPU s a picture", "more", "CPU s to the first", "pictures a second"]
    rounds = f"{results['rounds']} round{'s in turn' * (results['rounds'] > 1)}"
    say = f"{results['pictures']} pictures of 1632x1224 a run, {rounds}, one thread a picture, medians"
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
