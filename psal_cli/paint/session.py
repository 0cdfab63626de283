"""The pictures of one `psal paint`, by number. A few of them are open at a time."""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from psal_cli.batch.inputs import Item
from psal_cli.errors import InvalidValueError
from psal_cli.paint.networks import Networks
from psal_cli.paint.opened import Opened
from psal_cli.paint.references import References

MOST_OPEN = 2  # pictures in memory; others are decoded again when needed
MASK = re.compile(r"(.+)_mask(?:_\d+)?\.png")
WARM_UP = 2.5  # seconds after the first tile, so that the other tiles on the screen come first


def without_masks(items: Sequence[Item]) -> list[Item]:
    """The pictures without the masks that an earlier session saved beside them."""
    stems = {item.input.with_suffix("") for item in items}

    def is_mask(item: Item) -> bool:
        match = MASK.fullmatch(item.input.name)
        return match is not None and item.input.with_name(match[1]) in stems

    return [item for item in items if not is_mask(item)]


class Session:
    """The server's state. All paths come from the command line; the page refers to pictures by number.

    Attributes:
        items: the pictures; `item.output` is the default path of a result.
        references: pictures dropped on the page; networks: those in the user's model folder.
        states: the folder of all states; device: the device of networks, called once because finding it takes a second or two.
    """

    def __init__(self, items: Sequence[Item], states: Path, device: Callable[[], str], max_pixels: int):
        self.items, self.states, self.device, self.max_pixels = items, states, cache(device), max_pixels
        self.references, self.networks = References(max_pixels), Networks()
        self._warm = False
        self._open: OrderedDict[int, Opened] = OrderedDict()
        self._lock = threading.Lock()

    def item(self, number: int) -> Item:
        if not 0 <= number < len(self.items):
            raise InvalidValueError("picture", number, f"a number from 0 to {len(self.items) - 1}")
        return self.items[number]

    def opened(self, number: int) -> Opened:
        """The picture of that number, decoded if it is not open. Raises PsalError."""
        item = self.item(number)
        with self._lock:  # two requests for one picture decode it once
            if number not in self._open:
                if item.problem:
                    raise item.problem
                self._make_room()
                self._open[number] = Opened(item.input, self.max_pixels, self.states)
            self._open.move_to_end(number)
            return self._open[number]

    def warm_up(self) -> None:
        """Loads what a run needs soon after the first picture is shown, so that the first run starts at once."""
        if not self._warm:
            self._warm = True
            timer = threading.Timer(WARM_UP, self._load)
            timer.daemon = True
            timer.start()

    def _load(self) -> None:
        from psal_cli.verbs.inpaint.guide import network_for
        from psal_cli.verbs.inpaint.memory_model import baseline
        from psal_cli.verbs.inpaint.options import InpaintOptions

        self.device()
        network_for(InpaintOptions())
        baseline()

    def _make_room(self) -> None:
        """Closes the least recently used pictures on which no job runs."""
        for number, opened in list(self._open.items()):
            if len(self._open) < MOST_OPEN:
                return
            if not opened.busy:
                del self._open[number]
                opened.close()

    def close(self) -> None:
        """Cancels running jobs and closes all pictures."""
        with self._lock:
            for opened in self._open.values():
                if opened.job is not None and opened.job.running:
                    opened.job.cancel()
                    opened.job.wait(5)
                opened.close()
            self._open.clear()
            self.references.close()
