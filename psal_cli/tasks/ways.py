"""How a network is run, and what is tried where the memory of a GPU does not suffice."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch

Result = TypeVar("Result")


class Way(NamedTuple):
    """half: in half precision; largest: pixels that are worked on at a time."""

    device: str
    half: bool
    largest: int


def ways(device: str, largest: int, fewest: int) -> list[Way]:
    """Those to try on a device, one after another: half precision, then fewer pixels at a time, then the CPU."""
    first = Way(device, False, largest)
    if device == "cpu":
        return [first]
    return [first, Way(device, True, largest), Way(device, True, min(largest, fewest)), Way("cpu", False, largest)]


def first_that_fits(ways: list[Way], work: Callable[[Way], Result], say: Callable[[str], None]) -> Result:
    """What `work` gives in the first way for which there is memory. say: is told of each other way that is tried.

    Raises torch.OutOfMemoryError: in each of them.
    """
    for way, other in pairwise(ways):
        try:
            return work(way)
        except torch.OutOfMemoryError:
            how = f"{'half' if other.half else 'full'} precision, {other.largest} pixels at a time"
            say(f"the network does not fit into the memory of {way.device}: now on {other.device}, {how}")
    return work(ways[-1])
