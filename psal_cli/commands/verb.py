"""What a verb that edits pictures is: the steps that `run_verb` asks of it, and what all verbs share of them."""

from abc import ABC, abstractmethod
from types import SimpleNamespace
from typing import Any

import click

from psal_cli.batch.plan import Item
from psal_cli.commands import options
from psal_cli.commands.console import Progress, Talk
from psal_cli.files import STDIO, open_input


class Verb(ABC):
    """One verb: how it reads, works and writes. Each step may raise PsalError, which concerns that picture only."""

    beside: str  # between name and extension of a result beside its picture
    partners: tuple[str, ...]  # options that name a file for each picture: a file, a folder or a pattern
    outputs: tuple[str, ...]  # options that name what is written beside the result
    sheets: tuple[str, ...] = ()  # options that name one file about all results
    results = 1  # of each picture
    less = "--max-memory{} picks a smaller plan"  # what makes a picture take less memory; {}: of so much, where that is known
    step = "level"  # what the work on a picture is made of, in its progress

    def __init__(self, want: SimpleNamespace, talk: Talk):
        """want: the options."""
        self.want, self.talk = want, talk
        self.estimates: dict[Item, int] = {}
        self.facts: dict[Item, dict] = {}  # of a result, for its line of --json

    @abstractmethod
    def start(self) -> None:
        """What is to be done once, before the first picture."""

    @abstractmethod
    def read(self, item: Item) -> Any: ...

    @abstractmethod
    def work(self, item: Item, loaded: Any, progress: Progress | None) -> Any: ...

    @abstractmethod
    def write(self, item: Item, result: Any) -> str:
        """Returns the status: "done" or "copied"."""

    def finish(self, items: list[Item]) -> None:
        """Writes the sheets that are asked for, about the items whose results are there: of every verb that names `sheets`, asked
        of no other. Raises PsalError."""
        raise NotImplementedError

    @abstractmethod
    def preview(self, item: Item) -> dict:
        """What can be told without decoding the picture: size, memory. Raises PsalError for what would be refused."""

    def refuse_mixtures(self, engines: dict[str, tuple[str, ...]]) -> None:
        """Options that were given though the chosen engine knows nothing of them. engines: of each such option, those that do."""
        given = click.get_current_context().get_parameter_source
        for name, those in engines.items():
            if self.want.engine not in those and given(name) is click.core.ParameterSource.COMMANDLINE:
                option = name.replace("_", "-")
                raise click.UsageError(
                    f"--{option} is of --engine {' and '.join(those)}: leave it out, or add --engine {those[0]}"
                )

    def estimate(self, item: Item) -> int | None:
        """Bytes that the item was expected to need, None when its work had not begun."""
        return self.estimates.get(item)

    def planned(self, item: Item, found: Any) -> Any:
        """A plan (`bytes`: the most memory it takes), noted; raises MemoryLimitError when so much is not free."""
        from psal_cli import memory

        self.estimates[item] = found.bytes
        if self.want.max_memory is None:  # who names a limit may know more, of swap for instance
            memory.check_available(found.bytes, self.less)
        return found

    def header(self, item: Item):
        """psal_cli.image.Header of the picture."""
        from psal_cli.image import read_header

        return read_header(item.input, self.want.max_pixels)

    def encoding(self, item: Item, source: str):
        """How the result of a picture in the format `source` is written: psal_cli.image.Encoding."""
        return options.encoding(self.want, item.output, source)

    def formats(self, item: Item, source: str) -> dict[str, str]:
        """option -> the format, as Pillow names it, of each file that is written; "output" is the result."""
        encoded = self.encoding(item, source).format
        return {name: options.written_as(name, path, encoded) for name, path in item.outputs.items()}

    def streams(self, item: Item, header: Any, channels: int) -> int:
        """Bytes of what is piped in, kept to the end, and of what is piped out, made whole before: about half of its pixels'.

        channels: of the result.
        """
        with open_input(item.input) as file:
            size = file.seek(0, 2)
        out = max(size, header.width * header.height * channels * header.bits // 16) if item.output == STDIO else 0
        return out + (size if item.input == STDIO else 0)
