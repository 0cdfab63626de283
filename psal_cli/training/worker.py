"""Trains the runs of a queue one after another, in a clone and an environment that are independent of the working tree."""

import shutil
import signal
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from psal_cli.errors import InputError
from psal_cli.training import queue
from psal_cli.training.loop import EXIT_DIVERGED
from psal_cli.user_folders import state_folder

ROOT = Path(__file__).parents[2]
GENTLY = ["nice", "-n", "10"] if shutil.which("nice") else []  # not on Windows
Say = Callable[[str], None]


def default_folder() -> Path:
    """The folder of the clone, checkpoints and logs: $XDG_STATE_HOME/psal/training on Linux."""
    return state_folder() / "training"


def freeze(folder: Path, say: Say, refresh: bool = False) -> Path:
    """The frozen clone in the folder, with its environment; created from the last commit if missing or to be refreshed.

    Raises InputError if psal was not run from a git checkout, or the environment cannot be made.
    """
    code = folder / "code"
    head = _git("rev-parse", "HEAD")
    if code.exists() and not refresh:
        frozen = _git("rev-parse", "HEAD", folder=code)
        if frozen != head:
            say(f"training uses the frozen revision {frozen[:9]}, the checkout is at {head[:9]}: --refresh takes that one")
        return code
    if _git("status", "--porcelain", "--", "psal_cli", "ext", "pyproject.toml"):
        say("uncommitted changes are not part of the frozen clone")
    if code.exists():
        _git("fetch", "-q", str(ROOT), "HEAD", folder=code)
        _git("checkout", "-q", "--detach", "FETCH_HEAD", folder=code)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        _git("clone", "-q", "--no-hardlinks", str(ROOT), str(code), folder=folder)
        _git("checkout", "-q", "--detach", head, folder=code)
    say(f"installing revision {head[:9]} in {code}")
    if subprocess.run(["make", "-s", "-C", str(code), ".venv/.installed"]).returncode:
        raise InputError(f"the environment in {code} could not be made: see the messages above")
    return code


def work(folder: Path, data: Path, public: Path, threads: int, refresh: bool, say: Say) -> None:
    """Trains until every run has its hours. Stops after SIGTERM or SIGINT with a checkpoint.

    Raises InputError if another worker trains in the folder, or a run fails.
    """
    with _locked(folder):
        code = freeze(folder, say, refresh)
        for known in queue.load():
            queue.restore_log(known, folder / "runs", code)
        while (run := queue.next_run(queue.load(), folder / "runs")) is not None:
            done = queue.progress(run, folder / "runs")
            _install(run, code)
            say(f"{run.name}: {done.hours:.2f} of {run.hours:g} CPU hours done, trains with {threads} thread(s)")
            code_of_exit, stopped = _train(run, folder, code, data, public, threads)
            if stopped:
                say(f"{run.name}: stopped; the next start resumes it")
                return
            log = folder / "runs" / f"{run.name}.log"
            if code_of_exit == EXIT_DIVERGED:
                (folder / "runs" / f"{run.name}.diverged").write_text(_last_line(log) + "\n")
                say(f"{run.name} diverged and was stopped: {_last_line(log)}")
            elif code_of_exit:
                raise InputError(f"{run.name} failed with exit code {code_of_exit}: {_last_line(log)} (see {log})")
        say("every run has its hours")


def _install(run: queue.Run, code: Path) -> None:
    """The optional dependency that a run needs. Raises InputError if it cannot be installed."""
    if run.extra is None:
        return
    packages = tomllib.loads((code / "pyproject.toml").read_text())["project"]["optional-dependencies"].get(run.extra)
    if packages is None:
        raise InputError(f"{run.name}: extra is {run.extra}, which pyproject.toml does not have")
    pip = [str(code / ".venv/bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if subprocess.run([*pip, "-c", str(code / "constraints.txt"), *packages]).returncode:
        raise InputError(f"{run.name} needs psal[{run.extra}], which could not be installed: see the messages above")


def command(run: queue.Run, folder: Path, code: Path, data: Path, public: Path, threads: int) -> list[str]:
    """The command that trains a run."""
    words = [str(code / ".venv/bin/python"), "-m", f"psal_cli.training.{run.recipe}", *run.options]
    words += ["--data", str(data), "--public", str(public), "--output", str(folder / "runs"), "--name", run.name]
    words += ["--hours", str(run.hours), "--threads", str(threads)]
    weights = queue.resumable(run, code / "weights")
    return words + (["--resume", str(weights)] if weights else [])


def _train(run: queue.Run, folder: Path, code: Path, data: Path, public: Path, threads: int) -> tuple[int, bool]:
    """The exit code of a run, and whether a signal stopped it."""
    runs = folder / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / f"{run.name}.log").open("a") as log:
        # In its own session, so that Ctrl-C reaches only this process, which then asks the run to stop.
        process = subprocess.Popen(
            [*GENTLY, *command(run, folder, code, data, public, threads)],
            stdout=log, stderr=subprocess.STDOUT, cwd=runs, start_new_session=True,
        )  # fmt: skip
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        process.terminate()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return process.wait(), stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        with suppress(ImportError):  # no lock on Windows
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"another worker trains in {folder}: stop it first, or name another --folder") from error
        yield


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]


def _git(*arguments: str, folder: Path = ROOT) -> str:
    git = shutil.which("git")
    if git is None:
        raise InputError("git is not installed: the queue trains from a clone")
    done = subprocess.run([git, "-C", str(folder), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"git {arguments[0]} failed in {folder}: {done.stderr.strip()}; the queue needs a git checkout")
    return done.stdout.strip()
