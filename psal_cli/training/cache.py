"""Caches data that take minutes to prepare, so that a run resumes at once."""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch

Made = TypeVar("Made")


def cached(folder: Path | None, name: str, files: Iterable[Path], settings: object, make: Callable[[], Made]) -> Made:
    """The result of `make` (tensors in lists, tuples and dicts), cached in the folder, if any, until files or settings change.

    Args:
        name: of the file. files: its sources; a change of a name or size invalidates it.
        settings: everything else that it depends on, compared by `repr`.
    """
    if folder is None:
        return make()
    known = repr([settings, [(path.name, path.stat().st_size) for path in files]])
    path = folder / f"{name}-{hashlib.sha256(known.encode()).hexdigest()[:12]}.pt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(make(), part := path.with_suffix(".part"))
        os.replace(part, path)
    made: Made = torch.load(path, weights_only=True, mmap=True)
    return made
