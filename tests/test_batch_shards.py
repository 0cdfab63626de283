"""The split of a batch: each picture falls to one shard, the same on every machine; what schedulers say; reports."""

import hashlib
import json
import os
import unicodedata
from pathlib import Path

import pytest

from psal_cli.batch.inputs import Item, find_inputs
from psal_cli.batch.plan import place, settle
from psal_cli.batch.reports import Batch, Writer, check
from psal_cli.batch.shards import ALL, Shard, parse
from psal_cli.commands.schedulers import resolve
from psal_cli.errors import InputError, WriteError
from psal_cli.image import READABLE

NAMES = [f"{folder}/{number:03}.jpg" for folder in ("a", "b/deep", "ü") for number in range(60)]


def item(name, mark=""):
    return Item(Path("/somewhere", name), Path(name), name, mark=mark)


def split(count, names=NAMES):
    return [[name for name in names if Shard(number, count).has(item(name))] for number in range(1, count + 1)]


@pytest.mark.parametrize("count", range(1, 8))
def test_every_picture_is_in_exactly_one_shard_and_shards_are_about_equal(count):
    shards = split(count)
    assert sorted(name for shard in shards for name in shard) == sorted(NAMES)
    mean = len(NAMES) / count
    assert all(abs(len(shard) - mean) < 4 * mean**0.5 for shard in shards)


def test_the_split_never_changes():
    """A shard that is started again by a later version, or on another system, must take the same pictures."""
    for name in NAMES:
        number = int(hashlib.sha256(name.encode("utf-8")).hexdigest()[:16], 16) % 1000 + 1
        assert Shard(number, 1000).has(item(name))


def test_the_place_of_the_folder_and_the_form_of_accents_do_not_matter(tmp_path, monkeypatch):
    for top in ("here", "there/and/deeper"):
        for name in ("a.jpg", "b.jpg", "deep/c.jpg", "deep/d.jpg", "é.jpg"):
            path = tmp_path / top / (name if top == "here" else unicodedata.normalize("NFD", name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    monkeypatch.chdir(tmp_path)

    def taken(top):
        items, _ = find_inputs([top], [], True, READABLE)
        return {unicodedata.normalize("NFC", str(one.tree)) for one in items if Shard(1, 2).has(one)}

    assert taken("here") == taken("there/and/deeper") == taken(str(tmp_path / "here"))


def test_names_that_are_no_text_have_a_shard():
    assert sum(Shard(number, 3).has(item(os.fsdecode(b"\xff\xfe.jpg"))) for number in (1, 2, 3)) == 1


def test_the_results_of_one_picture_are_split_too():
    marks = [f"_{number:02}" for number in range(1, 41)]
    shares = [sum(Shard(number, 2).has(item("a.jpg", mark)) for mark in marks) for number in (1, 2)]
    assert sum(shares) == 40 and min(shares) > 8


def test_names_of_shards_sort_by_number():
    names = [Shard(number, 12).name for number in range(1, 13)]
    assert names == sorted(names) and names[0] == "01of12" and Shard(3, 4).name == "3of4"


@pytest.mark.parametrize(
    "text", ["5/4", "0/4", "1/0", "0/0", "-1/4", "1", "1/", "/4", "a/b", "1/4/2", "1.5/4", "", "\u0661/\u0664"]
)
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(InputError, match="expected I/N with I from 1 to N"):
        parse(text)


# ------------------------------------------------------------------------------------------------------------------ plan
@pytest.fixture
def items(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(12):
        Path(f"photos/{number}.jpg").touch()
    found, _ = find_inputs(["photos"], [], False, READABLE)
    return place(found, {"output": "out/"}, True, None, "_done", None)


def test_results_of_other_shards_may_be_there_already(items):
    theirs = [one for one in items if not Shard(1, 2).has(one)]
    mine = [one for one in items if Shard(1, 2).has(one)]
    Path("out").mkdir()
    theirs[0].output.touch()
    assert settle(items, True, False, False, Shard(1, 2)) == mine
    mine[0].output.touch()
    with pytest.raises(InputError, match="exists"):
        settle(items, True, False, False, Shard(1, 2))
    settle(items, True, False, True, Shard(1, 2))
    assert [one.skipped for one in mine] == [True] + [False] * (len(mine) - 1)


def test_every_shard_finds_collisions_of_the_whole_list(items):
    items[0].outputs["output"] = items[1].output
    for number in range(1, 6):
        with pytest.raises(InputError, match="would be written for"):
            settle(items, True, False, False, Shard(number, 5))


# ------------------------------------------------------------------------------------------------------------ schedulers
def slurm(task, first=1, count=4, step=None):
    variables = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_MIN": first, "SLURM_ARRAY_TASK_COUNT": count}
    return {name: str(value) for name, value in (variables | ({"SLURM_ARRAY_TASK_STEP": step} if step else {})).items()}


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        (slurm(1), "1/4"),
        (slurm(4), "4/4"),
        (slurm(0, first=0), "1/4"),
        (slurm(13, first=10, step=1), "4/4"),
        (slurm(7, first=1, count=4, step=2), "4/4"),
        (slurm(0, first=0, count=3, step=10), "1/3"),
        (slurm(20, first=0, count=3, step=10), "3/3"),
        (slurm(5, first=3, count=2, step=2) | {"PSAL_SHARDS": "40"}, "5/40"),  # sbatch --array=3,5 of an array of 40
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "6"}, "1/6"),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "5", "AWS_BATCH_JOB_ARRAY_SIZE": "6"}, "6/6"),
        ({"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "8"}, "3/8"),
        ({"JOB_COMPLETION_INDEX": "2", "PSAL_SHARDS": "8"}, "3/8"),
        (slurm(2) | {"JOB_COMPLETION_INDEX": ""}, "2/4"),
    ],
)
def test_auto_reads_what_the_scheduler_says(environment, shard):
    assert str(resolve("auto", environment)) == shard
    assert str(resolve("2/9", environment)) == "2/9"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "no scheduler started this: give --shard I/N"),
        ({"SLURM_JOB_ID": "7"}, "no scheduler started this"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, "but not SLURM_ARRAY_TASK_MIN and SLURM_ARRAY_TASK_COUNT"),
        (slurm(7, first=1, count=4), "SLURM_ARRAY_TASK_ID is 7, which is none of 4 tasks from 1 in steps of 1"),  # 1,3,5,7
        (slurm(4, first=1, count=4, step=2), "is none of 4 tasks from 1 in steps of 2"),
        (slurm(0, first=0) | {"PSAL_SHARDS": "4"}, "is none of 4 tasks from 1 to 4"),
        (slurm("x"), "SLURM_ARRAY_TASK_ID is x, expected a whole number"),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "3"}, "but not AWS_BATCH_JOB_ARRAY_SIZE"),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "3"}, "is 3, expected 0 to 2"),
        ({"JOB_COMPLETION_INDEX": "2"}, "set JOB_COMPLETIONS in the container's env"),
        ({"JOB_COMPLETION_INDEX": "2", "JOB_COMPLETIONS": "two"}, "JOB_COMPLETIONS is two"),
    ],
)
def test_auto_is_refused_where_the_shard_is_not_certain(environment, words):
    with pytest.raises(InputError) as error:
        resolve("auto", environment)
    assert words in str(error.value)


