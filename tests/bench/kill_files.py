"""Kills a writing batch of `psal inpaint` with SIGKILL at random moments, and looks at what it leaves.

After every kill each output must be absent or whole: bit for bit what an unbroken run writes (over older files: the old one or
the new one), and nothing else may lie in the folder but `.psal-*.part`, which are counted. Then the batch is resumed, with
--skip-existing, and killed again, until it completes and all outputs are those of the unbroken run; then it starts anew. The
moment is uniform over the time that is left after the first output of a run has appeared.

Three ways in turn: `unnamed`, as on Linux, where a file being written has no name; `named`, as where the system has no such
files; `over` older outputs, with --force. The number of --jobs changes from run to run.
"""

import argparse
import hashlib
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from report import header, write_json, write_readme

from psal_cli.benchmarks.output import markdown_table

PACKAGES = ("psal", "pillow", "numpy", "opencv-python-headless", "torch")
PSAL = "import sys; import psal_cli.files as files; {}; from psal_cli.commands import main; sys.argv[0] = 'psal'; main()"
WAYS = {"unnamed": "pass", "named": "files.UNNAMED = 0", "over": "pass"}
SUFFIXES = (".png", ".jpg", ".tif", ".webp", ".bmp")
OLD = b"an older output\n"
PATIENCE = 300  # seconds that a run may take


