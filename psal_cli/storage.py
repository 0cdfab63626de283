"""Paths that are URLs: objects on the network, read and written as a whole through fsspec.

An object appears under its name only when all of it is there: S3 and Google Cloud Storage show no part of an upload, and one
that fails is aborted.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import importlib.util
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from psal_cli.errors import InputError, without_secrets

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    LocalPath = Path
else:
    LocalPath = type(Path())  # PosixPath or WindowsPath: only these can be made, and derived from

Value = TypeVar("Value")
Listing = tuple[list[str], list[str]]  # names of objects, and of folders

URL = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)
NEEDS = {"s3": "s3fs", "gs": "gcsfs", "https": "aiohttp", "http": "aiohttp", "memory": "fsspec"}  # scheme -> its package
READ_ONLY = ("https", "http")
BLOCK = 1 << 16  # bytes that are fetched at once where only the header of a picture is read
MOST = 4 << 30  # bytes of an object over HTTP
RECENT = 256  # objects just written whose digests are kept
ATTEMPTS = 4  # over HTTP; the clients of S3 and Google have retries of their own
PAUSE = 0.5  # seconds before the second attempt, doubled each time
S3 = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 5, "mode": "standard"}}
UNSIGNED = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "CredentialRetrievalError")
_KEPT = threading.local()
_DIGESTS: dict[str, str] = {}


class Url(LocalPath):
    """A path that is a URL: its names and folders are those of a path, and what asks the system asks the storage."""

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
        return _told(lambda: bool(_system(self).exists(str(self))))

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return _told(lambda: bool(_system(self).isfile(str(self))))

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self.scheme not in READ_ONLY and _told(lambda: bool(_system(self).isdir(str(self))))

    def is_symlink(self) -> bool:
        return False

    def resolve(self, strict: bool = False) -> Url:
        return self

    def samefile(self, other_path: str | os.PathLike[str]) -> bool:
        return str(self) == os.fspath(other_path)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Object stores have no folders to make."""

    def iterdir(self) -> Iterator[Url]:  # type: ignore[override]  # narrower
        files, folders = listing(self)
        return (self / name for name in (*files, *folders))


def as_path(text: str | os.PathLike[str]) -> Path:
    """A path, or the URL that a text is."""
    if isinstance(text, Path):
        return text
    text = os.fspath(text)
    match = URL.fullmatch(text)
    return Url(f"{match[1].lower()}://{match[2]}") if match and match[1].lower() in NEEDS else Path(text)


def are_same(first: Path, second: Path) -> bool:
    """Whether two paths are one file, which exists, or one object."""
    if isinstance(second, Url):  # only a URL knows what to do with the other kind
        first, second = second, first
    return first.samefile(second) if isinstance(first, Url) else first.exists() and second.exists() and first.samefile(second)


def problem(text: str, written: bool = False, local: bool = False) -> str | None:
    """What is wrong with a name that is a URL; None for any other name. written: of a result; local: only files will do."""
    match = URL.fullmatch(text)
    if match is None:
        return None
    scheme, rest, text = match[1].lower(), match[2], without_secrets(text)
    if scheme == "file":
        return f"{text} is a URL: give the path alone, {rest.removeprefix('localhost')}"
    if scheme not in NEEDS:
        return f"{text}: psal knows no {scheme}:// but s3://, gs:// and https://: copy it to a file or to one of these"
    if local:
        return f"{text} is a URL, only a local file can be given here: download it first"
    if written and scheme in READ_ONLY:
        return f"{text}: {scheme}:// can only be read: write a file, or to s3:// or gs://"
    if not rest.partition("/")[0]:
        return f"{text} names no {'host' if scheme in READ_ONLY else 'bucket'}"
    if "//" in rest or (scheme in READ_ONLY and rest.endswith("/")):  # a path would lose the slash, and mean another object
        return f"{text}: a URL with // in its path or query, or of a page that ends in /, cannot be read: copy it to a file"
    if any(importlib.util.find_spec(package) is None for package in ("fsspec", NEEDS[scheme])):
        return f"{text}: {scheme}:// needs {NEEDS[scheme]}: pip install 'psal[remote]'"
    return None


@functools.cache
def _filesystem(scheme: str) -> AbstractFileSystem:
    import fsspec

    options = {"config_kwargs": S3} if scheme == "s3" else {}
    # With its cache, the listings of the plan would hide what others write later.
    return fsspec.filesystem(scheme, use_listings_cache=False, **options)


def _system(url: Url) -> AbstractFileSystem:
    return _filesystem(url.scheme)


def _told(call: Callable[[], Value]) -> Value:
    """What `call` returns. Raises OSError, whatever the storage raises, with words for the user."""
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
        raise OSError(getattr(error, "errno", None) or errno.EIO, words or type(error).__name__) from error


