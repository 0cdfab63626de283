"""Batches in shards, as a scheduler runs them: the same files as one run, reports that are merged, a script for SLURM."""

import gc
import json
import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from psal_cli.batch.inputs import Item
from psal_cli.batch.shards import Shard

from .photos import lines, process, psal, tree

RUN = ("inpaint", "photos", "-r", "--mask", "mask.png", "--iterations", 1)
AMONG = ("--report", "reports/r_{shard}.jsonl", "-o", "out")


def shard(number, count, *more):
    return psal(*RUN, *AMONG, "--shard", f"{number}/{count}", *more)


def split(names, count):
    """The pictures of each shard, found with the library."""
    return [[name for name in names if Shard(n, count).has(Item(Path(name), Path(name), name))] for n in range(1, count + 1)]


def records(*paths):
    return [json.loads(line) for path in paths for line in Path(path).read_text().splitlines()]


@pytest.mark.slow
def test_three_shards_do_what_one_run_does(photos):
    photos(9)
    whole = psal(*RUN, "-o", "whole", "--json")
    assert whole.exit_code == 0, whole.stderr
    for number, names in enumerate(split(tree("photos"), 3), 1):
        done = shard(number, 3, "--json")
        assert done.exit_code == 0, done.stderr
        assert [record["input"] for record in lines(done)] == [f"photos/{name}" for name in names]
        head, *rest = records(f"reports/r_{number}of3.jsonl")
        assert head == {"shard": f"{number}/3", "pictures": len(names)} and rest == lines(done)
    assert tree("out") == tree("whole") and len(tree("out")) == 9
    merged = psal("batch", "merge", "reports")
    assert merged.exit_code == 0 and merged.stderr == ""
    heading, *rows, total = merged.stdout.splitlines()
    assert heading.split() == ["shard", "done", "skipped", "failed", "not", "done", "seconds"]
    assert [row.split()[:2] for row in rows] == [[f"{n}/3", str(len(x))] for n, x in enumerate(split(tree("photos"), 3), 1)]
    assert total.split()[:5] == ["total", "9", "0", "0", "0"]
    assert {x["output"]: x["sha256"] for x in lines(psal("batch", "merge", "reports", "--json"))} == {
        x["output"].replace("whole", "out", 1): x["sha256"] for x in lines(whole)
    }


def test_what_failed_is_listed_once_and_no_more_when_a_shard_was_repeated(photos):
    photos(9)
    bad = sorted(Path("photos").rglob("*.png"))[4]
    whole = bad.read_bytes()
    bad.write_text("no picture")
    codes = [shard(number, 3).exit_code for number in (1, 2, 3)]
    where = next(n for n, names in enumerate(split(tree("photos"), 3), 1) if str(bad.relative_to("photos")) in names)
    assert codes == [1 if number == where else 0 for number in (1, 2, 3)]
    merged = psal("batch", "merge", *sorted(Path("reports").iterdir()))
    assert merged.exit_code == 1 and merged.stdout.splitlines()[-2].split()[:5] == ["total", "8", "0", "1", "0"]
    assert merged.stdout.splitlines()[-1].startswith(f"failed: {bad} is not a picture that psal reads")
    bad.write_bytes(whole)
    assert shard(where, 3, "--skip-existing").exit_code == 0
    merged = psal("batch", "merge", "reports")
    assert merged.exit_code == 0 and merged.stdout.splitlines()[-1].split()[:5] == ["total", "9", "0", "0", "0"]


def test_a_shard_that_is_missing_or_was_killed_is_named(photos):
    photos(9)
    for number in (1, 3):
        assert shard(number, 3).exit_code == 0
    path = Path("reports/r_1of3.jsonl")
    *kept, _ = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(kept))
    merged = psal("batch", "merge", "reports")
    assert merged.exit_code == 1 and [row.split()[1:3] for row in merged.stdout.splitlines()][2] == ["no", "report"]
    assert merged.stderr.splitlines() == [
        f"psal: shard 1/3 was killed: 1 of its {len(kept)} pictures lack a record",
        "psal: shard 2/3 has no report",
    ]
    assert merged.stdout.splitlines()[-1].split()[4] == "1"


