"""The cures that the command adds to the library's errors: which option to change, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from psal_cli.errors import (
    INTERRUPTED,
    Cure,
    InputError,
    InvalidValueError,
    MemoryLimitError,
    PsalError,
    is_out_of_memory,
    printable,
)

if TYPE_CHECKING:
    from psal_cli.commands.verb import AnyVerb

Failure = TypeVar("Failure", bound=BaseException)

# Cures that are not listed keep the library's wording. Each {} is one of the error's details.
CURES = {
    Cure.ELSEWHERE: "write elsewhere with -o",
    Cure.FREE_SPACE: "free space, or write to another disk with -o",
    Cure.QUOTA: "free space, or write elsewhere with -o",
    Cure.PERMISSION: "change it, or write to another folder with -o",
    Cure.ANOTHER_PLACE: "write to another folder with -o",
    Cure.NAME_LINK: "write to another folder with -o, or there with -o {} --suffix {}",
    Cure.REMOVE_LINK: "remove the link, or write to another folder with -o",
    Cure.SIZE_LIMIT: "raise it, or write elsewhere with -o",
    Cure.SHORTER: "give a shorter one with -o, or a shorter --suffix",
    Cure.MAKE_FOLDER: "create it, or give another with -o",
    Cure.OTHER_FOLDER: "give another with -o",
    Cure.OTHER_FILE: "name another with -o",
    Cure.MAKE_WRITABLE: "make it writable (chmod u+w), or name another with -o",
    Cure.REDIRECT: "redirect it (> out.png), or name a file with -o",
    Cure.OVERWRITE: "--force to overwrite it, or name another with -o",
    Cure.OVERWRITE_OR_RENAME: "--force to overwrite it, or give another name",
    Cure.OVERWRITE_OR_SKIP: "--force to overwrite, --skip-existing to leave what is there",
    Cure.NAME_FOLDER: "name a folder with -o",
    Cure.KEEP_TREE: "to keep the tree, give the folder above them with -r, or mark where it begins: {}",
    Cure.ONE_FORMAT: "leave --format out, or give each kind a folder of its own with -o",
    Cure.SIDECAR: "each picture needs its --{}",
    Cure.PICTURE_AS_LIST: "--from-file takes a list of file names, give it as an argument",
    Cure.SHOW_THROUGH: "write PNG, WebP or TIFF with -o, or say what shows through with --background white",
    Cure.LARGER_FORMAT: "write PNG or TIFF with -o",
    Cure.INVERT: "white = fill, --mask-invert turns it round",
    Cure.MORE_PIXELS: "scale it down, or raise --max-pixels",
    Cure.SAY_FORMAT: "say the format with --format, e.g. --format png",
    Cure.EXTENSION: "give -o a name that ends in one of these, or say --format",
}
PLANNED = (
    "output",
    "failed_list",
    "report",
    "shard",
    "background",
    "format",
)  # options of every verb whose values the library may refuse


def with_cure(error: Failure, verb: AnyVerb) -> Failure | PsalError:
    """The error with the command's cure, or the error itself if the library's wording suffices."""
    options = {name: f"--{name.replace('_', '-')}" for name in (*PLANNED, *verb.partners, *verb.outputs, *verb.sheets)}
    if isinstance(error, InvalidValueError):
        return _with_flag(error, {**options, **verb.flags})
    if isinstance(error, MemoryLimitError) and error.needed is not None and error.allowed is not None:
        return _worded(MemoryLimitError(f"{error}: {_less_memory(verb, error.allowed)}", error.needed, error.allowed), error)
    return error


def outcome(error: BaseException) -> tuple[int, str]:
    """The exit code and the message for an error that ended a command."""
    if isinstance(error, PsalError):
        words = CURES.get(error.cure, error.cure.value).format(*error.details) if error.cure else ""
        return error.exit_code, printable(f"{error.problem}: {words}" if words else str(error))
    if isinstance(error, KeyboardInterrupt):
        code, text = INTERRUPTED, "interrupted, nothing half-written is left"
    elif is_out_of_memory(error):
        code, text = 4, "out of memory: close other programs, or give a smaller picture"
    else:
        code, text = 1, f"internal error, {type(error).__name__}: {error} (please report it with the traceback that -vv prints)"
    return code, " ".join(text.split())


@contextmanager
def flagged(flags: Mapping[str, str]) -> Iterator[None]:
    """Context in which errors about an argument of the library name the option instead. flags: argument -> option."""
    try:
        yield
    except InvalidValueError as error:
        raise _with_flag(error, flags) from error


def _with_flag(error: InvalidValueError, flags: Mapping[str, str]) -> PsalError:
    if error.what not in flags:
        return error
    return _worded(InputError(f"{flags[error.what]} is {error.value}, expected {error.expected}"), error)


def _worded(new: PsalError, error: BaseException) -> PsalError:
    return new.with_traceback(error.__traceback__)


def _less_memory(verb: AnyVerb, allowed: int) -> str:
    if verb.arguments.max_memory is not None:
        return f"allow more with --max-memory, or {verb.smaller}"
    return f"close other programs, or {verb.less.format(f' {allowed // 2**20}M')}"
