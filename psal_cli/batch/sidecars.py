"""Finds the mask or reference that belongs to each picture of a batch."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from string import Formatter

from psal_cli.batch.inputs import Item, as_path, is_file, is_folder
from psal_cli.batch.places import Places
from psal_cli.errors import Cure, InputError, InvalidValueError
from psal_cli.files import STDIO
from psal_cli.storage import Url


class _MissingError(InputError):
    """The sidecar does not exist."""


def pair(items: list[Item], wanted: Mapping[str, Sequence[str]], readable: frozenset[str], if_masked: bool = False) -> list[Item]:
    """Gives each picture its sidecars; returns the items without those that are sidecars themselves.

    Args:
        wanted: option -> one file for all pictures; a folder, in which the sidecar has the picture's place in the tree and its
            name, or the same stem; or a pattern with {stem}, {name} or {dir} of the picture, relative to the picture's folder if
            it names none. An option that may be repeated has several. A missing sidecar becomes the item's problem.
        if_masked: pictures without a "mask" are marked as such instead.

    Raises:
        InputError: a pattern with other fields, or a file for all pictures that does not exist.
    """
    texts = [(option, text) for option, given in wanted.items() for text in given]
    for option, text in texts:
        if "{" not in text and as_path(text) != STDIO and not _is_there(as_path(text)):
            raise InvalidValueError(option, f"{text}, which does not exist", "a file, a folder or a pattern with {stem}")
    by_stem, places = functools.cache(lambda folder: _by_stem(folder, readable)), Places()
    folder_of = {text: is_folder(as_path(text)) for _, text in texts}
    below = functools.cache(lambda text, tree: as_path(text).joinpath(tree))  # the folder of the sidecars of one folder
    for item in items:
        sidecars: dict[str, list[Path]] = {}
        for option, text in texts:
            folder = below(text, os.path.dirname(str(item.tree))) if folder_of[text] else None
            sidecar = _sidecar(item, option, text, folder, by_stem, places)
            if isinstance(sidecar, _MissingError) and option == "mask" and if_masked and item.problem is None:
                item.unmasked = True
            elif isinstance(sidecar, InputError):
                item.problem = item.problem or sidecar
            else:
                sidecars.setdefault(option, []).append(sidecar)
        item.sidecars |= {option: tuple(paths) for option, paths in sidecars.items()}
    if len(items) < 2:
        return items
    used = {places.spot(path) for item in items for path in item.sidecar_files}
    folders = {as_path(text).resolve() for text, names_folder in folder_of.items() if names_folder}

    def is_sidecar(item: Item) -> bool:
        if places.spot(item.input) in used:
            return True
        if item.problem is None and not item.unmasked:
            return False
        between = item.input.resolve().parents[: len(item.tree.parts) - 1]  # folders below the given one
        return not folders.isdisjoint(between)

    return [item for item in items if not is_sidecar(item)]


def _is_there(path: Path) -> bool:
    return is_file(path) or is_folder(path) if isinstance(path, Url) else os.path.lexists(path)


def _by_stem(folder: Path, readable: frozenset[str]) -> dict[str, list[Path]]:
    """The pictures in a folder, by stem."""
    files: dict[str, list[Path]] = {}
    with suppress(OSError):  # a missing folder is an empty one
        for path in folder.iterdir():
            stem, suffix = os.path.splitext(path.name)
            if suffix.lower() in readable:
                files.setdefault(stem, []).append(path)
    return files


def _sidecar(
    item: Item, option: str, text: str, folder: Path | None, by_stem: Callable[[Path], dict[str, list[Path]]], places: Places
) -> Path | InputError:
    """The sidecar of a picture, or an error. folder: the sidecar's folder, if the text names a folder."""
    if "{" in text and not is_file(as_path(text)):
        path = _filled_in(item, option, text)
        candidates = [path] if places.is_file(path) else []
        where = f"no {path}"
    elif folder is not None:
        same = folder / item.tree.name
        candidates = [same] if places.is_file(same) else by_stem(folder).get(item.tree.stem, [])
        where = "" if candidates else f"no {folder / item.tree.stem} with any suffix of a picture"
    else:
        return as_path(text)  # one file for all pictures: errors are reported when it is read
    if len(candidates) == 1 and not places.are_same(places.spot(candidates[0]), places.spot(item.input)):
        return candidates[0]
    if not candidates:
        return _MissingError(f"{item.input}: {where}", Cure.SIDECAR, option.replace("_", "-"))
    where = (
        f"{candidates[0]} is the picture itself"
        if len(candidates) == 1
        else f"{' and '.join(map(str, sorted(candidates)))} both fit"
    )
    return InputError(f"{item.input}: {where}", Cure.SIDECAR, option.replace("_", "-"))


def _filled_in(item: Item, option: str, pattern: str) -> Path:
    expected = "a pattern, which may hold {stem}, {name} and {dir}, each as often as you like"
    try:
        if any(spec or conversion for _, name, spec, conversion in Formatter().parse(pattern) if name is not None):
            raise ValueError("a width or a conversion")  # {stem:>2000000000} would take minutes
        text = pattern.format(stem=item.tree.stem, name=item.tree.name, dir=item.input.parent)
    except (LookupError, ValueError, AttributeError) as error:
        raise InvalidValueError(option, pattern, expected) from error
    return as_path(text) if os.sep in text else item.input.parent / text