@pytest.mark.subprocess
def test_a_kill_leaves_whole_lines_and_the_shard_goes_on_in_its_report(photos):
    photos(60)
    report = Path("reports/r_1of1.jsonl")
    running = process(*RUN, *AMONG, "--shard", "1/1", stderr=subprocess.DEVNULL)
    while not report.exists() or report.read_bytes().count(b"\n") < 4:
        assert running.poll() is None
        time.sleep(0.01)
    running.kill()
    running.wait()
    assert report.read_bytes().endswith(b"\n")
    _, *begun = records(report)
    merged = psal("batch", "merge", "reports")
    assert merged.exit_code == 1
    assert merged.stderr == f"psal: shard 1/1 was killed: {60 - len(begun)} of its 60 pictures lack a record\n"
    assert shard(1, 1, "--skip-existing").exit_code == 0
    assert records(report)[: len(begun) + 1] == [{"shard": "1/1", "pictures": 60}, *begun]
    merged = psal("batch", "merge", "reports")
    assert merged.exit_code == 0 and merged.stderr == ""


def test_merge_says_4_where_only_memory_was_short(photos):
    photos(4)
    for number in (1, 2):
        shard(number, 2, "--max-memory", "60M")
    merged = psal("batch", "merge", "reports")
    assert merged.exit_code == 4 and merged.stdout.count("\nfailed: ") == 4
    (Path("photos") / "000.png").write_text("no picture")
    for number in (1, 2):
        shard(number, 2, "--max-memory", "60M")
    assert psal("batch", "merge", "reports").exit_code == 1


def test_merge_refuses_what_is_no_report(photos):
    photos(1)
    Path("empty").mkdir()
    for args, code, words in (
        (("nothing.jsonl",), 2, "nothing.jsonl: the report cannot be read: No such file"),
        (("mask.png",), 2, "mask.png is not a report of psal"),
        (("empty",), 2, "no file in this folder ends in .jsonl"),
    ):
        done = psal("batch", "merge", *args)
        assert done.exit_code == code and words in done.stderr, done.stderr
    Path("empty/e.jsonl").touch()
    done = psal("batch", "merge", "empty")
    assert done.exit_code == 3 and "no picture was reported" in done.stderr


def test_a_shard_without_pictures_or_with_nothing_left_has_done_its_part(photos):
    photos(1)
    both = [shard(number, 2) for number in (1, 2)]
    assert [done.exit_code for done in both] == [0, 0] and len(tree("out")) == 1
    assert sorted(done.stderr.splitlines()[0].rpartition(": ")[2] for done in both) == ["0 pictures", "1 picture"]
    assert [shard(n, 2, "--skip-existing").exit_code for n in (1, 2)] == [0, 0]
    merged = psal("batch", "merge", "reports")
    assert merged.exit_code == 0 and merged.stdout.splitlines()[-1].split()[:3] == ["total", "1", "0"]
    assert psal(*RUN, "-o", "out", "--skip-existing").exit_code == 3


def test_dry_run_shows_the_shard_and_writes_no_report(photos):
    photos(6)
    done = shard(2, 3, "--dry-run", "--json")
    assert [record["input"] for record in lines(done)] == [f"photos/{name}" for name in split(tree("photos"), 3)[1]]
    assert not Path("reports").exists() and not Path("out").exists()


def test_the_collector_runs_again_after_a_plan_and_after_a_refusal(photos):
    photos(2)
    for code, more in ((0, ()), (2, ("--report", "mask.png"))):
        assert psal(*RUN, "-o", "out", "--dry-run", *more).exit_code == code and gc.isenabled()


def test_a_report_needs_no_shard(photos):
    photos(2)
    assert psal(*RUN, "-o", "out", "--report", "r_{shard}.jsonl").exit_code == 0
    assert records("r_1of1.jsonl")[0] == {"shard": "1/1", "pictures": 2}
    assert psal("batch", "merge", "r_1of1.jsonl").exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["inpaint", "colorize", "upscale", "generate", "reconstruct"])
