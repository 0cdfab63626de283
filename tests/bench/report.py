"""What the benchmarks write: the machine, the versions, JSON files and the tables in README.md."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

BENCH = Path(__file__).resolve().parent
README = BENCH / "README.md"
RESULTS = BENCH / "results"


def machine() -> dict:
    """{"processor", "cores", "memory_gb", "gpu"}: what a reader needs to judge a time; nothing that names the computer."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"processor": _processor(), "cores": usable, "memory_gb": round(memory), "gpu": gpu}


def _processor() -> str:
    """The model and, because virtual machines hide it, its family and the widest vectors that it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    flags = facts.get("flags", "").split()
    widest = next((name for name in ("avx512f", "avx2", "sse2") if name in flags), platform.machine())
    return (
        f"{facts.get('model name', platform.machine())} (family {facts.get('cpu family')}, model {facts.get('model')}, {widest})"
    )


def versions(*packages: str) -> dict:
    """{"python": ..., package: version or None where it is not installed}."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def header(*packages: str) -> dict:
    """The first entries of every results file: date, revision, machine, versions of `packages`."""
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=BENCH, capture_output=True, text=True)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "revision": git.stdout.strip() or None,
        "machine": machine(),
        "versions": versions(*packages),
    }


def write_json(name: str, results: dict, folder: Path = RESULTS) -> Path:
    """Writes <folder>/<name>.json and returns its path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    return path


def table(columns: list[str], rows: list[list]) -> str:
    """A markdown table; the first column is set left, the others right. None becomes a dash."""
    cells = [columns, ["---", *["---:"] * (len(columns) - 1)]]
    cells += [["-" if cell is None else str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


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
