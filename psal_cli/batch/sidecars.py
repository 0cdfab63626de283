"""Which mask or reference belongs to which picture of a batch."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from psal_cli.batch.plan import Item, as_path, is_file, is_folder
from psal_cli.errors import InputError
from psal_cli.files import STDIO


def pair(items: list[Item], wanted: Mapping[str, Sequence[str]], readable: frozenset[str]) -> list[Item]:
    """Gives each picture its sidecars; returns the items less those that are sidecars themselves.

    Args:
        wanted: option -> one file for all pictures; a folder, where the sidecar has the picture's place in the tree and its name,
            or its name before the suffix; or a pattern with {stem}, {name} or {dir} of the picture, which is looked for beside
            the picture when it names no folder. Several for an option that may be given several times. A sidecar that is not
            there becomes the item's problem.

    Raises:
        InputError: a pattern that names anything else, or one for all that is not there.
    """
    texts = [(option, text) for option, given in wanted.items() for text in given]
    for option, text in texts:
        if "{" not in text and as_path(text) != STDIO and not os.path.lexists(as_path(text)):
            raise InputError(f"{text}: no such file or folder, see --{_flag(option)}")
    alike = functools.cache(lambda folder: _by_stem(folder, readable))
    for item in items:
        found: dict[str, list[Path]] = {}
        for option, text in texts:
            sidecar = _sidecar(item, option, text, alike)
            if isinstance(sidecar, InputError):
                item.problem = item.problem or sidecar
            else:
                found.setdefault(option, []).append(sidecar)
        item.sidecars |= {option: tuple(paths) for option, paths in found.items()}
    if len(items) < 2:
        return items
    used = {os.path.realpath(path) for item in items for path in item.sidecar_files}
    folders = {Path(text).resolve() for _, text in texts if is_folder(as_path(text))}

    def is_sidecar(item: Item) -> bool:
        place = Path(os.path.realpath(item.input))
        between = place.parents[: len(item.tree.parts) - 1]  # folders below the one that was given
        return str(place) in used or (item.problem is not None and not folders.isdisjoint(between))

    return [item for item in items if not is_sidecar(item)]


def _by_stem(folder: Path, readable: frozenset[str]) -> dict[str, list[Path]]:
    """The pictures in a folder by their names without suffix."""
    found: dict[str, list[Path]] = {}
    with suppress(OSError):  # no such folder: no picture in it
        for path in folder.iterdir():
            if path.suffix.lower() in readable:
                found.setdefault(path.stem, []).append(path)
    return found


def _sidecar(item: Item, option: str, text: str, alike: Callable[[Path], dict[str, list[Path]]]) -> Path | InputError:
    path = as_path(text)
    if "{" in text and not is_file(path):
        path = _filled_in(item, option, text)
        found = [path] if is_file(path) else []
        where = f"no {path}"
    elif is_folder(path):
        folder = path / item.tree.parent
        same = folder / item.tree.name
        found = [same] if is_file(same) else alike(folder).get(item.tree.stem, [])
        where = f"no {folder / item.tree.stem} with any suffix of a picture"
    else:
        return path  # one for all: what is wrong with it is said when it is read
    if len(found) == 1 and os.path.realpath(found[0]) != os.path.realpath(item.input):
        return found[0]
    if found:
        where = f"{found[0]} is the picture itself" if len(found) == 1 else f"{' and '.join(map(str, sorted(found)))} both fit"
    return InputError(f"{item.input}: {where}: each picture needs its --{_flag(option)}")


def _flag(option: str) -> str:
    """As the user types it."""
    return option.replace("_", "-")


def _filled_in(item: Item, option: str, pattern: str) -> Path:
    try:
        text = pattern.format(stem=item.tree.stem, name=item.tree.name, dir=item.input.parent)
    except (LookupError, ValueError, AttributeError) as error:
        cure = "a pattern may hold {stem}, {name} and {dir}, each as often as you like"
        raise InputError(f"--{_flag(option)} {pattern}: {cure}") from error
    return Path(text) if os.sep in text else item.input.parent / text