def test_every_verb_takes_a_shard_and_reports(photos, verb):
    photos(4)
    own = {
        "inpaint": ("--mask", "mask.png"),
        "colorize": ("--ref", "photos/000.png"),
        "upscale": ("-x", 2),
        "generate": ("-n", 2, "--sheet", "sheet_{shard}.png", "--iterations", 1),
        "reconstruct": ("--from", "photos/000.png", "--iterations", 1),
    }[verb]
    plan = [psal(verb, "photos", "-r", *own, "-o", "out", "--dry-run", "--json", "--shard", f"{n}/2") for n in (1, 2)]
    inputs = [record["output"] for done in plan for record in lines(done)]
    assert [done.exit_code for done in plan] == [0, 0], plan[0].stderr
    assert len(inputs) == len(set(inputs)) == (8 if verb == "generate" else 4 - (verb in ("colorize", "reconstruct")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--shard", "5/4"), "'5/4' is not a shard: I/N with I from 1 to N"),
        (("--shard", "0/4"), "'0/4' is not a shard"),
        (("--shard", "auto"), "no scheduler started this: give --shard I/N"),
        (("--shard", "1/4", "--report", "r.jsonl"), "put {shard} into its name, e.g. r_{shard}.jsonl"),
        (("--shard", "1/4", "--failed-list", "f.txt"), "--failed-list f.txt would be written by each of 4 shards"),
        (("--report", "mask.png"), "--report is mask.png, expected a file of its own"),
        (("--report", "-"), "--report is -, expected a file of its own"),
        (("--report", "notes.txt"), "notes.txt exists and is not a report of psal"),
        (("--report", "r.txt", "--failed-list", "./r.txt"), "--report and --failed-list are both r.txt"),
        (("--report", "no_{shard}/"), "no_1of1"),
    ],
)
def test_refusals(photos, monkeypatch, options, words):
    photos(2)
    for name in [name for name in os.environ if name.startswith(("SLURM_", "AWS_BATCH", "JOB_COMPL"))]:
        monkeypatch.delenv(name)
    Path("notes.txt").write_text("mine")
    Path("no_1of1").mkdir()
    done = psal(*RUN, "-o", "out", *options)
    assert done.exit_code == 2 and words in done.stderr, done.stderr
    assert not Path("out").exists() and Path("notes.txt").read_text() == "mine"


# ----------------------------------------------------------------------------------------------------------------- slurm
SPARE = ("--shards", 5, "--memory", "8G", "--sbatch=--partition=x")


def script(*command, options=()):
    done = psal("batch", "slurm", *options, "--", *command)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_the_script_is_an_array_of_shards(photos):
    text = script("inpaint", "my photos/", "--mask", "it's.png", options=SPARE)
    assert text.startswith("#!/bin/bash\n#SBATCH ")
    directives = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    assert {"--array=1-5", "--cpus-per-task=4", "--mem=8G", "--partition=x"} < set(directives)
    words = shlex.split(text.splitlines()[-1])
    assert words[:3] == ["exec", "psal", "inpaint"] and words[-3:] == ["my photos/", "--mask", "it's.png"]
    assert "export PSAL_SHARDS=5\n" in text


def test_the_script_keeps_what_is_given():
    words = shlex.split(
        script("upscale", "a.jpg", "-x", "2", "--force", "--threads", "3", "--report", "x_{shard}").splitlines()[-1]
    )
    assert " ".join(words) == "exec psal upscale --shard auto a.jpg -x 2 --force --threads 3 --report x_{shard}"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("paint", "a.jpg"), "'paint' is not a verb that takes batches"),
        (("inpaint", "a.jpg", "--maks", "m.png"), "No such option '--maks'"),
        (("inpaint", "--mask", "m.png"), "Missing argument 'IMAGE...'"),
        (("inpaint", "-", "--mask", "m.png"), "- is stdin"),
        (("inpaint", "a.jpg", "--shard", "1/4"), "--shard is given by the array"),
        (("inpaint", "a.jpg", "--report", "r.jsonl"), "put {shard} into its name"),
    ],
)
def test_no_script_for_what_would_not_run(command, words):
    done = psal("batch", "slurm", "--", *command)
    assert done.exit_code == 2 and words in done.stderr and done.stdout == ""
    for text in ("a\nb", "x'y", ""):
        assert psal("batch", "slurm", "--memory", text, "--", "inpaint", "a.jpg").exit_code == 2


@pytest.mark.subprocess
def test_the_script_runs_in_the_environment_of_an_array(photos, tmp_path, shell_psal):
    photos(4)
    Path("job.sh").write_text(script(*map(str, RUN), "-o", "out", options=("--shards", 2)))
    for task in (1, 2, 2):  # one of them again, alone
        again = {"SLURM_ARRAY_TASK_MIN": "2", "SLURM_ARRAY_TASK_COUNT": "1"}
        env = shell_psal | {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_CPUS_PER_TASK": "1"} | again
        done = subprocess.run(["bash", "job.sh"], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert tree("out").keys() == tree("photos").keys()
    assert psal("batch", "merge", *Path().glob("report_*.jsonl")).exit_code == 0
