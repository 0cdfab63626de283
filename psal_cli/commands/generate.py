"""`psal generate`: new pictures that look like one picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from psal_cli.batch.inputs import Item, as_path
from psal_cli.batch.plan import make_folders
from psal_cli.commands import options, parameters
from psal_cli.commands.arguments import GenerateArguments, into
from psal_cli.commands.command import Command
from psal_cli.commands.console import Console, Progress
from psal_cli.commands.ranges import IntRange, Odd
from psal_cli.commands.run import run_verb
from psal_cli.commands.shapes import check_file, shape_options
from psal_cli.commands.verb import Verb, WithSheets
from psal_cli.errors import InputError
from psal_cli.verbs.generate.options import METHODS, GenerateOptions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from psal_cli.image import Header, Picture
    from psal_cli.image.shapes import Shape
    from psal_cli.memory import Plan
    from psal_cli.viz.field import Field

EXAMPLE = "psal generate examples/meadow.jpg -n 5 -o samples/ --sheet sheet.jpg"


@click.command(cls=Command, short_help="Make new pictures that look like one picture.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@click.option("-n", "results", type=IntRange(1, 9999), default=1, show_default=True, help="Number of samples of each IMAGE.")
@click.option(
    "--size",
    type=parameters.Size(),
    metavar="WxH",
    help="Size of the samples in pixels, e.g. 1600x500. Default: the size of IMAGE.",
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default=GenerateOptions.method,
    show_default=True,
    help="psinot uses all parts of IMAGE about equally often; psin starts from noise and is freer.",
)
@click.option(
    "--levels",
    type=IntRange(1, 16),
    help="Levels of the pyramid, each half as large as the one before. More levels keep larger structures of IMAGE, and samples "
    "differ less. Default: until the shorter side has some 16 to 40 pixels.",
)
@click.option("--coherence", is_flag=True, help="Copy larger pieces of IMAGE, with fewer seams.")
@click.option("--wrap", is_flag=True, help="Make tiles that repeat without a seam in both directions.")
@click.option(
    "--keep",
    type=parameters.PICTURE,
    help="Picture of IMAGE's size in which white stays and black is made anew. One file for all pictures, a folder, or a "
    "pattern, as for the masks of psal inpaint. With another --size, IMAGE lies in the middle.",
)
@shape_options("Keep", "--keep")
@options.output_options
@click.option("--sheet", type=parameters.RESULT, help="Also write IMAGE and all its samples on one sheet.")
@options.batch_options
@click.option(
    "--patch-size",
    type=Odd(3, 31),
    default=GenerateOptions.patch_size,
    show_default=True,
    help="Side of the patches, an odd number.",
)
@click.option(
    "--iterations",
    type=IntRange(1, 1000),
    default=GenerateOptions.iterations,
    show_default=True,
    help="Most rounds of search and vote at a level.",
)
@options.seed_option
@options.device_options
@options.offsets_options
@options.talk_options
@into(GenerateArguments)
def generate(arguments: GenerateArguments) -> None:
    """Make new pictures from each IMAGE, a file or a folder. Each patch looks like one of IMAGE; the whole is new.

    Writes IMAGE_generated beside IMAGE, or OUTPUT. Several samples are named IMAGE_1, IMAGE_2 and so on, and use the seeds
    SEED, SEED + 1 and so on. For textures, tiles, backgrounds and landscapes. ICC profile, metadata, alpha and 16 bits are
    kept. Runs on the CPU only; --device cuda is refused.
    """
    run_verb(arguments, Generate)


@dataclass(frozen=True, eq=False)
class Loaded:
    picture: Picture
    keep: npt.NDArray[np.bool_] | None


@dataclass(frozen=True, eq=False)
class Result:
    reference: Picture
    picture: Picture
    field: Field


class Generate(Verb[GenerateArguments, Loaded, Result], WithSheets):
    beside = "_generated"
    sidecar_options = ("keep",)
    outputs = ("save_offsets",)
    sheets = ("sheet",)
    flags: ClassVar[Mapping[str, str]] = {
        "size": "--size",
        "levels": "--levels",
        "patch_size": "--patch-size",
        "box": "--box",
        "polygon": "--polygon",
    }
    cpu_only = "this verb"
    less = smaller = "make a smaller picture with --size"

    def __init__(self, arguments: GenerateArguments, console: Console):
        super().__init__(arguments, console)
        check_file("--keep", arguments.keep)
        self.results = arguments.results
        if arguments.seed + arguments.results > 2**32:
            many = f"{arguments.results} samples need as many seeds, which end at 2^32 - 1"
            raise click.UsageError(f"--seed {arguments.seed}: {many}")

    def start(self) -> None:
        from psal_cli.verbs.generate.memory_model import baseline

        baseline()  # before any picture is loaded

    def read(self, item: Item) -> Loaded:
        from psal_cli.image import check_holds, read_picture

        limit = self.arguments.max_pixels
        self.facts[item] = {"seed": self._seed(item)}
        header = self.header(item)
        plan = self._plan(item, header)
        keep = self._keep(item, (header.width, header.height))
        picture = read_picture(item.input, limit)
        check_holds(picture, item.output, self.encoding(item, picture.format))
        self.console.detail(f"{item.input}: {plan.text}")
        return Loaded(picture, keep)

    def _keep(self, item: Item, size: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
        from psal_cli.image.mask import marked_region

        arguments, path = self.arguments, self.sidecar(item, "keep")
        shapes: tuple[Shape, ...] = (*arguments.box, *arguments.polygon)
        if path is None and not shapes:
            return None
        keep = marked_region(path, size, arguments.max_pixels, shapes)
        if keep.all() and (arguments.size or size) == size:
            which = f"{path} keeps" if path else "the shapes keep"
            cure = "paint black what is to be new" if path else "give smaller ones"
            raise InputError(f"{which} the whole picture, nothing is left to make: {cure}, or give a larger --size")
        return keep

    def _seed(self, item: Item) -> int:
        return self.arguments.seed + item.number

    def _size(self, header: Header) -> tuple[int, int]:
        """(width, height) of a sample."""
        return self.arguments.size or (header.width, header.height)

    def _plan(self, item: Item, header: Header) -> Plan:
        """Raises InputError for an impossible sample, MemoryLimitError if it does not fit into memory."""
        from psal_cli.image import read_header
        from psal_cli.verbs.generate.memory_model import plan

        arguments, path = self.arguments, self.sidecar(item, "keep")
        width, height = self._size(header)
        memory_plan = plan(
            header,
            (height, width),
            self.formats(item, header.format),
            read_header(path, arguments.max_pixels, profiles=False) if path else None,
            method=arguments.method,
            levels=arguments.levels,
            patch_size=arguments.patch_size,
            coherence=arguments.coherence,
            streams=self.streams(item, header, header.channels),
            limit=arguments.max_memory,
        )
        return self.planned(item, memory_plan)

    def _options(self, item: Item) -> GenerateOptions:
        arguments = self.arguments
        return GenerateOptions(
            size=(arguments.size[1], arguments.size[0]) if arguments.size else None,
            method=arguments.method,
            levels=arguments.levels,
            patch_size=arguments.patch_size,
            iterations=arguments.iterations,
            coherence=arguments.coherence,
            wrap=arguments.wrap,
            seed=self._seed(item),
            device=self.device,
        )

    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result:
        """The library call."""
        from psal_cli.verbs.generate import api

        picture = loaded.picture
        generated = api.generate(picture.array(), self._options(item), keep=loaded.keep, progress=progress)
        return Result(picture, picture.with_array(generated.image), generated.field)

    def write(self, item: Item, result: Result) -> str:
        from psal_cli.image import write_picture

        force = self.arguments.force
        if path := item.outputs.get("save_offsets"):
            result.field.save(path, result.picture, arrows=self.arguments.arrows, force=force)
        write_picture(result.picture, item.output, force, self.encoding(item, result.reference.format))
        return "done"

    def finish(self, items: list[Item]) -> None:
        from psal_cli.image import read_picture, write_picture
        from psal_cli.viz import drawing

        path = as_path(self.arguments.sheet or "")
        rows: dict[Path, list[Path]] = {}
        for item in items:
            rows.setdefault(item.input, [item.input]).append(item.output)
        make_folders([path])
        pictures = [[partial(read_picture, file, self.arguments.max_pixels) for file in row] for row in rows.values()]
        write_picture(drawing.contact_sheet(pictures), path, self.arguments.force)

    def needed(self, item: Item) -> int:
        return self._plan(item, self.header(item)).bytes

    def preview(self, item: Item) -> dict[str, object]:
        from psal_cli.verbs.generate import time_model

        header = self.header(item)
        width, height = self._size(header)
        memory = self._plan(item, header).bytes
        cost = time_model.cost(header, (height, width), self.formats(item, header.format), self._options(item))
        return {"width": width, "height": height, "memory_bytes": memory, "seconds": self.seconds(cost)}
