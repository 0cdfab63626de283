"""A target is the old file or the new one, whole; nothing is overwritten unasked; what fails says so in one line."""

import errno
import os
import resource
import stat

import numpy as np
import pytest

from psal_cli import files
from psal_cli.errors import InputError, WriteError
from psal_cli.image import Picture, read_picture, write_picture


def picture():
    return Picture(np.random.default_rng(7).integers(0, 256, (40, 64, 3), dtype=np.uint8))


def leftovers(folder):
    return [file.name for file in folder.iterdir() if file.name.startswith(".")]


def test_nothing_is_overwritten_without_force(tmp_path):
    target = tmp_path / "out.png"
    target.write_text("precious")
    with pytest.raises(InputError, match="exists: --force"):
        write_picture(picture(), target)
    assert target.read_text() == "precious"
    write_picture(picture(), target, force=True)
    assert np.array_equal(read_picture(target).pixels, picture().pixels)
    assert leftovers(tmp_path) == []


def test_a_target_that_appears_while_writing_is_not_overwritten(tmp_path, monkeypatch):
    target = tmp_path / "out.png"
    monkeypatch.setattr(os, "fsync", lambda handle: target.write_text("somebody else's"))
    with pytest.raises(InputError, match="exists"):
        write_picture(picture(), target)
    assert target.read_text() == "somebody else's" and leftovers(tmp_path) == []


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize(
    ("place", "error", "raised", "words"),
    [
        ("os.fsync", OSError(errno.ENOSPC, "No space left on device"), WriteError, "the disk is full"),
        ("os.replace", OSError(errno.EROFS, "Read-only file system"), WriteError, "read-only"),
        ("os.open", PermissionError(errno.EACCES, "Permission denied"), WriteError, "no permission"),
        ("PIL.Image.Image.save", ValueError("too large"), WriteError, "too large"),
        ("PIL.Image.Image.save", OSError("encoder error -2"), WriteError, "encoder error"),
        ("PIL.Image.Image.save", MemoryError(), MemoryError, ""),
        ("os.replace", KeyboardInterrupt(), KeyboardInterrupt, ""),
    ],
)
@pytest.mark.parametrize("existing", [True, False])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, place, error, raised, words, existing):
    target = tmp_path / "out.png"
    if existing:
        target.write_text("precious")
    with monkeypatch.context() as patched, pytest.raises(raised) as stopped:
        patched.setattr(place, failing(error))
        write_picture(picture(), target, force=True)
    assert words in str(stopped.value)
    if raised is WriteError:
        assert str(target) in str(stopped.value) and stopped.value.exit_code == 1
    assert [file.name for file in tmp_path.iterdir()] == (["out.png"] if existing else [])
    assert not existing or target.read_text() == "precious"


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp"])
@pytest.mark.parametrize("missing", [0.9, 10])
def test_a_full_disk_is_named(tmp_path, suffix, missing):
    """A limit on the file's size stops the write early or in its last bytes, as a full disk does."""
    noise = Picture(np.random.default_rng(6).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    target = tmp_path / f"out.{suffix}"
    write_picture(noise, target)
    size = target.stat().st_size
    target.unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - int(missing if missing > 1 else size * missing), before[1]))
    try:
        with pytest.raises(WriteError, match=r"cannot write .*size limit"):
            write_picture(noise, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_mode_is_kept_and_links_are_followed(tmp_path):
    real, link = tmp_path / "deep" / "real.png", tmp_path / "link.png"
    real.parent.mkdir()
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_picture(picture(), link, force=True)
    assert link.is_symlink() and np.array_equal(read_picture(real).pixels, picture().pixels)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    before = os.umask(0o027)
    try:
        write_picture(picture(), tmp_path / "new.png")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.png").stat().st_mode) == 0o640
    assert leftovers(tmp_path) == leftovers(real.parent) == []


def test_outputs_that_cannot_be_are_found_before_any_work(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    refusals = {
        tmp_path: "is a folder",
        tmp_path / "pipe.png": "no regular file",
        tmp_path / "none" / "out.png": "does not exist: create it",
        tmp_path / "pipe.png" / "out.png": "does not exist: create it",
    }
    for path, words in refusals.items():
        with pytest.raises(InputError, match=words):
            files.check_output(path, force=True)
    with pytest.raises(WriteError, match="cannot write"):
        files.check_output(tmp_path / ("x" * 300 + ".png"), force=False)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(WriteError, match="no permission to write in"):
        files.check_output(tmp_path / "out.png", force=False)
