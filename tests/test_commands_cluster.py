"""--cluster: a batch on the workers of a Dask cluster. tests/bench/cluster_faults.py breaks larger ones."""

import json
import os
import signal
import subprocess
import time
import warnings
from pathlib import Path

import pytest

from psal_cli.batch import clusters
from psal_cli.batch.inputs import Item, as_path
from psal_cli.commands import cluster
from psal_cli.image.strokes import Brush, Strokes, encoded

from .photos import ENV, SIZE, lines, process, psal, tree

distributed = pytest.importorskip("distributed", reason="--cluster needs psal[cluster]")

from psal_cli.commands import cluster_worker  # noqa: E402  # it imports distributed

RUN = ("inpaint", "photos", "-r", "--mask", "mask.png", "--engine", "patch")


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with one worker, both in threads of this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        here = distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
        )
        with here:
            yield here.scheduler_address


@pytest.fixture
def run(scheduler, photos):
    """Runs psal on the cluster, with pictures in the working directory."""
    photos(5)

    def run(*more, verb=RUN):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sockets that Dask leaves to the collector
            return psal(*verb, "--cluster", scheduler, *more)

    return run


def test_the_results_and_records_are_those_of_one_machine(run):
    alone, done = psal(*RUN, "-o", "alone", "--json"), run("-o", "out", "--json", "--report", "r.jsonl")
    assert (alone.exit_code, done.exit_code) == (0, 0), done.stderr
    assert tree("out") == tree("alone")
    changing = {"seconds": None, "peak_memory_bytes": None}
    by_input = {record["input"]: record for record in lines(done)}
    for record in lines(alone):
        record["output"] = record["output"].replace("alone", "out")
        assert by_input.pop(record["input"]) | changing == record | changing
    assert not by_input
    assert [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()[1:]] == lines(done)
    assert done.stderr.splitlines()[-1].startswith("psal: 5 done, 0 failed in ")


def test_what_fails_is_named_in_the_words_and_with_the_code_of_one_machine(run):
    whole = sorted(Path("photos").rglob("*.png"))
    whole[1].write_bytes(whole[1].read_bytes()[:60])
    whole[3].write_text("no picture")
    alone, done = psal(*RUN, "-o", "alone", "--json"), run("-o", "out", "--json", "--failed-list", "failed.txt")
    assert alone.exit_code == done.exit_code == 1
    errors = {record["input"]: (record["error"], record["exit_code"]) for record in lines(alone)}
    assert {record["input"]: (record["error"], record["exit_code"]) for record in lines(done)} == errors
    assert len(Path("failed.txt").read_text().splitlines()) == 2 and tree("out") == tree("alone")


def test_a_second_run_does_only_what_is_missing(run):
    assert run("-o", "out").exit_code == 0
    before = tree("out")
    gone = sorted(Path("out").rglob("*.png"))[2]
    gone.unlink()
    done = run("-o", "out", "--skip-existing", "--json")
    assert done.exit_code == 0 and tree("out") == before
    assert [record["output"] for record in lines(done) if record["status"] == "done"] == [str(gone)]
    assert run("-o", "out", "--skip-existing").exit_code == 3
    assert run("-o", "out").exit_code == 2  # they exist, and nothing is done


def test_options_that_were_typed_count_over_those_of_strokes_on_the_workers_too(run):
    """Which those are, only click knows: it goes with the job."""
    strokes = Strokes(SIZE, (Brush("mask", ((30.0, 20.0, 4.0),)),), {"engine": "patch", "seed": 3})
    Path("strokes.json").write_bytes(encoded(strokes))
    verb = ("inpaint", "photos", "-r", "--strokes", "strokes.json", "--json")
    assert {record["seed"] for record in lines(run("-o", "saved", verb=verb))} == {3}
    assert {record["seed"] for record in lines(run("-o", "typed", "--seed", 7, verb=verb))} == {7}


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("__version__", "9.9", "install one version everywhere"),
        ("_has_size", lambda *_: False, "give paths that all machines see"),
    ],
)
def test_workers_of_another_version_or_without_the_files_are_refused_before_any_work(run, monkeypatch, name, value, line):
    monkeypatch.setattr(cluster_worker, name, value)
    done = run("-o", "out")
    assert done.exit_code == 2 and line in done.stderr and len(done.stderr.splitlines()) == 1
    assert not Path("out").exists() and not list(Path().rglob("*.probe"))


