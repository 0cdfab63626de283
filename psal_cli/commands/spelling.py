"""Suggestions for mistyped names."""

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """" Did you mean 'x'?" for the known name closest to a mistyped one; empty if none is close."""
    from difflib import get_close_matches  # imported late: most command lines have no typo

    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
