"""A target is the old file or the new one, whole; nothing is overwritten unasked; what fails says so in one line."""

import errno
import os
import resource
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from psal_cli import files
from psal_cli.errors import InputError, WriteError
from psal_cli.image import Picture, read_picture, write_picture


@pytest.fixture(autouse=True, params=["unnamed", "named"])
def naming(request, monkeypatch):
    """Every test runs with files that have no name while they are written, and as on a system that has none of those."""
    if request.param == "named":
        monkeypatch.setattr(files, "UNNAMED", 0)
    return request.param


@pytest.fixture
def common_folder():
    """A folder as a user without privileges sees it: they are given up until the test ends."""
    with tempfile.TemporaryDirectory() as folder:
        users = os.getresuid()
        if users[0] == 0:
            os.chown(folder, 65534, -1)
            os.setresuid(65534, 65534, 0)
        try:
            yield Path(folder)
        finally:
            os.setresuid(*users)


def picture():
    return Picture(np.random.default_rng(7).integers(0, 256, (40, 64, 3), dtype=np.uint8))


def leftovers(folder):
    return [file.name for file in folder.iterdir() if file.name.startswith(".")]


def test_nothing_is_overwritten_without_force(tmp_path):
    target = tmp_path / "out.png"
    target.write_text("precious")
    with pytest.raises(InputError, match="exists: allow to overwrite it"):
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


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize(
    ("place", "error", "raised", "words"),
    [
        ("os.fsync", OSError(errno.ENOSPC, "No space left on device"), WriteError, "the disk is full"),
        ("os.replace", OSError(errno.EROFS, "Read-only file system"), WriteError, "read-only"),
        ("os.open", PermissionError(errno.EACCES, "Permission denied"), WriteError, "no permission"),
        ("psal_cli.image.writing.write_png", ValueError("too large"), WriteError, "too large"),
        ("psal_cli.image.writing.write_png", OSError("encoder error -2"), WriteError, "encoder error"),
        ("psal_cli.image.writing.write_png", MemoryError(), MemoryError, ""),
        ("os.replace", KeyboardInterrupt(), KeyboardInterrupt, ""),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, naming, place, error, raised, words, existing
):
    if place == "os.replace" and naming == "unnamed" and not existing:
        place = "os.link"  # then that alone gives it its name
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
        tmp_path / "pipe.png": "not a regular file",
        tmp_path / "none" / "out.png": "does not exist: create it",
        tmp_path / "pipe.png" / "out.png": "pipe.png is a file, where a folder is needed",
    }
    for path, words in refusals.items():
        with pytest.raises(InputError, match=words):
            files.check_output(path, force=True)
    with pytest.raises(WriteError, match="cannot write"):
        files.check_output(tmp_path / ("x" * 300 + ".png"), force=False)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(WriteError, match="no permission to write in"):
        files.check_output(tmp_path / "out.png", force=False)


def test_what_is_being_written_is_seen_only_where_it_must_have_a_name(tmp_path, monkeypatch, naming):
    class Killed(BaseException):
        pass

    def write(name):
        with files.atomic_file(tmp_path / name, force=False) as file:
            file.write(b"half")
            shown = leftovers(tmp_path)
            files.remove_parts()  # before a process ends at once
            assert list(tmp_path.iterdir()) == []
            raise Killed(shown)

    with pytest.raises(Killed) as killed:
        write("a.png")
    assert len(killed.value.args[0]) == (naming == "named")
    monkeypatch.setattr(files, "_name_of", lambda handle: str(tmp_path / "no /proc here"))
    with pytest.raises(Killed) as killed:
        write("b.png")
    assert len(killed.value.args[0]) == 1


KILLED = """
import os, sys
from pathlib import Path
from psal_cli import files
for place in sys.argv[3:]:
    def die(*_, **__): os.kill(os.getpid(), 9)
    setattr(os, place, die)
if sys.argv[2] == "named":
    files.UNNAMED = 0
with files.atomic_file(Path(sys.argv[1]), force=True) as file:
    file.write(b"new" * 100_000)
    file.flush()
"""


@pytest.mark.subprocess
@pytest.mark.parametrize("place", ["fsync", "link", "replace"])
@pytest.mark.parametrize("existing", [True, False])
def test_a_kill_at_any_moment_leaves_the_old_file_whole(tmp_path, naming, place, existing):
    target = tmp_path / "out.png"
    if existing:
        target.write_text("precious")
    run = subprocess.run([sys.executable, "-P", "-c", KILLED, target, naming, place])
    replaced = place == "replace" and not existing and naming == "unnamed"  # linked alone, which is no replacing
    untouched = place == "link" and naming == "named"
    assert run.returncode == (0 if replaced or untouched else -9)
    if run.returncode == 0:
        assert target.read_bytes() == b"new" * 100_000 and leftovers(tmp_path) == []
    else:
        assert not existing or target.read_text() == "precious"
        assert len(leftovers(tmp_path)) == (naming == "named" or place == "replace")


