"""Paths that are URLs: objects on the network, read and written whole through fsspec.

An object appears under its name only when it is complete: S3 and Google Cloud Storage never show part of an upload, and a failed
upload is aborted.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import importlib.util
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from ssl import SSLError
from typing import IO, TYPE_CHECKING, TypeVar

from psal_cli import web
from psal_cli.errors import InputError, without_secrets

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    LocalPath = Path
else:
    LocalPath = type(Path())  # PosixPath or WindowsPath: only these can be instantiated and subclassed

Value = TypeVar("Value")
Listing = tuple[list[str], list[str]]  # names of objects, and of folders

URL = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)
NEEDS = {"s3": "s3fs", "gs": "gcsfs", "https": "aiohttp", "http": "aiohttp", "memory": "fsspec"}  # scheme -> package
READ_ONLY = web.SCHEMES
FOR_TESTS = "memory", "PSAL_MEMORY_URLS"  # a scheme that works within one process only, and the variable that enables it
BLOCK = 1 << 16  # bytes fetched at a time if only the header of a picture is read
MOST_KEPT = 1 << 30  # bytes of all objects cached inside `kept`
RECENT = 256  # recently written objects whose digests are cached
S3 = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 5, "mode": "standard"}}
UNSIGNED = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "CredentialRetrievalError")
_KEPT = threading.local()
_DIGESTS: dict[str, str] = {}


class Url(LocalPath):
    """A path that is a URL. It is split like any path, and methods that would ask the file system ask the storage."""

    def __str__(self) -> str:
        scheme, *rest = self.parts
        return f"{scheme}//{'/'.join(rest)}"

    def __fspath__(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple[type[Url], tuple[str]]:
        return Url, (str(self),)

    @property
    def scheme(self) -> str:
        return self.parts[0][:-1]

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        if self.scheme in READ_ONLY:
            return _told(lambda: web.is_served(_system(self), str(self)))
        return _told(lambda: bool(_system(self).exists(str(self))))

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return self.exists() if self.scheme in READ_ONLY else _told(lambda: bool(_system(self).isfile(str(self))))

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self.scheme not in READ_ONLY and _told(lambda: bool(_system(self).isdir(str(self))))

    def is_symlink(self) -> bool:
        return False

    def resolve(self, strict: bool = False) -> Url:
        return self

    def samefile(self, other_path: str | os.PathLike[str]) -> bool:
        return str(self) == os.fspath(other_path)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Does nothing: object stores have no folders."""

    def iterdir(self) -> Iterator[Url]:  # type: ignore[override]  # narrower
        files, folders = listing(self)
        return (self / name for name in (*files, *folders))


def as_path(text: str | os.PathLike[str]) -> Path:
    """The Url for a text that is one, otherwise a plain path."""
    if isinstance(text, Path):
        return text
    text = os.fspath(text)
    match = URL.fullmatch(text)
    return Url(f"{match[1].lower()}://{match[2]}") if match and match[1].lower() in NEEDS else Path(text)


def are_same(first: Path, second: Path) -> bool:
    """Whether two paths are the same existing file or the same object."""
    if isinstance(second, Url):  # only Url.samefile accepts both kinds
        first, second = second, first
    return first.samefile(second) if isinstance(first, Url) else first.exists() and second.exists() and first.samefile(second)


def problem(text: str, written: bool = False, local: bool = False) -> str | None:
    """Describes what is wrong with a URL; None for valid ones and other names. written: of a result; local: refuse all URLs."""
    match = URL.fullmatch(text)
    if match is None:
        return None
    scheme, rest, text = match[1].lower(), match[2], without_secrets(text)
    if scheme == "file":
        return f"{text} is a URL: give the path alone, {rest.removeprefix('localhost')}"
    if scheme not in NEEDS or (scheme == FOR_TESTS[0] and not os.environ.get(FOR_TESTS[1])):
        return f"{text}: psal knows no {scheme}:// but s3://, gs:// and https://: copy it to a file or to one of these"
    if local:
        return f"{text} is a URL, only a local file can be given here: download it first"
    if written and scheme in READ_ONLY:
        return f"{text}: {scheme}:// can only be read: write a file, or to s3:// or gs://"
    if not rest.partition("/")[0]:
        return f"{text} names no {'host' if scheme in READ_ONLY else 'bucket'}"
    if "//" in rest or (scheme in READ_ONLY and rest.endswith("/")):  # a path would drop the slash and name another object
        return f"{text}: a URL with // in its path or query, or of a page that ends in /, cannot be read: copy it to a file"
    if any(importlib.util.find_spec(package) is None for package in ("fsspec", NEEDS[scheme])):
        return f"{text}: {scheme}:// needs {NEEDS[scheme]}: pip install 'psal[remote]'"
    return None


@functools.cache
def _filesystem(scheme: str) -> AbstractFileSystem:
    import fsspec

    options: dict[str, object] = {"config_kwargs": S3} if scheme == "s3" else {}
    if scheme in READ_ONLY:
        options = {"client_kwargs": {"timeout": web.patience()}}
    elif scheme == "gs":
        options = {"requests_timeout": web.patience()}
    # A listing cached by fsspec would hide files that others write later.
    return fsspec.filesystem(scheme, use_listings_cache=False, **options)


def _system(url: Url) -> AbstractFileSystem:
    return _filesystem(url.scheme)


