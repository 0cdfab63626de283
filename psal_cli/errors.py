"""What stops psal, and the exit code of the command: 1 failed, 2 unusable input, 3 nothing to do, 4 out of memory, 130
interrupted.

Library errors carry data and name no option of the command, which puts cures in its own words (psal_cli.commands.cures).
"""

import re
import sys
from enum import Enum

INTERRUPTED = 130


class Cure(Enum):
    """What would help, in words for callers of the library. Each {} is one of the error's `details`."""

    ELSEWHERE = "write elsewhere"
    FREE_SPACE = "free space, or write to another disk"
    QUOTA = "free space, or write elsewhere"
    PERMISSION = "change it, or write to another folder"
    ANOTHER_PLACE = "write to another folder"
    NAME_LINK = "write to another folder, or name {} and the suffix {} yourself"
    REMOVE_LINK = "remove the link, or write to another folder"
    SIZE_LIMIT = "raise it, or write elsewhere"
    SHORTER = "give a shorter one"
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
    """Anything psal refuses or fails at; its text is one line that names the file or value.

    Attributes:
        problem: the text without the cure.
        cure: what would help, None where that goes without saying.
        details: what the words of the cure name.
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
        value: what was given.
        expected: what would do, in words.
    """

    def __init__(self, what: str, value: object, expected: str):
        super().__init__(f"{what} is {value}, expected {expected}")
        self.what, self.value, self.expected = what, value, expected


class CancelledError(PsalError):
    """The caller's cancel hook returned True."""

    exit_code = INTERRUPTED

    def __init__(self) -> None:
        super().__init__("cancelled")


class NothingToDoError(PsalError):
    """No picture is left to work on."""

    exit_code = 3


class WriteError(PsalError):
    """An output file that could not be written; the old one, if any, is whole."""


class MemoryLimitError(PsalError):
    """A picture that cannot be worked on within the memory that it may take.

    Attributes:
        needed: bytes of the smallest plan, None where that is not known.
        allowed: bytes that may be taken.
    """

    exit_code = 4

    def __init__(self, text: str, needed: int | None = None, allowed: int | None = None):
        super().__init__(text)
        self.needed, self.allowed = needed, allowed


SECRETS = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/\s@?#]*@|(?P<page>https?://[^\s?#]*)[?#]\S*?(?=[:,;.)\"']*(?:\s|$))", re.IGNORECASE
)


def without_secrets(text: str) -> str:
    """The text with the URLs in it less user names, passwords and queries, which may hold signatures and tokens."""
    if "://" not in text:
        return text
    for _ in range(2):  # a URL may have both
        text = SECRETS.sub(lambda match: match["scheme"] or match["page"], text)
    return text


def printable(text: str) -> str:
    """The text on one line and harmless to a terminal: what cannot be printed, in names of files, is escaped. Without the secrets
    of URLs."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in without_secrets(text))


def is_out_of_memory(error: BaseException) -> bool:
    """True for what Python, numpy, torch (CPU and CUDA) and OpenCV raise when memory is short."""
    torch = sys.modules.get("torch")  # not imported: then the error is not its own
    if isinstance(error, MemoryError) or (torch and isinstance(error, torch.OutOfMemoryError)):
        return True
    words = "can.?t allocate memory|cannot allocate memory|not enough memory|bad_alloc|out of memory|insufficient memory"
    words += r"|encoding error 1\b"  # libwebp
    if isinstance(error, ImportError):
        return "failed to map segment" in str(error)
    plain = isinstance(error, (RuntimeError, ValueError, OSError)) or type(error).__module__ == "cv2"  # torch, libpsal, Pillow
    return plain and bool(re.search(words, str(error), re.IGNORECASE))
