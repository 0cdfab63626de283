"""`psal inpaint`: fill the masked part of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import click

from psal_cli.batch.inputs import Item
from psal_cli.commands import options, parameters
from psal_cli.commands.arguments import InpaintArguments, into
from psal_cli.commands.choices import check_choices, write_sheet
from psal_cli.commands.command import Command
from psal_cli.commands.console import Console, Progress
from psal_cli.commands.engines import NETWORKS, PATCHES, filling_options, library_options
from psal_cli.commands.expand import expand_option, expanded_header, expanded_picture
from psal_cli.commands.holes import Holes
from psal_cli.commands.run import run_verb
from psal_cli.commands.shapes import check_marked, outline_options, shape_options
from psal_cli.commands.strokes import strokes_option
from psal_cli.commands.verb import Verb, WithSheets
from psal_cli.errors import Cure, InputError, InvalidValueError, MemoryLimitError
from psal_cli.verbs.inpaint.options import InpaintOptions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from psal_cli.image import Header, Picture
    from psal_cli.image.mask import Mask
    from psal_cli.memory import Plan
    from psal_cli.verbs.inpaint.api import InpaintResult

EXAMPLE = "psal inpaint examples/dandelions.jpg --mask examples/dandelions_mask.png -o clean.jpg"


@click.command(cls=Command, short_help="Remove something from photographs.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@options.mask_options
@shape_options("Fill", "--mask")
@outline_options
@strokes_option
@expand_option
@filling_options
@click.option("--compare", type=parameters.RESULT, help="Also write input, mask and result side by side.")
@options.talk_options
@into(InpaintArguments)
def inpaint(arguments: InpaintArguments) -> None:
    """Fill the masked part of each IMAGE, a file or a folder, with fitting patches from the rest of it, at full resolution.

    Writes IMAGE_inpainted beside IMAGE, or OUTPUT. Several fills are named IMAGE_1, IMAGE_2 and so on, and use the seeds SEED,
    SEED + 1 and so on. Pixels outside the mask do not change (but a lossy format encodes the whole picture again).
    Orientation, ICC profile, metadata, alpha, 16 bits and floating-point numbers are kept. If the mask is empty, IMAGE is copied.
    """
    run_verb(arguments, Inpaint)


@dataclass(frozen=True, eq=False)
class Loaded:
    """source: bool [H, W], --source-mask; reach: see `InpaintOptions`; expanded: whether the picture is on a larger canvas."""

    picture: Picture
    mask: Mask
    source: npt.NDArray[np.bool_] | None
    reach: int | None
    expanded: bool


@dataclass(frozen=True, eq=False)
class Result:
    """filled: None if there was nothing to fill; expanded: see `Loaded`."""

    before: Picture
    mask: Mask
    filled: InpaintResult | None
    expanded: bool = False


class Inpaint(Verb[InpaintArguments, Loaded, Result], WithSheets):
    beside = "_inpainted"
    sidecar_options: ClassVar[tuple[str, ...]] = ("mask", "source_mask", "strokes", "polygon_file")
    outputs = ("save_offsets", "compare")
    sheets = ("sheet",)
    flags: ClassVar[Mapping[str, str]] = {
        "mask": "--mask",
        "box": "--box",
        "polygon": "--polygon",
        "polygon_file": "--polygon-file",
        "margins": "--expand",
        "strokes": "--strokes",
        "patch_size": "--patch-size",
        "weights": "--weights",
        "painter": "--painter",
        "painter_size": "--painter-size",
        "device": "--device",
    }

    def __init__(self, arguments: InpaintArguments, console: Console):
        super().__init__(arguments, console)
        check_marked(arguments)
        check_choices(arguments)
        self.if_masked, self.results, self.holes = arguments.if_masked, arguments.results, Holes(arguments)
        copying = ("source_mask", "patch_size", "no_blend", "save_offsets", "arrows")
        self.refuse_mixtures(dict.fromkeys(copying, PATCHES) | dict.fromkeys(("attention", "weights", "painter"), NETWORKS))
        if arguments.engine == "patch":
            self.cpu_only = "--engine patch"

    def start(self) -> None:
        from psal_cli.verbs.inpaint.guide import network_for
        from psal_cli.verbs.inpaint.memory_model import baseline
        from psal_cli.verbs.inpaint.own_painter import own_painter

        chosen = self._options(self.arguments)
        if chosen.painter:
            own_painter(chosen)
        network_for(chosen)
        baseline()  # with the network, before any picture is loaded

    def _options(self, arguments: InpaintArguments, reach: int | None = None, number: int = 0) -> InpaintOptions:
        """number: of the fill, which is added to the seed."""
        return library_options(arguments, self.device, reach, number)

    def read(self, item: Item) -> Loaded:
        from psal_cli.image import check_holds, read_picture

        header = self.header(item)
        self._plan(item, header)  # pictures that cannot fit are not even decoded
        before = read_picture(item.input, self.arguments.max_pixels)
        mask, source = self.holes.mask(item, before.size), self.holes.source(item, before.size)
        picture = expanded_picture(before, self.holes.margins(before.size))
        check_holds(picture, item.output, self.encoding(item, picture.format))
        hidden = picture.alpha is not None and not picture.alpha.all()
        plan = self._plan(item, header, mask, source is not None or hidden)
        self.console.detail(f"{item.input}: {plan.text}")
        return Loaded(picture, mask, source, plan.reach, picture.size != before.size)

    def _plan(self, item: Item, header: Header, mask: Mask | None = None, source: bool = False) -> Plan:
        """mask: None if it is not read yet. Raises MemoryLimitError if it does not fit."""
        from psal_cli.verbs.inpaint.guide import network_for
        from psal_cli.verbs.inpaint.memory_model import plan

        arguments, size = self.holes.arguments_for(item), (header.width, header.height)
        within = partial(
            plan,
            self._canvas(item, header),
            self.formats(item, header.format),
            None if mask is None else mask.hole,
            source=source,
            soft=mask is not None and mask.soft is not None,
            patch_size=arguments.patch_size,
            engine=arguments.engine,
            network=network_for(self._options(arguments)),
            mask_decoding=self.holes.decoding(item, size),
            streams=self.streams(item, header, header.channels),
        )
        return self.planned(item, within(limit=self.arguments.max_memory), within)

    def _canvas(self, item: Item, header: Header) -> Header:
        """The size of the canvas, from the header of the picture. Raises InputError for more pixels than --max-pixels."""
        canvas = expanded_header(header, self.holes.margins((header.width, header.height)))
        if canvas.width * canvas.height > self.arguments.max_pixels:
            size, most = f"{canvas.width}x{canvas.height}", self.arguments.max_pixels
            raise InputError(f"{item.input}: a canvas of {size} has more than {most} pixels", Cure.MORE_PIXELS)
        return canvas

    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result:
        picture, mask = loaded.picture, loaded.mask
        if not mask.hole.any():
            empty = "--expand adds nothing"
            if item.sidecar_files:
                empty = f"{item.sidecar_files[0]} marks nothing to fill (white = fill)"
            how = "copied byte for byte" if self._is_kept(item, picture) else "rewritten with unchanged pixels"
            self.console.say(f"{empty}: {item.input} is {how}, no offsets or comparison are written")
            return Result(picture, mask, None)
        size = f"{picture.size[0]}x{picture.size[1]}"
        self.console.detail(f"{item.input}: {picture.format}, {size}, {mask.hole.sum()} pixels to fill")
        if loaded.reach is not None:
            limit = f"--max-memory lets {loaded.reach} pixels around each hole be copied from"
            self.console.say(f"{item.input}: {limit}, not the whole picture")
        return Result(picture, mask, self._filled(item, loaded, progress), loaded.expanded)

    def _filled(self, item: Item, loaded: Loaded, progress: Progress | None) -> InpaintResult:
        """The library call."""
        from psal_cli.verbs.inpaint import api
        from psal_cli.verbs.inpaint.completion import NothingToCopyError

        mask = loaded.mask.hole if loaded.mask.soft is None else loaded.mask.soft
        chosen = self._options(self.holes.arguments_for(item), loaded.reach, item.number)
        try:
            result = api.inpaint(loaded.picture.array(), mask, chosen, source_mask=loaded.source, progress=progress)
            self.facts[item] = {"device": result.device, "seed": chosen.seed}
            return result
        except NothingToCopyError as error:
            size = f"{error.patch_size}x{error.patch_size}"
            nothing = f"nothing is left to copy from: no patch of {size} lies whole outside the mask"
            if error.reach is None:
                raise InputError(f"{item.input}: {nothing} (a smaller mask or --patch-size leaves some)") from error
            raise MemoryLimitError(f"{nothing}, {error.reach} pixels around: allow more with --max-memory") from error
        except InvalidValueError:
            raise
        except ValueError as error:  # raised by the attention of the network
            raise InputError(f"{item.input}: {error}") from error

    def write(self, item: Item, result: Result) -> str:
        from psal_cli.image import write_picture

        if result.filled is None:
            self._copy(item, result)
            return "copied"
        done = result.before.with_array(result.filled.image)
        if not result.expanded:  # otherwise a gain map no longer fits, which the writer reports
            done = done.filled_inside(self._changed(result.mask))
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
        """Where pixels may differ from the original."""
        return mask.hole if mask.soft is None else mask.soft > 0

    def _is_kept(self, item: Item, picture: Picture) -> bool:
        """Whether an unchanged picture is copied as a file: the format stays and no option changes the encoding."""
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

    def finish(self, items: list[Item]) -> None:
        from psal_cli.image import read_picture

        def size(item: Item) -> tuple[int, int]:
            return (header := self.header(item)).width, header.height

        write_sheet(
            self.arguments,
            [item for item in items if not item.unmasked],
            lambda item: expanded_picture(read_picture(item.input, self.arguments.max_pixels), self.holes.margins(size(item))),
            lambda item: self.holes.mask(item, size(item)).hole,
            lambda item: self.holes.arguments_for(item).seed + item.number,
        )

    def needed(self, item: Item) -> int:
        return self._plan(item, self.header(item)).bytes

    def preview(self, item: Item) -> dict[str, object]:
        from psal_cli.image.mask import mask_header
        from psal_cli.verbs.inpaint import time_model

        header = self.header(item)
        mask = self.holes.mask(item, (header.width, header.height))
        plan = self._plan(item, header, mask, "source_mask" in item.sidecars or header.alpha)
        masks = [mask_header(path, self.arguments.max_pixels) for path in self.holes.files(item)]
        canvas = self._canvas(item, header)
        cost = time_model.cost(
            canvas, self.formats(item, header.format), mask.hole, self._options(self.holes.arguments_for(item), plan.reach), masks
        )
        return {
            "width": canvas.width,
            "height": canvas.height,
            "memory_bytes": plan.bytes,
            "reach": plan.reach,
            "seconds": self.seconds(cost),
        }
