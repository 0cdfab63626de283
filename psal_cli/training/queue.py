"""The queue of training runs and their progress."""

import json
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

from psal_cli.errors import InputError
from psal_cli.training.loop import rows

QUEUE = Path(__file__).with_name("queue.toml")
LOGS = Path("tests/bench/results/training")  # of exported weights, in a checkout
FLAT = 0.2  # share of a run without a better validation error after which it counts as flat


@dataclass(frozen=True)
class Run:
    """One entry of the queue; queue.toml explains the fields."""

    name: str
    recipe: str
    hours: float
    options: list[str] = field(default_factory=list)
    weights: str | None = None
    extra: str | None = None
    goal: str = ""


@dataclass(frozen=True)
class Progress:
    """The progress of a run. hours: CPU hours done; validation: of each row of its log, in order; best: the smallest."""

    state: str  # "waiting", "begun", "flat", "finished" or "diverged"
    hours: float
    steps: int
    curve: list[tuple[float, float]]  # (CPU hours, validation error)

    @property
    def best(self) -> float | None:
        return min((error for _, error in self.curve), default=None)


def load(path: Path = QUEUE) -> list[Run]:
    """The runs of a queue file. Raises InputError with the entry and its mistake."""
    try:
        entries = tomllib.loads(path.read_text()).get("run", [])
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    known = {field.name for field in fields(Run)}
    runs: list[Run] = []
    for number, entry in enumerate(entries, 1):
        where = f"{path.name}, run {number} ({entry.get('name', 'without a name')})"
        if odd := sorted(entry.keys() - known):
            raise InputError(f"{where}: unknown {', '.join(odd)}; expected {', '.join(sorted(known))}")
        if missing := sorted({"name", "recipe", "hours"} - entry.keys()):
            raise InputError(f"{where}: {', '.join(missing)} missing")
        run = Run(**entry)
        if not run.hours > 0:
            raise InputError(f"{where}: hours is {run.hours}, expected more than 0")
        if run.name in {other.name for other in runs}:
            raise InputError(f"{where}: there is another run of that name")
        runs.append(run)
    if not runs:
        raise InputError(f"{path} has no [[run]]")
    return runs


def progress(run: Run, folder: Path) -> Progress:
    """The progress of a run, from its log in the folder."""
    logged = rows(folder / f"{run.name}.jsonl")
    curve = [(row["seconds"] / 3600, row["validation"]) for row in logged]
    hours, steps = (curve[-1][0], int(logged[-1]["step"])) if logged else (0.0, 0)
    return Progress(_state(run, folder, curve, hours), hours, steps, curve)


def _state(run: Run, folder: Path, curve: list[tuple[float, float]], hours: float) -> str:
    if (folder / f"{run.name}.diverged").exists():
        return "diverged"
    if hours >= run.hours:
        return "finished"
    if not curve:
        return "waiting"
    reached = min(curve, key=lambda point: point[1])[0]
    return "flat" if hours - reached > FLAT * run.hours else "begun"


def next_run(runs: list[Run], folder: Path) -> Run | None:
    """The first run that has hours left and has not diverged."""
    return next((run for run in runs if progress(run, folder).state not in ("finished", "diverged")), None)


def resumable(run: Run, weights: Path) -> Path | None:
    """The exported weights of a run, if they came from that run, for machines that have no checkpoint of it."""
    path = weights / f"{run.weights}.safetensors"
    if run.weights is None or not path.exists():
        return None
    return path if json.loads(_metadata(path).get("recipe", "{}")).get("run") == run.name else None


def restore_log(run: Run, folder: Path, code: Path) -> None:
    """On a machine without a log of the run: copies that of the exported weights, up to their step, from a checkout."""
    weights, log = resumable(run, code / "weights"), folder / f"{run.name}.jsonl"
    if weights is None or log.exists():
        return
    steps = int(_metadata(weights)["steps"])
    done = [row for row in rows(code / LOGS / log.name) if row["step"] <= steps]
    folder.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(json.dumps(row) + "\n" for row in done))


def _metadata(weights: Path) -> dict[str, str]:
    """The metadata of exported weights."""
    from safetensors import safe_open

    with safe_open(weights, "pt") as file:
        return file.metadata() or {}
