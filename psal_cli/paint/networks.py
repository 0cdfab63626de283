"""The networks in the user's model folder, for the page to choose from."""

import json
import subprocess
import sys
import threading

from psal_cli.errors import InputError
from psal_cli.foreign import folder

PATIENCE = 300  # seconds
COMMAND = (sys.executable, "-P", "-m", "psal_cli", "models", "--json")


class Networks:
    """The networks as `psal models` lists them. That runs as a separate process, so that no network stays in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cache: dict[tuple[tuple[str, int, int], ...], list[dict[str, object]]] = {}  # by the state of the files

    def known(self) -> list[dict[str, object]]:
        """Name, task, architecture, scale and problem of each network, usable or not. The list is read again when a file changes.

        Raises:
            InputError: the command failed.
        """
        with self._lock:
            files = [(path, path.stat()) for path in folder.listed()]
            now = tuple((str(path), facts.st_mtime_ns, facts.st_size) for path, facts in files)
            if now not in self._cache:
                self._cache = {now: _listed() if files else []}
            return self._cache[now]


def _listed() -> list[dict[str, object]]:
    try:
        done = subprocess.run(COMMAND, capture_output=True, check=True, timeout=PATIENCE)
        entries = [json.loads(line) for line in done.stdout.splitlines()]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InputError(f"the model folder cannot be read: {error}") from error
    wanted = ("name", "task", "architecture", "scale", "problem")
    return [{name: entry[name] for name in wanted} for entry in entries if not entry["ships"]]
