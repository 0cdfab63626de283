"""`psal reconstruct`: rebuild pictures from the pixels of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, ClassVar

import click

from psal_cli.batch.inputs import Item
from psal_cli.commands import options, parameters
from psal_cli.commands.arguments import ReconstructArguments, into
from psal_cli.commands.command import Command
from psal_cli.commands.console import Console, Progress
from psal_cli.commands.ranges import Finite, IntRange, Odd
from psal_cli.commands.run import run_verb
from psal_cli.commands.verb import Verb
from psal_cli.errors import InputError, InvalidValueError
from psal_cli.verbs.reconstruct.options import ATTENTIONS, ReconstructOptions

if TYPE_CHECKING:
    from psal_cli.image import Header, Picture
    from psal_cli.memory import Plan
    from psal_cli.viz.field import Field

EXAMPLE = "psal reconstruct examples/railway.jpg --from examples/railway_reference.jpg -o again.png"


@click.command(cls=Command, short_help="Rebuild pictures from the pixels of another.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@click.option(
    "--from",
    "source",
    type=parameters.PICTURE,
    required=True,
    help="Picture whose pixels are used, of any size. One file for all pictures; a folder with the tree and names of the inputs; "
    "or a pattern with {stem}, {name} or {dir} of the input.",
)
@options.output_options
@options.batch_options
@click.option(
    "--attention",
    type=click.Choice(ATTENTIONS),
    default=ReconstructOptions.attention,
    show_default=True,
    help="Attention layer. psal uses the k nearest patches; aggregation also those of the neighbouring pixels; full all patches, "
    "for small pictures.",
)
@click.option(
    "--patch-size",
    type=Odd(1, 31),
    default=ReconstructOptions.patch_size,
    show_default=True,
    help="Side of the patches, an odd number.",
)
@click.option(
    "-k",
    type=IntRange(1, 64),
    default=ReconstructOptions.k,
    show_default=True,
    help="Number of nearest patches for each pixel.",
)
@click.option(
    "--iterations",
    type=IntRange(0, 1000),
    default=ReconstructOptions.iterations,
    show_default=True,
    help="Rounds of search.",
)
@click.option(
    "--temperature",
    type=Finite(0, min_open=True),
    default=ReconstructOptions.temperature,
    show_default=True,
    help="Divisor of the squared patch distances (white = 1) before the softmax. A small one keeps the nearest patch alone.",
)
@options.seed_option
@options.device_options
@options.offsets_options
@options.talk_options
@into(ReconstructArguments)
def reconstruct(arguments: ReconstructArguments) -> None:
    """Rebuild each IMAGE, a file or a folder, from the pixels of another picture, through one attention layer.

    Writes IMAGE_rebuilt beside IMAGE, or OUTPUT, and prints how close it comes (PSNR). This shows what the search finds: each
    pixel of the result is a weighted mean of a few pixels of the other picture.
    """
    run_verb(arguments, Reconstruct)


@dataclass(frozen=True, eq=False)
class Loaded:
    query: Picture
    key: Picture


@dataclass(frozen=True, eq=False)
class Result:
    query: Picture
    picture: Picture
    field: Field | None


class Reconstruct(Verb[ReconstructArguments, Loaded, Result]):
    beside = "_rebuilt"
    partners = ("from",)
    outputs = ("save_offsets",)
    attributes: ClassVar[Mapping[str, str]] = {"from": "source"}
    flags: ClassVar[Mapping[str, str]] = {
        "reference": "--from",
        "k": "-k",
        "patch_size": "--patch-size",
        "temperature": "--temperature",
    }
    less = smaller = "give smaller pictures"

    def __init__(self, arguments: ReconstructArguments, console: Console):
        super().__init__(arguments, console)
        if arguments.save_offsets and arguments.attention == "full":
            raise click.UsageError("--save-offsets requires --attention psal or aggregation: full compares with everything")

    def start(self) -> None:
        from psal_cli.verbs.reconstruct.memory_model import baseline

        baseline()  # before any picture is loaded

    def read(self, item: Item) -> Loaded:
        from psal_cli.image import check_holds, read_picture

        plan = self._plan(item, self.header(item))
        query, key = (read_picture(path, self.arguments.max_pixels) for path in (item.input, item.sidecars["from"][0]))
        check_holds(query, item.output, self.encoding(item, query.format))
        self.console.detail(f"{item.input}: {plan.text}")
        return Loaded(query, key)

    def _plan(self, item: Item, header: Header) -> Plan:
        """Raises MemoryLimitError if it does not fit."""
        from psal_cli.image import read_header
        from psal_cli.verbs.reconstruct.memory_model import plan

        arguments = self.arguments
        key = read_header(item.sidecars["from"][0], arguments.max_pixels)
        memory_plan = plan(
            header,
            key,
            self.formats(item, header.format),
            attention=arguments.attention,
            patch_size=arguments.patch_size,
            k=arguments.k,
            streams=self.streams(item, header, key.channels),
            limit=arguments.max_memory,
        )
        return self.planned(item, memory_plan)

    def _options(self) -> ReconstructOptions:
        arguments = self.arguments
        return ReconstructOptions(
            attention=arguments.attention,
            patch_size=arguments.patch_size,
            k=arguments.k,
            iterations=arguments.iterations,
            temperature=arguments.temperature,
            seed=arguments.seed,
            device=self.device,
        )

    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result:
        """The library call."""
        from psal_cli.image.srgb import comparable
        from psal_cli.verbs.reconstruct import api

        query, key = loaded.query, loaded.key
        query_pixels, key_pixels, icc = comparable(query, key)
        chosen = self._options()
        reference = replace(key, pixels=key_pixels).array()
        try:
            rebuilt = api.reconstruct(
                replace(query, pixels=query_pixels, alpha=None).array(), reference, chosen, progress=progress
            )
        except InvalidValueError:
            raise
        except ValueError as error:
            raise InputError(f"{item.input} from {item.sidecars['from'][0]}: {error}") from error
        if rebuilt.psnr is not None:
            near = rebuilt.psnr
            self.facts[item] = {"psnr": round(near, 3) if isfinite(near) else None}
            self.remarks[item] = f"PSNR {near:.2f} dB" if isfinite(near) else "rebuilt exactly"
        picture = replace(query.with_array(rebuilt.image), alpha=query.alpha, metadata=replace(query.metadata, icc=icc))
        return Result(query, picture, rebuilt.field)

    def write(self, item: Item, result: Result) -> str:
        from psal_cli.image import write_picture

        if (path := item.outputs.get("save_offsets")) and result.field is not None:
            result.field.save(path, result.query, arrows=self.arguments.arrows, force=self.arguments.force)
        write_picture(result.picture, item.output, self.arguments.force, self.encoding(item, result.query.format))
        return "done"

    def needed(self, item: Item) -> int:
        return self._plan(item, self.header(item)).bytes

    def preview(self, item: Item) -> dict[str, object]:
        from psal_cli.image import read_header
        from psal_cli.verbs.reconstruct import time_model

        header = self.header(item)
        plan, key = self._plan(item, header), read_header(item.sidecars["from"][0], self.arguments.max_pixels)
        cost = time_model.cost(header, key, self.formats(item, header.format), self._options())
        return {
            "width": header.width,
            "height": header.height,
            "memory_bytes": plan.bytes,
            "seconds": self.seconds(cost),
        }
