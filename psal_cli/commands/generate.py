"""`psal generate`: new pictures that look like one picture."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import click

from psal_cli.batch.plan import Item, as_path, make_folders
from psal_cli.commands import options
from psal_cli.commands.console import Progress, Talk
from psal_cli.commands.run import run_verb
from psal_cli.commands.verb import Verb
from psal_cli.errors import InputError

EXAMPLE = "psal generate examples/meadow.jpg -n 5 -o samples/ --sheet sheet.jpg"


@click.command(short_help="Make new pictures that look like one picture.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@click.option("-n", "results", type=click.IntRange(1, 9999), default=1, show_default=True, help="Samples of each IMAGE.")
@click.option("--size", type=options.Size(), metavar="WxH", help="Of the samples, in pixels, e.g. 1600x500; default IMAGE's.")
@click.option(
    "--method",
    type=click.Choice(["psinot", "psin"]),
    default="psinot",
    show_default=True,
    help="psinot: all of IMAGE is used, and nothing too often; psin: what comes together from noise, more freely.",
)
@click.option(
    "--levels",
    type=click.IntRange(1, 16),
    help="Of the pyramid, each half as large: with more, larger structures of IMAGE are kept, and samples differ less. Default: "
    "until its shorter side is some 16 to 40 pixels.",
)
@click.option("--coherence", is_flag=True, help="Take larger pieces of IMAGE, with fewer seams.")
@click.option("--wrap", is_flag=True, help="Make tiles: they repeat without a seam, in both directions.")
@click.option(
    "--keep",
    type=options.PICTURE,
    help="Picture of IMAGE's size, white = hold in place, black = make anew; found as other verbs find masks. With another "
    "--size IMAGE lies in the middle.",
)
@options.output_options
@click.option("--sheet", type=options.PICTURE, help="Also write IMAGE and all its samples on one sheet.")
@options.batch_options
@click.option("--patch-size", type=options.Odd(3, 31), default=11, show_default=True, help="Side of the patches, odd, 3 to 31.")
@click.option(
    "--iterations",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Rounds of search and vote a level, at most.",
)
@options.seed_option
@options.device_options
@options.offsets_options
@options.talk_options
def generate(**chosen) -> None:
    """Make new pictures from each IMAGE, a file or a folder: every patch of them looks like one of IMAGE, the whole does not.

    Writes IMAGE_generated beside IMAGE, or OUTPUT; of several samples IMAGE_1, IMAGE_2 and so on, from the seeds SEED,
    SEED + 1 and so on. For textures, tiles, backgrounds, landscapes. ICC profile, metadata, alpha and 16 bits are kept.
    """
    run_verb(SimpleNamespace(**chosen), Generate)


class Loaded(NamedTuple):
    picture: Any  # psal_cli.image.Picture
    keep: Any  # bool [H, W], or None


class Result(NamedTuple):
    reference: Any
    picture: Any
    nnf: Any  # int32 [1, 2, H, W]


class Generate(Verb):
    beside = "_generated"
    partners = ("keep",)
    outputs = ("save_offsets",)
    sheets = ("sheet",)
    less = "make a smaller picture with --size"

    def __init__(self, want: SimpleNamespace, talk: Talk):
        super().__init__(want, talk)
        self.results = want.results
        if want.seed + want.results > 2**32:
            raise click.UsageError(f"--seed {want.seed}: {want.results} samples need as many seeds, which end at 2^32 - 1")

    def start(self) -> None:
        from psal_cli.verbs.generate.memory_model import baseline

        baseline()  # before any picture is in memory

    def read(self, item: Item) -> Loaded:
        from psal_cli.image import check_holds, read_picture, read_region

        self.facts[item] = {"seed": self._seed(item)}
        header = self.header(item)
        plan = self._plan(item, header)
        picture = read_picture(item.input, self.want.max_pixels)
        check_holds(picture, item.output, self.encoding(item, picture.format))
        self.talk.detail(f"{item.input}: {plan.text}")
        path = item.partners.get("keep")
        keep = read_region(path, picture.size, self.want.max_pixels) if path else None
        if keep is not None and keep.all() and self._size(header) == picture.size:
            cure = "paint black what is to be new, or give a larger --size"
            raise InputError(f"{path} keeps the whole picture, nothing is left to make: {cure}")
        return Loaded(picture, keep)

    def _seed(self, item: Item) -> int:
        return self.want.seed + item.number

    def _size(self, header) -> tuple[int, int]:
        """(width, height) of a sample."""
        return self.want.size or (header.width, header.height)

    def _plan(self, item: Item, header):
        """psal_cli.memory.Plan. Raises InputError for what cannot be made, MemoryLimitError when it cannot fit."""
        from psal_cli.image import read_header
        from psal_cli.verbs.generate.memory_model import plan

        want, path = self.want, item.partners.get("keep")
        width, height = self._size(header)
        try:
            found = plan(
                header,
                (height, width),
                self.formats(item, header.format),
                read_header(path, want.max_pixels, profiles=False) if path else None,
                method=want.method,
                levels=want.levels,
                patch_size=want.patch_size,
                coherence=want.coherence,
                streams=self.streams(item, header, header.channels),
                limit=want.max_memory,
            )
        except ValueError as error:
            raise InputError(f"{item.input}: {error}") from error
        return self.planned(item, found)

    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result:
        """The library call."""
        from psal_cli.verbs.generate.sampling import generate as make

        want, (picture, keep) = self.want, loaded
        found = make(
            picture.pixels,
            picture.alpha,
            size=want.size and want.size[::-1],
            method=want.method,
            levels=want.levels,
            patch_size=want.patch_size,
            rounds=want.iterations,
            coherence=want.coherence,
            wrap=want.wrap,
            keep=keep,
            seed=self._seed(item),
            progress=progress,
        )
        return Result(picture, replace(picture, pixels=found.pixels, alpha=found.alpha), found.nnf)

    def write(self, item: Item, result: Result) -> str:
        from psal_cli.image import write_picture
        from psal_cli.viz.field import write_field

        given, made, nnf = result
        if path := item.outputs.get("save_offsets"):
            size = made.pixels.shape[:2]  # a piece has one offset whatever the reference's
            write_field(path, self.want.force, nnf, [size], made, arrows=self.want.arrows)
        write_picture(made, item.output, self.want.force, self.encoding(item, given.format))
        return "done"

    def finish(self, items: list[Item]) -> None:
        from psal_cli.image import read_picture, write_picture
        from psal_cli.viz.drawing import contact_sheet

        path = as_path(self.want.sheet)
        rows: dict[Any, list] = {}
        for item in items:
            rows.setdefault(item.input, [item.input]).append(item.output)
        make_folders([path])
        pictures = [[partial(read_picture, file, self.want.max_pixels) for file in row] for row in rows.values()]
        write_picture(contact_sheet(pictures), path, self.want.force)

    def preview(self, item: Item) -> dict:
        header = self.header(item)
        width, height = self._size(header)
        return {"width": width, "height": height, "memory_bytes": self._plan(item, header).bytes}