# --------------------------------------------------------------------------------------------------------------- reports
def record(name, status="done", **more):
    return {"input": name, "output": f"out/{name}", "status": status, "error": None, **more}


def report(path, shard, *records, pictures=None):
    writer = Writer(Path(path), shard, len(records) if pictures is None else pictures)
    for one in records:
        writer.write(one)
    writer.close()


def merged(*paths):
    batch = Batch()
    for path in paths:
        batch.add(Path(path))
    return batch


def test_a_report_goes_on_behind_the_last_whole_line(tmp_path):
    path = tmp_path / "r.jsonl"
    report(path, Shard(1, 2), record("a"), pictures=3)
    with path.open("ab") as file:
        file.write(b'{"input": "b", "outp')  # the machine lost its power
    batch = merged(path)
    assert [key[0] for key in batch.records] == ["a"] and batch.gaps() == {Shard(1, 2): 2, Shard(2, 2): None}
    report(path, Shard(1, 2), record("b"), record("c", "failed"), pictures=3)
    assert [json.loads(line).get("input") for line in path.read_text().splitlines()] == [None, "a", None, "b", "c"]
    assert merged(path).gaps() == {Shard(2, 2): None}


@pytest.mark.parametrize("text", ["my notes", "my notes\n", '{"input": "a"}\n', "[]\n", "\n"])
def test_a_file_that_is_no_report_stays_as_it_is(tmp_path, text):
    path = tmp_path / "notes.txt"
    path.write_text(text)
    for step in (lambda: check(path), lambda: Writer(path, ALL, 1)):
        with pytest.raises(InputError, match="is not a report of psal"):
            step()
    assert path.read_text() == text


def test_a_full_disk_leaves_whole_lines(tmp_path):
    resource = pytest.importorskip("resource")
    writer = Writer(tmp_path / "r.jsonl", ALL, 2)
    writer.write(record("a"))
    whole = writer.path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, before[1]))
    try:
        with pytest.raises(WriteError, match="size limit"):
            writer.write(record("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert writer.path.read_bytes() == whole
    writer.close()


def test_the_last_record_of_a_picture_counts(tmp_path):
    report(tmp_path / "1", Shard(1, 1), record("a", "failed"), record("b"), record("c", seconds=2.5))
    report(tmp_path / "2", Shard(1, 1), record("a"), record("b", "failed"), record("c", "skipped", reason="exists"))
    batch = merged(tmp_path / "1", tmp_path / "2")
    assert {key[0]: one["status"] for key, one in batch.records.items()} == {"a": "done", "b": "failed", "c": "done"}
    assert batch.records["c", "out/c"]["seconds"] == 2.5  # found in its place later: still this batch's own


def test_a_split_that_is_complete_makes_up_for_one_that_is_not(tmp_path):
    report(tmp_path / "1", Shard(1, 3), record("a"), pictures=2)
    assert merged(tmp_path / "1").gaps() == {Shard(1, 3): 1, Shard(2, 3): None, Shard(3, 3): None}
    report(tmp_path / "2", Shard(1, 2), record("a"), record("b"))
    report(tmp_path / "3", Shard(2, 2))
    assert merged(*sorted(tmp_path.iterdir())).gaps() == {}
