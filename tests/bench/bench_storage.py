"""500 pictures in a bucket on this machine (moto speaks S3's protocol): plain, with a server that fails, with killed uploads.

    nice python tests/bench/bench_storage.py plain failing killed --write-readme

After each trial every result must be there, the same bytes as on disk, and nothing else.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import s3fs
from cluster_faults import PSAL, files_in, make_inputs
from report import RESULTS, header, write_json, write_readme

from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.output import markdown_table

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.s3_server import CREDENTIALS, Faults, serving

PATIENCE = 1800  # seconds that a run may take


def run(folder: Path, out: str, *more: str) -> subprocess.Popen:
    command = [*PSAL, "inpaint", "s3://bucket/photos", "--mask", "s3://bucket/mask.png", "-o", f"s3://bucket/{out}"]
    return subprocess.Popen(
        [*command, "--engine", "patch", *more], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def results(system: s3fs.S3FileSystem, out: str) -> dict[str, str]:
    system.invalidate_cache()
    paths = system.find(f"bucket/{out}")
    return {path.rpartition("/")[2]: hashlib.sha256(system.cat_file(path)).hexdigest() for path in paths}


def finished(process: subprocess.Popen, whole: dict[str, str], there: Callable[[], dict[str, str]]) -> dict[str, object]:
    """Counts of a run that must complete; raises where a result is missing, damaged or foreign."""
    _, err = process.communicate(timeout=PATIENCE)
    if process.returncode or there() != whole:
        raise SystemExit(f"exit code {process.returncode}, {len(there())} of {len(whole)}: {err[-500:]}")
    return {"done": len(whole)}


def plain(folder: Path, faults: Faults, system: s3fs.S3FileSystem, whole: dict[str, str], _: random.Random) -> dict[str, object]:
    facts = finished(run(folder, "plain"), whole, lambda: results(system, "plain"))
    requests = {method: round(count / len(whole), 2) for method, count in faults.requests.items()}
    faults.reset()
    again = run(folder, "plain", "--skip-existing")
    again.communicate(timeout=PATIENCE)
    return {**facts, "requests a picture": requests, "again": {"code": again.returncode, "requests": dict(faults.requests)}}


def failing(
    folder: Path, faults: Faults, system: s3fs.S3FileSystem, whole: dict[str, str], _: random.Random
) -> dict[str, object]:
    """One request in seven is refused, one in two hundred hangs for a second."""
    faults.refuse = lambda method, path, number: number % 7 == 0
    faults.stall = lambda method, path, number: 1.0 if number % 200 == 0 else 0.0
    process = run(folder, "failing")
    process.wait(PATIENCE)
    refused = faults.refused
    faults.reset()
    return {**finished(process, whole, lambda: results(system, "failing")), "refused": refused}


def killed(
    folder: Path, faults: Faults, system: s3fs.S3FileSystem, whole: dict[str, str], rng: random.Random
) -> dict[str, object]:
    """SIGKILL in the middle of an upload, ten times, each time after some more pictures; then the rest."""
    kills = 0
    for _ in range(10):
        faults.reset()
        wait = rng.randint(1, len(whole) // 12)
        faults.stall = lambda method, path, number, wait=wait: 3.0 if method == "PUT" and faults.requests["PUT"] > wait else 0.0
        process = run(folder, "killed", "--skip-existing")
        while process.poll() is None and not faults.stalled:
            time.sleep(0.01)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.communicate()
        there = results(system, "killed")
        if any(whole.get(name) != digest for name, digest in there.items()):
            raise SystemExit("a kill left half an object")
    faults.reset()
    return {**finished(run(folder, "killed", "--skip-existing"), whole, lambda: results(system, "killed")), "killed": kills}


WORDS = {
    "plain": "{many} requests a picture; again with `--skip-existing`: {few} requests in all, exit code {again[code]}",
    "failing": "every seventh request refused with 503, one in two hundred late by a second: {refused} refused",
    "killed": "SIGKILL in the middle of an upload, {killed} times, then the rest with `--skip-existing`",
}


TRIALS = {"plain": plain, "failing": failing, "killed": killed}


def markdown(results: dict[str, dict]) -> str:
    rows = []
    for name in filter(results.get, WORDS):
        facts = results[name]
        many = ", ".join(f"{count} {method}" for method, count in facts.get("requests a picture", {}).items())
        few = ", ".join(f"{count} {method}" for method, count in facts.get("again", {}).get("requests", {}).items())
        rows.append([name, facts["done"], WORDS[name].format(**facts, many=many, few=few), facts["wall"]])
    table = markdown_table(["trial", "done", "", "wall s"], rows)
    return f"{table}\n\n{where(next(iter(results.values())))} Other programs ran beside it."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="+", choices=list(WORDS))
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write-readme", action="store_true", help="also put the table into README.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serving() as (address, faults):
        folder = Path(name)
        make_inputs(folder, arguments.pictures)
        command = [*PSAL, "inpaint", "photos", "--mask", "mask.png", "-o", "whole", "--engine", "patch"]
        subprocess.run(command, cwd=folder, check=True, stderr=subprocess.DEVNULL)
        whole = files_in(folder / "whole")
        os.environ |= CREDENTIALS | {"AWS_ENDPOINT_URL": address}
        system = s3fs.S3FileSystem()
        system.mkdir("bucket")
        system.put(str(folder / "photos"), "bucket/photos", recursive=True)
        system.put(str(folder / "mask.png"), "bucket/mask.png")
        for name in arguments.trials:
            faults.reset()
            started = time.monotonic()
            facts = TRIALS[name](folder, faults, system, whole, random.Random(arguments.seed))
            facts = header("psal", "s3fs", "moto") | facts | {"wall": round(time.monotonic() - started)}
            print(name, json.dumps(facts), flush=True)
            if arguments.write_readme:
                kept = RESULTS / "storage.json"
                results = (json.loads(kept.read_text()) if kept.exists() else {}) | {name: facts}
                write_json("storage", results)
                write_readme("storage", markdown(results))


if __name__ == "__main__":
    main()
