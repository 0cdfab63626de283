"""All errors of psal, with the exit codes of the command: 1 failed, 2 unusable input, 3 nothing to do, 4 out of memory, 130
interrupted.

Library errors carry data and never name an option of the command. The command adds its own cures (psal_cli.commands.cures).
"""

import re
import sys
from enum import Enum

INTERRUPTED = 130


class Cure(Enum):
    """How to fix an error, worded for callers of the library. Each {} is one of the error's `details`."""

    ELSEWHERE = "write elsewhere"
    FREE_SPACE = "free space, or write to another disk"
    QUOTA = "free space, or write elsewhere"
    PERMISSION = "change it, or write to another folder"
    ANOTHER_PLACE = "write to another folder"
    NAME_LINK = "write to another folder, or name {} and the suffix {} yourself"
    REMOVE_LINK = "remove the link, or write to another folder"
    SIZE_LIMIT = "raise it, or write elsewhere"
    SHORTER = "use a shorter name"
    MAKE_FOLDER = "create it, or give another"
    OTHER_FOLDER = "give another"
    OTHER_FILE = "name another"
    MAKE_WRITABLE = "make it writable (chmod u+w), or name another"
    REDIRECT = "redirect it (> out.png), or name a file"
    OVERWRITE = "allow to overwrite it, or name another"
    OVERWRITE_OR_RENAME = "allow to overwrite it, or give another name"
    OVERWRITE_OR_SKIP = "allow to overwrite, or skip what is there"
    NAME_FOLDER = "name a folder"
    KEEP_TREE = "to keep the tree, give the folder above them, or mark where it begins: {}"
    ONE_FORMAT = "keep the formats, or give each a folder of its own"
    SIDECAR = "each picture needs its {}"
    PICTURE_AS_LIST = "a list of file names is expected, give it as an argument"
    SHOW_THROUGH = "write PNG, WebP or TIFF, or say which background shows through"
    LARGER_FORMAT = "write PNG or TIFF"
    INVERT = "white = fill, it may be inverted"
    MORE_PIXELS = "scale it down, or allow more pixels"
    SAY_FORMAT = "say the format"
    EXTENSION = "give a name that ends in one of these, or say the format"


class PsalError(Exception):
    """Base class of psal's errors. The text is one line that names the file or value.

    Attributes:
        problem: the text without the cure.
        cure: how to fix it, None where that is obvious.
        details: the values that fill the {} of the cure.
    """

    exit_code = 1

    def __init__(self, problem: str, cure: Cure | None = None, *details: str):
        super().__init__(problem if cure is None else f"{problem}: {cure.value.format(*details)}")
        self.problem, self.cure, self.details = problem, cure, details


class InputError(PsalError):
    """An option or an input file that psal cannot use."""

    exit_code = 2


class InvalidValueError(InputError, ValueError):
    """An argument that a function cannot use.

    Attributes:
        what: the name of the argument, as in the function's signature or in its options.
        value: the value that was passed.
        expected: the values that are allowed, in words.
    """

    def __init__(self, what: str, value: object, expected: str):
        super().__init__(f"{what} is {value}, expected {expected}")
        self.what, self.value, self.expected = what, value, expected


class CancelledError(PsalError):
    """Raised after the caller's cancel hook returned True."""

    exit_code = INTERRUPTED

    def __init__(self) -> None:
        super().__init__("cancelled")


class NothingToDoError(PsalError):
    """No picture is left to work on."""

    exit_code = 3


class WriteError(PsalError):
    """An output file could not be written. An existing file is left intact."""


class MemoryLimitError(PsalError):
    """A picture needs more memory than it may take.

    Attributes:
        needed: bytes that the smallest plan needs, None if unknown.
        allowed: bytes that may be used.
    """

    exit_code = 4

    def __init__(self, text: str, needed: int | None = None, allowed: int | None = None):
        super().__init__(text)
        self.needed, self.allowed = needed, allowed


SECRETS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/\s@?#]*@|(?P<page>https?://[^\s?#]*)[?#]\S*?(?=[:,;.)\"']*(?:\s|$))", re.IGNORECASE
)


def without_secrets(text: str) -> str:
    """Removes user names, passwords and queries from the URLs in a text: they may hold signatures and tokens."""
    if "://" not in text:
        return text
    for _ in range(2):  # a URL may have both
        text = SECRETS.sub(lambda match: match["scheme"] or match["page"], text)
    return text


def printable(text: str) -> str:
    """Makes a text safe to print: one line, unprintable characters escaped, secrets removed from URLs."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in without_secrets(text))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, numpy, torch (CPU and CUDA) or OpenCV raised an error because memory ran out."""
    torch = sys.modules.get("torch")  # None if torch was not imported: then the error is not from torch
    if isinstance(error, MemoryError) or (torch and isinstance(error, torch.OutOfMemoryError)):
        return True
    words = "can.?t allocate memory|cannot allocate memory|not enough memory|bad_alloc|out of memory|insufficient memory"
    words += r"|encoding error 1\b"  # libwebp
    if isinstance(error, ImportError):
        return "failed to map segment" in str(error)
    plain = isinstance(error, (RuntimeError, ValueError, OSError)) or type(error).__module__ == "cv2"  # torch, libpsal, Pillow
    return plain and bool(re.search(words, str(error), re.IGNORECASE))
