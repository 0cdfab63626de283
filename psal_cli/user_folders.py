"""The user's folders for psal, where the system wants them. They need not exist. RuntimeError if the user has no home folder."""

import os
import sys
from pathlib import Path


def data_folder() -> Path:
    """For files that the user puts there, such as models."""
    return _folder("XDG_DATA_HOME", ".local/share", "Application Support")


def state_folder() -> Path:
    """For state that is kept between runs."""
    return _folder("XDG_STATE_HOME", ".local/state", "Application Support")


def cache_folder() -> Path:
    """For what can be recomputed."""
    return _folder("XDG_CACHE_HOME", ".cache", "Caches")


def _folder(variable: str, linux: str, macos: str) -> Path:
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / macos
    else:
        base = Path(os.environ.get(variable) or Path.home() / linux)
    return base / "psal"
