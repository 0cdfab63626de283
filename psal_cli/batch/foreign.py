"""Finds, before any work, results that links would lead out of the folder that the user named."""

import functools
import os
from collections.abc import Mapping
from pathlib import Path

from psal_cli.batch.inputs import Item, as_path, is_stdio
from psal_cli.batch.places import Places
from psal_cli.errors import Cure, InputError
from psal_cli.storage import Url


def check_own_places(items: list[Item], wanted: Mapping[str, str | None]) -> None:
    """Refuses results that a symbolic link would lead to a folder that the user has not named. A file named by the user is
    allowed.

    wanted: as for `plan.place`. Raises InputError.
    """
    places, named_by = Places(), functools.cache(as_path)
    is_foreign, real = functools.cache(_foreign_link), functools.cache(os.path.realpath)
    for item in items:
        for option, path in item.outputs.items():
            text = wanted.get(option)
            if item.skipped or item.problem or is_stdio(path) or isinstance(path, Url):
                continue
            if text is not None and str(path) == str(named_by(text)):
                continue
            if text is None and (link := is_foreign(path.parent, item.input.parents[len(item.tree.parts) - 1])):
                leads = f"{path}: {link} is a link to {os.path.realpath(link)}"
                suffix = path.stem.removeprefix(item.tree.stem).removesuffix(item.mark)
                raise InputError(leads, Cure.NAME_LINK, f"{path.parent}{os.sep}", suffix)
            named = path.parent if text is None else named_by(text)
            if not _is_inside(places.spot(path), real(str(named))):
                leads = f"{path} leads to {places.spot(path)}, outside of {named}"
                raise InputError(leads, Cure.REMOVE_LINK)


def _foreign_link(folder: Path, named: Path) -> Path | None:
    """The first link on the way to a folder that leads out of the folder it lies in. The way begins at the working directory, or
    for a folder elsewhere at `named`, which the user gave: above it links are the system's affair."""
    here = Path.cwd()
    path = Path(os.path.abspath(folder))  # without links resolved
    start = here if path.is_relative_to(here) else Path(os.path.abspath(named)).parent
    if not path.is_relative_to(start):  # a file straight in the root, or a way that `..` leads out of
        return None
    parts = path.relative_to(start).parts
    for count in range(1, len(parts) + 1):
        step = start.joinpath(*parts[:count])
        if step.is_symlink() and not _is_inside(os.path.realpath(step), os.path.realpath(step.parent)):
            return step.relative_to(here) if start == here else step
    return None


def _is_inside(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)
