"""Plans where the results of a batch go, before any work."""

import functools
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from psal_cli.batch.inputs import TREE, Item, as_path, is_file, is_folder, is_stdio
from psal_cli.batch.places import Grouped, Places
from psal_cli.batch.shards import ALL, Shard
from psal_cli.errors import Cure, InputError, InvalidValueError, WriteError
from psal_cli.files import STDIO, atomic_file, check_folder, check_output, unwritten
from psal_cli.storage import Url

log = logging.getLogger(__name__)


class _Named:
    """Caches what the values of options name, because every picture asks."""

    def __init__(self) -> None:
        self.is_folder = functools.cache(lambda text: is_folder(as_path(text)))
        self.is_file = functools.cache(lambda text: is_file(as_path(text)))
        self.below = functools.cache(lambda text, tree: as_path(text).joinpath(tree))


def place(
    items: list[Item], wanted: dict[str, str | None], several: bool, suffix: str | None, beside: str, extension: str | None
) -> list[Item]:
    """Gives each picture its outputs; returns the items without those that are results of others.

    wanted: option -> a file (one picture), a folder, below which the tree is kept, "-", or None for none; "output" is beside
    the picture for None. suffix: between name and extension; default none in a folder and `beside` beside the picture.
    extension: in place of the picture's own. Raises InputError when a file is named for several pictures.
    """
    named = _Named()
    for item in items:
        for option, text in sorted(wanted.items(), key=lambda pair: pair[0] == "output"):  # the result itself last
            if text is not None or option == "output":
                item.outputs[option] = _target(item, option, text, several, suffix, beside, extension, named)
    if len(items) < 2:
        return items
    places = Places()
    results = {places.spot(item.output): item for item in items}
    makers = [results.get(places.spot(item.input), item) for item in items]
    out = [item for item, maker in zip(items, makers, strict=True) if maker is item]
    if left := [item.input for item, maker in zip(items, makers, strict=True) if maker is not item]:
        more = f" and {len(left) - 1} more are results" if len(left) > 1 else " is the result"
        log.warning("%s%s of other pictures here: left out", left[0], more)
    return out


def _target(
    item: Item,
    option: str,
    text: str | None,
    several: bool,
    suffix: str | None,
    beside: str,
    extension: str | None,
    named: _Named,
) -> Path:
    from psal_cli.image.formats import kind

    ending = extension if extension and kind(extension) != kind(item.tree.suffix) else item.tree.suffix
    if text is None and is_stdio(item.input):
        return STDIO
    if text is None:
        return item.input.with_name(f"{item.tree.stem}{beside if suffix is None else suffix}{item.mark}{ending}")
    path, into_folder = named.below(text, ""), named.is_folder(text)
    if is_stdio(path) or not (several or text.endswith(os.sep) or into_folder):
        return path
    if not into_folder and named.is_file(text):
        raise InvalidValueError(option, f"{text}, a file", f"a folder for several pictures, e.g. {path.stem}{os.sep}")
    if not into_folder and path.suffix and not text.endswith(os.sep):
        expected = f"a folder, as there may be several pictures: for a folder write {text}{os.sep}"
        raise InvalidValueError(option, f"{text}, the name of one file", expected)
    if is_stdio(item.input):
        raise InvalidValueError(option, f"{text}, a folder", "a file in it: what comes from stdin has no name")
    return named.below(text, os.path.dirname(str(item.tree))) / f"{item.tree.stem}{suffix or ''}{item.mark}{ending}"


def settle(items: list[Item], folders: bool, force: bool, skip_existing: bool, shard: Shard = ALL) -> list[Item]:
    """Refuses outputs that could not be written, before any work; optionally marks items whose output exists as skipped. Returns
    the items of the shard; those of others may be written meanwhile, so only their names are looked at.

    folders: folders that are missing will be made. Raises InputError: two results in one place, a result in the place of
    another input, an output that exists without `force`; WriteError: no permission.
    """
    places = Places()
    inputs, taken = _by_key(places, items), Grouped[Item]()
    existing: list[Path] = []
    checked: set[Path] = set()
    own: list[Item] = []
    for item in items:
        if is_own := shard.has(item):
            own.append(item)
        exists = is_own and skip_existing and not is_stdio(item.output) and places.is_file(item.output)
        item.skipped = item.unmasked or exists
        if item.unmasked:  # nothing is written for it
            continue
        for option, path in item.outputs.items():
            key = str(STDIO) if is_stdio(path) else places.key(path)
            if other := next((other for other in taken.get(key) if _is_output(places, path, other, item, option)), None):
                raise _collision(path, other, item)
            taken.add(key, item)
            source = places.spot(item.input) if option == "output" and not is_stdio(item.input) else None
            if any(places.spot(file) != source and _is_same(places, path, file) for file in inputs.get(key)):
                raise InputError(f"{path} is an input of the same command: give another name")
            if is_own and not item.skipped and not item.problem and (path.parent not in checked or places.may_exist(path)):
                existing += _check(path, folders, force)
                checked.add(path.parent)
    if existing:
        more = f" and {len(existing) - 1} more exist" if len(existing) > 1 else " exists"
        raise InputError(f"{existing[0]}{more}", Cure.OVERWRITE_OR_SKIP)
    return own


