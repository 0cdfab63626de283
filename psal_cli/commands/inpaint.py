"""`psal inpaint`: fill the masked part of pictures."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from psal_cli.batch.plan import Item
from psal_cli.commands import options
from psal_cli.commands.console import Console as Talk
from psal_cli.commands.console import Progress
from psal_cli.commands.run import run_verb
from psal_cli.commands.verb import Verb
from psal_cli.errors import InputError

if TYPE_CHECKING:
    from psal_cli.image import Picture

EXAMPLE = "psal inpaint examples/dandelions.jpg --mask examples/dandelions_mask.png -o clean.jpg"


@click.command(short_help="Remove something from photographs.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@options.mask_options
@options.output_options
@options.batch_options
@click.option(
    "--engine",
    type=click.Choice(["combined", "patch", "network"]),
    default="combined",
    show_default=True,
    help="combined: copies patches that fit what a network expects; patch: copies patches; network: what it draws, as it is.",
)
@click.option(
    "--attention",
    type=click.Choice(["psal", "aggregation", "original", "original-sum"]),
    default="psal",
    show_default=True,
    help="Of the network: PSAL, PSAL with aggregation, or that of Yu et al. 2018, whose memory grows with the square of the "
    "picture; original-sum: as in the PyTorch port since 2020.",
)
@click.option("--weights", type=options.PICTURE, help="Of the network: other weights, .safetensors, or a published .pt or .pth.")
@click.option("--source-mask", type=options.PICTURE, help="As --mask, white = may be copied from.")
@options.search_options
@options.seed_option
@click.option("--no-blend", is_flag=True, help="Leave the copied pixels exactly as they are, seams and all.")
@options.device_options
@options.offsets_options
@click.option("--compare", type=options.PICTURE, help="Also write input, mask and result side by side.")
@options.talk_options
def inpaint(**chosen) -> None:
    """Fill the masked part of each IMAGE, a file or a folder, with what fits from the rest of it, at full resolution.

    Writes IMAGE_inpainted beside IMAGE, or OUTPUT. Pixels outside the mask stay bit for bit (lossy formats then encode the
    whole picture again). Orientation, ICC profile, metadata, alpha and 16 bits are kept. An empty mask copies the input.
    """
    run_verb(SimpleNamespace(**chosen), Inpaint)


class Loaded(NamedTuple):
    picture: Any  # psal_cli.image.Picture
    mask: Any  # psal_cli.image.Mask
    source: Any  # bool [H, W], what may be copied from, or None for everything
    reach: int | None  # see psal_cli.verbs.inpaint.api


class Result(NamedTuple):
    picture: Any  # the input
    mask: Any
    filled: Any  # psal_cli.verbs.inpaint.api.Filled, or None where there was nothing to fill


PATCHES, NETWORKS = ("patch", "combined"), ("combined", "network")  # the engines that have them


class Inpaint(Verb):
    beside = "_inpainted"
    partners = ("mask", "source_mask")
    outputs = ("save_offsets", "compare")

    def __init__(self, want: SimpleNamespace, talk: Talk):
        super().__init__(want, talk)
        copying = ("source_mask", "patch_size", "no_blend", "save_offsets", "arrows")
        self.refuse_mixtures(dict.fromkeys(copying, PATCHES) | dict.fromkeys(("attention", "weights"), NETWORKS))

    def start(self) -> None:
        from psal_cli.verbs.inpaint.memory_model import baseline

        self.painter = self._painter()
        baseline()  # with the network, before any picture is in memory

    def _painter(self):
        """The network, None where none is wanted."""
        want = self.want
        if want.engine not in NETWORKS:
            return None
        from psal_cli.verbs.inpaint.guide import WEIGHTS, Painter, network_of

        iterations = {"iterations": want.iterations} if want.engine == "network" and want.iterations else {}
        network = network_of(want.attention, want.weights or WEIGHTS, **iterations)
        return Painter(network, want.device, seed=want.seed, say=self.talk.say)

    def read(self, item: Item) -> Loaded:
        from psal_cli.image import check_holds, read_picture

        header = self.header(item)
        files = self._files(item, header)
        self._plan(item, header, files)  # what cannot fit is not even decoded
        picture = read_picture(item.input, self.want.max_pixels)
        check_holds(picture, item.output, self.encoding(item, picture.format))
        mask, source = self._mask(item, picture.size), self._source(item, picture)
        plan = self._plan(item, header, files, mask, source is not None)
        self.talk.detail(f"{item.input}: {plan.text}")
        return Loaded(picture, mask, source, plan.reach)

    def _plan(self, item: Item, header, files: dict[str, int], mask=None, source: bool = False):
        """psal_cli.memory.Plan for a picture with this header. Raises MemoryLimitError when it cannot fit."""
        from psal_cli.verbs.inpaint.api import plan

        formats = self.formats(item, header.format)
        found = plan(
            (header.height, header.width),
            header.channels,
            header.bits // 8,
            None if mask is None else mask.hole,
            alpha=header.alpha,
            source=source,
            soft=mask is not None and mask.soft is not None,
            patch_size=self.want.patch_size,
            reads=header.format,
            writes=formats["output"],
            draws=formats.get("save_offsets"),
            **files,
            limit=self.want.max_memory,
            engine=self.want.engine,
            painter=self.painter,
        )
        return self.planned(item, found)

    def _files(self, item: Item, header) -> dict[str, int]:
        """What of the files costs memory beside the pixels, as psal_cli.verbs.inpaint.api.plan calls it."""
        return {"mask": self._mask_cost(item), "streams": self.streams(item, header, header.channels)}

    def _mask_cost(self, item: Item) -> int:
        """Bytes a pixel, at most, while one of the masks is decoded."""
        from psal_cli import memory
        from psal_cli.image import read_header

        headers = [read_header(path, self.want.max_pixels, profiles=False) for path in item.partners.values()]
        return max(memory.reading(1, head.channels, head.bits // 8, head.alpha, head.format) for head in headers)

    def _mask(self, item: Item, size: tuple[int, int]):
        from psal_cli.image import read_mask

        want = self.want
        return read_mask(item.partners["mask"], size, want.mask_invert, want.dilate, want.feather, want.max_pixels)

    def _source(self, item: Item, picture):
        """--source-mask, less what is wholly transparent."""
        from psal_cli.image import read_region

        source = None
        if path := item.partners.get("source_mask"):
            source = read_region(path, picture.size, self.want.max_pixels)
            if not source.any():
                raise InputError(f"{path} allows nothing to be copied from: paint white what may be")
        if picture.alpha is not None and not picture.alpha.all():
            visible = picture.alpha > 0
            source = visible if source is None else source & visible
        return source

    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result:
        picture, mask = loaded.picture, loaded.mask
        if not mask.hole.any():
            about = f"{item.partners['mask']} marks nothing to fill (white = fill)"
            how = "copied byte for byte" if self._is_kept(item, picture) else "written anew with its own pixels"
            self.talk.say(f"{about}: {item.input} is {how}, no offsets or comparison are written")
            return Result(picture, mask, None)
        width, height = picture.size
        self.talk.detail(f"{item.input}: {picture.format}, {width}x{height}, {mask.hole.sum()} pixels to fill")
        if loaded.reach is not None:
            limit = f"--max-memory lets {loaded.reach} pixels around each hole be copied from"
            self.talk.say(f"{item.input}: {limit}, not the whole picture")
        return Result(picture, mask, self._filled(item, loaded, progress))

    def _filled(self, item: Item, loaded: Loaded, progress: Progress | None):
        """The library call. Raises InputError for what the engine refuses."""
        import torch

        from psal_cli.verbs.inpaint.api import inpaint as fill

        want = self.want

        def on_device(region):
            return None if region is None else torch.from_numpy(region).to(want.device)

        try:
            return fill(
                self._seen(loaded).tensor().to(want.device),
                on_device(loaded.mask.hole),
                source_mask=on_device(loaded.source),
                patch_size=want.patch_size,
                iterations=want.iterations,
                seed=want.seed,
                blend=not want.no_blend,
                reach=loaded.reach,
                engine=want.engine,
                painter=self.painter,
                progress=progress,
            )
        except ValueError as error:
            raise InputError(f"{item.input}: {error}") from error

    def _seen(self, loaded: Loaded) -> "Picture":
        """The picture as the engine sees it: no colours that are wholly transparent."""
        from psal_cli.verbs.inpaint.transparency import covered

        picture = loaded.picture
        if picture.alpha is None or picture.alpha.all():
            return picture
        return replace(picture, pixels=covered(picture.pixels, picture.alpha > 0, loaded.mask.hole))

    def write(self, item: Item, result: Result) -> str:
        from psal_cli.image import write_picture

        picture, mask, filled = result
        if filled is None:
            self._copy(item, picture)
            return "copied"
        done = picture.replaced(filled.values.cpu().numpy(), mask.hole, mask.soft)
        self._write_about(item, result, done)
        write_picture(done, item.output, self.want.force, self.encoding(item, picture.format))
        return "done"

    def _copy(self, item: Item, picture) -> None:
        from psal_cli.files import copy_file
        from psal_cli.image import write_picture

        if self._is_kept(item, picture):
            copy_file(item.input, item.output, self.want.force)
        else:
            write_picture(picture, item.output, self.want.force, self.encoding(item, picture.format))

    def _is_kept(self, item: Item, picture) -> bool:
        """Whether a picture that nothing is done to keeps its file: the format stays and no option asks for another one."""
        from psal_cli.image import Encoding, check_format

        encoding = self.encoding(item, picture.format)
        return encoding == Encoding(format=encoding.format) and picture.format == check_format(item.output, encoding.format)

    def _write_about(self, item: Item, result: Result, done) -> None:
        from psal_cli.image import write_picture

        picture, hole = result.picture, result.mask.hole
        if path := item.outputs.get("save_offsets"):
            from psal_cli.viz import field as offsets
            from psal_cli.viz.drawing import offset_wheel

            origin, want = result.filled.origin.cpu().numpy(), self.want
            drawn = partial(offset_wheel, origin, hole, picture, arrows=want.arrows)
            offsets.write_offsets(path, want.force, partial(offsets.inside, origin, hole), drawn)
        if path := item.outputs.get("compare"):
            from psal_cli.viz.drawing import side_by_side

            write_picture(side_by_side(picture, done, hole), path, self.want.force)

    def preview(self, item: Item) -> dict:
        header = self.header(item)
        mask = self._mask(item, (header.width, header.height))
        plan = self._plan(item, header, self._files(item, header), mask, "source_mask" in item.partners or header.alpha)
        return {"width": header.width, "height": header.height, "memory_bytes": plan.bytes, "reach": plan.reach}
