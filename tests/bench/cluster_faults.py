"""Breaks the workers, the scheduler and the links of a Dask cluster under `psal inpaint --cluster`, and looks at what comes out.

After every trial each output must be there once, bit for bit what one process writes, or its picture must be named as failed;
nothing else may lie in the folder.

kills: SIGKILL to two of four local workers at random moments, twenty times while the batch runs.
crash: one picture kills each worker that is given it; all others must be done and that one named.
memory: one picture takes memory without end in a control group (as root), where the kernel kills the worker that has most.
scheduler: SIGKILL to the scheduler; the command must end with one line, and a second one with --skip-existing complete the batch.
links: three hosts as network namespaces (as root): a scheduler, two workers, 50 ms of latency, one link cut and mended.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psutil
from hosts import Hosts
from PIL import Image
from report import RESULTS, header, write_json, write_readme

from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.output import markdown_table

PSAL = [sys.executable, "-c", "import sys; from psal_cli.commands import main; sys.argv[0] = 'psal'; main()"]
DEADLY = """import builtins, multiprocessing, os
real = open
def deadly(file, *rest, **more):
    if multiprocessing.current_process().name != "MainProcess" and str(file).endswith("007.png"):
        {}
    return real(file, *rest, **more)
builtins.open = deadly
"""  # a sitecustomize: what a worker does that opens the picture 007.png
DIE = "os.kill(os.getpid(), 9)"
EAT = "eaten = [bytearray(os.urandom(1 << 20) * 16) for _ in range(1 << 20)]"
GROUPS = Path("/sys/fs/cgroup/memory")  # of version 1
ROOM = 2 << 30  # bytes of the control group
SIZE = (80, 60)
PATIENCE = 1800  # seconds that a run may take


def make_inputs(folder: Path, count: int) -> None:
    """Small pictures of noise and one mask."""
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)).save(folder / "photos" / f"{number:03}.png")
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[20:32, 30:46] = 255
    Image.fromarray(mask).save(folder / "mask.png")


def command(out: str, *more: str) -> list[str]:
    return [*PSAL, "inpaint", "photos", "--mask", "mask.png", "-o", out, "--engine", "patch", "--json", *more]


def files_in(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()} if folder.exists() else {}


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The worker processes of "local:N"."""
    try:
        children = psutil.Process(process.pid).children()
        return [child for child in children if "multiprocessing.spawn" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def checked(folder: Path, out: str, whole: dict[str, str], records: list[dict]) -> dict[str, int]:
    """Counts; raises where a file is damaged, foreign, or missing and not named."""
    there = files_in(folder / out)
    foreign = set(there) - set(whole)
    damaged = [name for name in there if name in whole and there[name] != whole[name]]
    named = {Path(record["input"]).name for record in records if record["status"] not in ("done", "skipped")}
    lost = set(whole) - set(there) - named
    twice = len(records) - len({record["input"] for record in records})
    if foreign or damaged or lost or twice:
        raise SystemExit(f"foreign {foreign}, damaged {damaged}, lost {lost}, recorded twice {twice}")
    return {"done": len(there), "named": len(named)}


def kills(folder: Path, whole: dict[str, str], rng: random.Random, pairs: int) -> dict[str, object]:
    with open(folder / "kills.out", "w") as stdout, open(folder / "kills.err", "w") as stderr:
        process = subprocess.Popen(command("kills", "--cluster", "local:4"), cwd=folder, stdout=stdout, stderr=stderr)
        killed, began, due = 0, time.monotonic(), 1
        while process.poll() is None and time.monotonic() < began + PATIENCE:
            time.sleep(rng.uniform(0.05, 0.5))
            workers, done = workers_of(process), len(files_in(folder / "kills"))
            if killed < 2 * pairs and len(workers) >= 2 and done >= due:
                for worker in rng.sample(workers, 2):
                    worker.kill()
                    killed += 1
                left = pairs - killed // 2
                due = done + rng.randint(1, max(1, (len(whole) - done) // (left + 1)))  # so that pictures last for all pairs
        code = process.wait(10)
    records = [json.loads(line) for line in (folder / "kills.out").read_text().splitlines()]
    if killed < 2 * pairs:
        raise SystemExit(f"the pictures were done after {killed // 2} of {pairs} pairs: give more, or another --seed")
    return {"killed": killed, "code": code, **checked(folder, "kills", whole, records)}


def crash(
    folder: Path, whole: dict[str, str], name: str = "crash", deed: str = DIE, group: Path | None = None
) -> dict[str, object]:
    (folder / name).mkdir()
    site = folder / f"{name}_site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(DEADLY.format(deed))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    prefix = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)] if group else []
    done = subprocess.run(
        [*prefix, *command(name, "--cluster", "local:2" if group else "local:4")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    records = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [record["error"] for record in records if record["status"] == "failed"]
    return {"code": done.returncode, "failed": failed, **checked(folder, name, whole, records)}


def memory(folder: Path, whole: dict[str, str]) -> dict[str, object]:
    group = GROUPS / f"psal{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(ROOM))
        facts = crash(folder, whole, "memory", EAT, group)
        control = dict(line.split() for line in (group / "memory.oom_control").read_text().splitlines())
        return facts | {"killed": int(control.get("oom_kill", 0))}
    finally:
        group.rmdir()


@contextmanager
def started(*arguments: str, folder: Path, prefix: list[str]) -> Iterator[subprocess.Popen]:
    """A process of dask, ended at the end."""
    with subprocess.Popen([*prefix, sys.executable, "-m", "dask", *arguments], cwd=folder, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            for child in [*psutil.Process(process.pid).children(recursive=True), process] if process.poll() is None else []:
                child.kill()


def scheduler(folder: Path, whole: dict[str, str]) -> dict[str, object]:
    facts: dict[str, object] = {}
    for attempt in ("broken", "resumed"):
        with ExitStack() as stack:
            address = f"tcp://127.0.0.1:{18786 + (attempt == 'resumed')}"
            arguments = ("scheduler", "--host", address, "--no-dashboard")
            brain = stack.enter_context(started(*arguments, folder=folder, prefix=[]))
            for _ in range(2):
                stack.enter_context(started("worker", address, "--nthreads", "1", "--no-dashboard", folder=folder, prefix=[]))
            process = subprocess.Popen(
                command("scheduler", "--cluster", address, "--skip-existing"),
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            if attempt == "broken":
                while process.poll() is None and len(files_in(folder / "scheduler")) < len(whole) // 4:
                    time.sleep(0.2)
                brain.send_signal(signal.SIGKILL)
            out, err = process.communicate(timeout=PATIENCE)
        records = [json.loads(line) for line in out.splitlines()]
        lines = [line for line in err.splitlines() if "the scheduler has gone" in line]
        facts[attempt] = {"code": process.returncode, "line": lines, **checked(folder, "scheduler", whole, records)}
    return facts


def links(folder: Path, whole: dict[str, str]) -> dict[str, object]:
    """The command and the scheduler on the first host, a worker on each of the two others; all see one folder."""
    with Hosts(3, latency=0.05) as hosts, ExitStack() as stack:
        address = f"tcp://{hosts.address(0)}:8786"
        arguments = ("scheduler", "--host", address, "--no-dashboard")
        stack.enter_context(started(*arguments, folder=folder, prefix=hosts.prefix(0)))
        for host in (1, 2):
            to, own = hosts.reached(host, 0, 8786), hosts.own(host, 9000)
            more = (
                "worker",
                f"tcp://{to}",
                "--nthreads",
                "1",
                "--no-dashboard",
                "--no-nanny",
                "--listen-address",
                f"tcp://{own}",
            )
            more += ("--contact-address", f"tcp://{hosts.address(host)}:9000")
            stack.enter_context(started(*more, folder=folder, prefix=hosts.prefix(host)))
        process = subprocess.Popen(
            [*hosts.prefix(0), *command("links", "--cluster", address)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        cut = 0.0
        while process.poll() is None and len(files_in(folder / "links")) < len(whole) // 4:
            time.sleep(0.2)
        if process.poll() is None:
            hosts.cut(2)
            cut = time.monotonic()
            time.sleep(hosts.seconds)
            hosts.mend(2)
        out, err = process.communicate(timeout=PATIENCE)
        records = [json.loads(line) for line in out.splitlines()]
        facts = {
            "code": process.returncode,
            "cut": bool(cut),
            "seconds": hosts.seconds,
            "delayed": hosts.delay,
            "round_trip": hosts.round_trip(),
            **checked(folder, "links", whole, records),
        }
    return facts | ({"stderr": err.splitlines()[-3:]} if process.returncode else {})


WORDS = {
    "kills": "SIGKILL to two of 4 local workers at random, {pairs} times: {killed} killed, exit code {code}",
    "crash": "one picture kills each of 4 local workers that opens it: it is named, exit code {code}",
    "memory": "one picture takes all memory of a control group: the kernel killed {killed} workers, it is named, "
    "exit code {code}",
    "scheduler": "SIGKILL after a quarter: exit code {broken[code]}, {lines} line; then --skip-existing on a new cluster did the "
    "rest, exit code {resumed[code]}",
    "links": "three network namespaces, one worker's link cut for {seconds} s, {delayed}, {round_trip:.0f} ms there and back: "
    "exit code {code}",
}


def markdown(results: dict[str, dict]) -> str:
    rows = []
    for name, words in WORDS.items():
        if facts := results.get(name):
            last = facts.get("broken", facts)
            lines = len(last.get("line", ()))
            rows.append([name, facts["pictures"], last["done"], last["named"], words.format(**facts, lines=lines), facts["wall"]])
    table = markdown_table(["trial", "pictures", "done", "named", "", "wall s"], rows)
    return f"{table}\n\n{where(next(iter(results.values())))} Other programs ran beside them."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="+", choices=list(WORDS))
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--pairs", type=int, default=20, help="of workers that are killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write-readme", action="store_true", help="also keep the figures, and put the table into README.md")
    arguments = parser.parse_args()
    kept = RESULTS / "cluster_faults.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, arguments.pictures)
        subprocess.run(command("whole"), cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        whole = files_in(folder / "whole")
        for trial in arguments.trials:
            begun = time.monotonic()
            if trial == "kills":
                facts = kills(folder, whole, random.Random(arguments.seed), arguments.pairs)
            else:
                facts = {"crash": crash, "memory": memory, "scheduler": scheduler, "links": links}[trial](folder, whole)
            facts |= {"pictures": arguments.pictures, "pairs": arguments.pairs, "wall": round(time.monotonic() - begun)}
            print(json.dumps({"trial": trial, **facts}), flush=True)
            results[trial] = header("psal", "distributed") | facts
            if arguments.write_readme:
                write_json("cluster_faults", results)
                write_readme("cluster-faults", markdown(results))


if __name__ == "__main__":
    main()
