"""The programs that damage files and kill batches see what they are made to see."""

import hashlib

import numpy as np
import pytest

from psal_cli import image
from psal_cli.errors import InputError
from psal_cli.image import Picture

from .raw_files import png_file


def test_what_a_kill_must_not_leave_is_seen(load):
    kill_files = load("kill_files")
    old, expected = hashlib.sha256(kill_files.OLD).hexdigest(), {"a.png": "1", "b.png": "2"}
    for mode, digests, words in (
        ("unnamed", {"a.png": "1"}, []),
        ("unnamed", {"a.png": "1", ".psal-1-ab.part": "3"}, ["left behind: .psal-1-ab.part"]),
        ("named", {"a.png": "1", ".psal-1-ab.part": "3"}, []),
        ("named", {"a.png": "3"}, ["half-written or different: a.png"]),
        ("named", {"a.png": old}, ["half-written or different: a.png"]),
        ("named", {"a.png.tmp": "1"}, ["a foreign file: a.png.tmp"]),
        ("over", {"a.png": old, "b.png": "2"}, []),
        ("over", {"a.png": "1"}, ["lost: b.png"]),
    ):
        assert kill_files.check(digests, expected, mode)[2] == words


@pytest.mark.parametrize(
    ("name", "lie", "words"),
    [
        ("read_picture", lambda path, **_: Picture(np.zeros((8, 9, 3), np.uint8)), "read_header says"),
        ("read_picture", lambda path, **_: 1 / 0, "ZeroDivisionError"),
        (
            "read_header",
            lambda path, **_: (_ for _ in ()).throw(InputError(f"{path}\nis bad")),
            "does not name the file on one line",
        ),
        ("read_region", lambda path, size, **_: path.with_name("left").touch(), "left behind: {'left'}"),
        ("write_picture", lambda picture, path, **_: path.write_bytes(b"?"), "is not read as such"),
    ],
)
def test_what_damage_must_not_do_is_seen(load, tmp_path, monkeypatch, name, lie, words):
    fuzz_work = load("fuzz_work")
    case = fuzz_work.Case("in.png", png_file(np.zeros((8, 8, 3), np.uint8)), "", "picture", ".png")
    failures = []
    assert fuzz_work.in_library(case, tmp_path, failures) == "read" and failures == []
    monkeypatch.setattr(image, name, lie)
    (tmp_path / "again.png").unlink()
    fuzz_work.in_library(case, tmp_path, failures)
    assert any(words in failure for failure in failures)
