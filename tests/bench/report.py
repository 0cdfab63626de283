"""What the benchmarks write: JSON files and the tables in README.md."""

import json
import subprocess
from pathlib import Path

from psal_cli.benchmarks.machine import facts

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parents[1]
README = BENCH / "README.md"
RESULTS = BENCH / "results"


def header(*packages: str) -> dict:
    """The first entries of every results file: date, revision, machine, versions of `packages`."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=BENCH, capture_output=True, text=True)
    return {"revision": git.stdout.strip() or None, **facts(*packages)}


def write_json(name: str, results: dict, folder: Path = RESULTS, lines: str | None = None) -> Path:
    """Writes <folder>/<name>.json and returns its path. lines: the name of a list whose entries get one line each."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    if lines is None:
        text = json.dumps(results, indent=1)
    else:
        rows = [f"  {json.dumps(row)}" for row in results[lines]]
        text = json.dumps(results | {lines: ["here"]}, indent=1).replace('  "here"', ",\n".join(rows))
    path.write_text(text + "\n")
    return path


def write_readme(marker: str, markdown: str, readme: Path = README) -> None:
    """Puts `markdown` between the lines `<!-- marker -->` and `<!-- /marker -->` of `readme`, in place of what is there.

    Raises ValueError when the two markers are not there, once each and in this order.
    """
    text = readme.read_text()
    start, end = f"<!-- {marker} -->\n", f"<!-- /{marker} -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"{readme.name} needs one line {start.strip()} and after it one line {end}")
    before, rest = text.split(start)
    readme.write_text(f"{before}{start}{markdown.strip()}\n{end}{rest.split(end)[1]}")
