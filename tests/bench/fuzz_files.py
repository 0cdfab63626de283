"""Damages valid picture and mask files in thousands of ways, and looks at what psal makes of them.

Every file must be read, or be refused with one line: by an InputError, or with exit code 2. No other exception, nothing on
stderr but psal's own lines (nor from C libraries), no crash, no hang over 10 seconds, no file left behind. What was read must
be what the header said, and be written and read again. Each case is a function of --seed and its number, and of the versions
of the libraries that write the valid files.

Three parts: `library` calls read_header, read_picture, read_region, read_mask and write_picture; `command` runs `psal inpaint`
inside a worker; `process` runs it as a user does.
"""

import argparse
import collections
import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path

from fuzz_work import LIMIT, Case, Seeds, worker
from report import header, write_json, write_readme

from psal_cli.benchmarks.output import markdown_table

PACKAGES = ("psal", "pillow", "numpy", "opencv-python-headless", "pillow-heif", "pillow-jxl-plugin", "torch")
PARTS = ("library", "command", "process")


class Watched:
    """A worker that is ended when it takes too long, and followed by a new one when it has ended."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.process = None

    def run(self, part: str, case: Case) -> dict:
        if self.process is None:
            self._start()
        self.pipe.send((part, case))
        try:
            if self.pipe.poll(LIMIT):
                return self.pipe.recv()
            what = f"hangs for over {LIMIT} s"
        except EOFError:
            self.process.join()
            what = f"the process ended with {self.process.exitcode}"
        said = (self.folder / "work" / "stderr").read_text(errors="replace")[-2000:]
        self.stop()
        return {"outcome": "failed", "failures": [f"{what}: {said}"], "peak_mb": 0}

    def _start(self) -> None:
        place = Path(tempfile.mkdtemp(dir=self.folder)).rename(self.folder / "work")
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=worker, args=(theirs, place), daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.send(("library", Case("none.png", b"", "", "picture", ".png")))  # imports are not counted
        self.pipe.recv()

    def stop(self) -> None:
        """Ends the worker and removes its files."""
        if self.process:
            self.process.kill()
            self.process.join()
        shutil.rmtree(self.folder / "work", ignore_errors=True)
        self.process = None


class Tally:
    """What came of the cases of one part."""

    def __init__(self):
        self.formats: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        self.slowest, self.peak, self.failures = 0.0, 0, []

    def add(self, part: str, number: int, case: Case, result: dict, seconds: float) -> None:
        self.formats[Path(case.name).suffix[1:]][result["outcome"] if not result["failures"] else "failed"] += 1
        self.slowest, self.peak = max(self.slowest, seconds), max(self.peak, result["peak_mb"])
        for failure in result["failures"]:
            self.failures.append({"case": f"{part}:{number}", "name": case.name, "ways": case.damage, "what": failure})

    def summary(self) -> dict:
        total = sum(self.formats.values(), collections.Counter())
        return {
            "files": sum(total.values()),
            "outcomes": dict(total),
            "by_format": {name: dict(counts) for name, counts in sorted(self.formats.items())},
            "slowest_seconds": round(self.slowest, 2),
            "peak_mb": self.peak,
            "failures": self.failures,
        }


def run(seed: int, counts: dict[str, int], keep: Path | None, start: int = 0) -> dict:
    """{part: summary}; offending files are kept in `keep`, and every failure is printed as it comes."""
    seeds, results = Seeds(), {}
    with tempfile.TemporaryDirectory() as folder:
        watched = Watched(Path(folder))
        for part, count in counts.items():
            tally, begun = Tally(), time.perf_counter()
            for number in range(start, start + count):
                case = seeds.case(seed, part, number)
                before = time.perf_counter()
                result = watched.run(part, case)
                tally.add(part, number, case, result, time.perf_counter() - before)
                for failure in result["failures"]:
                    print(f"{part}:{number} {case.name} ({case.role}, {case.damage}) {failure}", flush=True)
                if result["failures"] and keep:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{part}-{number}-{case.name}").write_bytes(case.data)
            results[part] = tally.summary() | {"seconds": round(time.perf_counter() - begun, 1)}
            print(f"{part}: {results[part]['outcomes']} in {results[part]['seconds']} s", flush=True)
        watched.stop()
    return results


def markdown(results: dict) -> str:
    """A row for each format, and one for all."""
    lines = [f"{results['date']}, revision {results['revision']}, seed {results['seed']}: {_versions(results)}."]
    for part in PARTS:
        part_results = results["parts"][part]
        rows = [
            [name, *(counts.get(outcome, 0) for outcome in _outcomes(part))] for name, counts in part_results["by_format"].items()
        ]
        rows.append(["all", *(part_results["outcomes"].get(outcome, 0) for outcome in _outcomes(part))])
        lines += [f"**{part}**, {part_results['seconds']:.0f} s, the slowest file {part_results['slowest_seconds']} s:"]
        lines += [markdown_table(["", *_outcomes(part)], rows)]
    return "\n\n".join(lines)


def _outcomes(part: str) -> tuple[str, str, str]:
    return ("read" if part == "library" else "done", "refused", "failed")


def _versions(results: dict) -> str:
    return ", ".join(f"{name} {version}" for name, version in results["versions"].items() if version)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--library", type=int, default=10_000, metavar="N", help="files read through the library")
    parser.add_argument("--command", type=int, default=450, metavar="N", help="files given to the command in a worker's process")
    parser.add_argument("--process", type=int, default=50, metavar="N", help="files given to the command in its own process")
    parser.add_argument("--only", metavar="PART:NUMBER", help="one case, e.g. library:1234; writes no results")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to keep the files that failed")
    parser.add_argument("--write-readme", action="store_true", help="also put the summary into README.md")
    chosen = parser.parse_args()
    if chosen.only:
        part, _, number = chosen.only.partition(":")
        run(chosen.seed, {part: 1}, chosen.keep, int(number))
        return
    parts = run(chosen.seed, {part: getattr(chosen, part) for part in PARTS}, chosen.keep)
    results = header(*PACKAGES) | {"seed": chosen.seed, "parts": parts}
    write_json("fuzz", results)
    if chosen.write_readme:
        write_readme("fuzz", markdown(results))
    if any(part["failures"] for part in parts.values()):
        raise SystemExit("some files failed")


if __name__ == "__main__":
    main()
