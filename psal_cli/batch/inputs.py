"""Finds the pictures of a batch from files, folders, URLs and lists of files."""

import codecs
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from psal_cli import storage
from psal_cli.errors import Cure, InputError, PsalError
from psal_cli.files import STDIO, open_input
from psal_cli.storage import Url

log = logging.getLogger(__name__)

LONGEST = 4096  # bytes of a path
TREE = f"{os.sep}.{os.sep}"  # the part of a path after this is kept below the output folder, as in rsync --relative


@dataclass(eq=False, slots=True)
class Item:
    """One picture of a batch.

    Attributes:
        input: its path.
        tree: its path below the folder that was given, else its name.
        listed: the two as one text, for lists.
        sidecars: option ("mask") -> the files that belong to this picture, in the order they were given.
        outputs: option -> the file to write.
        problem: why it cannot be processed, found while planning.
        skipped: its output exists, or it is unmasked.
        unmasked: it has no mask, and such pictures are to be left out.
        number: among several results of one picture, from 0.
        mark: distinguishes the file names of these results, before the extension.
    """

    input: Path
    tree: Path
    listed: str
    sidecars: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    outputs: dict[str, Path] = field(default_factory=dict)
    problem: PsalError | None = None
    skipped: bool = False
    unmasked: bool = False
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
    path = storage.as_path(text)
    return Path.cwd() / path if path == STDIO and text != "-" else path


def is_stdio(path: Path) -> bool:
    """Whether a path is STDIO. Comparing Path objects would cache the parts of each, for thousands of paths."""
    return str(path) == "-"


def is_folder(path: Path) -> bool:
    """Whether a path is a folder. False for names that the system cannot look up, such as too long ones: reading reports these.

    Raises InputError if a network storage does not answer.
    """
    if isinstance(path, Url):
        try:
            return path.is_dir()
        except OSError as error:
            raise unlisted(path, error) from error
    try:
        return path != STDIO and path.is_dir()
    except (OSError, ValueError):
        return False


