"""Removes temporary files of killed processes, on systems where every file needs a name."""

import functools
import hashlib
import os
import re
import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path

PART = re.compile(r"\.psal-(\d+)-([0-9a-f]{8})-[0-9a-f]{8}\.part")  # one name per process and boot
STALE = 86_400  # seconds; no file takes a day to write
_SWEPT: set[Path] = set()


def name() -> str:
    """A name for a temporary file that no other process uses."""
    return f".psal-{os.getpid()}-{_system()}-{secrets.token_hex(4)}.part"


@functools.cache
def _system() -> str:
    """Eight hex digits shared by processes that see each other's process ids: one boot of one system (or container)."""
    identity = [socket.gethostname()]
    with suppress(OSError):
        identity.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with suppress(OSError):
        identity.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\0".join(identity).encode()).hexdigest()[:8]


def remove(folder: Path) -> None:
    """Removes what killed processes left in a folder. Each folder is searched once."""
    if folder in _SWEPT:
        return
    _SWEPT.add(folder)
    with suppress(OSError):
        for part in os.listdir(folder):
            if (match := PART.fullmatch(part)) and _is_left_over(folder / part, int(match[1]), match[2]):
                with suppress(OSError):
                    (folder / part).unlink()


def _is_left_over(part: Path, process: int, system: str) -> bool:
    """Whether a temporary file is abandoned: its process has ended, or it belongs to another system and is a day old."""
    if system == _system() and os.name == "posix":  # on Windows, os.kill(pid, 0) would end the process
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
