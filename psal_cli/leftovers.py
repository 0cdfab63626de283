"""What a killed process left where files cannot be written without a name: the next process in that folder removes it."""

import functools
import hashlib
import os
import re
import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path

PART = re.compile(r"\.psal-(\d+)-([0-9a-f]{8})-[0-9a-f]{8}\.part")  # of a process on a system since it was started
STALE = 86_400  # seconds: no file takes a day to write
_SWEPT: set[Path] = set()


def name() -> str:
    """Of a file that this process writes: nobody else has it."""
    return f".psal-{os.getpid()}-{_system()}-{secrets.token_hex(4)}.part"


@functools.cache
def _system() -> str:
    """Eight digits that are the same for processes that see each other's numbers: of one system, since it was started."""
    identity = [socket.gethostname()]
    with suppress(OSError):
        identity.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with suppress(OSError):
        identity.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\0".join(identity).encode()).hexdigest()[:8]


def remove(folder: Path) -> None:
    """Removes what processes that were killed left in a folder; looks into each folder once."""
    if folder in _SWEPT:
        return
    _SWEPT.add(folder)
    with suppress(OSError):
        for part in os.listdir(folder):
            if (match := PART.fullmatch(part)) and _is_left_over(folder / part, int(match[1]), match[2]):
                with suppress(OSError):
                    (folder / part).unlink()


def _is_left_over(part: Path, process: int, system: str) -> bool:
    """Whether nobody writes a file any more: its process has ended, or it is one of another system and a day old."""
    if system == _system() and os.name == "posix":  # on Windows, to ask after a process is to end it
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return False
    with suppress(OSError):
        return time.time() - part.stat().st_mtime > STALE
    return False
