"""What psal knows of memory: sizes as users write them, what is left, what it has held."""

import numpy as np
import pytest

from psal_cli import memory
from psal_cli.errors import InputError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4 * 2**30),
        ("500m", 500 * 2**20),
        ("1.5GiB", 3 * 2**29),
        (".5 k", 512),
        ("2GB", 2 * 10**9),
        ("1T", 2**40),
        ("123456789", 123456789),
    ],
)
def test_sizes_are_read_as_they_are_written(text, size):
    assert memory.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "0", "0.0G", "-1G", "4X", "1e3", "4 G B", "1,5G", "inf", "9" * 400, "٣G"])
def test_what_is_no_size_is_named_with_the_form(text):
    with pytest.raises(InputError) as refused:
        memory.parse_size(text)
    assert repr(text) in str(refused.value)
    assert "4G, 500M or 1.5GiB" in str(refused.value)


def test_the_peak_is_what_was_held_since_the_reset():
    memory.reset_peak()
    before = memory.peak()
    np.ones(50 << 20, np.uint8).sum()
    grown = memory.peak()
    assert grown - before > 45 << 20
    if memory.resident() is not None:  # Linux: elsewhere a peak is that of the whole process
        memory.reset_peak()
        assert memory.peak() < grown - (40 << 20)


GIB = 2**30
MEMINFO = f"MemTotal: 9999999 kB\nMemAvailable:   {8 * GIB // 1024} kB\n"


@pytest.mark.parametrize(
    ("groups", "files", "left"),
    [
        ("", {}, 8 * GIB),
        ("0::/job/part\n", {"job/part/memory.max": "max", "job/part/memory.current": "5"}, 8 * GIB),
        ("0::/job/part\n", {"job/memory.max": 3 * GIB, "job/memory.current": GIB}, 2 * GIB),
        (
            "0::/\n",
            {"memory.max": 3 * GIB, "memory.current": 2 * GIB, "memory.stat": f"anon 7\ninactive_file {GIB}\n"},
            2 * GIB,
        ),
        (
            "4:memory:/docker/abc\n3:cpuset:/\n",
            {"memory/memory.limit_in_bytes": 2 * GIB, "memory/memory.usage_in_bytes": GIB},
            GIB,
        ),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": 2**63 - 4096, "memory/memory.usage_in_bytes": GIB}, 8 * GIB),
        ("0::/\n", {"memory.max": GIB, "memory.current": 2 * GIB}, 0),
    ],
)
def test_available_memory_is_the_least_of_the_system_and_its_groups(tmp_path, monkeypatch, groups, files, left):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "groups")
    assert memory.available() == left


def test_a_system_that_does_not_tell_is_not_guessed_at(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PROC", tmp_path)
    assert memory.available() is None
    assert memory.resident() is None
    memory.reset_peak()
    assert memory.peak() > 1 << 20
