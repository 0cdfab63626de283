"""The training queue: which run is next, how far each is, what a worker does when a run stops, fails or diverges."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from datetime import datetime
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import nn

from psal_cli.errors import InputError
from psal_cli.training import __main__ as command
from psal_cli.training import curves, export, precision, queue, worker
from psal_cli.training.loop import rows
from psal_cli.training.queue import Run

TWO = [Run("first", "toy", 2.0), Run("second", "toy", 1.0)]


def log(folder, name, *errors, hours=1.0):
    """The log of a run that has done so many CPU hours."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {"step": 10 * n, "training": 1.0, "validation": error, "seconds": 3600 * hours * n / len(errors)}
        for n, error in enumerate(errors, 1)
    ]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))


# ------------------------------------------------------------------------------------------------------------ the queue


def test_the_shipped_queue_loads_and_its_recipes_exist():
    runs = queue.load()
    assert runs and all((queue.QUEUE.parent / f"{run.recipe}.py").exists() for run in runs)
    extras = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {run.extra for run in runs} <= {None, *extras}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[run]]\nname = "x"\nrecipe = "y"\n', "run 1 .x.: hours missing"),
        ('[[run]]\nname = "x"\nrecipe = "y"\nhours = 0\n', "hours is 0, expected more than 0"),
        ('[[run]]\nname = "x"\nrecipe = "y"\nhours = 1\nhour = 2\n', "unknown hour; expected extra, goal, hours, name"),
        ('[[run]]\nname = "x"\nrecipe = "y"\nhours = 1\n' * 2, "run 2 .x.: there is another run of that name"),
        ("[[run]\n", "is not valid TOML"),
        ("", "has no .*run"),
    ],
)
def test_a_wrong_queue_is_refused_with_its_entry(tmp_path, text, message):
    (tmp_path / "queue.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        queue.load(tmp_path / "queue.toml")


def test_the_state_of_a_run_follows_its_log(tmp_path):
    run = Run("x", "toy", 10.0)
    assert queue.progress(run, tmp_path) == queue.Progress("waiting", 0.0, 0, [])
    log(tmp_path, "x", 3.0, 2.0, 1.5, hours=3)
    done = queue.progress(run, tmp_path)
    assert (done.state, done.hours, done.steps, done.best) == ("begun", 3.0, 30, 1.5)
    log(tmp_path, "x", 3.0, 1.0, 1.2, 1.1, 1.3, 1.2, hours=6)  # the best at two hours, four hours ago
    assert queue.progress(run, tmp_path).state == "flat"
    log(tmp_path, "x", 3.0, 1.0, hours=10)
    assert queue.progress(run, tmp_path).state == "finished"
    (tmp_path / "x.diverged").write_text("the loss is nan\n")
    assert queue.progress(run, tmp_path).state == "diverged"


def test_the_next_run_is_the_first_that_wants_hours(tmp_path):
    assert queue.next_run(TWO, tmp_path) == TWO[0]
    log(tmp_path, "first", 1.0, hours=2)
    assert queue.next_run(TWO, tmp_path) == TWO[1]
    (tmp_path / "second.diverged").touch()
    assert queue.next_run(TWO, tmp_path) is None


def test_only_weights_of_the_same_run_are_resumed_from(tmp_path):
    torch.save({"architecture": "Linear", "recipe": {"run": "x"}, "revision": "r", "step": 7, "model": {}}, tmp_path / "x.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "FOLDER", tmp_path)
        export.export(tmp_path / "x.pt", "upscale", False)
    assert queue.resumable(Run("x", "toy", 1, weights="upscale"), tmp_path) == tmp_path / "upscale.safetensors"
    assert queue.resumable(Run("y", "toy", 1, weights="upscale"), tmp_path) is None
    assert queue.resumable(Run("x", "toy", 1, weights="other"), tmp_path) is None


def test_the_table_says_how_far_each_run_is_and_when_it_ends(tmp_path):
    log(tmp_path, "first", 4.0, 3.0, 2.5, hours=1.5)
    text = curves.table(TWO, tmp_path, now=datetime(2026, 1, 1, 12))
    first, second = (next(line for line in text.splitlines() if f" {name} " in line) for name in ("first", "second"))
    for part in ("begun", "1.5 of 2", "30", "4 > 3 > 2.5", "2026-01-01 12:30"):
        assert part in first
    for part in ("waiting", "0.0 of 1", "2026-01-01 13:30"):
        assert part in second


def test_the_status_expects_the_end_sooner_with_more_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "load", lambda: [Run("first", "toy", 200.0)])
    ends = []
    for threads in ("1", "2"):
        done = CliRunner().invoke(command.main, ["--status", "--threads", threads, "--folder", str(tmp_path)])
        ends.append(datetime.fromisoformat(re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d", done.stdout)[0]))
    assert (ends[0] - ends[1]).total_seconds() == pytest.approx(100 * 3600, abs=120)


@pytest.mark.slow
def test_a_plot_has_a_panel_for_each_run_that_has_begun(tmp_path):
    with pytest.raises(InputError, match=r"no run .* has a curve"):
        curves.plot(TWO, tmp_path, tmp_path / "x.svg")
    log(tmp_path, "first", 4.0, 3.0)
    curves.plot(TWO, tmp_path, tmp_path / "x.svg")
    log(tmp_path, "second", 4.0, 3.0)
    curves.plot(TWO, tmp_path, tmp_path / "y.svg")
    assert ((tmp_path / "x.svg").read_text().count('id="axes_'), (tmp_path / "y.svg").read_text().count('id="axes_')) == (1, 2)


# ----------------------------------------------------------------------------------------------------------- the worker

TOY = """#!{python}
import json, pathlib, signal, sys, time
given = dict(zip(sys.argv[3::2], sys.argv[4::2]))
path = pathlib.Path(given["--output"], given["--name"] + ".jsonl")
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
behaviour = pathlib.Path(given["--data"], given["--name"]).read_text()
if behaviour == "diverges":
    print("the loss of step 3 is nan"); sys.exit(3)
if behaviour == "fails":
    print("no such folder"); sys.exit(1)
print("begun", flush=True)
while behaviour == "waits" and not stopped:
    time.sleep(0.01)
hours = 0.1 if stopped else float(given["--hours"])
path.write_text(json.dumps(dict(step=1, training=1.0, validation=1.0, seconds=3600 * hours)) + "\\n")
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A frozen clone whose Python stands in for recipes: what each run does is written in a file of its name in data/."""
    python = tmp_path / "state/code/.venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(TOY.format(python=sys.executable))
    python.chmod(0o755)
    monkeypatch.setattr(worker, "freeze", lambda *_: tmp_path / "state/code")
    monkeypatch.setattr(queue, "load", lambda: TWO)
    (tmp_path / "data").mkdir()
    said = []

    def work(first, second="trains"):
        (tmp_path / "data/first").write_text(first)
        (tmp_path / "data/second").write_text(second)
        worker.work(tmp_path / "state", tmp_path / "data", tmp_path / "public", 1, False, said.append)
        return said

    return work


def states(tmp_path):
    return [queue.progress(run, tmp_path / "state/runs").state for run in TWO]


@pytest.mark.subprocess
def test_all_runs_are_trained_in_order(toy, tmp_path):
    said = toy("trains")
    assert states(tmp_path) == ["finished", "finished"]
    assert [line.split(":")[0] for line in said] == ["first", "second", "every run has its hours"]


@pytest.mark.subprocess
def test_a_run_that_diverges_is_said_so_and_left_out(toy, tmp_path):
    said = toy("diverges")
    assert states(tmp_path) == ["diverged", "finished"]
    assert "first diverged and was stopped: the loss of step 3 is nan" in said


@pytest.mark.subprocess
def test_a_run_that_fails_stops_the_queue_with_its_last_line(toy, tmp_path):
    with pytest.raises(InputError, match="first failed with exit code 1: no such folder"):
        toy("fails")
    assert states(tmp_path) == ["waiting", "waiting"]


@pytest.mark.subprocess
def test_a_signal_stops_the_run_with_its_checkpoint(toy, tmp_path):
    def stop():
        while "begun" not in ((tmp_path / "state/runs/first.log").read_text() if started() else ""):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    def started():
        return (tmp_path / "state/runs/first.log").exists()

    (thread := threading.Thread(target=stop)).start()
    said = toy("waits")
    thread.join()
    assert states(tmp_path) == ["begun", "waiting"] and said[-1] == "first: stopped; the next start resumes it"


@pytest.mark.subprocess
def test_two_workers_do_not_train_in_one_folder(toy, tmp_path):
    (tmp_path / "state").mkdir(exist_ok=True)
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    arguments = [sys.executable, "-c", hold, tmp_path / "state/lock"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=r"another worker trains in .*: stop it first"):
            toy("trains")
        other.communicate("\n")


def test_a_run_resumes_from_its_exported_weights_on_a_new_machine(tmp_path):
    run = Run("x", "toy", 3, ["4"], weights="upscale")
    torch.save({"architecture": "a", "recipe": {"run": "x"}, "revision": "r", "step": 7, "model": {}}, tmp_path / "x.pt")
    weights = tmp_path / "code/weights"
    weights.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "FOLDER", weights)
        export.export(tmp_path / "x.pt", "upscale", False)
    given = worker.command(run, tmp_path, tmp_path / "code", tmp_path / "data", tmp_path / "public", 2)
    assert given[1:4] == ["-m", "psal_cli.training.toy", "4"]
    assert given[-8:-2] == ["--name", "x", "--hours", "3", "--threads", "2"]
    assert given[-2:] == ["--resume", str(weights / "upscale.safetensors")]


def test_a_new_machine_knows_how_far_exported_weights_are(tmp_path, monkeypatch):
    run, code, folder = Run("x", "toy", 0.5, weights="upscale"), tmp_path / "code", tmp_path / "runs"
    torch.save({"architecture": "a", "recipe": {"run": "x"}, "revision": "r", "step": 20, "model": {}}, tmp_path / "x.pt")
    (code / "weights").mkdir(parents=True)
    monkeypatch.setattr(export, "FOLDER", code / "weights")
    export.export(tmp_path / "x.pt", "upscale", False)
    log(code / queue.LOGS, "x", 3.0, 2.0, 2.5, hours=0.75)
    queue.restore_log(run, folder, code)
    assert [row["step"] for row in rows(folder / "x.jsonl")] == [10, 20]  # the third is later than the weights
    assert queue.progress(run, folder).state == "finished" and queue.next_run([run], folder) is None
    log(folder, "x", 1.0, hours=0.1)
    queue.restore_log(run, folder, code)
    assert queue.progress(run, folder).best == 1.0  # a log of this machine stays


@pytest.mark.parametrize("run", queue.load(), ids=lambda run: run.name)
def test_recipes_have_the_options_that_the_queue_gives_them(run, tmp_path):
    given = worker.command(run, tmp_path, tmp_path / "code", tmp_path / "data", tmp_path / "public", 2)
    recipe = importlib.import_module(given[2]).main
    values = recipe.make_context(run.name, [*given[3:], "--resume", "weights"]).params
    assert (values["hours"], values["name"], values["threads"]) == (run.hours, run.name, 2)
    assert (values["data"], values["public"], values["resume"]) == (tmp_path / "data", tmp_path / "public", Path("weights"))


# ---------------------------------------------------------------------------------------------------------- the command


def test_the_command_exports_the_best_weights_and_the_log_of_a_run(tmp_path, monkeypatch):
    run = Run("x", "toy", 4, weights="upscale")
    monkeypatch.setattr(queue, "load", lambda: [run])
    monkeypatch.setattr(export, "FOLDER", tmp_path / "weights")
    monkeypatch.setattr(export, "LOGS", tmp_path / "logs")
    (tmp_path / "weights").mkdir()
    arguments = ["--export", "x", "--folder", str(tmp_path)]
    refused = CliRunner().invoke(command.main, arguments)
    assert refused.exit_code == 1 and "x has no weights yet" in refused.output
    log(tmp_path / "runs", "x", 3.0, 2.0)
    layer = nn.Linear(2, 1)
    state = {"architecture": "Linear", "recipe": {"run": "x"}, "revision": "r", "step": 20, "seconds": 3600.4}
    torch.save(state | {"model": layer.state_dict()}, tmp_path / "runs/x.best.pt")
    done = CliRunner().invoke(command.main, arguments, catch_exceptions=False)
    assert done.output == "upscale.safetensors: best validation error 2.0000 of 1.00 CPU hours, 20 steps\n"
    torch.testing.assert_close(load_file(tmp_path / "weights/upscale.safetensors")["weight"], layer.weight.detach().half())
    assert (tmp_path / "logs/x.jsonl").read_text() == (tmp_path / "runs/x.jsonl").read_text()


def test_an_unknown_run_is_refused_with_those_there_are(monkeypatch, tmp_path):
    monkeypatch.setattr(queue, "load", lambda: TWO)
    done = CliRunner().invoke(command.main, ["--export", "third", "--folder", str(tmp_path)])
    assert done.exit_code == 1 and "no run 'third' in the queue: there are first, second" in done.output


# ------------------------------------------------------------------------------------------------------------ precision


def test_the_fastest_setting_is_measured_once_a_machine(tmp_path, monkeypatch):
    measured = []

    def seconds(setting, *_):
        measured.append(setting)
        return 1.0 if setting == precision.Setting("bfloat16", False) else 2.0

    monkeypatch.setattr(precision, "_seconds_of_a_step", seconds)
    for _ in range(2):
        setting = precision.fastest(nn.Linear(1, 1), lambda network: network.weight.sum(), "cpu", tmp_path / "x.json")
        assert setting == precision.Setting("bfloat16", False)
    assert len(measured) == 4
    monkeypatch.setattr(precision, "facts", lambda *_: {"machine": {"processor": "another"}})
    precision.fastest(nn.Linear(1, 1), lambda network: network.weight.sum(), "cpu", tmp_path / "x.json")
    assert len(measured) == 8


def test_measuring_leaves_the_network_as_it_was():
    network = nn.Conv2d(3, 4, 3)
    before = network.weight.clone()
    image = torch.rand(1, 3, 8, 8)
    for setting in (precision.Setting("bfloat16", True), precision.Setting("float32", False)):
        assert precision._seconds_of_a_step(setting, network, lambda x: x(image).float().square().mean(), "cpu", 0.0) > 0
    assert torch.equal(network.weight, before) and network.weight.grad is None and network.weight.is_contiguous()
