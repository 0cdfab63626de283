"""What stops psal, and the exit code of the command: 1 failed, 2 unusable input, 3 nothing to do, 4 out of memory, 130
interrupted.

Library errors carry data. They name no flag and no cure: the command adds both (psal_cli.commands.cures).
"""

import re
import sys

INTERRUPTED = 130


class PsalError(Exception):
    """Anything psal refuses or fails at; its text is one line that names the file or value."""

    exit_code = 1


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
    """The caller's cancel hook said so."""

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


def printable(text: str) -> str:
    """The text on one line and harmless to a terminal: what cannot be printed, in names of files, is escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def outcome(error: BaseException) -> tuple[int, str]:
    """The exit code and the one line for whatever stopped a command."""
    if isinstance(error, PsalError):
        return error.exit_code, printable(str(error))
    if isinstance(error, KeyboardInterrupt):
        code, text = INTERRUPTED, "interrupted, nothing half-written is left"
    elif is_out_of_memory(error):
        code, text = 4, "out of memory: close other programs, or give a smaller picture"
    else:
        code, text = 1, f"internal error, {type(error).__name__}: {error} (please report it with the traceback that -vv prints)"
    return code, " ".join(text.split())


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
