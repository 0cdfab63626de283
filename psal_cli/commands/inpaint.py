"""`psal inpaint`: fill the masked part of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from psal_cli.batch.inputs import Item
from psal_cli.commands import options
from psal_cli.commands.arguments import InpaintArguments, into
from psal_cli.commands.command import Command
from psal_cli.commands.console import Console, Progress
from psal_cli.commands.run import run_verb
from psal_cli.commands.shapes import check_marked, shape_options
from psal_cli.commands.strokes import repeated, strokes_option, typed_options
from psal_cli.commands.verb import Verb
from psal_cli.errors import InputError, InvalidValueError, MemoryLimitError
from psal_cli.verbs.inpaint.options import ATTENTIONS, ENGINES, InpaintOptions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from psal_cli.image import Header, Picture
    from psal_cli.image.mask import Mask
    from psal_cli.image.shapes import Shape
    from psal_cli.image.strokes import Strokes
    from psal_cli.memory import Plan
    from psal_cli.verbs.inpaint.api import InpaintResult

EXAMPLE = "psal inpaint examples/dandelions.jpg --mask examples/dandelions_mask.png -o clean.jpg"


@click.command(cls=Command, short_help="Remove something from photographs.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@options.mask_options
@shape_options("Fill", "--mask")
@strokes_option
@options.output_options
@options.batch_options
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=InpaintOptions.engine,
    show_default=True,
    help="combined copies patches that fit what a network expects there; patch copies patches without a network, on the CPU "
    "only; network takes what the network draws.",
)
@click.option(
    "--attention",
    type=click.Choice(ATTENTIONS),
    default=InpaintOptions.attention,
    show_default=True,
    help="Attention layer of the network. aggregation is PSAL with aggregation; original is the layer of Yu et al. 2018, whose "
    "memory grows with the square of the picture; original-sum is the same as in its PyTorch port since 2020.",
)
@click.option("--weights", type=options.PICTURE, help="Other weights for the network: .safetensors, or a published .pt or .pth.")
@click.option("--source-mask", type=options.PICTURE, help="Mask of what may be copied, in white; given like --mask.")
@options.search_options
@options.seed_option
@click.option("--no-blend", is_flag=True, help="Keep copied pixels exactly as they are. Seams stay visible.")
@options.device_options
@options.offsets_options
@click.option("--compare", type=options.RESULT, help="Also write input, mask and result side by side.")
@options.talk_options
@into(InpaintArguments)
def inpaint(arguments: InpaintArguments) -> None:
    """Fill the masked part of each IMAGE, a file or a folder, with what fits from the rest of it, at full resolution.

    Writes IMAGE_inpainted beside IMAGE, or OUTPUT. Pixels outside the mask do not change (but a lossy format encodes the whole
    picture again). Orientation, ICC profile, metadata, alpha and 16 bits are kept. If the mask is empty, IMAGE is copied.
    """
    run_verb(arguments, Inpaint)


PATCHES, NETWORKS = ("patch", "combined"), ("combined", "network")  # the engines that have them


@dataclass(frozen=True, eq=False)
class Loaded:
    """source: bool [H, W], --source-mask; reach: see `InpaintOptions`."""

    picture: Picture
    mask: Mask
    source: npt.NDArray[np.bool_] | None
    reach: int | None


@dataclass(frozen=True, eq=False)
class Result:
    """filled: None where there was nothing to fill."""

    before: Picture
    mask: Mask
    filled: InpaintResult | None


class Inpaint(Verb[InpaintArguments, Loaded, Result]):
    beside = "_inpainted"
    partners = ("mask", "source_mask", "strokes")
    outputs = ("save_offsets", "compare")
    flags: ClassVar[Mapping[str, str]] = {
        "mask": "--mask",
        "box": "--box",
        "polygon": "--polygon",
        "strokes": "--strokes",
        "patch_size": "--patch-size",
        "weights": "--weights",
        "device": "--device",
    }

    def __init__(self, arguments: InpaintArguments, console: Console):
        super().__init__(arguments, console)
        check_marked(arguments)
        self.if_masked, self.typed = arguments.if_masked, typed_options()
        copying = ("source_mask", "patch_size", "no_blend", "save_offsets", "arrows")
        self.refuse_mixtures(dict.fromkeys(copying, PATCHES) | dict.fromkeys(("attention", "weights"), NETWORKS))
        if arguments.engine == "patch":
            self.cpu_only = "--engine patch"

    def start(self) -> None:
        from psal_cli.verbs.inpaint.guide import network_for
        from psal_cli.verbs.inpaint.memory_model import baseline

        network_for(self._options(self.arguments))
        baseline()  # with the network, before any picture is in memory

    def _arguments_for(self, item: Item) -> InpaintArguments:
        """The arguments, with those of the run that the item's strokes were saved with where none were typed."""
        strokes = self._strokes(item)
        return self.arguments if strokes is None else repeated(self.arguments, strokes, self.typed)

    def _strokes(self, item: Item) -> Strokes | None:
        from psal_cli.image.strokes import read_strokes

        path = self.sidecar(item, "strokes")
        return None if path is None else read_strokes(path)

    def _options(self, arguments: InpaintArguments, reach: int | None = None) -> InpaintOptions:
        return InpaintOptions(
            engine=arguments.engine,
            attention=arguments.attention,
            weights=arguments.weights if arguments.engine in NETWORKS else None,  # a default may be there for those engines
            patch_size=arguments.patch_size,
            iterations=arguments.iterations,
            blend=not arguments.no_blend,
            reach=reach,
            seed=arguments.seed,
            device="cpu" if arguments.engine == "patch" else self.device,
        )

    def _shapes(self) -> tuple[Shape, ...]:
        return *self.arguments.box, *self.arguments.polygon

    def read(self, item: Item) -> Loaded:
        from psal_cli.image import check_holds, read_picture

        header = self.header(item)
        self._plan(item, header)  # what cannot fit is not even decoded
        picture = read_picture(item.input, self.arguments.max_pixels)
        check_holds(picture, item.output, self.encoding(item, picture.format))
        mask, source = self._mask(item, picture.size), self._source(item, picture.size)
        hidden = picture.alpha is not None and not picture.alpha.all()
        plan = self._plan(item, header, mask, source is not None or hidden)
        self.console.detail(f"{item.input}: {plan.text}")
        return Loaded(picture, mask, source, plan.reach)

    def _plan(self, item: Item, header: Header, mask: Mask | None = None, source: bool = False) -> Plan:
        """mask: None where it is not read yet. Raises MemoryLimitError when it cannot fit."""
        from psal_cli.verbs.inpaint.guide import network_for
        from psal_cli.verbs.inpaint.memory_model import plan

        arguments = self._arguments_for(item)
        within = partial(
            plan,
            header,
            self.formats(item, header.format),
            None if mask is None else mask.hole,
            source=source,
            soft=mask is not None and mask.soft is not None,
            patch_size=arguments.patch_size,
            engine=arguments.engine,
            network=network_for(self._options(arguments)),
            mask_decoding=self._mask_decoding(item, (header.width, header.height)),
            streams=self.streams(item, header, header.channels),
        )
        return self.planned(item, within(limit=self.arguments.max_memory), within)

    def _mask_decoding(self, item: Item, size: tuple[int, int]) -> int:
        """Bytes a pixel, at most, while one of the masks is decoded. Raises InputError for one of another size."""
        from psal_cli import memory
        from psal_cli.image import read_header
        from psal_cli.image.mask import check_mask_size

        headers = [read_header(path, self.arguments.max_pixels, profiles=False) for path in self._masks(item)]
        for path, head in zip(self._masks(item), headers, strict=True):
            check_mask_size(head.width, head.height, size, path)  # before the picture, which may be large, is decoded
        decoding = (memory.reading(1, head.channels, head.bits // 8, head.alpha, head.format) for head in headers)
        return max(decoding, default=0)

    def _masks(self, item: Item) -> list[Path]:
        """The pictures among the files that belong to it."""
        return [path for name in ("mask", "source_mask") for path in item.sidecars.get(name, ())]

    def _mask(self, item: Item, size: tuple[int, int]) -> Mask:
        from psal_cli.image import read_mask
        from psal_cli.image.strokes import read_strokes

        arguments, path, strokes = self._arguments_for(item), self.sidecar(item, "mask"), self.sidecar(item, "strokes")
        painted = () if strokes is None else read_strokes(strokes, size).strokes
        return read_mask(
            path,
            size,
            arguments.mask_invert,
            arguments.dilate,
            arguments.feather,
            arguments.max_pixels,
            self._shapes(),
            painted,
        )

    def _source(self, item: Item, size: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
        """--source-mask, or what of the strokes says the same."""
        from psal_cli.image import read_region
        from psal_cli.image.painting import source_region

        path = self.sidecar(item, "source_mask")
        if path is None:
            strokes = self._strokes(item)
            return None if strokes is None else source_region(strokes.strokes, size)
        source = read_region(path, size, self.arguments.max_pixels)
        if not source.any():
            raise InputError(f"{path} allows nothing to be copied from: paint white what may be")
        return source

    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result:
        picture, mask = loaded.picture, loaded.mask
        if not mask.hole.any():
            empty = f"{item.sidecar_files[0]} marks nothing to fill (white = fill)"
            how = "copied byte for byte" if self._is_kept(item, picture) else "written anew with its own pixels"
            self.console.say(f"{empty}: {item.input} is {how}, no offsets or comparison are written")
            return Result(picture, mask, None)
        size = f"{picture.size[0]}x{picture.size[1]}"
        self.console.detail(f"{item.input}: {picture.format}, {size}, {mask.hole.sum()} pixels to fill")
        if loaded.reach is not None:
            limit = f"--max-memory lets {loaded.reach} pixels around each hole be copied from"
            self.console.say(f"{item.input}: {limit}, not the whole picture")
        return Result(picture, mask, self._filled(item, loaded, progress))

    def _filled(self, item: Item, loaded: Loaded, progress: Progress | None) -> InpaintResult:
        """The library call."""
        from psal_cli.verbs.inpaint import api
        from psal_cli.verbs.inpaint.completion import NothingToCopyError

        mask = loaded.mask.hole if loaded.mask.soft is None else loaded.mask.soft
        chosen = self._options(self._arguments_for(item), loaded.reach)
        try:
            result = api.inpaint(loaded.picture.array(), mask, chosen, source_mask=loaded.source, progress=progress)
            self.facts[item] = {"device": result.device}
            return result
        except NothingToCopyError as error:
            size = f"{error.patch_size}x{error.patch_size}"
            nothing = f"nothing is left to copy from: no patch of {size} lies whole outside the mask"
            if error.reach is None:
                raise InputError(f"{item.input}: {nothing} (a smaller mask or --patch-size leaves some)") from error
            raise MemoryLimitError(f"{nothing}, {error.reach} pixels around: allow more with --max-memory") from error
        except InvalidValueError:
            raise
        except ValueError as error:  # from the attention of the network
            raise InputError(f"{item.input}: {error}") from error

    def write(self, item: Item, result: Result) -> str:
        from psal_cli.image import write_picture

        if result.filled is None:
            self._copy(item, result)
            return "copied"
        done = result.before.with_array(result.filled.image).filled_inside(self._changed(result.mask))
        self._write_extras(item, result, done)
        write_picture(done, item.output, self.arguments.force, self.encoding(item, result.before.format))
        return "done"

    def _copy(self, item: Item, result: Result) -> None:
        from psal_cli.files import copy_file
        from psal_cli.image import write_picture

        picture = result.before
        if self._is_kept(item, picture):
            copy_file(item.input, item.output, self.arguments.force)
        else:
            same = picture.filled_inside(self._changed(result.mask))
            write_picture(same, item.output, self.arguments.force, self.encoding(item, picture.format))

    @staticmethod
    def _changed(mask: Mask) -> npt.NDArray[np.bool_]:
        """Where pixels may differ from those before."""
        return mask.hole if mask.soft is None else mask.soft > 0

    def _is_kept(self, item: Item, picture: Picture) -> bool:
        """Whether a picture that nothing is done to keeps its file: the format stays and no option asks for another one."""
        from psal_cli.image import Encoding, check_format

        encoding = self.encoding(item, picture.format)
        return encoding == Encoding(format=encoding.format) and picture.format == check_format(item.output, encoding.format)

    def _write_extras(self, item: Item, result: Result, done: Picture) -> None:
        from psal_cli.image import write_picture
        from psal_cli.viz.drawing import side_by_side

        force = self.arguments.force
        if (path := item.outputs.get("save_offsets")) and result.filled and (field := result.filled.field):
            field.save(path, result.before, arrows=self.arguments.arrows, force=force)
        if path := item.outputs.get("compare"):
            write_picture(side_by_side(result.before, done, result.mask.hole), path, force)

    def preview(self, item: Item) -> dict[str, object]:
        from psal_cli.image import read_header
        from psal_cli.verbs.inpaint import time_model

        header = self.header(item)
        mask = self._mask(item, (header.width, header.height))
        plan = self._plan(item, header, mask, "source_mask" in item.sidecars or header.alpha)
        masks = [read_header(path, self.arguments.max_pixels, profiles=False) for path in self._masks(item)]
        cost = time_model.cost(
            header, self.formats(item, header.format), mask.hole, self._options(self._arguments_for(item), plan.reach), masks
        )
        return {
            "width": header.width,
            "height": header.height,
            "memory_bytes": plan.bytes,
            "reach": plan.reach,
            "seconds": self.seconds(cost),
        }
