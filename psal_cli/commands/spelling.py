"""Suggestions for mistyped names."""

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known name that is most like a mistyped one, as a question with a space before it; empty where none is like it."""
    from difflib import get_close_matches  # only now: most command lines have no slip

    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
