"""Batches: which pictures, and where each result goes; all settled before any work."""

import codecs
import functools
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from psal_cli.batch.places import Grouped, Places
from psal_cli.batch.urls import url_problem
from psal_cli.errors import InputError, PsalError, WriteError
from psal_cli.files import STDIO, atomic_file, check_folder, check_output, open_input, unwritten

log = logging.getLogger(__name__)

LONGEST = 4096  # bytes of a path
TREE = f"{os.sep}.{os.sep}"  # in a path: what follows it is kept below the output folder, as in rsync --relative


@dataclass(eq=False, slots=True)
class Item:
    """One picture of a batch.

    Attributes:
        input: its path.
        tree: its path below the folder that was given, else its name.
        listed: the two as one text, for lists.
        sidecars: option ("mask") -> the files that belong to this picture, in the order they were given.
        outputs: option -> the file to write.
        problem: what keeps it from being worked on, found while planning.
        skipped: its output is there already.
        number: of several results of one picture, from 0.
        mark: what tells its name from theirs, before the extension.
    """

    input: Path
    tree: Path
    listed: str
    sidecars: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    outputs: dict[str, Path] = field(default_factory=dict)
    problem: PsalError | None = None
    skipped: bool = False
    number: int = 0
    mark: str = ""

    @property
    def output(self) -> Path:
        return self.outputs["output"]

    @property
    def sidecar_files(self) -> list[Path]:
        """All of them."""
        return [path for paths in self.sidecars.values() for path in paths]


def as_path(text: str) -> Path:
    """A path as the user typed it; "-" alone is stdin or stdout, "./-" a file of that name."""
    path = Path(text)
    return Path.cwd() / path if path == STDIO and text != "-" else path


def is_folder(path: Path) -> bool:
    """False too for names that the system cannot look up, too long ones: what is wrong is said when they are read."""
    try:
        return path != STDIO and path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def find_inputs(
    arguments: Iterable[str], lists: Iterable[str], recursive: bool, readable: frozenset[str]
) -> tuple[list[Item], bool]:
    """The pictures that arguments and lists of files name, each once, folders sorted by name; whether they may be several.

    A folder stands for its files with a `readable` suffix (with `recursive` those of its subfolders too), hidden ones left
    out; how many others there are is logged as a warning. Raises InputError when a list of files cannot be read, and for URLs.
    """
    texts = [*arguments, *(line for name in lists for line in _lines(name))]
    several, seen = bool(lists) or len(texts) > 1, set[str]()
    items: list[Item] = []
    others: Counter[str] = Counter()
    for text in texts:
        if problem := url_problem(text):
            raise InputError(problem)
        path = as_path(text)
        folder = is_folder(path)
        several |= folder
        for item in _in_folder(text, recursive, readable, others) if folder else [_one_file(text, path)]:
            place = os.path.abspath(item.input)
            if place not in seen:
                seen.add(place)
                items.append(item)
    if others:
        kinds = ", ".join(f"{count} {suffix or 'without extension'}" for suffix, count in others.most_common(5))
        log.warning("left out what psal does not read: %s%s", kinds, " and more" if len(others) > 5 else "")
    return items, several


def _lines(name: str) -> list[str]:
    """File names, one a line, or ended by NUL characters as `find -print0` writes them; "-" is stdin."""
    from psal_cli.image.formats import detect  # only now: --help has no need of what reads pictures

    try:
        with open_input(as_path(name)) as file:
            data = file.read()
    except OSError as error:
        raise InputError(f"{name}: the list of files cannot be read: {error.strerror}") from error
    if data.startswith(codecs.BOM_UTF16_LE) or data.startswith(codecs.BOM_UTF16_BE):
        raise InputError(f"{name} is a list in UTF-16: save it as UTF-8")
    if detect(data[:64]) and (not data[:64].isascii() or b"\0\0" in data[:64]):  # names may begin with BM, or GIF8, too
        raise InputError(f"{name} is a picture, --from-file takes a list of file names: give it as an argument")
    data = data.removeprefix(codecs.BOM_UTF8)
    lines = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    if any(len(line) > LONGEST for line in lines):
        raise InputError(f"{name} is no list of file names, one a line: give pictures as arguments")
    return [os.fsdecode(line) for line in lines if line.strip()]