def _by_key(places: Places, items: list[Item]) -> Grouped[Path]:
    """The inputs of all items, by what names one file on some file system."""
    paths = Grouped[Path]()
    for item in items:
        for path in (item.input, *item.sidecar_files):
            if not is_stdio(path) and path not in paths.get(key := places.key(path)):
                paths.add(key, path)
    return paths


def _is_same(places: Places, first: Path, second: Path) -> bool:
    """Whether two paths are one file, or both stdout."""
    if STDIO in (first, second):
        return first == second
    return places.are_same(places.spot(first), places.spot(second))


def _is_output(places: Places, path: Path, other: Item, item: Item, option: str) -> bool:
    """Whether a path, the output `option` of an item, is an output of another item, or a second one of its own."""
    return any(_is_same(places, path, file) for name, file in other.outputs.items() if other is not item or name != option)


def _collision(path: Path, first: Item, second: Item) -> InputError:
    if first is second:
        return InputError(f"{path} is another output of the same command: give another name")
    cure = Cure.KEEP_TREE
    if path == STDIO:
        cure = Cure.NAME_FOLDER
    elif first.tree.name != second.tree.name:
        cure = Cure.ONE_FORMAT
    return InputError(f"{path} would be written for {first.input} and for {second.input}", cure, f"top{TREE}{first.tree}")


def _check(path: Path, folders: bool, force: bool) -> list[Path]:
    """Raises as `check_output` does, assuming that `folders` exist; returns the error if the output exists without `force`."""
    if folders and path != STDIO:
        if is_file(path) and not force:
            return [path]
        if isinstance(path, Url):
            return []
        folder = path.parent
        try:
            while not folder.exists():
                folder = folder.parent
        except OSError as error:
            raise unwritten(path, error) from error
        if folder != path.parent:
            check_folder(path, folder)
            return []
    check_output(path, force)
    return []


def check_sheet(option: str, path: Path, items: list[Item], force: bool) -> None:
    """Refuses a file about all results that could not be written, exists, or would take a picture's place. Raises InputError,
    WriteError."""
    if _is_used(path, items):
        raise InvalidValueError(option, f"{path}, another file of the same command", "another name")
    if _check(path, True, force):
        raise InputError(f"{path} exists", Cure.OVERWRITE_OR_RENAME)


def _is_used(path: Path, items: list[Item]) -> bool:
    places = Places()
    key = places.key(path)
    name = os.path.basename(key)  # that of what a link leads to
    return any(
        _is_same(places, path, file)
        for item in items
        for file in (item.input, *item.sidecar_files, *item.outputs.values())
        if not is_stdio(file) and places.may_be_called(file, name) and places.key(file) == key
    )


def check_list(option: str, path: Path, items: list[Item], readable: frozenset[str], example: str) -> None:
    """Refuses a list or report of the pictures that could not be written, or would take a picture's place. Raises InputError,
    WriteError."""
    if path == STDIO or path.suffix.lower() in readable or _is_used(path, items):
        raise InvalidValueError(option, path, f"a file of its own, e.g. {example}")
    _check(path, True, force=True)


def write_list(path: Path, items: Iterable[Item]) -> None:
    """Writes the inputs as a list that `find_inputs` reads, with their trees, in place of an older list."""
    names = [os.fsencode(name) for name in dict.fromkeys(item.listed for item in items)]
    end = b"\0" if any(b"\n" in name or b"\r" in name for name in names) else b"\n"
    make_folders([path])
    with atomic_file(path, force=True) as file:
        file.write(b"".join(name + end for name in names))


def make_folders(paths: Iterable[Path]) -> None:
    """Makes the folders that the files go to. Raises WriteError."""
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(f"{path}: the folder {path.parent} cannot be made: {error.strerror}") from error