def unlisted(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be listed: {error.strerror or error}")


def is_file(path: Path) -> bool:
    """Whether a path is a file. False for names that cannot be looked up. Raises InputError if a storage does not answer."""
    if isinstance(path, Url):
        try:
            return path.is_file()
        except OSError as error:
            raise InputError(f"{path} cannot be looked up: {error.strerror or error}") from error
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def find_inputs(
    arguments: Iterable[str], lists: Iterable[str], recursive: bool, readable: frozenset[str]
) -> tuple[list[Item], bool]:
    """The pictures named by arguments and lists of files, without duplicates, and whether there may be several.

    A folder stands for its visible files with a `readable` suffix, sorted by name (with `recursive` those of its subfolders
    too); the number of other files is logged as a warning. Raises InputError for a list of files that cannot be read, and for
    URLs that psal does not support.
    """
    texts = [*arguments, *(line for name in lists for line in _lines(name))]
    several, seen = bool(lists) or len(texts) > 1, set[str]()
    items: list[Item] = []
    others: Counter[str] = Counter()
    for text in texts:
        if problem := storage.problem(text):
            raise InputError(problem)
        named, are_several = _named(text, recursive, readable, others)
        several |= are_several
        for item in named:
            place = os.path.abspath(item.input)
            if place not in seen:
                seen.add(place)
                items.append(item)
    if others:
        kinds = ", ".join(f"{count} {suffix or 'without extension'}" for suffix, count in others.most_common(5))
        log.warning("left out files that psal does not read: %s%s", kinds, " and more" if len(others) > 5 else "")
    return items, several


def _named(text: str, recursive: bool, readable: frozenset[str], others: Counter[str]) -> tuple[Iterable[Item], bool]:
    """The pictures that an argument or a line of a list names, and whether there may be several."""
    if storage.is_pattern(text):
        fixed = f"{str(as_path(text)).partition('**')[0].rpartition('/')[0]}/" if "**" in text else ""
        return [_file(name, as_path(name), name.removeprefix(fixed) if fixed else "") for name in storage.matches(text)], True
    path = as_path(text)
    if isinstance(path, Url) and path.suffix.lower() in readable:  # no request for each of the thousands in a list
        return [_file(text, path)], False
    folder = is_folder(path)
    return _in_folder(text, recursive, readable, others) if folder else [_file(text, path)], folder


def _lines(name: str) -> list[str]:
    """The file names in a list: one a line, or separated by NUL characters as `find -print0` writes them. "-" is stdin."""
    from psal_cli.image.formats import detect  # imported here to keep --help fast

    try:
        with open_input(as_path(name)) as file:
            data = file.read()
    except OSError as error:
        raise InputError(f"{name}: the list of files cannot be read: {error.strerror}") from error
    if data.startswith(codecs.BOM_UTF16_LE) or data.startswith(codecs.BOM_UTF16_BE):
        raise InputError(f"{name} is a list in UTF-16: save it as UTF-8")
    if detect(data[:64]) and (not data[:64].isascii() or b"\0\0" in data[:64]):  # a file name may also begin with BM or GIF8
        raise InputError(f"{name} is a picture", Cure.PICTURE_AS_LIST)
    data = data.removeprefix(codecs.BOM_UTF8)
    lines = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    if any(len(line) > LONGEST for line in lines):
        raise InputError(f"{name} is not a list of file names, one a line: give pictures as arguments")
    return [os.fsdecode(line) for line in lines if line.strip()]


def repeated(items: list[Item], count: int) -> list[Item]:
    """Repeats each picture `count` times, numbered and marked _1, _2 and so on (_01 if there are more than nine)."""
    if count == 1:
        return items
    marks = [f"_{number:0{len(str(count))}}" for number in range(1, count + 1)]
    return [replace(item, outputs={}, number=number, mark=mark) for item in items for number, mark in enumerate(marks)]


def _split(text: str) -> tuple[str, Path]:
    """Splits a path at TREE into the folder and the tree below it; without TREE the tree is empty."""
    before, mark, tree = text.rpartition(TREE)
    return (before, Path(tree)) if mark and before and ".." not in Path(tree).parts else (text, Path())


def _file(text: str, path: Path, below: str = "") -> Item:
    """The item of a single file. below: its tree, if a pattern gave it."""
    from psal_cli.image.formats import READABLE, foreign

    tree = Path(below) if below else _split(text)[1]
    if isinstance(path, Url):  # whether it exists shows when it is read
        if below and (".." in tree.parts or str(path) != text):  # its result would lie outside the output folder
            words = f"{path}: a name with .. or // in it has no place below the output folder: rename the object"
            return Item(path, Path(tree.name), text, problem=InputError(words))
        name = path.name.partition("?")[0] if path.scheme in storage.READ_ONLY else path.name
        return Item(path, tree if tree.name else Path(name), text)
    item = Item(path, tree if tree.name else Path(path.name), text)
    try:
        if path != STDIO:
            path.stat()
    except (FileNotFoundError, NotADirectoryError):
        item.problem = InputError(f"{path}: no such file or folder")
    except (OSError, ValueError):  # reported when it is read
        pass
    if path != STDIO and path.suffix.lower() not in READABLE and is_file(path):
        with suppress(OSError, ValueError), open(path, "rb") as file:
            item.problem = InputError(problem) if (problem := foreign(path, file.read(64))) else None
    return item


def _in_folder(text: str, recursive: bool, readable: frozenset[str], others: Counter[str]) -> Iterator[Item]:
    above, kept = _split(text)
    top = as_path(text)
    marked = f"{as_path(above)}{TREE}"
    unread: list[OSError] = []
    for here, names in _walk(top, recursive, unread):
        tree = kept / here.relative_to(top)
        for name in sorted(names):
            if name.startswith("."):
                continue
            path, own = here / name, tree / name
            if path.suffix.lower() in readable:
                yield Item(path, own, f"{marked}{own}")
            else:
                others[path.suffix.lower()] += 1
    for error in unread:
        path = Path(error.filename)
        own = kept / path.relative_to(top)
        problem = InputError(f"{path}: the folder cannot be read: {error.strerror}")
        yield Item(path, own, f"{marked}{own}", problem=problem)


def _walk(top: Path, recursive: bool, unread: list[OSError]) -> Iterator[tuple[Path, list[str]]]:
    """Yields each folder with the names of its files, in order. Errors of listing are added to `unread`."""
    if isinstance(top, Url):
        try:
            yield from storage.walk(top, recursive)
        except OSError as error:
            raise unlisted(top, error) from error
        return
    for folder, below, names in os.walk(top, onerror=unread.append):
        yield Path(folder), names
        below[:] = sorted(name for name in below if recursive and not name.startswith("."))