def repeated(items: list[Item], count: int) -> list[Item]:
    """Each picture so many times, numbered and marked from _1 on (_01 where there are more than nine)."""
    if count == 1:
        return items
    marks = [f"_{number:0{len(str(count))}}" for number in range(1, count + 1)]
    return [replace(item, outputs={}, number=number, mark=mark) for item in items for number, mark in enumerate(marks)]


def write_list(path: Path, items: Iterable[Item]) -> None:
    """Writes the inputs as a list that `find_inputs` reads, with their trees, in place of an older list."""
    names = [os.fsencode(name) for name in dict.fromkeys(item.listed for item in items)]
    end = b"\0" if any(b"\n" in name or b"\r" in name for name in names) else b"\n"
    make_folders([path])
    with atomic_file(path, force=True) as file:
        file.write(b"".join(name + end for name in names))


def _split(text: str) -> tuple[str, Path]:
    """What lies before the mark in a path, and the tree behind it; without one all of it and nothing."""
    before, mark, tree = text.rpartition(TREE)
    return (before, Path(tree)) if mark and before and ".." not in Path(tree).parts else (text, Path())


def _one_file(text: str, path: Path) -> Item:
    from psal_cli.image.formats import READABLE, foreign

    _, tree = _split(text)
    item = Item(path, tree if tree.name else Path(path.name), text)
    try:
        if path != STDIO:
            path.stat()
    except (FileNotFoundError, NotADirectoryError):
        item.problem = InputError(f"{path}: no such file or folder")
    except (OSError, ValueError):  # said when it is read
        pass
    if path != STDIO and path.suffix.lower() not in READABLE and is_file(path):
        with suppress(OSError, ValueError), open(path, "rb") as file:
            item.problem = InputError(problem) if (problem := foreign(path, file.read(64))) else None
    return item


def _in_folder(text: str, recursive: bool, readable: frozenset[str], others: Counter[str]) -> Iterator[Item]:
    above, kept = _split(text)
    top = Path(text)
    unread: list[OSError] = []

    def item(path: Path, problem: InputError | None = None) -> Item:
        tree = kept / path.relative_to(top)
        return Item(path, tree, f"{Path(above)}{TREE}{tree}", problem=problem)

    for folder, below, names in os.walk(top, onerror=unread.append):
        below[:] = sorted(name for name in below if recursive and not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() in readable:
                yield item(path)
            else:
                others[path.suffix.lower()] += 1
    for error in unread:
        path = Path(error.filename)
        yield item(path, problem=InputError(f"{path}: the folder cannot be read: {error.strerror}"))


def place(
    items: list[Item], wanted: dict[str, str | None], several: bool, suffix: str | None, beside: str, extension: str | None
) -> list[Item]:
    """Gives each picture its outputs; returns the items less those that are results of others.

    wanted: option -> a file (one picture), a folder, below which the tree is kept, "-", or None for none; "output" is beside
    the picture for None. suffix: between name and extension; default none in a folder and `beside` beside the picture.
    extension: in place of the picture's own. Raises InputError when a file is named for several pictures.
    """
    is_one = functools.cache(lambda text: is_folder(as_path(text)))  # the same text is asked about for each picture
    for item in items:
        for option, text in sorted(wanted.items(), key=lambda pair: pair[0] == "output"):  # the result itself last
            if text is not None or option == "output":
                item.outputs[option] = _target(item, option, text, several, suffix, beside, extension, is_one)
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
    is_one: Callable[[str], bool],
) -> Path:
    from psal_cli.image.formats import kind

    ending = extension if extension and kind(extension) != kind(item.tree.suffix) else item.tree.suffix
    if text is None and item.input == STDIO:
        return STDIO
    if text is None:
        return item.input.with_name(f"{item.tree.stem}{beside if suffix is None else suffix}{item.mark}{ending}")
    path = as_path(text)
    if path == STDIO or not (several or text.endswith(os.sep) or is_one(text)):
        return path
    flag = f"--{option.replace('_', '-')}"
    if not is_one(text) and is_file(path):
        raise InputError(f"{flag} {text} is a file, for several pictures a folder is needed: {flag} {path.stem}{os.sep}")
    if path.suffix and not is_one(text) and not text.endswith(os.sep):
        raise InputError(f"{flag} {text} names one file, there may be several: for a folder write {flag} {text}{os.sep}")
    if item.input == STDIO:
        raise InputError(f"{flag} {text}: what comes from stdin has no name: name the file in it")
    return path / item.tree.parent / f"{item.tree.stem}{suffix or ''}{item.mark}{ending}"


