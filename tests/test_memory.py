"""What psal knows of memory: sizes as users write them, what is left, what it has held."""

import subprocess
import sys

import pytest

from psal_cli import memory
from psal_cli.errors import InputError, is_out_of_memory


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


@pytest.mark.subprocess
def test_the_peak_is_what_was_held_since_the_reset():
    program = """
import numpy as np
from psal_cli import memory
before = memory.peak()
np.ones(50 << 20, np.uint8).sum()
grown = memory.peak()
memory.reset_peak()
print(before, grown, memory.peak(), memory.resident() is not None)
"""  # in a process of its own: in this one, what earlier tests freed may serve again, and no peak grows
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    before, grown, reset = map(int, told[:3])
    assert grown - before > 45 << 20
    if told[3] == "True":  # Linux: elsewhere a peak is that of the whole process
        assert reset < grown - (40 << 20)


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


STARVED = """
import resource
import cv2, numpy as np, torch
from psal_cli import memory, ops
from psal_cli.errors import is_out_of_memory
from psal_cli import inpaint
from psal_cli.verbs.inpaint import memory_model

torch.set_num_threads(2)
memory_model.baseline()
image = np.random.default_rng(0).random((1200, 1600, 3), np.float32)
mask = np.zeros((1200, 1600), bool)
mask[100:103, 100:300] = True
key = torch.rand(1, 64, 400, 400).contiguous(memory_format=torch.channels_last)  # 41 MB, which an exact search copies
squares = np.zeros((3000, 3000), np.uint8)
squares[::2, ::2] = 1

def attempt(run, room):
    size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + room, resource.RLIM_INFINITY))
    try:
        run()
        return "done"
    except BaseException as error:
        return "refused" if is_out_of_memory(error) else repr(error)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)

for run, rooms in (
    (lambda: inpaint(image, mask), (3, 8, 30)),
    (lambda: ops.search(key[:, :, :3, :3], key, 3, 1, schedule='exact'), (10, 30)),
    (lambda: cv2.connectedComponentsWithStats(squares, connectivity=8), (10, 38)),
):
    print(*(attempt(run, room << 20) for room in (*rooms, 1000)), sep="\\n")
    print("next")
"""


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (ValueError("Pixel allocation failed: Out of memory"), True),  # libavif
        (ValueError("encoding error 1"), True),  # libwebp
        (ValueError("encoding error 10"), False),
        (OSError("broken data stream"), False),
        (KeyError("out of memory"), False),
    ],
)
def test_decoders_that_lack_memory_are_known_from_damage(error, short):
    assert is_out_of_memory(error) == short


@pytest.mark.subprocess
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process may allocate")
def test_a_want_of_memory_is_always_an_error_that_is_recognised():
    done = subprocess.run([sys.executable, "-P", "-c", STARVED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for outcomes in done.stdout.split("next\n")[:-1]:
        first, *_, last = outcomes.splitlines()
        assert (first, last) == ("refused", "done")
        assert set(outcomes.splitlines()) == {"refused", "done"}
