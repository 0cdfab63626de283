"""The base class of verbs for pictures: the steps that `run_verb` calls, and what all verbs share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

import click

from psal_cli.batch.inputs import Item
from psal_cli.batch.shards import ALL
from psal_cli.commands import devices, options
from psal_cli.commands.arguments import Arguments
from psal_cli.commands.console import Console, Progress
from psal_cli.errors import InputError, MemoryLimitError
from psal_cli.files import STDIO, open_input
from psal_cli.storage import Url

if TYPE_CHECKING:
    from psal_cli.image import Encoding, Header
    from psal_cli.timing import Cost


class HasBytes(Protocol):
    """A plan. bytes: its peak memory."""

    @property
    def bytes(self) -> int: ...


Given = TypeVar("Given", bound=Arguments)
Loaded = TypeVar("Loaded")  # result of `read`
Result = TypeVar("Result")  # result of `work`
Plan = TypeVar("Plan", bound=HasBytes)


class WithSheets(ABC):
    """A verb that writes sheets."""

    @abstractmethod
    def finish(self, items: list[Item]) -> None:
        """Writes the requested sheets for the items whose results exist. Raises PsalError."""


class AnyVerb(ABC):
    """What all verbs share, independent of the types of their steps."""

    beside: ClassVar[str]  # suffix of a result beside its picture
    partners: ClassVar[tuple[str, ...]]  # options for a sidecar of each picture: a file, a folder or a pattern
    outputs: ClassVar[tuple[str, ...]]  # options for files written in addition to the result
    sheets: ClassVar[tuple[str, ...]] = ()  # options for one file about all results
    listed: ClassVar[tuple[str, ...]] = ()  # those of the partners that are repeatable
    attributes: ClassVar[Mapping[str, str]] = {}  # option -> attribute of the arguments, if that has another name
    flags: ClassVar[Mapping[str, str]] = {}  # the library's name of an argument -> option, for errors
    less: ClassVar[str] = "--max-memory{} picks a smaller plan"  # the cure if memory is short; {}: the amount, if known
    smaller: ClassVar[str] = "give a smaller picture"  # the cure if there is no smaller plan
    if_masked = False  # whether pictures without a mask are skipped
    results = 1  # of each picture
    shard = ALL  # of the pictures, those that are worked on
    checks_memory = True  # whether a plan must fit into the free memory of this machine
    cpu_only: str | None = None  # what runs on the CPU only, in words; None if CUDA can be used

    def __init__(self, arguments: Arguments, console: Console):
        self.arguments, self.console = arguments, console
        self.device = arguments.device  # as requested until `use_device`, then torch's name
        self.estimates: dict[Item, int] = {}
        self.facts: dict[Item, dict[str, object]] = {}  # of a result, for its --json record
        self.remarks: dict[Item, str] = {}  # the same in words, for the "done" line

    @abstractmethod
    def start(self) -> None:
        """Runs once before the first picture."""

    @abstractmethod
    def needed(self, item: Item) -> int:
        """Peak bytes of the work on a picture, from the header of its file. Raises PsalError."""

    @abstractmethod
    def preview(self, item: Item) -> dict[str, object]:
        """What --dry-run prints, without decoding the picture: size, memory, seconds. Raises PsalError if it would be refused."""

    def value(self, option: str) -> str | None:
        """The value of an option that names a file."""
        value: str | None = getattr(self.arguments, self.attributes.get(option, option))
        return value

    def patterns(self) -> dict[str, tuple[str, ...]]:
        """option -> files, folders or patterns, for each given option in `partners`."""
        texts = {name: getattr(self.arguments, self.attributes.get(name, name)) for name in self.partners}
        return {name: x if isinstance(x, tuple) else (x,) for name, x in texts.items() if x}

    def use_device(self) -> str:
        """Chooses the device for `--device` and returns the reason. Raises InputError if it is not available."""
        device = self.arguments.device
        if self.cpu_only and device not in ("auto", "cpu"):
            raise InputError(f"--device {device}: {self.cpu_only} runs on the CPU only: leave --device out")
        self.device, why = devices.choose_device("cpu" if self.cpu_only else device)
        return f"{self.cpu_only} runs on the CPU only" if self.cpu_only else why

    def refuse_mixtures(self, engines: Mapping[str, tuple[str, ...]]) -> None:
        """Refuses options that the chosen engine does not have. engines: option -> engines that have it."""
        source_of = click.get_current_context().get_parameter_source
        engine = getattr(self.arguments, "engine")  # noqa: B009  # of the verbs that have engines
        for name, those in engines.items():
            if engine not in those and source_of(name) is click.core.ParameterSource.COMMANDLINE:
                option = name.replace("_", "-")
                raise click.UsageError(f"--{option} requires --engine {' or '.join(those)}: leave it out, or change the engine")

    def estimate(self, item: Item) -> int | None:
        """The estimated bytes of an item, None if its work had not begun."""
        return self.estimates.get(item)

    def planned(self, item: Item, plan: Plan, within: Callable[..., Plan] | None = None) -> Plan:
        """Makes and records a plan. Raises MemoryLimitError if too little memory is free. within: makes a plan within a limit; it
        raises MemoryLimitError if there is none.
        """
        from psal_cli import memory

        self.estimates[item] = plan.bytes
        if not self.checks_memory or self.arguments.max_memory is not None:  # a user who sets a limit may know more, e.g. about swap
            return plan
        try:
            memory.check_available(plan.bytes)
        except MemoryLimitError as error:
            if within and error.allowed is not None:
                self._check_smaller(within, error.allowed)
            raise
        return plan

    def _check_smaller(self, within: Callable[..., Plan], allowed: int) -> None:
        """Raises MemoryLimitError if the limit that the error would suggest is refused too."""
        from psal_cli import memory

        try:
            within(limit=max(allowed // 2**20, 1) * 2**20)
        except MemoryLimitError as error:
            if error.needed is None:
                raise
            least = f"it takes {memory.in_words(error.needed)} of memory at least, {memory.at_most(allowed)} can be had"
            raise MemoryLimitError(f"{least}: close other programs, or {self.smaller}") from error

    def seconds(self, cost: Cost) -> float | None:
        """The seconds that a picture of this cost takes on this machine; None on a GPU, for which there are no figures."""
        import torch

        from psal_cli import timing

        return round(timing.seconds(cost, torch.get_num_threads()), 2) if self.device == "cpu" else None

    def header(self, item: Item) -> Header:
        from psal_cli.image import read_header

        return read_header(item.input, self.arguments.max_pixels)

    def encoding(self, item: Item, source: str) -> Encoding:
        """The encoding of the result of a picture in format `source`."""
        return options.encoding(self.arguments, item.output, source)

    def formats(self, item: Item, source: str) -> dict[str, str]:
        """option -> Pillow's name of the format of each file that is written; "output" is the result."""
        encoded = self.encoding(item, source).format
        return {name: options.written_as(name, path, encoded) for name, path in item.outputs.items()}

    def streams(self, item: Item, header: Header, channels: int) -> int:
        """Bytes of stdin and fetched objects, which are kept until the end, and of stdout and uploaded results, which are encoded
        in memory first: about half of the pixels' bytes.

        channels: of the result.
        """
        with open_input(item.input) as file:
            size = file.seek(0, 2)
        out = max(size, header.width * header.height * channels * header.bits // 16) if _is_streamed(item.output) else 0
        return out + (size if _is_streamed(item.input) else 0)

    def sidecar(self, item: Item, option: str) -> Path | None:
        """The item's sidecar for an option that takes one."""
        return item.sidecars[option][0] if option in item.sidecars else None


def _is_streamed(path: Path) -> bool:
    return path == STDIO or isinstance(path, Url)


class Verb(AnyVerb, Generic[Given, Loaded, Result]):
    """A verb: how it reads, processes and writes a picture. Each step may raise PsalError, which affects that picture only."""

    arguments: Given

    def __init__(self, arguments: Given, console: Console):
        super().__init__(arguments, console)

    @abstractmethod
    def read(self, item: Item) -> Loaded: ...

    @abstractmethod
    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result: ...

    @abstractmethod
    def write(self, item: Item, result: Result) -> str:
        """Returns the status: "done" or "copied"."""
