"""Looks up files from one listing of each folder: fast for many files, and correct on file systems that ignore case."""

import os
import secrets
import unicodedata
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Generic, TypeVar

from psal_cli import storage
from psal_cli.batch.inputs import is_file
from psal_cli.errors import InputError
from psal_cli.storage import Url

Value = TypeVar("Value")


def folded(name: str) -> str:
    """A key that is equal for all names that some file system treats as the same."""
    if name.isascii():
        lower = name.lower()
        return name if lower == name else lower  # without a copy, for thousands of names
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name)).casefold()


class Grouped(Generic[Value]):
    """A multimap whose keys rarely have more than one value. A list for each key would take more memory than the values."""

    def __init__(self) -> None:
        self._first: dict[str, Value] = {}
        self._more: dict[str, list[Value]] = {}

    def add(self, key: str, value: Value) -> None:
        if key in self._first:
            self._more.setdefault(key, []).append(value)
        else:
            self._first[key] = value

    def get(self, key: str) -> tuple[Value, ...]:
        return (self._first[key], *self._more.get(key, ())) if key in self._first else ()


class _Folder:
    """The listing of a folder. real: its path without links; number: identifies the folder; remote: whether it is a URL; files,
    links, others: the names of regular files, links and everything else."""

    def __init__(self, text: str, number: int):
        self.real, self.number = _real(text), number
        self.files: set[str] = set()
        self.links: set[str] = set()
        self.others: set[str] = set()
        self.remote = isinstance(url := storage.as_path(text), Url)
        if isinstance(url, Url):
            try:
                self.files = set(storage.listing(url)[0])
            except OSError as error:
                raise InputError(f"{text} cannot be listed: {error.strerror or error}") from error
            return
        with suppress(OSError, ValueError), os.scandir(text) as entries:  # a missing folder is an empty one
            for entry in entries:
                kind = self.links if entry.is_symlink() else self.files if entry.is_file() else self.others
                kind.add(entry.name)

    @cached_property
    def names(self) -> frozenset[str]:
        """The folded names of all entries."""
        return frozenset(map(folded, chain(self.files, self.links, self.others)))


def _real(text: str) -> str:
    """A path with links resolved; a URL unchanged."""
    return text if isinstance(storage.as_path(text), Url) else os.path.realpath(text)


class Places:
    """Listings of folders, each from its first use."""

    def __init__(self) -> None:
        self._folders: dict[str, _Folder] = {}
        self._alike: dict[tuple[str, str, str], bool] = {}

    def spot(self, path: Path) -> str:
        """The path with links resolved. It is equal for all paths to a file, except for differences of case."""
        folder, name = self._folder(path)
        if name in folder.links or name in ("", ".", ".."):
            return os.path.realpath(path)
        return f"{folder.real.rstrip(os.sep)}{os.sep}{name}"

    def key(self, path: Path) -> str:
        """A key that is equal for all paths to a file, and for paths that some file system treats as the same."""
        folder, name = self._folder(path)
        if name in folder.links or name in ("", ".", ".."):
            text, name = os.path.split(os.path.realpath(path))
            folder = self._listed(text)
        if folder.remote:
            return f"{folder.number}{os.sep}{name}"  # object stores distinguish all names
        return f"{self._listed(folded(folder.real)).number}{os.sep}{folded(name)}"

    def may_be_called(self, path: Path, name: str) -> bool:
        """Whether the file may have this folded name; a link may have any."""
        folder, own = self._folder(path)
        return own in folder.links or own in ("", ".", "..") or folded(own) == name

    def may_exist(self, path: Path) -> bool:
        """Whether such a file could exist, whichever names the file system treats as the same."""
        if isinstance(path, Url) and path.scheme in storage.READ_ONLY:  # these cannot be listed
            return True
        folder, name = self._folder(path)
        return name in folder.files or folded(name) in folder.names

    def is_file(self, path: Path) -> bool:
        """As `inputs.is_file`, but from the folder's listing where that is enough."""
        folder, name = self._folder(path)
        if name in folder.files:
            return True
        if isinstance(path, Url) and path.scheme not in storage.READ_ONLY:
            return False
        return self.may_exist(path) and is_file(path)

    def are_same(self, first: str, second: str) -> bool:
        """Whether two spots are one file: equal, or with names that their file system does not distinguish."""
        if first == second:
            return True
        folder, name = os.path.split(first)
        other_folder, other = os.path.split(second)
        if folded(first) != folded(second):
            return False
        with suppress(OSError):
            return os.path.samefile(first, second)
        if folder != other_folder and not self.are_same(folder, other_folder):
            return False
        return name == other or self._are_one_name(folder, name, other)

    def _are_one_name(self, folder: str, name: str, other: str) -> bool:
        """Whether a folder treats two names as one, of which at most one exists. Tries it with a similar temporary name."""
        if storage.URL.match(folder):
            return False
        while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
            folder = os.path.dirname(folder)
        key = (folder, name, other)
        if key not in self._alike:
            mark = f".psal-{secrets.token_hex(4)}-"
            first, second = (os.path.join(folder, mark + part) for part in (name, other))
            try:
                os.close(os.open(first, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                try:
                    self._alike[key] = os.path.lexists(second)
                finally:
                    os.unlink(first)
            except OSError:  # the folder is not writable, which is reported elsewhere
                self._alike[key] = False
        return self._alike[key]

    def _folder(self, path: Path) -> tuple[_Folder, str]:
        """The listing of a path's folder, and the name in it."""
        text, _, name = str(path).rpartition(os.sep)
        folder = self._folders.get(text)
        return folder or self._listed(text or (os.sep if str(path).startswith(os.sep) else os.curdir)), name

    def _listed(self, text: str) -> _Folder:
        if text not in self._folders:
            self._folders[text] = _Folder(text, len(self._folders))
        return self._folders[text]
