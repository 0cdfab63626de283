"""psal bench device: on the emulation of CUDA all of its rows, without a GPU one line."""

import json

import pytest

from psal_cli.benchmarks import cuda_build, device, output

from .photos import psal

pytestmark = pytest.mark.usefixtures("once")
NAMES = ["jump flood", "exact search", "similarity_at", "aggregate", "similarity_at with gradients", "aggregate with gradients"]


@pytest.fixture
def once(monkeypatch):
    monkeypatch.setattr(device, "REPEATS", 1)


@pytest.mark.emulation
def test_all_operators_are_measured_on_the_device(emulated):
    kept = []
    with emulated.active():
        results = device.measure("cpu", sizes=(12,), fill=None, tests=False, keep=lambda x: kept.append(len(x["rows"])))
    rows = results["rows"]
    assert [row["name"] for row in rows] == NAMES and kept == [1, 2, 3, 4, 5, 6]
    assert all(row["status"] == "measured" and row["seconds"] > 0 for row in rows), rows
    assert 0.5 < rows[0]["recall"] <= 1
    assert all((row["counted_bytes"] is None) == ("gradients" in row["name"]) for row in rows)
    json.dumps(results)
    table = output.text(results)
    assert "recall" in table and all(name in table for name in NAMES)


@pytest.mark.slow
def test_a_row_that_fails_leaves_the_others(monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    monkeypatch.setattr(device.ops, "aggregate", full)
    rows = device.measure("cpu", sizes=(12,), fill=None, tests=False)["rows"]
    assert [row["status"] for row in rows] == ["measured", "measured", "measured", "failed", "measured", "failed"]
    assert rows[3]["error"] == "CUDA out of memory. Tried to allocate 2 GiB"


def test_what_would_begin_too_late_is_left_out(monkeypatch):
    results = device.measure("cpu", sizes=(12,), fill=16, tests=False, seconds=-1)
    assert [row["status"] for row in results["rows"]] == ["seconds"] * 7
    assert output.text(results).count("left out: too long") == 7


@pytest.mark.slow
def test_the_fill_says_where_it_ran():
    row = device.measure("cpu", sizes=(), fill=64, tests=False)["rows"][0]
    assert (row["name"], row["status"], row["fill_device"]) == ("fill by a network", "measured", "cpu")


def test_the_counts_of_a_report(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite tests="5" failures="1" errors="1" skipped="1"><testcase name="a"/><testcase name="b"/>'
        '<testcase name="c"><skipped/></testcase><testcase name="d[cuda]"><failure/></testcase><testcase name="e"><error/>'
        "</testcase></testsuite></testsuites>"
    )
    assert cuda_build.counts(report) == {"passed": 2, "failed": 2, "skipped": 1, "first_failure": "d[cuda]"}


def test_without_a_gpu_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = psal("bench", "device", "-o", "device.json")
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.splitlines() == ["psal: psal bench device needs a CUDA device: torch sees no CUDA device"]
    assert not (tmp_path / "device.json").exists()


def test_the_cpu_is_refused():
    result = psal("bench", "device", "--device", "cpu")
    assert result.exit_code == 2 and "--device cpu: psal bench device measures a CUDA device" in result.stderr


def test_a_missing_compiler_is_named(tmp_path, monkeypatch):
    (tmp_path / "ext").mkdir()
    (tmp_path / "ext" / "CMakeLists.txt").touch()
    monkeypatch.setattr(cuda_build, "CHECKOUT", tmp_path)
    monkeypatch.setattr(cuda_build.native, "cuda_library", lambda: None)
    monkeypatch.setattr(cuda_build.shutil, "which", lambda name: None)
    with pytest.raises(cuda_build.InputError, match="to build it, nvcc and cmake is missing"):
        cuda_build.ensure("cuda:0", print)
