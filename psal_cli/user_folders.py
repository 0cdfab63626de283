"""Where the system keeps a user's files of psal. The folders need not exist; RuntimeError where the user has no home."""

import os
import sys
from pathlib import Path


def data_folder() -> Path:
    """What the user put there."""
    return _folder("XDG_DATA_HOME", ".local/share", "Application Support")


def state_folder() -> Path:
    """What goes on from one run to the next."""
    return _folder("XDG_STATE_HOME", ".local/state", "Application Support")


def cache_folder() -> Path:
    """What can be made again."""
    return _folder("XDG_CACHE_HOME", ".cache", "Caches")


def _folder(variable: str, linux: str, macos: str) -> Path:
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / macos
    else:
        base = Path(os.environ.get(variable) or Path.home() / linux)
    return base / "psal"
