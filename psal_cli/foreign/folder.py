"""The user's model folder, where networks are found by name."""

import os
from collections.abc import Iterator
from pathlib import Path

from psal_cli.errors import InputError
from psal_cli.user_folders import data_folder

VARIABLE = "PSAL_MODELS"  # further folders, separated as in PATH; they come first
SUFFIXES = (".safetensors", ".pth", ".pt", ".onnx")


def own_folder() -> Path:
    """The model folder in the platform's place for user data; it need not exist."""
    return data_folder() / "models"


def folders() -> list[Path]:
    """The folders in which networks are looked up, in order."""
    named = [Path(text).expanduser() for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    try:
        return [*named, own_folder()]
    except RuntimeError:  # there is no home folder
        return named


def listed() -> Iterator[Path]:
    """The network files of all folders, by extension; of files with the same name only the first, which `find` returns."""
    seen = set[str]()
    for folder in folders():
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
        except OSError:
            continue
        for path in paths:
            if path.name not in seen:
                seen.add(path.name)
                yield path


def find(name: str) -> Path:
    """The file that a name stands for: a path that exists, or else a file of that name or stem in the folders.

    Raises InputError if there is none.
    """
    path = Path(name)
    if path.exists():
        return path
    if len(path.parts) != 1:
        raise InputError(f"{name}: no such file")
    return named(name)


def named(name: str) -> Path:
    """The file of that name, or that stem, in the folders, whatever lies where psal runs: for names that a file or a page gave.

    Raises InputError where there is none.
    """
    entries = list(listed())
    same = [x for x in entries if x.name == name] or [x for x in entries if x.stem == name]
    if not same:
        raise InputError(f"{name}: no such file, and none of that name in the model folder: `psal models` lists what there is")
    return same[0]