def test_a_worker_sees_which_files_and_folders_it_does_not_share(tmp_path):
    (tmp_path / "here.png").write_bytes(b"1234")
    (tmp_path / "mark").touch()
    files = {str(tmp_path / "here.png"): 4, str(tmp_path / "gone.png"): 4}
    sight = cluster_worker.look(files, str(tmp_path), "mark")
    assert sight.missing == (str(tmp_path / "gone.png"),) and sight.unwritable is None
    assert cluster_worker.look({str(tmp_path / "here.png"): 5}, None, None).missing
    assert cluster_worker.look({}, str(tmp_path), "another mark").unwritable == str(tmp_path)


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_one_line(photos, monkeypatch):
    photos(1)
    monkeypatch.setattr(clusters, "CONNECTING", 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = psal(*RUN, "-o", "out", "--cluster", "tcp://127.0.0.1:9")
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1
    assert "tcp://127.0.0.1:9: no scheduler answers there" in done.stderr


@pytest.mark.parametrize("address", ["local:0", "local:", "localhost", "tcp://host", "s3://a:80/b"])
def test_what_is_no_address_is_refused(photos, address):
    photos(1)
    done = psal(*RUN, "-o", "out", "--cluster", address)
    assert done.exit_code == 2 and "is not a cluster" in done.stderr


@pytest.mark.parametrize("more", [("--jobs", 2), ("-o", "-")])
def test_what_needs_this_process_is_refused(photos, more):
    photos(1)
    assert "--cluster" in (done := psal(*RUN, "--cluster", "local:2", *more)).stderr and done.exit_code == 2


def test_a_result_that_an_earlier_attempt_wrote_is_made_again_and_one_of_others_is_an_error():
    answer = cluster_worker.Answer(code=2, line="out.png exists: --force to overwrite it", exists=True)

    class Verb:
        facts, remarks = {}, {}

    task = cluster._Task(Verb(), None, None)
    item = Item(Path("a.png"), Path("a.png"), "a.png", outputs={"output": Path("out.png")})
    assert task.settle(item, answer, begun=2) is None
    assert "exists" in str(task.settle(item, answer, begun=1).error)


def test_workers_get_whole_paths_and_their_lines_come_back_with_those_that_were_given():
    sidecars = {"mask": (Path("masks/a.png"),)}
    item = Item(Path("in/a.png"), Path("a.png"), "in/a.png", sidecars, outputs={"output": as_path("memory://bucket/a.png")})
    sent = cluster._sent(item)
    assert sent.input == Path.cwd() / "in/a.png" and sent.sidecars["mask"] == (Path.cwd() / "masks/a.png",)
    assert str(sent.output) == "memory://bucket/a.png" and item.input == Path("in/a.png")
    line = f"{sent.sidecars['mask'][0]} is 3x4, {sent.input} is not: {sent.output}"
    assert cluster._as_given(item, line) == "masks/a.png is 3x4, in/a.png is not: memory://bucket/a.png"


def test_a_picture_that_is_too_large_for_each_worker_is_named(photos):
    """Workers that declare how much memory they have get what fits; the plan of a picture is some 300 MB."""
    photos(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address=None,
            resources={"MEMORY": 10_000_000},
        ) as small:
            done = psal(*RUN, "-o", "out", "--cluster", small.scheduler_address)
    assert done.exit_code == 4 and done.stderr.count("the largest worker gives 0.01 GB") == 2


CRASH = """import builtins, multiprocessing, os
real = open
def deadly(file, *rest, **more):
    if multiprocessing.current_process().name != "MainProcess" and str(file).endswith("{}"):
        os.kill(os.getpid(), 9)
    return real(file, *rest, **more)
builtins.open = deadly
"""


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills as on POSIX")
def test_a_picture_that_kills_its_workers_is_named_and_the_others_are_done(photos, monkeypatch):
    photos(4)
    deadly = sorted(Path("photos").rglob("*.png"))[1]
    Path("site").mkdir()
    Path("site/sitecustomize.py").write_text(CRASH.format(deadly.name))
    monkeypatch.setitem(ENV, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")  # else four workers die before it is suspected
    monkeypatch.setitem(ENV, "PYTHONPATH", os.pathsep.join([str(Path("site").resolve()), ENV["PYTHONPATH"]]))
    with process(*RUN, "-o", "out", "--cluster", "local:1", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        out, err = command.communicate(timeout=300)
    records = [json.loads(line) for line in out.splitlines()]
    assert command.returncode == 1, err.decode()
    assert sorted(record["status"] for record in records) == ["done"] * 3 + ["failed"]
    assert [record["error"] for record in records if record["error"]] == [
        f"{deadly}: each worker that was given it died, it is left out"
    ]
    assert psal(*RUN, "-o", "alone").exit_code == 0
    assert tree("out") == {name: data for name, data in tree("alone").items() if not name.endswith(deadly.name)}


@pytest.mark.slow
@pytest.mark.subprocess
def test_ctrl_c_leaves_whole_files_and_names_the_rest(photos):
    photos(12)
    command = process(
        *RUN, "-o", "out", "--cluster", "local:1", "--json",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with command:
        while command.poll() is None and len(list(Path("out").rglob("*.png"))) < 2:  # then the first has been reported
            time.sleep(0.02)
        os.killpg(command.pid, signal.SIGINT)  # as a terminal does, to the workers too
        out, err = command.communicate(timeout=60)
    records = [json.loads(line) for line in out.splitlines()]
    assert command.returncode == 130, err.decode()
    done = {record["output"] for record in records if record["status"] == "done"}
    assert len(records) == 12 and done and {record["status"] for record in records} >= {"done", "not reached"}
    assert "Traceback" not in err.decode()
    assert psal(*RUN, "-o", "alone").exit_code == 0
    whole = tree("alone")
    assert all(whole[name] == data for name, data in tree("out").items())
    assert {str(Path("out", name)) for name in tree("out")} >= done


@pytest.mark.parametrize(("age", "is_own"), [(-5, True), (60, False)])
@pytest.mark.parametrize("where", ["file", "object"])
def test_a_repeated_attempt_overwrites_only_what_was_written_since_the_first_began(tmp_path, age, is_own, where):
    fsspec = pytest.importorskip("fsspec")
    path = tmp_path / "a.png" if where == "file" else as_path("memory://bucket/again.png")
    path.write_bytes(b"result") if where == "file" else fsspec.filesystem("memory").pipe_file("/bucket/again.png", b"result")
    item = Item(Path("a.png"), Path("a.png"), "a.png", outputs={"output": path, "compare": tmp_path / "not_yet.png"})
    assert cluster_worker._are_newer(item, time.time() + age) is is_own
