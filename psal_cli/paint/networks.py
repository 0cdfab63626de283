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
    """What `psal models` says of them. It runs as a process of its own, as it loads each: the server keeps the memory of none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[tuple[str, int, int], ...], list[dict[str, object]]] = {}

    def known(self) -> list[dict[str, object]]:
        """name, task, architecture, scale and problem of each, those that cannot be used too; asked anew once a file has changed.

        Raises:
            InputError: the command failed.
        """
        with self._lock:
            files = [(path, path.stat()) for path in folder.listed()]
            now = tuple((str(path), facts.st_mtime_ns, facts.st_size) for path, facts in files)
            if now not in self._found:
                self._found = {now: _asked() if files else []}
            return self._found[now]


def _asked() -> list[dict[str, object]]:
    try:
        done = subprocess.run(COMMAND, capture_output=True, check=True, timeout=PATIENCE)
        entries = [json.loads(line) for line in done.stdout.splitlines()]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InputError(f"the model folder cannot be read: {error}") from error
    wanted = ("name", "task", "architecture", "scale", "problem")
    return [{name: entry[name] for name in wanted} for entry in entries if not entry["ships"]]
