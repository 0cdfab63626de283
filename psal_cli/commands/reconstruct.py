"""`psal reconstruct`: rebuild pictures from the pixels of another."""

from dataclasses import replace
from math import isfinite
from types import SimpleNamespace
from typing import Any, NamedTuple

import click

from psal_cli.batch.plan import Item
from psal_cli.commands import options
from psal_cli.commands.console import Progress
from psal_cli.commands.run import run_verb
from psal_cli.commands.verb import Verb
from psal_cli.errors import InputError

EXAMPLE = "psal reconstruct examples/railway.jpg --from examples/railway_reference.jpg -o again.png"


@click.command(short_help="Rebuild pictures from the pixels of another.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@click.option(
    "--from",
    type=options.PICTURE,
    required=True,
    help="The picture whose pixels are taken, of any size. One for all; a folder with the inputs' tree and names; or a pattern "
    "with {stem}, {name} or {dir} of the input.",
)
@options.output_options
@options.batch_options
@click.option(
    "--attention",
    type=click.Choice(["psal", "aggregation", "full"]),
    default="psal",
    show_default=True,
    help="psal: the k nearest patches; aggregation: and those of the pixels around; full: all patches, for small pictures.",
)
@click.option("--patch-size", type=options.Odd(1, 31), default=7, show_default=True, help="Side of the patches, odd, 1 to 31.")
@click.option("-k", type=click.IntRange(1, 64), default=3, show_default=True, help="Nearest patches of each pixel, 1 to 64.")
@click.option("--iterations", type=click.IntRange(0, 1000), default=5, show_default=True, help="Rounds of search.")
@click.option(
    "--temperature",
    type=options.Finite(0, min_open=True),
    default=0.1,
    show_default=True,
    help="By which squared distances of patches (white = 1) are divided before the softmax; small: the nearest alone.",
)
@options.seed_option
@options.device_options
@options.offsets_options
@options.talk_options
def reconstruct(**chosen) -> None:
    """Rebuild each IMAGE, a file or a folder, from the pixels of another picture, through one attention layer.

    Writes IMAGE_rebuilt beside IMAGE, or OUTPUT, and says how near it comes (PSNR). It shows what the search finds: all
    pixels of the result are means of a few of the other picture's.
    """
    run_verb(SimpleNamespace(**chosen), Reconstruct)


class Loaded(NamedTuple):
    query: Any  # psal_cli.image.Picture
    key: Any


class Result(NamedTuple):
    loaded: Loaded
    picture: Any
    nnf: Any  # int32 [k, 2, H, W], or None


class Reconstruct(Verb):
    beside = "_rebuilt"
    partners = ("from",)
    outputs = ("save_offsets",)
    less = "give smaller pictures"

    def __init__(self, want: SimpleNamespace, talk):
        super().__init__(want, talk)
        if want.save_offsets and want.attention == "full":
            raise click.UsageError("--save-offsets is of --attention psal and aggregation: full compares with everything")

    def start(self) -> None:
        from psal_cli.verbs.reconstruct.memory_model import baseline

        baseline()  # before any picture is in memory

    def read(self, item: Item) -> Loaded:
        from psal_cli.image import check_holds, read_picture

        plan = self._plan(item, self.header(item))
        query, key = (read_picture(path, self.want.max_pixels) for path in (item.input, item.partners["from"]))
        check_holds(query, item.output, self.encoding(item, query.format))
        self.talk.detail(f"{item.input}: {plan.text}")
        return Loaded(query, key)

    def _plan(self, item: Item, header):
        """psal_cli.memory.Plan. Raises MemoryLimitError when it cannot fit."""
        from psal_cli.image import read_header
        from psal_cli.verbs.reconstruct.memory_model import plan

        key, want = read_header(item.partners["from"], self.want.max_pixels), self.want
        found = plan(
            header,
            key,
            self.formats(item, header.format),
            attention=want.attention,
            patch_size=want.patch_size,
            k=want.k,
            streams=self.streams(item, header, key.channels),
            limit=want.max_memory,
        )
        return self.planned(item, found)

    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result:
        """The library call."""
        from psal_cli.image.colour import srgb_profile
        from psal_cli.verbs.recolor import as_srgb
        from psal_cli.verbs.reconstruct.rebuild import psnr
        from psal_cli.verbs.reconstruct.rebuild import reconstruct as rebuilt

        want, (query, key) = self.want, loaded
        icc = query.metadata.icc
        if query.metadata.icc == key.metadata.icc and query.pixels.shape[2] == key.pixels.shape[2]:
            asked, given = query.pixels, key.pixels  # they mean the same, whatever it is
        else:
            asked, given = as_srgb(query), as_srgb(key)
            plain = (query.metadata.icc is None and key.metadata.icc is None) or key.pixels.shape[2] == 1
            icc = None if plain else srgb_profile()  # which is one for colours
        visible = None if key.alpha is None else key.alpha > key.white // 2
        try:
            found = rebuilt(
                asked,
                given,
                visible=visible,
                attention=want.attention,
                patch_size=want.patch_size,
                k=want.k,
                iterations=want.iterations,
                temperature=want.temperature,
                seed=want.seed,
                device=want.device,
            )
        except ValueError as error:
            raise InputError(f"{item.input} from {item.partners['from']}: {error}") from error
        if found.pixels.shape == asked.shape:
            near = psnr(found.pixels, asked)
            self.facts[item] = {"psnr": round(near, 3) if isfinite(near) else None}
            self.talk.say(f"{item.input}: " + (f"PSNR {near:.2f} dB" if isfinite(near) else "rebuilt exactly"))
        picture = replace(query, pixels=found.pixels, metadata=replace(query.metadata, icc=icc))
        return Result(loaded, picture, found.nnf)

    def write(self, item: Item, result: Result) -> str:
        from psal_cli.image import write_picture
        from psal_cli.viz.field import write_field

        query, key = result.loaded
        if path := item.outputs.get("save_offsets"):
            write_field(path, self.want.force, result.nnf, [key.pixels.shape[:2]], query, arrows=self.want.arrows)
        write_picture(result.picture, item.output, self.want.force, self.encoding(item, query.format))
        return "done"

    def preview(self, item: Item) -> dict:
        header = self.header(item)
        return {"width": header.width, "height": header.height, "memory_bytes": self._plan(item, header).bytes}
