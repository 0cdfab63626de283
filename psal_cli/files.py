"""Output files: what can be written is found out before any work, and a target changes only when its content is whole."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from psal_cli.errors import InputError, WriteError

CURES = {
    errno.ENOSPC: "the disk is full: free space, or write to another disk with -o",
    errno.EDQUOT: "the disk quota is used up: free space, or write elsewhere with -o",
    errno.EROFS: "the file system is read-only: write elsewhere with -o",
    errno.EACCES: "no permission: change it, or write to another folder with -o",
    errno.EPERM: "no permission: change it, or write to another folder with -o",
    errno.EFBIG: "the file would pass the size limit: raise it, or write elsewhere with -o",
}


def check_output(path: Path, force: bool) -> None:
    """Raises InputError or WriteError when `path` could not be written, as far as can be seen without writing."""
    with _named(path):
        target = Path(os.path.realpath(path))  # a link stays, what it points to is written
        _check_target(path, target, force)
        folder = target.parent
        if not folder.is_dir():
            raise InputError(f"{path}: the folder {folder} does not exist: create it, or give another with -o")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise WriteError(f"{path}: no permission to write in {folder}: change it, or write to another folder with -o")


def _check_target(path: Path, target: Path, force: bool) -> None:
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder: name a file in it, e.g. {path / 'picture.png'}")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is no regular file: name another with -o")
    if not force:
        raise InputError(f"{path} exists: --force to overwrite it, or name another with -o")


@contextmanager
def atomic_file(path: Path, force: bool) -> Iterator[IO[bytes]]:
    """A binary file to write, which takes the place of `path` when the block ends well and vanishes when it does not.

    Written beside the target, synced to the disk and then renamed over it, so that a crash at any moment leaves the old
    file or the new one, whole. Keeps an existing target's mode; follows a symbolic link. Raises InputError when the
    target exists without `force`, WriteError when it cannot be written.
    """
    check_output(path, force)
    target = Path(os.path.realpath(path))
    part = target.parent / f".psal-{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        with _named(path):
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:  # 0o666 less the umask
                yield file
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                os.chmod(part, stat.S_IMODE(target.stat().st_mode))
            _check_target(path, target, force)  # it may have appeared since
            os.replace(part, target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself last. Where folders cannot be synced (Windows, some network disks), the content still is."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def copy_file(source: Path, path: Path, force: bool) -> None:
    """Copies a file byte for byte, atomically. Raises what `atomic_file` raises."""
    with open(source, "rb") as original, atomic_file(path, force) as copy:
        while block := original.read(1 << 20):
            copy.write(block)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns the system's errors into one line about `path`."""
    try:
        yield
    except OSError as error:
        cure = CURES.get(error.errno, error.strerror or str(error))
        raise WriteError(f"cannot write {path}: {cure}") from error
