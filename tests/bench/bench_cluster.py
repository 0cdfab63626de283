"""What a Dask cluster costs beside one process: CPU seconds a picture of `psal inpaint` with --jobs 1 and --cluster local:N.

CPU seconds of the command and all its workers, from two batches of different lengths: their difference, by the pictures between
them, is what one more picture costs; the rest is the start. They say what a machine is busy with, whatever else runs on it; the
wall clock says more on a machine of its own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

PSAL = [sys.executable, "-c", "import sys; from psal_cli.commands import main; sys.argv[0] = 'psal'; main()"]
SIZE = (1632, 1224)
WAYS = {
    "--jobs 1": ["--jobs", "1", "--threads", "1"],
    "local:1": ["--cluster", "local:1", "--threads", "1"],
    "local:2": ["--cluster", "local:2", "--threads", "1"],
    "local:4": ["--cluster", "local:4", "--threads", "1"],
}


def make_inputs(folder: Path, source: Path, count: int) -> None:
    """Pictures of 2 megapixels, and a mask of a hole of 60 x 40 pixels."""
    (folder / "photos").mkdir()
    picture = Image.open(source).convert("RGB").resize(SIZE)
    for number in range(count):
        picture.rotate(number / 10).save(folder / "photos" / f"{number:03}.jpg", quality=92)
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[600:640, 800:860] = 255
    Image.fromarray(mask).save(folder / "mask.png")


def spent(folder: Path, pictures: list[str], more: list[str]) -> tuple[float, float, float]:
    """(CPU seconds, seconds on the wall, the median of the pictures' own seconds) of one run."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [*PSAL, "inpaint", *pictures, "--mask", "mask.png", "-o", "out/", "--force", "--engine", "patch", "--json", *more]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(records) == len(pictures), done.stderr
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - started, float(np.median([record["seconds"] for record in records]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs=2, default=(8, 40), help="of the short and the long batch")
    parser.add_argument("--source", type=Path, default=Path("examples/dandelions.jpg"))
    arguments = parser.parse_args()
    short, long = arguments.pictures
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, arguments.source, long)
        (folder / "out").mkdir()
        names = sorted(str(path.relative_to(folder)) for path in (folder / "photos").iterdir())
        print(f"{'':10} CPU s a picture, CPU s of the start, wall s of {long} pictures")
        for way, more in WAYS.items():
            few, _, _ = spent(folder, names[:short], more)
            many, wall, _ = spent(folder, names, more)
            each = (many - few) / (long - short)
            print(f"{way:10} {each:.3f} {few - short * each:.1f} {wall:.0f}", flush=True)


if __name__ == "__main__":
    main()
