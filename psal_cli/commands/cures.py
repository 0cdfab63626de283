"""The words that the command adds to the library's errors: which option to change, and how."""

from psal_cli.commands.verb import AnyVerb
from psal_cli.errors import InputError, InvalidValueError, MemoryLimitError


def with_cure(error: Exception, verb: AnyVerb) -> Exception:
    """The error in the words of the command, or the error itself where the library's words will do."""
    if isinstance(error, InvalidValueError) and error.what in verb.flags:
        return InputError(f"{verb.flags[error.what]} is {error.value}, expected {error.expected}")
    if isinstance(error, MemoryLimitError) and error.needed is not None and error.allowed is not None:
        return MemoryLimitError(f"{error}: {_less_memory(verb, error.allowed)}", error.needed, error.allowed)
    return error


def _less_memory(verb: AnyVerb, allowed: int) -> str:
    if verb.arguments.max_memory is not None:
        return f"allow more with --max-memory, or {verb.smaller}"
    return f"close other programs, or {verb.less.format(f' {allowed // 2**20}M')}"