def make_inputs(folder: Path, count: int) -> None:
    """`count` pictures of 0.1 to 0.3 megapixels in all formats, every third in a subfolder, with a mask of a small hole each.

    Noise, so that writing them takes as long as filling them.
    """
    rng = np.random.default_rng(0)
    for number in range(count):
        name = Path("sub" if number % 3 == 0 else "", f"{number:03}{SUFFIXES[number % len(SUFFIXES)]}")
        height, width = int(rng.integers(300, 450)), int(rng.integers(400, 600))
        mask = np.zeros((height, width), np.uint8)
        mask[height // 2 :, width // 2 :][:12, :16] = 255
        for top, pixels in (("photos", rng.integers(0, 256, (height, width, 3), dtype=np.uint8)), ("masks", mask)):
            path = folder / top / (name if top == "photos" else name.with_suffix(".png"))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def files_in(folder: Path) -> dict[str, str]:
    """{path below `folder`: sha256}."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def identities(folder: Path) -> set[tuple[str, int]]:
    """What changes when an output appears or is replaced."""
    places = [place for place in (folder, folder / "sub") if place.is_dir()]
    return {(entry.path, entry.inode()) for place in places for entry in os.scandir(place) if not entry.is_dir()}


class Batch:
    """One batch in a folder with photos/ and masks/; its outputs are in out/."""

    def __init__(self, folder: Path, rng: random.Random):
        self.folder, self.rng, self.out = folder, rng, folder / "out"

    def start(self, mode: str, output: Path | None = None) -> subprocess.Popen:
        command = [sys.executable, "-P", "-c", PSAL.format(WAYS[mode]), "inpaint", "photos", "-r", "--mask", "masks", "-q"]
        command += ["-o", str(output or self.out), "--jobs", str(self.rng.choice((1, 2, 3)))]
        command += ["--force"] if mode == "over" else ["--skip-existing"]
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def whole(self) -> tuple[dict[str, str], float]:
        """The outputs of an unbroken run, and the seconds from its first output to its end."""
        target = self.folder / "whole"
        target.mkdir()
        process = self.start("unnamed", target)
        self._first(process, target)
        begun = time.perf_counter()
        said = process.communicate(timeout=PATIENCE)[1]
        if process.returncode:
            raise SystemExit(f"the unbroken run failed: {said.decode()}")
        return files_in(target), time.perf_counter() - begun

    def _first(self, process: subprocess.Popen, folder: Path) -> None:
        """Waits until an output has appeared, or the process has ended."""
        before, deadline = identities(folder), time.perf_counter() + PATIENCE
        while process.poll() is None and identities(folder) == before and time.perf_counter() < deadline:
            time.sleep(0.001)

    def kill(self, mode: str, seconds: float | None) -> int | None:
        """Runs the batch, kills it at a moment up to `seconds` after its first output (None: when it hangs); the exit code if
        it was faster."""
        process = self.start(mode)
        self._first(process, self.out)
        try:
            process.wait(PATIENCE if seconds is None else self.rng.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
        said = process.communicate()[1]
        if process.returncode not in (-9, 0, 3):  # 3: there was nothing left to do
            raise SystemExit(f"the batch failed with {process.returncode}: {said.decode()}")
        return None if process.returncode == -9 else process.returncode

    def wipe(self, mode: str, names) -> None:
        """An empty out/, or one full of older files."""
        for path in sorted(self.out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.out.mkdir(exist_ok=True)
        for name in names if mode == "over" else ():
            (self.out / name).parent.mkdir(exist_ok=True)
            (self.out / name).write_bytes(OLD)


def check(digests: dict[str, str], expected: dict[str, str], mode: str) -> tuple[int, int, list[str]]:
    """(outputs that are new and whole, temporary files, what is wrong) of an out/ after a kill."""
    old, wrong = hashlib.sha256(OLD).hexdigest(), []
    parts = [name for name in digests if Path(name).name.startswith(".psal-") and name.endswith(".part")]
    done = 0
    for name, digest in digests.items():
        if name in parts:
            continue
        if name not in expected:
            wrong.append(f"a foreign file: {name}")
        elif digest == expected[name]:
            done += 1
        elif mode != "over" or digest != old:
            wrong.append(f"half-written or different: {name}")
    if mode == "unnamed":
        wrong += [f"left behind: {name}" for name in parts]
    if mode == "over":
        wrong += [f"lost: {name}" for name in expected.keys() - digests.keys()]
    return done, len(parts), wrong


class Tally:
    """What was seen of one way."""

    def __init__(self):
        self.kills = self.batches = self.outputs = self.parts = 0
        self.done: list[float] = []  # the share of the outputs that each kill found done
        self.failures: list[str] = []

    def summary(self) -> dict:
        low, middle, high = (round(float(np.quantile(self.done, q)), 2) for q in (0, 0.5, 1)) if self.done else (0, 0, 0)
        return {
            "kills": self.kills,
            "batches_completed": self.batches,
            "outputs_checked": self.outputs,
            "temporary_files_left": self.parts,
            "share_done_at_kill": {"least": low, "median": middle, "most": high},
            "failures": self.failures,
        }


def kill_until_complete(batch: Batch, mode: str, expected: dict[str, str], seconds: float, most: int, tally: Tally) -> None:
    """One batch from nothing to the end, with at most so many kills; over older files, four times from the beginning."""
    batch.wipe(mode, expected)
    most = min(most, 4) if mode == "over" else most
    done = before = 0
    for number in range(most + 1):
        if mode == "over":
            batch.wipe(mode, expected)
            before = 0
        left = 0.9 * seconds * (1 if mode == "over" else 1 - done / len(expected))
        ended = batch.kill(mode, left if number < most else None)
        done, parts, wrong = check(files_in(batch.out), expected, mode)
        tally.outputs += done
        tally.failures += [f"batch {tally.batches}, run {number}, {mode}: {what}" for what in wrong]
        if ended is not None:
            break
        tally.kills += 1
        tally.done.append(done / len(expected))
        print(f"{mode}: killed at {done} of {len(expected)}, {parts - before} temporary files", flush=True)
        tally.parts, before = tally.parts + parts - before, parts
    if done != len(expected):  # the last run was not killed
        tally.failures.append(f"batch {tally.batches}, {mode}: complete with {done} of {len(expected)} outputs as they should be")
    tally.batches += 1


def run(folder: Path, pictures: int, kills: int, seed: int) -> dict:
    """{way: summary}."""
    batch = Batch(folder, random.Random(seed))
    make_inputs(folder, pictures)
    expected, seconds = batch.whole()
    print(f"unbroken: {len(expected)} outputs in {seconds:.1f} s from the first to the last", flush=True)
    tallies = {mode: Tally() for mode in WAYS}
    for mode in itertools.cycle(WAYS):
        left = kills - sum(tally.kills for tally in tallies.values())
        if left <= 0:
            return {mode: tally.summary() for mode, tally in tallies.items()}
        kill_until_complete(batch, mode, expected, seconds, left, tallies[mode])


def markdown(results: dict) -> str:
    columns = ["", "kills", "batches completed", "outputs checked", "done at the kill, median", "temporary files", "failures"]
    rows = []
    for mode, summary in results["ways"].items():
        numbers = (
            summary["kills"],
            summary["batches_completed"],
            summary["outputs_checked"],
            summary["share_done_at_kill"]["median"],
        )
        rows.append([mode, *numbers, summary["temporary_files_left"], len(summary["failures"])])
    rows.append(["all", *(sum(row[i] for row in rows) for i in (1, 2, 3)), None, *(sum(row[i] for row in rows) for i in (5, 6))])
    say = f"{results['date']}, revision {results['revision']}, seed {results['seed']}, {results['pictures']} pictures a batch"
    return f"{say}, {results['seconds']} s:\n\n{markdown_table(columns, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pictures", type=int, default=60, help="of each batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work: another file system than that of temporary files")
    parser.add_argument("--write-readme", action="store_true", help="also put the summary into README.md")
    chosen = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        modes = run(Path(folder), chosen.pictures, chosen.kills, chosen.seed)
    results = header(*PACKAGES) | {"seed": chosen.seed, "pictures": chosen.pictures, "ways": modes}
    results["seconds"] = round(time.perf_counter() - begun)
    write_json("kill", results)
    print(markdown(results))
    if chosen.write_readme:
        write_readme("kill", markdown(results))
    if failures := [what for summary in modes.values() for what in summary["failures"]]:
        raise SystemExit("\n".join(failures))


if __name__ == "__main__":
    main()
