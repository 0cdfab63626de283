"""Kills `psal inpaint` in each phase of its work, and looks at what it leaves: as `kill_files.py`, with the moment chosen.

The phases of a picture are `read`, `work`, `write` (encoding into the file that has no name yet) and `rename` (from the sync of
that file until it has its name). A phase is chosen in turn, a picture of the batch at random, and a moment of the phase that is
uniform over its usual length. The batch runs in a fork of this process, so that torch is imported once.
"""

import argparse
import itertools
import math
import os
import random
import signal
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2  # noqa: F401
import torch
from kill_files import Batch, check, files_in, make_inputs
from report import header, write_json, write_readme

from psal_cli import files
from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.output import markdown_table
from psal_cli.commands import inpaint as command
from psal_cli.commands import main as psal
from psal_cli.image import reading, writing  # noqa: F401
from psal_cli.verbs.inpaint import api  # noqa: F401

PHASES = {"read": b"r", "work": b"w", "write": b"e", "rename": b"n"}
WAYS = ("unnamed", "named", "over")


def child(batch: Batch, way: str, told: int) -> None:
    """The batch, which writes a byte when a phase begins; never returns."""

    def telling(letter: bytes, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            os.write(told, letter)
            return function(*args)

        return call

    code = 70
    try:
        os.chdir(batch.folder)
        if way == "named":
            files.UNNAMED = 0
        for name in ("read", "work", "write"):
            setattr(command.Inpaint, name, telling(PHASES[name], getattr(command.Inpaint, name)))
        os.fsync = telling(PHASES["rename"], os.fsync)  # of the file, then of its folder
        arguments = [
            "inpaint",
            "photos",
            "-r",
            "--mask",
            "masks",
            "-q",
            "-o",
            str(batch.out),
            "--engine",
            "patch",
            "--threads",
            "1",
        ]
        psal([*arguments, "--force" if way == "over" else "--skip-existing"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        os.write(told, b".")
        os._exit(code)


def start(batch: Batch, way: str) -> tuple[int, int]:
    """(process, where it tells its phases)."""
    heard, told = os.pipe()
    process = os.fork()
    if not process:
        os.close(heard)
        child(batch, way, told)
    os.close(told)
    return process, heard


def timed(batch: Batch) -> dict[str, list[float]]:
    """The seconds of each phase in an unbroken run."""
    process, heard = start(batch, "unnamed")
    found, names = defaultdict[str, list[float]](list), {letter: name for name, letter in PHASES.items()}
    last, began = b"", time.perf_counter()
    while letter := os.read(heard, 1):
        now = time.perf_counter()
        if last in names:
            found[names[last]].append(now - began)
        last, began = letter, now
    os.close(heard)
    if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]):
        raise SystemExit("the unbroken run failed")
    return found


def kill(batch: Batch, way: str, phase: str, calls: int, delay: float) -> bool:
    """Runs the batch and kills it `delay` seconds into a phase, at its call of that number; False where it was done before."""
    process, heard = start(batch, way)
    left = calls
    while letter := os.read(heard, 1):
        left -= letter == PHASES[phase]
        if letter == b"." or left == 0:
            break
    if left == 0:
        time.sleep(delay)
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.close(heard)
    if code not in (-9, 0, 3):
        raise SystemExit(f"the batch failed with {code}")
    return code == -9


def run(
    folder: Path, pictures: int, kills: int, seed: int, chosen: Sequence[str] = WAYS, until: float = math.inf
) -> dict[str, dict[str, Any]]:
    """{phase: what was found}; ends after so many kills, or after the first one later than `until`."""
    rng = random.Random(seed)
    batch = Batch(folder, rng)
    make_inputs(folder, pictures)
    batch.wipe("unnamed", ())
    usual = {name: statistics.median(seconds) for name, seconds in timed(batch).items()}
    expected = files_in(batch.out)
    found: dict[str, dict[str, Any]] = {name: {"kills": 0, "outputs": 0, "failures": []} for name in PHASES}
    ways = Counter[str]()
    done = 0
    for way in itertools.cycle(chosen):
        batch.wipe(way, expected)
        for _ in range(3 * pictures):
            phase = list(PHASES)[done % len(PHASES)]
            number = rng.randint(1, 4)
            calls = 2 * number - 1 if phase == "rename" else number
            killed = kill(batch, way, phase, calls, rng.uniform(0, usual[phase]))
            outputs, _, wrong = check(files_in(batch.out), expected, way)
            own = found[phase]
            own["outputs"] += outputs
            own["failures"] += [f"{way}, {phase}: {what}" for what in wrong]
            if not killed:
                if outputs != len(expected):
                    own["failures"].append(f"{way}: complete with {outputs} of {len(expected)} outputs")
                break
            own["kills"] += 1
            ways[way] += 1
            done += 1
            if done == kills or time.perf_counter() > until:
                return found
    return found


def markdown(results: dict[str, Any]) -> str:
    rows = [[name, own["kills"], own["outputs"], len(own["failures"])] for name, own in results["phases"].items()]
    rows.append(["all", *(sum(row[i] for row in rows) for i in (1, 2, 3))])
    table = markdown_table(["killed in", "kills", "outputs checked", "failures"], rows)
    say = f"{where(results)} Seed {results['seed']}, {results['pictures']} pictures a batch, {results['seconds']} s"
    return f"{table}\n\n{say}, load {results['load']:.0f}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="that no kill begins after, of a machine with other work")
    parser.add_argument("--pictures", type=int, default=10, help="of each batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work: another file system than that of temporary files")
    parser.add_argument("--write-readme", action="store_true", help="also put the summary into README.md")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        phases = run(Path(folder), chosen.pictures, chosen.kills, chosen.seed, until=begun + chosen.seconds)
    results = header("psal", "torch") | {"seed": chosen.seed, "pictures": chosen.pictures, "phases": phases}
    results |= {"seconds": round(time.perf_counter() - begun), "load": round(os.getloadavg()[2], 1)}
    write_json("kill_phases", results)
    print(markdown(results))
    if chosen.write_readme:
        write_readme("kill-phases", markdown(results))
    if failures := [what for own in phases.values() for what in own["failures"]]:
        raise SystemExit("\n".join(failures))


if __name__ == "__main__":
    main()
