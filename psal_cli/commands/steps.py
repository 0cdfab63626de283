"""The steps of one picture in a batch: those of its verb, and what is the same for all verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from psal_cli import memory, storage
from psal_cli.batch.inputs import Item
from psal_cli.batch.plan import make_folders
from psal_cli.commands.console import Progress
from psal_cli.commands.cures import with_cure
from psal_cli.commands.verb import AnyVerb, Given, Loaded, Result, Verb
from psal_cli.errors import Cure, InputError, is_out_of_memory
from psal_cli.files import STDIO
from psal_cli.storage import Url

SKIPPED = "skipped"


class Steps(Generic[Given, Loaded, Result]):
    """Read, work and write, as `psal_cli.batch.runner.run` takes them. With --skip-existing, None stands for a picture whose
    result another process has written in the meantime."""

    def __init__(
        self,
        verb: Verb[Given, Loaded, Result],
        tell: Callable[[Item, str, float], None],
        progress: Callable[[Item], Progress | None],
    ):
        """tell: called with the current step of an item and the share of its work done; progress: makes the callback for its
        work."""
        self.verb, self.tell, self.progress = verb, tell, progress

    def read(self, item: Item) -> Loaded | None:
        if item.problem:
            raise item.problem
        if not isinstance(item.output, Url) and has_appeared(self.verb, item):  # the plan has listed URLs already
            return None
        self.tell(item, "reading", 0.0)
        with storage.kept():
            return self.verb.read(item)

    def work(self, item: Item, loaded: Loaded | None) -> Result | None:
        return None if loaded is None else self.verb.work(item, loaded, self.progress(item))

    def write(self, item: Item, result: Result | None) -> str:
        """Returns the status."""
        if result is None:
            return SKIPPED
        self.tell(item, "writing", 1.0)
        make_folders(item.outputs.values())
        try:
            return self.verb.write(item, result)
        except InputError as error:
            if error.cure is Cure.OVERWRITE and has_appeared(self.verb, item):
                return SKIPPED
            raise


def has_appeared(verb: AnyVerb, item: Item) -> bool:
    """Whether, with --skip-existing, another process has written the result since the plan was made."""
    return bool(verb.arguments.skip_existing and item.output != STDIO and item.output.is_file())


def in_words(verb: AnyVerb, item: Item, error: BaseException) -> tuple[BaseException, str]:
    """The error of a picture in the command's words, with a further cure."""
    cure = ""
    if is_out_of_memory(error) and (needed := verb.estimate(item)):
        cure = f" (the estimate was {memory.in_words(needed)}; {verb.less.format('')})"
    return with_cure(error, verb) if isinstance(error, Exception) else error, cure
