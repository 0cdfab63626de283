"""The state folder. For each picture it keeps a journal of strokes and the changes of runs until the picture is saved and
closed, so that a crash of browser or server loses nothing."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from psal_cli import user_folders
from psal_cli.errors import InputError
from psal_cli.paint.document import Event

JOURNAL = "journal.jsonl"
STALE = 30 * 86400  # seconds after which abandoned state is removed


def state_folder() -> Path:
    """The user's state folder, by the system's conventions."""
    return user_folders.state_folder() / "paint"


def remove_stale(folder: Path) -> None:
    """Removes the states of pictures that were not edited for a month."""
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                if time.time() - (path / JOURNAL).stat().st_mtime > STALE:
                    shutil.rmtree(path)


class State:
    """The state of one picture. Only one process may open it at a time."""

    def __init__(self, folder: Path, picture: Path):
        """folder: the folder of all states. Raises InputError if another process has it open or it cannot be written."""
        status = picture.stat()
        name = f"{picture.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"  # changed content makes it another picture
        self.folder = folder / hashlib.sha256(os.fsencode(name)).hexdigest()[:24]
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.file = open(self.folder / JOURNAL, "a+b")  # noqa: SIM115  # open until `close`
        except OSError as error:
            raise InputError(f"{self.folder}: strokes cannot be kept there: {error.strerror}") from error
        if not _locked(self.file):
            self.file.close()
            raise InputError(f"{picture} is open in another psal paint: close it there first")

    def events(self) -> Iterator[tuple[Event, int]]:
        """The events of the journal up to the first damaged line, each with the file position of its end."""
        self.file.seek(0)
        end = 0
        for line in self.file:
            end += len(line)
            try:
                event = json.loads(line)
            except ValueError:
                return
            if not isinstance(event, dict) or not line.endswith(b"\n"):
                return
            yield event, end

    def cut(self, end: int) -> None:
        """Cuts the journal off at a file position."""
        self.file.truncate(end)

    def note(self, event: Event) -> None:
        """Appends an event. After this returns, a crash of the process does not lose it."""
        self.file.write(json.dumps(event).encode() + b"\n")
        self.file.flush()

    def begin_anew(self) -> None:
        """Deletes all events and changes."""
        self.cut(0)
        for path in self.folder.glob("*.np[yz]"):
            path.unlink(missing_ok=True)

    def close(self, keep: bool) -> None:
        """keep: whether to leave the state on the disk for the next session."""
        self.file.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def _locked(file: IO[bytes]) -> bool:
    """Locks a file if no other process has; the system releases the lock when this process ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