def _repeated(url: Url, call: Callable[[], Value]) -> Value:
    """`call`, over HTTP again after a failure that may pass."""
    attempts = ATTEMPTS if url.scheme in READ_ONLY else 1
    for attempt in range(1, attempts):
        try:
            return call()
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:
            if 400 <= (getattr(error, "status", None) or 500) < 500:  # the server will not change its mind
                raise
            time.sleep(PAUSE * 2 ** (attempt - 1))
    return call()


def read(url: Url) -> bytes:
    """The whole object. Raises OSError."""
    objects: dict[str, bytes] = getattr(_KEPT, "objects", {})
    if str(url) not in objects:
        objects[str(url)] = _told(lambda: _repeated(url, lambda: _fetched(url)))
    return objects[str(url)]


def _fetched(url: Url) -> bytes:
    if url.scheme in READ_ONLY and (_system(url).size(str(url)) or 0) > MOST:  # anybody may serve anything there
        raise OSError(errno.EFBIG, f"it has more than {MOST >> 30} GiB")
    return bytes(_system(url).cat_file(str(url)))


@contextmanager
def kept(whole: bool = True) -> Iterator[None]:
    """Inside, each object is fetched and each folder listed once by this thread, however often it is asked for. whole: objects
    are fetched whole; else those that can be read in blocks are, as for a header."""
    _KEPT.objects, _KEPT.listings, _KEPT.whole = {}, {}, whole
    try:
        yield
    finally:
        del _KEPT.objects, _KEPT.listings, _KEPT.whole


@contextmanager
def opened(url: Url) -> Iterator[IO[bytes]]:
    """An object to read: whole inside `kept`, else in blocks, as the header of a picture needs few of them. Raises OSError."""
    if getattr(_KEPT, "whole", False) or url.scheme in READ_ONLY:
        with BytesIO(read(url)) as file:
            yield file
        return
    with _told(lambda: _system(url).open(str(url), "rb", block_size=BLOCK, cache_type="readahead")) as file:
        yield file


def write(url: Url, data: bytes, force: bool) -> None:
    """Writes an object, as a whole. Raises FileExistsError without `force` where there is another one, OSError."""
    mode = "overwrite" if force else "create"
    system = _system(url)
    try:
        _told(lambda: system.pipe_file(str(url), data, mode=mode))
    except FileExistsError:
        if _told(lambda: system.cat_file(str(url))) != data:  # else an earlier attempt wrote it, whose answer was lost
            raise
    except OSError as error:
        if error.errno != errno.ENOSYS or force:  # some servers cannot write on a condition
            raise
        if url.exists():
            raise FileExistsError(errno.EEXIST, "it exists") from error
        _told(lambda: system.pipe_file(str(url), data))
    if len(_DIGESTS) >= RECENT:  # nobody has asked for them
        _DIGESTS.clear()
    _DIGESTS[str(url)] = hashlib.sha256(data).hexdigest()


def digest(url: Url) -> str:
    """SHA-256 of an object; of one that this process has just written without fetching it."""
    return _DIGESTS.pop(str(url), None) or hashlib.sha256(read(url)).hexdigest()


def modified(path: Path) -> float:
    """When a file or an object was last written, in seconds since the epoch. Raises OSError."""
    if not isinstance(path, Url):
        return path.stat().st_mtime
    return _told(lambda: float(_system(path).modified(str(path)).timestamp()))


def listing(url: Url) -> Listing:
    """The names of the objects and of the folders in a folder, sorted; nothing where there is none. Raises OSError."""
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
        if name and entry["name"].strip("/") != str(url).partition("://")[2].strip("/"):  # the folder's own mark
            names[entry["type"]].append(name)
    return sorted(names["file"]), sorted(names["directory"])


def walk(url: Url, recursive: bool) -> Iterator[tuple[Url, list[str]]]:
    """Each folder with the names of its objects; those of subfolders only where asked for, hidden ones not."""
    files, folders = listing(url)
    yield url, files
    for name in folders if recursive else []:
        if not name.startswith("."):
            yield from walk(url / name, recursive)


def is_pattern(text: str) -> bool:
    """Whether a text is a URL with wildcards, which no shell has expanded. In https:// a question mark begins a query."""
    match = URL.fullmatch(text)
    return bool(match and match[1].lower() not in READ_ONLY and re.search(r"[*?\[]", match[2]))


def matches(text: str) -> list[str]:
    """The URLs of the objects that a pattern fits, sorted. Raises InputError where there are none."""
    url = as_path(text)
    assert isinstance(url, Url)
    try:
        names = _told(lambda: _system(url).glob(str(url)))
    except OSError as error:
        raise InputError(f"{text} cannot be listed: {error.strerror}") from error
    if not names:
        raise InputError(f"{text}: no object fits the pattern")
    return [f"{url.scheme}://{str(name).strip('/')}" for name in sorted(names)]