def settle(items: list[Item], folders: bool, force: bool, skip_existing: bool) -> None:
    """Refuses what could not be written, before any work; marks items whose output is there as skipped where asked for.

    folders: folders that are missing will be made. Raises InputError: two results in one place, a result in the place of
    another input, an output that exists without `force`; WriteError: no permission.
    """
    places = Places()
    inputs, taken = _by_key(places, items), Grouped[Item]()
    existing: list[Path] = []
    checked: set[Path] = set()
    for item in items:
        item.skipped = skip_existing and item.output != STDIO and places.is_file(item.output)
        for option, path in item.outputs.items():
            key = places.key(path) if path != STDIO else str(STDIO)
            if other := next((other for other in taken.get(key) if _is_output(places, path, other, item, option)), None):
                raise InputError(_collision(path, other, item))
            taken.add(key, item)
            own = places.spot(item.input) if option == "output" and item.input != STDIO else None
            if any(places.spot(file) != own and _is_same(places, path, file) for file in inputs.get(key)):
                raise InputError(f"{path} is an input of the same command: give another name")
            if not item.skipped and not item.problem and (path.parent not in checked or places.may_exist(path)):
                existing += _check(path, folders, force)
                checked.add(path.parent)
    if existing:
        more = f" and {len(existing) - 1} more exist" if len(existing) > 1 else " exists"
        raise InputError(f"{existing[0]}{more}: --force to overwrite, --skip-existing to leave what is there")


def _by_key(places: Places, items: list[Item]) -> Grouped[Path]:
    """The inputs of all items, by what names one file on some file system."""
    found = Grouped[Path]()
    for item in items:
        for path in (item.input, *item.sidecar_files):
            if path != STDIO and path not in found.get(key := places.key(path)):
                found.add(key, path)
    return found


def _is_same(places: Places, first: Path, second: Path) -> bool:
    """Whether two paths are one file, or both stdout."""
    if STDIO in (first, second):
        return first == second
    return places.are_same(places.spot(first), places.spot(second))


def _is_output(places: Places, path: Path, other: Item, item: Item, option: str) -> bool:
    """Whether a path, the output `option` of an item, is an output of another item, or a second one of its own."""
    return any(_is_same(places, path, file) for name, file in other.outputs.items() if other is not item or name != option)


def _collision(path: Path, first: Item, second: Item) -> str:
    if first is second:
        return f"{path} is another output of the same command: give another name"
    cure = f"to keep the tree, give the folder above them with -r, or mark where it begins: top{TREE}{first.tree}"
    if path == STDIO:
        cure = "name a folder with -o"
    elif first.tree.name != second.tree.name:
        cure = "leave --format out, or give each kind a folder of its own with -o"
    return f"{path} would be written for {first.input} and for {second.input}: {cure}"


def _check(path: Path, folders: bool, force: bool) -> list[Path]:
    """Raises what `check_output` does, with `folders` as if those of the path were there; returns what exists unforced."""
    if folders and path != STDIO:
        if is_file(path) and not force:
            return [path]
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
        raise InputError(f"--{option} {path} is another file of the same command: give another name")
    if _check(path, True, force):
        raise InputError(f"--{option} {path} exists: --force to overwrite it, or give another name")


def _is_used(path: Path, items: list[Item]) -> bool:
    places = Places()
    files = {file for item in items for file in (item.input, *item.sidecar_files, *item.outputs.values()) if file != STDIO}
    key = places.key(path)
    return any(_is_same(places, path, file) for file in files if places.key(file) == key)


def check_list(path: Path, items: list[Item], readable: frozenset[str]) -> None:
    """Refuses a list of files that could not be written, or would take a picture's place. Raises InputError, WriteError."""
    if path == STDIO or path.suffix.lower() in readable or _is_used(path, items):
        raise InputError(f"--failed-list {path}: the list needs a file of its own: name one, e.g. failed.txt")
    _check(path, True, force=True)


def make_folders(paths: Iterable[Path]) -> None:
    """Makes the folders that the files go to. Raises WriteError."""
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(f"{path}: the folder {path.parent} cannot be made: {error.strerror}") from error
