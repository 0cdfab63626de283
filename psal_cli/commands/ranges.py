"""Numbers within a range, described in words in help and errors."""

from __future__ import annotations

import click


def in_words(kind: object) -> str | None:
    """The range of an option's type, such as "1 to 64"; None where it has none."""
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return None
    if kind.min is None:
        return None if kind.max is None else f"{'below' if kind.max_open else 'at most'} {kind.max:g}"
    if kind.max is None:
        return f"{'above' if kind.min_open else 'at least'} {kind.min:g}"
    return f"{kind.min} to {kind.max}"


class IntRange(click.IntRange):
    """click's IntRange with errors in plain English."""

    def _describe_range(self) -> str:
        return in_words(self) or ""


class Finite(click.FloatRange):
    """A number within a range, never NaN."""

    def _describe_range(self) -> str:
        return in_words(self) or ""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        return number if number == number else self.fail(f"{value} is not a number", param, ctx)


class Odd(IntRange):
    def convert(self, value: int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = super().convert(value, param, ctx)
        if number % 2 == 0:
            self.fail(
                f"{number} is even: give an odd number, e.g. {number + 1 if number != self.max else number - 1}", param, ctx
            )
        return number
