"""How to run a network, and what to try next when a GPU runs out of memory."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch

Result = TypeVar("Result")


class RunMode(NamedTuple):
    """How a network runs: device, half precision or not, and pixels processed at a time (`largest`)."""

    device: str
    half: bool
    largest: int


def run_modes(device: str, largest: int, fewest: int) -> list[RunMode]:
    """The modes to try on a device, in order: full precision, half precision, fewer pixels at a time, the CPU."""
    first = RunMode(device, False, largest)
    if device == "cpu":
        return [first]
    half, smaller = RunMode(device, True, largest), RunMode(device, True, min(largest, fewest))
    return [first, half, smaller, RunMode("cpu", False, largest)]


def first_that_fits(
    modes: Sequence[RunMode], work: Callable[[RunMode], Result], say: Callable[[str], None]
) -> tuple[Result, RunMode]:
    """Returns the result of `work` in the first mode that has enough memory, and that mode.

    say: called with a message for each further mode that is tried.

    Raises:
        torch.OutOfMemoryError: no mode has enough.
    """
    for mode, following in pairwise(modes):
        try:
            return work(mode), mode
        except torch.OutOfMemoryError:
            how = f"{'half' if following.half else 'full'} precision, {following.largest} pixels at a time"
            say(f"the network does not fit into the memory of {mode.device}: now on {following.device}, {how}")
    return work(modes[-1]), modes[-1]
