"""The estimates of time that --dry-run gives beside the time that is taken, over the examples, for every verb.

Run from the repository: python tests/bench/bench_time.py [--write]

Both are CPU seconds of one thread, so that what else runs on the machine hardly counts. Each command runs twice in this process:
what is loaded once, modules and networks, is so before the second run, which is the one that is measured. With --write the table
takes its place in examples/memory.md.
"""

import json
import re
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from click.testing import CliRunner

from psal_cli import timing
from psal_cli.batch import runner
from psal_cli.commands import main

COMMANDS = (
    "inpaint examples/dandelions.jpg --mask examples/dandelions_mask.png",
    "inpaint examples/dandelions.jpg --mask examples/dandelions_mask.png --engine patch --format png",
    "inpaint examples/facade.jpg --box 100,100,300,200",
    "inpaint examples/railway.jpg --box 200,200,60,60 --box 60,60,40,30",
    "inpaint examples/railway.jpg --box 200,200,60,60 --engine network",
    "colorize examples/interior_grey.jpg --ref examples/interior_reference.jpg",
    "colorize examples/railway_grey.jpg --ref examples/railway_reference.jpg",
    "colorize examples/railway_grey.jpg --ref examples/railway_reference.jpg --engine paper",
    "upscale examples/railway.jpg -x 2",
    "upscale examples/pagoda.jpg -x 4 --format png",
    "generate examples/meadow.jpg",
    "generate examples/meadow.jpg --method psin",
    "generate examples/gravel.jpg --method psin --size 900x600",
    "reconstruct examples/railway.jpg --from examples/railway_reference.jpg",
    "reconstruct examples/railway.jpg --from examples/railway_reference.jpg --attention aggregation -k 1",
)
PAGE, MARKS = Path("examples/memory.md"), ("<!-- time -->\n", "<!-- /time -->\n")


def record(command: str, folder: str, *more: str) -> dict[str, object]:
    """The line of --json of a command with one thread."""
    options = ["-o", f"{folder}/", "--suffix", "_made", "--force", "--threads", "1", "--device", "cpu", "--json", *more]
    done = CliRunner().invoke(main, [*command.split(), *options])
    if done.exit_code:
        raise SystemExit(f"{command}: {done.stderr}")
    record_of_run: dict[str, object] = json.loads(done.stdout)
    return record_of_run


def rows() -> list[tuple[str, float, float]]:
    """Of each command what is estimated and what is measured, in CPU seconds."""
    out = []
    for command in COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            estimate = record(command, folder, "--dry-run")["seconds"]
            taken = [record(command, folder)["seconds"] for _ in range(2)][-1]
        out.append((command.replace("examples/", ""), float(str(estimate)), float(str(taken))))
        print(f"{out[-1][1]:8.2f} {out[-1][2]:8.2f} {out[-1][1] / out[-1][2]:6.2f}  {out[-1][0]}", flush=True)
    return out


def table(measured: list[tuple[str, float, float]]) -> str:
    lines = ["| `psal` | estimated, s | measured, s | ratio |", "|---|---:|---:|---:|"]
    lines += [
        f"| `{command}` | {estimated:.1f} | {taken:.1f} | {estimated / taken:.2f} |" for command, estimated, taken in measured
    ]
    day = datetime.now(UTC).date()
    return "\n".join([*lines, "", f"CPU seconds of one thread, {day}; `tests/bench/bench_time.py`."]) + "\n"


def main_bench() -> None:
    runner.time = type(
        "Clock", (), {"perf_counter": staticmethod(time.process_time)}
    )  # CPU seconds, for reading, work and writing
    print(f"one core takes {timing.slowness():.2f} times as long as that of the figures")
    text = table(rows())
    if "--write" in sys.argv:
        page = PAGE.read_text()
        PAGE.write_text(re.sub(f"{MARKS[0]}.*{MARKS[1]}", lambda _: MARKS[0] + text + MARKS[1], page, flags=re.DOTALL))


if __name__ == "__main__":
    main_bench()
