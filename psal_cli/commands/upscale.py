"""`psal upscale`: enlarge pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import click

from psal_cli.batch.inputs import Item
from psal_cli.commands import options
from psal_cli.commands.arguments import UpscaleArguments, into
from psal_cli.commands.command import Command
from psal_cli.commands.console import Console, Progress
from psal_cli.commands.run import run_verb
from psal_cli.commands.verb import Verb
from psal_cli.errors import InputError
from psal_cli.verbs.upscale.options import ATTENTIONS, MODELS, SCALES, UpscaleOptions

if TYPE_CHECKING:
    from psal_cli.image import Header, Picture
    from psal_cli.verbs.upscale.memory_model import Plan
    from psal_cli.verbs.upscale.networks import Network
    from psal_cli.viz.field import Field

EXAMPLE = "psal upscale examples/pagoda.jpg -x 4 -o large.png"


@click.command(cls=Command, short_help="Enlarge pictures 2, 3, 4 or 8 times.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@click.option(
    "-x",
    "--scale",
    type=click.Choice(tuple(map(str, SCALES))),
    required=True,
    help="Enlarge width and height by this factor. 8 is 2, then 4.",
)
@options.output_options
@options.batch_options
@click.option(
    "--model",
    type=click.Choice(["auto", *MODELS]),
    default="auto",
    show_default=True,
    help="clean keeps every detail, also compression artefacts; photo is for compressed and noisy pictures; auto takes photo for "
    "lossy formats and clean for others.",
)
@click.option(
    "--attention",
    type=click.Choice(ATTENTIONS),
    default=UpscaleOptions.attention,
    show_default=True,
    help="Attention layer. full compares all patches with all: its time grows with the square of the picture.",
)
@click.option("--weights", type=options.PICTURE, help="Other weights: .safetensors, or a published .pt or .pth of CSNLN.")
@click.option("--ensemble", is_flag=True, help="Average over the picture turned and mirrored in 8 ways. Takes 8 times as long.")
@options.seed_option
@options.device_options
@options.offsets_options
@click.option(
    "--compare", type=options.RESULT, help="Also write the middle of a bicubic enlargement and of the result, side by side."
)
@options.talk_options
@into(UpscaleArguments)
def upscale(arguments: UpscaleArguments) -> None:
    """Enlarge each IMAGE, a file or a folder, as a whole. Patterns that repeat anywhere in it, at any size, add detail.

    Writes IMAGE_xSCALE beside IMAGE, or OUTPUT. Orientation, ICC profile, metadata, alpha and 16 bits are kept.
    """
    run_verb(arguments, Upscale)


@dataclass(frozen=True, eq=False)
class Loaded:
    picture: Picture
    plan: Plan


@dataclass(frozen=True, eq=False)
class Result:
    before: Picture
    after: Picture
    field: Field | None


class Upscale(Verb[UpscaleArguments, Loaded, Result]):
    outputs = ("save_offsets", "compare")
    partners = ()
    flags: ClassVar[Mapping[str, str]] = {"scale": "--scale", "weights": "--weights", "device": "--device"}

    def __init__(self, arguments: UpscaleArguments, console: Console):
        super().__init__(arguments, console)
        given = click.get_current_context().get_parameter_source
        if arguments.weights and given("model") is click.core.ParameterSource.COMMANDLINE:
            if given("weights") is click.core.ParameterSource.COMMANDLINE:
                raise click.UsageError("--model and --weights are mutually exclusive: leave one of them out")
            self.arguments = arguments = replace(arguments, weights=None)  # a default gives way to what was typed
        self.scale = int(arguments.scale)
        self.beside = f"_x{arguments.scale}"  # type: ignore[misc]  # the one verb whose results are named by an option
        if arguments.weights and self.scale == 8:
            raise click.UsageError("--weights is of one network, -x 8 takes two: enlarge twice, e.g. -x 2, then -x 4")
        if arguments.save_offsets and arguments.attention == "full":
            raise click.UsageError("--save-offsets requires --attention psal: full compares with everything")

    def start(self) -> None:
        from psal_cli.networks.csnln import Pasting
        from psal_cli.verbs.upscale.memory_model import baseline

        networks = self._networks()
        if self.arguments.save_offsets and not any(isinstance(layer, Pasting) for layer in networks[0].modules()):
            cure = "leave --save-offsets out, or take other weights"
            raise InputError(f"{self.arguments.weights} has no attention, there are no offsets to write: {cure}")
        baseline(networks)  # before any picture is in memory

    def _networks(self) -> tuple[Network, ...]:
        """Those that a plan counts with: all models are of one size."""
        from psal_cli.verbs.upscale.networks import networks_for

        return networks_for(self.scale, "clean", self.arguments.weights, self.arguments.attention, self.device)

    def read(self, item: Item) -> Loaded:
        from psal_cli.image import check_holds, read_picture

        plan = self._plan(item, self.header(item))
        self.console.detail(f"{item.input}: {plan.text}")
        picture = read_picture(item.input, self.arguments.max_pixels)
        check_holds(picture, item.output, self.encoding(item, picture.format))
        return Loaded(picture, plan)

    def _plan(self, item: Item, header: Header) -> Plan:
        """Raises MemoryLimitError: it cannot fit; InputError: the result is too large."""
        from psal_cli.image.writing import check_size
        from psal_cli.verbs.upscale.memory_model import plan

        width, height = header.width * self.scale, header.height * self.scale
        if width * height > self.arguments.max_pixels:
            cure = f"allow them with --max-pixels {width * height}, or take a smaller --scale"
            raise InputError(f"{item.input}: the result would have {width}x{height} pixels, more than allowed: {cure}")
        check_size((width, height), item.output, self.encoding(item, header.format), "the result")
        within = partial(
            plan,
            header,
            self.formats(item, header.format),
            self._networks(),
            ensemble=self.arguments.ensemble,
            streams=self.streams(item, header, channels=header.channels),
        )
        return self.planned(item, within(limit=self.arguments.max_memory), within)

    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result:
        """The library call."""
        from psal_cli.image.resizing import resized
        from psal_cli.verbs.upscale import api

        given, picture = self.arguments, loaded.picture
        model = given.model if given.model != "auto" else "clean" if picture.lossless else "photo"
        self.console.detail(
            f"{item.input}: {picture.format}, {picture.size[0]}x{picture.size[1]}, model {given.weights or model}"
        )
        chosen = UpscaleOptions(
            model=model,
            weights=given.weights,
            attention=given.attention,
            ensemble=given.ensemble,
            strip_pixels=loaded.plan.largest,
            seed=given.seed,
            device=self.device,
        )
        found = api.upscale(picture.array(), self.scale, chosen, progress=progress)
        self.facts[item] = {"scale": self.scale, "model": found.model, "device": found.device}
        after = picture.with_array(found.image)
        return Result(picture, replace(after, metadata=resized(picture.metadata, after.size)), found.field)

    def write(self, item: Item, result: Result) -> str:
        from psal_cli.image import write_picture
        from psal_cli.viz.drawing import enlarged_side_by_side

        force = self.arguments.force
        if (path := item.outputs.get("save_offsets")) and result.field is not None:
            result.field.save(path, result.before, arrows=self.arguments.arrows, force=force)
        if path := item.outputs.get("compare"):
            write_picture(enlarged_side_by_side(result.before, result.after), path, force)
        write_picture(result.after, item.output, force, self.encoding(item, result.before.format))
        return "done"

    def preview(self, item: Item) -> dict[str, object]:
        from psal_cli.verbs.upscale import time_model

        header = self.header(item)
        plan = self._plan(item, header)
        formats = self.formats(item, header.format)
        cost = time_model.cost(header, formats, self._networks(), plan.largest, self.arguments.ensemble)
        return {
            "width": header.width,
            "height": header.height,
            "scale": self.scale,
            "memory_bytes": plan.bytes,
            "seconds": self.seconds(cost),
        }