def _told(call: Callable[[], Value]) -> Value:
    """Returns `call()`. Turns all errors of the storage into OSError, in words for the user."""
    try:
        return call()
    except (FileNotFoundError, FileExistsError, MemoryError):
        raise
    except PermissionError as error:
        raise PermissionError(errno.EACCES, error.strerror or str(error)) from error
    except Exception as error:
        if type(error).__name__ in UNSIGNED:
            words = "no credentials for this storage: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or (gs) "
            raise OSError(errno.EIO, f"{words}GOOGLE_APPLICATION_CREDENTIALS") from error
        words = " ".join(str(getattr(error, "strerror", None) or error).split())
        number = None if isinstance(error, SSLError) else getattr(error, "errno", None)  # OpenSSL's numbers differ
        raise OSError(number or errno.EIO, words or type(error).__name__) from error


def read(url: Url) -> bytes:
    """The whole object. Raises OSError."""
    objects: dict[str, bytes] = getattr(_KEPT, "objects", {})
    if (data := objects.get(str(url))) is None:
        data = objects[str(url)] = _told(lambda: _fetched(url))
        while len(objects) > 1 and sum(map(len, objects.values())) > MOST_KEPT:
            del objects[next(iter(objects))]
    return data


def _fetched(url: Url) -> bytes:
    if url.scheme in READ_ONLY:
        return web.downloaded(_system(url), str(url))
    return bytes(_system(url).cat_file(str(url)))


@contextmanager
def kept(whole: bool = True) -> Iterator[None]:
    """Inside, this thread fetches each object and lists each folder only once. whole: fetch whole objects; otherwise those that
    can be read in blocks are, as for a header."""
    _KEPT.objects, _KEPT.listings, _KEPT.whole = {}, {}, whole
    try:
        yield
    finally:
        del _KEPT.objects, _KEPT.listings, _KEPT.whole


@contextmanager
def opened(url: Url) -> Iterator[IO[bytes]]:
    """Opens an object: whole inside `kept`, otherwise in blocks, as the header of a picture needs few. Raises OSError."""
    if getattr(_KEPT, "whole", False) or url.scheme in READ_ONLY:
        with BytesIO(read(url)) as file:
            yield file
        return
    with _told(lambda: _system(url).open(str(url), "rb", block_size=BLOCK, cache_type="readahead")) as file:
        yield file


def write(url: Url, data: bytes, force: bool) -> None:
    """Writes a whole object. Raises OSError; FileExistsError if a different one exists and `force` is not set."""
    mode = "overwrite" if force else "create"
    system = _system(url)
    try:
        _told(lambda: system.pipe_file(str(url), data, mode=mode))
    except FileExistsError:
        if _told(lambda: system.cat_file(str(url))) != data:  # equal: an earlier attempt wrote it, and its answer was lost
            raise
    except OSError as error:
        if error.errno != errno.ENOSYS or force:  # some servers do not support conditional writes
            raise
        if url.exists():
            raise FileExistsError(errno.EEXIST, "it exists") from error
        _told(lambda: system.pipe_file(str(url), data))
    if len(_DIGESTS) >= RECENT:  # unused so far
        _DIGESTS.clear()
    _DIGESTS[str(url)] = hashlib.sha256(data).hexdigest()


def digest(url: Url) -> str:
    """The SHA-256 of an object. One that this process has just written is not fetched."""
    return _DIGESTS.pop(str(url), None) or hashlib.sha256(read(url)).hexdigest()


def stamp(path: Path) -> tuple[object, ...]:
    """A value that changes with a file or an object; empty over HTTP, where servers need not report changes. Raises OSError."""
    if not isinstance(path, Url):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    return () if path.scheme in READ_ONLY else (_told(lambda: str(_system(path).ukey(str(path)))),)


def modified(path: Path) -> float:
    """The time a file or an object was last written, in seconds since the epoch. Raises OSError."""
    if not isinstance(path, Url):
        return path.stat().st_mtime
    return _told(lambda: float(_system(path).modified(str(path)).timestamp()))


def listing(url: Url) -> Listing:
    """The sorted names of the objects and of the folders in a folder; empty if it does not exist. Raises OSError."""
    listings: dict[str, Listing] = getattr(_KEPT, "listings", {})
    if str(url) not in listings:
        listings[str(url)] = _listed(url)
    return listings[str(url)]


def _listed(url: Url) -> Listing:
    if url.scheme in READ_ONLY:
        return [], []
    try:
        entries = _told(lambda: _system(url).ls(str(url), detail=True, refresh=True))
    except FileNotFoundError:
        return [], []
    names: dict[str, list[str]] = {"file": [], "directory": []}
    for entry in entries:
        name = entry["name"].rstrip("/").rpartition("/")[2]
        if name and entry["name"].strip("/") != str(url).partition("://")[2].strip("/"):  # the object that stands for the folder
            names[entry["type"]].append(name)
    return sorted(names["file"]), sorted(names["directory"])


def walk(url: Url, recursive: bool) -> Iterator[tuple[Url, list[str]]]:
    """Yields each folder with the names of its objects; with `recursive` also visible subfolders."""
    files, folders = listing(url)
    yield url, files
    for name in folders if recursive else []:
        if not name.startswith("."):
            yield from walk(url / name, recursive)


def is_pattern(text: str) -> bool:
    """Whether a text is a URL with wildcards, which shells do not expand. In https:// a question mark begins a query."""
    match = URL.fullmatch(text)
    return bool(match and match[1].lower() not in READ_ONLY and re.search(r"[*?\[]", match[2]))


def matches(text: str) -> list[str]:
    """The sorted URLs of the objects that match a pattern. Raises InputError if there are none."""
    url = as_path(text)
    assert isinstance(url, Url)
    try:
        names = _told(lambda: _system(url).glob(str(url)))
    except OSError as error:
        raise InputError(f"{text} cannot be listed: {error.strerror}") from error
    if not names:
        raise InputError(f"{text}: no object matches the pattern")
    return [f"{url.scheme}://{str(name).strip('/')}" for name in sorted(names)]
