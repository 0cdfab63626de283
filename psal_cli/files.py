"""Reading and writing files. Whether a file can be written is checked before any work; a target changes only once its content is
complete."""

import errno
import functools
import hashlib
import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import IO

from psal_cli import leftovers, storage
from psal_cli.errors import Cure, InputError, WriteError
from psal_cli.storage import Url

STDIO = Path("-")  # stdin as an input, stdout as an output
REASONS: dict[int, tuple[str, Cure | None]] = {
    errno.ENOSPC: ("the disk is full", Cure.FREE_SPACE),
    errno.EDQUOT: ("the disk quota is used up", Cure.QUOTA),
    errno.EROFS: ("the file system is read-only", Cure.ELSEWHERE),
    errno.EACCES: ("no permission", Cure.PERMISSION),
    errno.EPERM: ("no permission", Cure.PERMISSION),
    errno.EFBIG: ("the file would pass the size limit", Cure.SIZE_LIMIT),
    errno.EPIPE: ("the program that was to read it has ended", None),
    errno.ENAMETOOLONG: ("File name too long", Cure.SHORTER),
}
UNNAMED = getattr(os, "O_TMPFILE", 0)  # Linux: a file without a name, which disappears with its process
_PARTS: set[Path] = set()
_STDIN = threading.Lock()


