"""Checks of option values, made when the options are created. Each function raises InvalidValueError."""

from collections.abc import Mapping, Sequence

from psal_cli.errors import InvalidValueError


def one_of(what: str, value: object, allowed: Sequence[object]) -> None:
    if value not in allowed:
        raise InvalidValueError(what, repr(value), f"one of {', '.join(map(str, allowed))}")


def within(what: str, value: float, low: float, high: float) -> None:
    """Checks for a number from low to high, both included."""
    if not low <= value <= high:  # also refuses NaN
        raise InvalidValueError(what, value, f"{low} to {high}")


def whole(record: Mapping[str, object], name: str, default: int | None = None) -> int:
    """A whole number of a record from outside, whose values may be anything."""
    value = record.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidValueError(name, repr(value)[:60], "a whole number")
    return value


def odd(what: str, value: int, low: int, high: int) -> None:
    if not (low <= value <= high and value % 2):
        raise InvalidValueError(what, value, f"an odd number from {low} to {high}")


def above_zero(what: str, value: float) -> None:
    if not value > 0 or value == float("inf"):
        raise InvalidValueError(what, value, "a number above 0")


def seed(value: int) -> None:
    within("seed", value, 0, 2**32 - 1)


def device(value: str) -> None:
    """Checks the name of a device only; whether the machine has it shows on use."""
    kind, _, number = value.partition(":")
    if not (value == "cpu" or (kind == "cuda" and (number.isdigit() or value == "cuda"))):
        raise InvalidValueError("device", repr(value), "cpu, cuda or cuda:N")