def test_the_content_and_then_the_name_are_synced(tmp_path, monkeypatch):
    """A power cut leaves the old file or the new one."""
    synced, sync = [], os.fsync

    def seen(handle):
        synced.append((stat.S_ISDIR(os.fstat(handle).st_mode), os.fstat(handle).st_size, (tmp_path / "out").exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", seen)
    with files.atomic_file(tmp_path / "out", force=False) as file:
        file.write(b"all of it")
    (content, size, named), (folder, _, renamed) = synced
    assert (content, size, named) == (False, 9, False) and folder and renamed


def test_a_large_file_is_copied_whole(tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "in.jpg").write_bytes(content)
    files.copy_file(tmp_path / "in.jpg", tmp_path / "out.jpg", force=False)
    assert (tmp_path / "out.jpg").read_bytes() == content


def test_a_disk_without_unnamed_files_costs_no_descriptors(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_name_of", lambda handle: str(tmp_path / "no /proc here"))
    before = os.dup(1)
    os.close(before)
    for number in range(3):
        with files.atomic_file(tmp_path / f"{number}", force=False) as file:
            file.write(b"whole")
    after = os.dup(1)
    os.close(after)
    assert after == before and sorted(os.listdir(tmp_path)) == ["0", "1", "2"]


def test_threads_that_read_stdin_at_once_get_the_same(monkeypatch):
    class Slow:
        left = b"a mask"
        buffer = property(lambda self: self)

        def isatty(self):
            return False

        def read(self):
            time.sleep(0.1)
            content, self.left = self.left, b""
            return content

    monkeypatch.setattr(sys, "stdin", Slow())
    files._read_stdin.cache_clear()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: files._stdin(), range(2))) == [b"a mask"] * 2
    files._read_stdin.cache_clear()


def test_a_target_that_vanishes_is_written_all_the_same(tmp_path):
    target = tmp_path / "out.png"
    target.write_text("old")
    with files.atomic_file(target, force=True) as file:
        file.write(b"new")
        target.unlink()
    assert target.read_bytes() == b"new" and leftovers(tmp_path) == []


@pytest.mark.parametrize("name", [b"x" * 251 + b".png", b"caf\xe9.png", "größe 日本.png".encode(), b"-n\n .png"])
def test_any_name_the_disk_takes_is_written(tmp_path, name):
    target = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    for force in (False, True):
        write_picture(picture(), target, force=force)
        assert np.array_equal(read_picture(target).pixels, picture().pixels)
    assert os.listdir(os.fsencode(tmp_path)) == [name]


def test_a_link_to_nowhere_is_written_through(tmp_path):
    (tmp_path / "there").mkdir()
    link, real = tmp_path / "link.png", tmp_path / "there" / "real.png"
    link.symlink_to(real)
    write_picture(picture(), link)
    assert link.is_symlink() and np.array_equal(read_picture(real).pixels, picture().pixels)
    (tmp_path / "round.png").symlink_to("round.png")
    with pytest.raises(WriteError, match=r"cannot write .*round\.png: Too many levels of symbolic links"):
        files.check_output(tmp_path / "round.png", force=True)


def test_without_permission_nothing_is_replaced(common_folder):
    kept = common_folder / "kept.png"
    kept.write_text("precious")
    kept.chmod(0o444)
    with pytest.raises(WriteError, match=r"kept\.png is write-protected: make it writable"):
        write_picture(picture(), kept, force=True)
    kept.chmod(0o644)
    common_folder.chmod(0o555)
    for path in (kept, common_folder / "new.png"):
        with pytest.raises(WriteError, match=f"{path.name}: no permission to write in {common_folder}"):
            write_picture(picture(), path, force=True)
    assert kept.read_text() == "precious" and [file.name for file in common_folder.iterdir()] == ["kept.png"]
    common_folder.chmod(0o300)  # a drop box: files may be put into it, not listed
    write_picture(picture(), common_folder / "new.png")
    common_folder.chmod(0o700)
    assert sorted(file.name for file in common_folder.iterdir()) == ["kept.png", "new.png"]


PIPED = """
import sys
from psal_cli import files
from psal_cli.errors import PsalError
try:
    for _ in range(2):
        with files.open_input(files.STDIO) as file:
            file.seek(3)
            content = file.read()
    with files.atomic_file(files.STDIO, force=False) as file:
        file.write(content[1:])
        file.seek(0)
        file.write(content[:1])
        if content == b"stop":
            raise KeyError
    if "copy" in sys.argv:
        files.copy_file(files.STDIO, files.STDIO, force=False)
except (PsalError, KeyError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def piped(content, *options, **arguments):
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}  # as users run it
    command = [sys.executable, "-P", "-c", PIPED, *options]
    return subprocess.run(command, input=content, stderr=subprocess.PIPE, env=buffered, **arguments)


@pytest.mark.subprocess
def test_stdin_is_read_once_and_stdout_written_whole_or_not_at_all():
    run = piped(b"123abcdef" * 50_000, "copy", stdout=subprocess.PIPE)
    expected = bytearray((b"123abcdef" * 50_000)[4:])
    expected[:1] = b"a"
    assert (run.stdout, run.stderr, run.returncode) == (expected + b"123abcdef" * 50_000, b"", 0)
    run = piped(b"123stop", stdout=subprocess.PIPE)
    assert (run.stdout, run.stderr.decode()) == (b"", "KeyError: \n")


@pytest.mark.subprocess
@pytest.mark.parametrize("size", [1, 1_000_000])
def test_a_stdout_that_takes_no_more_costs_one_line(size):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as ended, open("/dev/full", "wb") as full:
        for stdout, words in ((ended, "the program that was to read it has ended"), (full, "the disk is full")):
            run = piped(b"0123456789" * size, stdout=stdout)
            assert run.returncode == 1
            assert run.stderr.decode().startswith(f"WriteError: cannot write stdout: {words}")
            assert run.stderr.count(b"\n") == 1


def test_a_terminal_is_no_picture(monkeypatch):
    class Terminal:
        def isatty(self):
            return True

    for terminal in (Terminal(), None):
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(sys, "stdout", terminal)
        with pytest.raises(InputError, match="where nothing comes from: pipe something in"), files.open_input(files.STDIO):
            pass
        with pytest.raises((InputError, WriteError), match=r"stdout.*(is a terminal: redirect it|is closed)"):
            files.check_output(files.STDIO, force=True)


@pytest.mark.subprocess
def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path, monkeypatch):
    """On file systems without files that have no name."""
    monkeypatch.setattr("psal_cli.leftovers._SWEPT", set())
    program = (
        "import os, signal, sys; from pathlib import Path; from psal_cli import files; files.UNNAMED = 0\n"
        "with files.atomic_file(Path(sys.argv[1]), False) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    run = subprocess.run([sys.executable, "-P", "-c", program, str(tmp_path / "out.png")], check=False)
    assert run.returncode == -9
    [left] = leftovers(tmp_path)
    pid, system = left.split("-")[1:3]
    names = {
        "running": f".psal-{os.getpid()}-{system}-00000001.part",
        "elsewhere": f".psal-{pid}-0123abcd-00000002.part",
        "old": f".psal-{os.getpid()}-0123abcd-00000003.part",
        "foreign": ".psal-notes.part",
    }
    for name in names.values():
        (tmp_path / name).touch()
    os.utime(tmp_path / names["old"], (1e9, 1e9))
    write_picture(picture(), tmp_path / "out.png")
    assert sorted(leftovers(tmp_path)) == sorted(names[name] for name in ("running", "elsewhere", "foreign"))


def test_a_file_is_never_wider_open_than_what_it_replaces(tmp_path):
    target = tmp_path / "out.png"
    target.touch()
    target.chmod(0o600)
    with files.atomic_file(target, True) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    target.chmod(0o640)
    with files.atomic_file(target, True) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    before = os.umask(0o027)
    try:
        with files.atomic_file(tmp_path / "new.png", False) as file:
            assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o640
    finally:
        os.umask(before)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_the_owner_of_what_is_overwritten_stays(tmp_path):
    target, other = tmp_path / "out.png", tmp_path / "other.png"
    target.touch()
    os.link(target, other)
    os.chown(target, 65534, 65534)
    write_picture(picture(), target, force=True)
    assert (target.stat().st_uid, target.stat().st_gid) == (65534, 65534)
    assert other.read_bytes() == b""  # the other name keeps the old file


def test_a_name_that_is_too_long_has_a_cure(tmp_path):
    with pytest.raises(WriteError, match="File name too long: use a shorter name"):
        write_picture(picture(), tmp_path / ("x" * 300 + ".png"))


def test_a_disk_that_is_full_has_a_cure_for_arrays_too(tmp_path):
    full = files.unwritten(tmp_path / "field.npy", OSError("9000 requested and 4096 written"))
    assert "the disk is full: free space" in str(full)


def test_where_permissions_cannot_be_changed_a_file_is_still_overwritten(tmp_path, monkeypatch):
    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    target.chmod(0o640)

    def chmod(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "chmod", chmod)
    with files.atomic_file(target, force=True) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new" and target.stat().st_mode & 0o077 == 0