@contextmanager
def open_input(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file for binary reading, seekable. `STDIO` is stdin, read once and kept so that it can be opened again. Raises
    OSError.

    Raises InputError where stdin is a terminal or closed.
    """
    if isinstance(path, Url):
        with storage.opened(path) as file:
            yield file
        return
    with BytesIO(_stdin()) if path == STDIO else open(path, "rb") as file:
        yield file


def _stdin() -> bytes:
    with _STDIN:  # two threads that call at once get the same bytes
        return _read_stdin()


@functools.cache
def _read_stdin() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("- reads stdin, where nothing comes from: pipe something in (< photo.jpg), or name a file")
    return sys.stdin.buffer.read()


def check_output(path: Path, force: bool) -> None:
    """Raises InputError or WriteError if `path` cannot be written, as far as can be told without writing.

    A write-protected target is refused even with `force`: somebody meant to protect it.
    """
    if path == STDIO:
        return _check_stdout()
    if isinstance(path, Url):
        with _named(path):
            if not force and path.is_file():
                raise InputError(f"{path} exists", Cure.OVERWRITE)
        return
    with _named(path):
        target = Path(os.path.realpath(path))  # a symbolic link is kept, its target is written
        _check_target(path, target, force)
        check_folder(path, target.parent)


def check_folder(path: Path, folder: Path) -> None:
    """Raises InputError or WriteError if nothing can be written in `folder`, which will hold `path` or its folder."""
    if not folder.exists():
        raise InputError(f"{path}: the folder {folder} does not exist", Cure.MAKE_FOLDER)
    if not folder.is_dir():
        raise InputError(f"{path}: {folder} is a file, where a folder is needed", Cure.OTHER_FOLDER)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _closed(path, folder)


def _closed(path: Path, folder: Path) -> WriteError:
    """Why nothing can be written in a folder, and the cure."""
    if hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY:
        return WriteError(f"{path}: {folder} is on a read-only file system", Cure.ANOTHER_PLACE)
    if hasattr(os, "geteuid") and folder.stat().st_uid != os.geteuid():
        owned = f"{folder} belongs to another user, and you have no permission to write in it"
        return WriteError(f"{path}: {owned}", Cure.ANOTHER_PLACE)
    return WriteError(f"{path}: no permission to write in {folder}", Cure.PERMISSION)


def _check_stdout() -> None:
    if sys.stdout is None:
        raise WriteError("cannot write stdout: it is closed")
    if sys.stdout.isatty():
        raise InputError("- writes the picture to stdout, which is a terminal", Cure.REDIRECT)


def _check_target(path: Path, target: Path, force: bool) -> os.stat_result | None:
    """The stat of the file that will be overwritten, None if there is none."""
    try:
        status = target.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder: name a file in it, e.g. {path / 'picture.png'}")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is not a regular file", Cure.OTHER_FILE)
    if not force:
        raise InputError(f"{path} exists", Cure.OVERWRITE)
    if not os.access(target, os.W_OK):
        raise WriteError(f"{path} is write-protected", Cure.MAKE_WRITABLE)
    return status


@contextmanager
def atomic_file(path: Path, force: bool) -> Iterator[IO[bytes]]:
    """Opens a binary file that replaces `path` when the block succeeds and disappears when it fails.

    The file is written in the target's folder, synced to disk and only then given its name, so a crash at any moment leaves
    either the old file or the new one, complete. An existing target's mode is kept, and its owner where permitted; until then the
    file is never readable by more users than the target. Symbolic links are followed. Where the system has files without a name
    (Linux, on most disks), a kill or a power cut leaves nothing behind; elsewhere the file is called `.psal-*.part` until it is
    complete, and the next process that writes into the folder removes it. `STDIO` is stdout and a URL an object; both are written
    when the block succeeds. Raises InputError if the target exists and `force` is not set, WriteError if it cannot be written.
    """
    if isinstance(path, Url):
        with _object(path, force) as file:
            yield file
        return
    check_output(path, force)
    if path == STDIO:
        with _stdout() as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    leftovers.remove(target.parent)
    part = target.parent / leftovers.name()
    _PARTS.add(part)
    try:
        with _named(path):
            handle, unnamed = _open_part(part, 0o600 if _check_target(path, target, force) else 0o666)
            with open(handle, "wb") as file:
                yield file
                file.flush()
                if old := _check_target(path, target, force):  # it may have appeared or gone in the meantime
                    _take_over(handle, old)
                os.fsync(handle)
                done = unnamed and _linked(handle, target)
                if unnamed and not done:
                    _link(handle, part)
            if not done:  # after the file is closed: Windows cannot rename an open file
                _check_target(path, target, force)
                os.replace(part, target)
    finally:
        with suppress(OSError):
            part.unlink()
        _PARTS.discard(part)
    _sync_folder(target.parent)


def _take_over(handle: int, old: os.stat_result) -> None:
    """Copies permissions from the file that is replaced, and owner and group as far as the system permits."""
    new = os.stat(handle)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) and hasattr(os, "chown"):
        for owner in (old.st_uid, -1):
            with suppress(OSError):
                os.chown(handle, owner, old.st_gid)
                break
    if os.chmod in os.supports_fd:  # not on Windows, where permissions belong to the folder
        with suppress(OSError):  # some disks and network folders have no permissions; ours are narrower
            os.chmod(handle, stat.S_IMODE(old.st_mode))


def _open_part(part: Path, mode: int) -> tuple[int, bool]:
    """Opens the file to write: (descriptor, whether it has no name yet). If it has one, that is `part`. mode: before the
    umask."""
    with suppress(OSError):  # unsupported here, or an error that the fallback will report
        handle = os.open(part.parent, os.O_WRONLY | UNNAMED, mode)
        if os.path.exists(_name_of(handle)):
            return handle, True
        os.close(handle)
    return os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), False


def _name_of(handle: int) -> str:
    return f"/proc/self/fd/{handle}"


def _link(handle: int, path: Path) -> None:
    os.link(_name_of(handle), path, src_dir_fd=handle)  # any src_dir_fd makes it linkat(), which follows /proc's link


def _linked(handle: int, path: Path) -> bool:
    """Gives an unnamed file its name. Returns False if that name exists."""
    try:
        _link(handle, path)
    except FileExistsError:
        return False
    return True


def remove_parts() -> None:
    """Removes the temporary files of all threads; for a process that is about to exit.

    Takes no lock: a signal handler would wait forever for the thread that it interrupted.
    """
    for part in list(_PARTS):
        with suppress(OSError):
            part.unlink()


@contextmanager
def _object(path: Url, force: bool) -> Iterator[IO[bytes]]:
    file = BytesIO()
    yield file
    with _named(path):
        try:
            storage.write(path, file.getvalue(), force)
        except FileExistsError as error:
            raise InputError(f"{path} exists", Cure.OVERWRITE) from error


@contextmanager
def _stdout() -> Iterator[IO[bytes]]:
    file = BytesIO()
    yield file
    try:
        with _named(STDIO):
            sys.stdout.flush()
            sys.stdout.buffer.write(file.getbuffer())
            sys.stdout.flush()
    except WriteError:
        give_up_stdout()
        raise


def give_up_stdout() -> None:
    """Redirects stdout to nowhere after a failed write, so that Python's flush at exit does not fail again."""
    with suppress(OSError, ValueError, AttributeError):  # None if the shell closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sync_folder(folder: Path) -> None:
    """Syncs a folder, so that the rename survives a power cut. Where folders cannot be synced (Windows, some network disks), only
    the content is safe."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def digest(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    if isinstance(path, Url):
        return storage.digest(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_file(source: Path, path: Path, force: bool) -> None:
    """Copies a file byte for byte, atomically. Raises what `atomic_file` raises."""
    with open_input(source) as original, atomic_file(path, force) as copy:
        while block := original.read(1 << 20):
            copy.write(block)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns OSErrors into one line about `path`."""
    try:
        yield
    except OSError as error:
        raise unwritten(path, error) from error


def unwritten(path: Path, error: OSError) -> WriteError:
    """An OSError as one line about `path`."""
    number = error.errno
    if number is None and "requested and" in str(error):  # how numpy reports a full disk
        number = errno.ENOSPC
    reason, cure = REASONS.get(number or 0, (error.strerror or str(error), None))
    return WriteError(f"cannot write {'stdout' if path == STDIO else path}: {reason}", cure)
