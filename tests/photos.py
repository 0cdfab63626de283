"""Batches of small pictures that the tests of the command share, and psal as a shell sees it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner

import psal_cli
from psal_cli import files
from psal_cli.commands import main

ENV = os.environ | {"PYTHONPATH": str(Path(psal_cli.__file__).parent.parent)}
SIZE = (40, 30)  # width, height


def psal(*args, stdin=None):
    files._read_stdin.cache_clear()
    return CliRunner().invoke(main, [str(arg) for arg in args], input=stdin)


def process(*args, **options):
    """psal as a process of its own; stdin, stdout and stderr as given to Popen."""
    command = [sys.executable, "-P", "-c", "from psal_cli.commands import main; main()", *map(str, args)]
    return subprocess.Popen(command, env=ENV, **options)


def texture(number):
    rows, columns = np.indices(SIZE[::-1])
    return np.stack([rows % 5 * 40, (columns + number) % 7 * 30, (rows + columns) % 3 * (number % 8) * 10], 2).astype(np.uint8)


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}
