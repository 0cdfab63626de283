"""`psal upscale`: enlarge pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import click

from psal_cli.batch.inputs import Item
from psal_cli.commands import options, parameters
from psal_cli.commands.arguments import UpscaleArguments, into
from psal_cli.commands.command import Command
from psal_cli.commands.console import Console, Progress
from psal_cli.commands.ranges import Finite, IntRange
from psal_cli.commands.run import run_verb
from psal_cli.commands.upscale_defaults import one_of_each
from psal_cli.commands.verb import Verb
from psal_cli.errors import InputError
from psal_cli.verbs.upscale.options import ATTENTIONS, MODELS, MOST, UpscaleOptions
from psal_cli.verbs.upscale.sizes import label

if TYPE_CHECKING:
    from psal_cli.image import Header, Picture
    from psal_cli.verbs.upscale.memory_model import Plan
    from psal_cli.verbs.upscale.networks import Network
    from psal_cli.viz.field import Field

EXAMPLE = "psal upscale examples/pagoda.jpg -x 4 -o large.png"
LONGEST = 1_000_000  # pixels of a side of a result


@click.command(cls=Command, short_help="Enlarge pictures by a factor, or to a size.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@click.option(
    "-x",
    "--scale",
    type=Finite(1, MOST, min_open=True),
    metavar="FACTOR",
    help=f"Enlarge width and height by this factor, above 1 and at most {MOST}, e.g. 4 or 1.5. The networks enlarge 2, 3 or 4 "
    "times, twice in a row for 6, 8, 9, 12 or 16; what is between is reduced from the next larger one. Default with --weights: "
    "their scale.",
)
@click.option(
    "--width", type=IntRange(1, LONGEST), metavar="PX", help="Width of the result; with --height, the result fits into both."
)
@click.option("--height", type=IntRange(1, LONGEST), metavar="PX", help="Height of the result.")
@click.option("--long-side", type=IntRange(1, LONGEST), metavar="PX", help="Longer side of the result.")
@click.option("--megapixels", type=Finite(0, min_open=True), metavar="N", help="Size of the result in million pixels.")
@options.output_options
@options.batch_options
@click.option(
    "--model",
    type=click.Choice(["auto", *MODELS]),
    default="auto",
    show_default=True,
    help="clean keeps every detail, also compression artefacts; photo is for compressed, noisy and sharpened pictures; auto "
    "looks at the picture, and at the quality of a JPEG file.",
)
@click.option(
    "--strength",
    type=Finite(0, 1),
    metavar="N",
    help="Blend the results of both models: 0 is clean, 1 is photo. Between them both networks run, which takes twice the time.",
)
@click.option(
    "--attention",
    type=click.Choice(ATTENTIONS),
    default=UpscaleOptions.attention,
    show_default=True,
    help="Attention layer. full compares all patches with all: its time grows with the square of the picture.",
)
@click.option(
    "--weights",
    type=parameters.FILE,
    help="Another network: a .safetensors or .pth file of any architecture that spandrel knows (ESRGAN, SwinIR, HAT, SPAN and "
    "others), an ONNX file, psal's own or CSNLN's weights, or the name of a file in the model folder (see psal models).",
)
@click.option("--ensemble", is_flag=True, help="Average over the picture turned and mirrored in 8 ways. Takes 8 times as long.")
@options.seed_option
@options.device_options
@options.offsets_options
@click.option(
    "--compare", type=parameters.RESULT, help="Also write the middle of a bicubic enlargement and of the result, side by side."
)
@options.talk_options
@into(UpscaleArguments)
def upscale(arguments: UpscaleArguments) -> None:
    """Enlarge each IMAGE, a file or a folder, as a whole. Patterns that repeat anywhere in it, at any size, add detail.

    Give -x, a size, or --weights. A picture that is larger than the size is reduced to it. Writes IMAGE_xFACTOR, or IMAGE with
    the size, beside IMAGE, or OUTPUT. Orientation, ICC profile, metadata, alpha, 16 bits and floating-point numbers are kept.
    """
    run_verb(arguments, Upscale)


@dataclass(frozen=True, eq=False)
class Loaded:
    """size: (width, height) of the result."""

    picture: Picture
    plan: Plan
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Result:
    before: Picture
    after: Picture
    field: Field | None


class Upscale(Verb[UpscaleArguments, Loaded, Result]):
    outputs = ("save_offsets", "compare")
    sidecar_options = ()
    flags: ClassVar[Mapping[str, str]] = {
        **{"scale": "--scale", "width": "--width", "height": "--height", "long_side": "--long-side"},
        **{"megapixels": "--megapixels", "strength": "--strength", "weights": "--weights", "device": "--device"},
    }

    def __init__(self, arguments: UpscaleArguments, console: Console):
        super().__init__(arguments, console)
        self.arguments = arguments = one_of_each(arguments)
        self.beside = _named(arguments)  # type: ignore[misc]  # the one verb whose results are named by an option
        self.held = 0  # bytes of the process before the first picture
        if arguments.save_offsets and arguments.attention == "full":
            raise click.UsageError("--save-offsets requires --attention psal: full compares with everything")

    def start(self) -> None:
        from psal_cli.foreign.network import ForeignNetwork
        from psal_cli.networks.pasting import Pasting
        from psal_cli.verbs.upscale.memory_model import baseline

        networks = self._possible()
        for network in networks[:1]:
            if isinstance(network, ForeignNetwork):
                given = click.get_current_context().get_parameter_source
                if given("attention") is click.core.ParameterSource.COMMANDLINE:
                    raise InputError("--attention is of psal's own networks and CSNLN: leave it out, or take other weights")
                self.console.detail(f"{self.arguments.weights}: {network.info.text}; {network.traits.text}")
        if self.arguments.save_offsets and not any(isinstance(layer, Pasting) for layer in networks[0].modules()):
            cure = "leave --save-offsets out, or take other weights"
            raise InputError(f"{self.arguments.weights} has no attention, there are no offsets to write: {cure}")
        self.held = baseline(networks)  # before any picture is loaded

    def _possible(self) -> tuple[Network, ...]:
        """The networks for any picture; all shipped models have the same size."""
        from psal_cli.verbs.upscale.networks import network_of, networks_for
        from psal_cli.verbs.upscale.sizes import PASSES, check_factor, passes_of

        given = self.arguments
        if given.weights is not None:
            network = network_of(given.weights, None, given.attention, self.device)
            check_factor(given.scale, passes_of(network.scale), given.weights)
            return (network,)
        if given.strength is not None and given.scale in PASSES:
            networks_for(int(given.scale), "photo", None, given.attention, self.device)  # so that the weights count
        if given.scale in PASSES:
            return networks_for(int(given.scale), "clean", None, given.attention, self.device)
        return tuple(networks_for(scale, "clean", None, given.attention, self.device)[0] for scale in (2, 3, 4))

    def _options(self, model: str = "clean", strip_pixels: int | None = None) -> UpscaleOptions:
        """model: if no strength is given; all have the same size."""
        given = self.arguments
        return UpscaleOptions(
            model=model if given.strength is None else "auto",
            strength=given.strength,
            weights=given.weights,
            attention=given.attention,
            ensemble=given.ensemble,
            strip_pixels=strip_pixels,
            width=given.width,
            height=given.height,
            long_side=given.long_side,
            megapixels=given.megapixels,
            seed=given.seed,
            device=self.device,
        )

    def read(self, item: Item) -> Loaded:
        from psal_cli.image import check_holds, read_picture

        networks, size = self._prepared(header := self.header(item))
        plan = self._plan(item, header, networks, size)
        self.console.detail(f"{item.input}: {plan.text}")
        picture = read_picture(item.input, self.arguments.max_pixels)
        check_holds(picture, item.output, self.encoding(item, picture.format))
        return Loaded(picture, plan, size)

    def _prepared(self, header: Header) -> tuple[tuple[Network, ...], tuple[int, int]]:
        """The networks that a plan assumes, and the size of the result."""
        from psal_cli.verbs.upscale.networks import prepared

        return prepared((header.width, header.height), self.arguments.scale, self._options())

    def _plan(self, item: Item, header: Header, networks: tuple[Network, ...], size: tuple[int, int]) -> Plan:
        """Raises MemoryLimitError if it does not fit, InputError if the result is too large."""
        from psal_cli.image.writing import check_size
        from psal_cli.verbs.upscale.memory_model import plan

        width, height = size
        if width * height > self.arguments.max_pixels:
            cure = f"allow them with --max-pixels {width * height}, or ask for a smaller size"
            raise InputError(f"{item.input}: the result would have {width}x{height} pixels, more than allowed: {cure}")
        check_size((width, height), item.output, self.encoding(item, header.format), "the result")
        within = partial(
            plan,
            header,
            self.formats(item, header.format),
            networks,
            ensemble=self.arguments.ensemble,
            streams=self.streams(item, header, channels=header.channels),
            size=size,
            held=self.held,
            blended=self._options().blended,
        )
        return self.planned(item, within(limit=self.arguments.max_memory), within)

    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result:
        """The library call."""
        from psal_cli.image.resizing import resized
        from psal_cli.verbs.upscale import api
        from psal_cli.verbs.upscale.degradation import model_for

        arguments, picture = self.arguments, loaded.picture
        model, strength = arguments.model, arguments.strength
        if strength is not None:
            ends: dict[float, str] = {0: "clean", 1: "photo"}
            model = ends.get(strength, f"clean and photo, strength {strength:g}")
        elif model == "auto" and arguments.weights is None:
            model = model_for(picture.pixels, picture.lossless, picture.quality)
        self.console.detail(
            f"{item.input}: {picture.format}, {picture.size[0]}x{picture.size[1]}, model {arguments.weights or model}"
        )
        chosen = self._options(model, loaded.plan.largest)
        upscaled = api.upscale(picture.array(), arguments.scale, chosen, progress=progress)
        scale = _factor(picture.size, loaded.size)
        if scale < 1:
            self.remarks[item] = f"it was larger than asked: reduced to {loaded.size[0]}x{loaded.size[1]}"
        self.facts[item] = {"scale": scale, "model": upscaled.model, "device": upscaled.device}
        if arguments.strength is not None:
            self.facts[item]["strength"] = arguments.strength
        after = picture.with_array(upscaled.image)
        return Result(picture, replace(after, metadata=resized(picture.metadata, after.size)), upscaled.field)

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

    def needed(self, item: Item) -> int:
        networks, size = self._prepared(header := self.header(item))
        return self._plan(item, header, networks, size).bytes

    def preview(self, item: Item) -> dict[str, object]:
        from psal_cli.verbs.upscale import time_model

        header = self.header(item)
        networks, size = self._prepared(header)
        plan = self._plan(item, header, networks, size)
        formats = self.formats(item, header.format)
        blended = self._options().blended
        cost = time_model.cost(header, formats, networks, plan.largest, self.arguments.ensemble, size, blended)
        return {
            "width": header.width,
            "height": header.height,
            "scale": _factor((header.width, header.height), size),
            "memory_bytes": plan.bytes,
            "seconds": self.seconds(cost),
        }


def _named(arguments: UpscaleArguments) -> str:
    """The suffix of results beside their pictures. Raises UsageError for no size, or several."""
    scale, width, height = arguments.scale, arguments.width, arguments.height
    given = {
        "-x": scale,
        "--width" if width else "--height": width or height,
        "--long-side": arguments.long_side,
        "--megapixels": arguments.megapixels,
    }
    sizes = [option for option, value in given.items() if value]
    if len(sizes) > 1:
        raise click.UsageError(f"{' and '.join(sizes)} are mutually exclusive: leave one of them out")
    if not sizes and not arguments.weights:
        raise click.UsageError("Missing option '-x', '--width', '--height', '--long-side' or '--megapixels': e.g. -x 4")
    return f"_{label(scale, width, height, arguments.long_side, arguments.megapixels)}"


def _factor(before: tuple[int, int], after: tuple[int, int]) -> float:
    """The factor by which the longer side grows, an int if it is whole."""
    factor = max(after) / max(before)
    return int(factor) if factor.is_integer() else round(factor, 4)
