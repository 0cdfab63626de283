"""`psal upscale`: enlarge pictures."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import click

from psal_cli.batch.plan import Item
from psal_cli.commands import options
from psal_cli.commands.console import Progress, Talk
from psal_cli.commands.run import run_verb
from psal_cli.commands.verb import Verb
from psal_cli.errors import InputError

EXAMPLE = "psal upscale examples/pagoda.jpg -x 4 -o large.png"


@click.command(short_help="Enlarge pictures 2, 3, 4 or 8 times.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@click.option(
    "-x",
    "--scale",
    type=click.Choice(["2", "3", "4", "8"]),
    required=True,
    help="How many times as wide and as high; 8 is 2, then 4.",
)
@options.output_options
@options.batch_options
@click.option(
    "--model",
    type=click.Choice(["auto", "clean", "photo"]),
    default="auto",
    show_default=True,
    help="clean: keeps every detail, and what compression left; photo: for compressed and noisy pictures; auto: photo for "
    "pictures in lossy formats, clean for others.",
)
@click.option(
    "--attention",
    type=click.Choice(["psal", "full"]),
    default="psal",
    show_default=True,
    help="full compares all with all: its time grows with the square of the picture.",
)
@click.option("--weights", type=options.PICTURE, help="Other weights, .safetensors, or a published .pt or .pth of CSNLN.")
@click.option("--ensemble", is_flag=True, help="The mean over the picture turned and mirrored in 8 ways: 8 times the time.")
@options.seed_option
@options.device_options
@options.offsets_options
@click.option("--compare", type=options.PICTURE, help="Also write the middle of a bicubic enlargement and of the result.")
@options.talk_options
def upscale(**chosen) -> None:
    """Enlarge each IMAGE, a file or a folder, as a whole: what it repeats, at other sizes, helps wherever it lies.

    Writes IMAGE_xSCALE beside IMAGE, or OUTPUT. Orientation, ICC profile, metadata, alpha and 16 bits are kept.
    """
    run_verb(SimpleNamespace(**chosen), Upscale)


class Loaded(NamedTuple):
    picture: Any  # psal_cli.image.Picture
    plan: Any  # psal_cli.verbs.upscale.memory_model.Plan


class Result(NamedTuple):
    before: Any  # the input
    after: Any
    field: list  # where each pixel is found at another scale, and the size of what it is found in; or nothing


class Upscale(Verb):
    outputs = ("save_offsets", "compare")
    partners = ()
    step = "strip"

    def __init__(self, want: SimpleNamespace, talk: Talk):
        super().__init__(want, talk)
        want.scale = int(want.scale)
        self.beside = f"_x{want.scale}"
        if want.weights and want.scale == 8:
            raise click.UsageError("--weights is of one network, -x 8 takes two: enlarge twice, e.g. -x 2, then -x 4")
        given = click.get_current_context().get_parameter_source
        if want.weights and given("model") is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError("--model is of the weights that ship, and --weights brings others: leave one of them out")
        if want.save_offsets and want.attention == "full":
            raise click.UsageError("--save-offsets is of --attention psal: full compares with everything")

    def start(self) -> None:
        from psal_cli.networks.csnln import Pasting
        from psal_cli.verbs.upscale.memory_model import baseline

        networks = self._networks()
        if self.want.save_offsets and not any(isinstance(layer, Pasting) for layer in networks[0].modules()):
            cure = "leave --save-offsets out, or take other weights"
            raise InputError(f"{self.want.weights} has no attention, there are no offsets to write: {cure}")
        baseline(networks)  # before any picture is in memory

    def _networks(self) -> tuple:
        """Those that a plan counts with: all models are of one size."""
        from psal_cli.verbs.upscale.upscaler import networks_for

        return networks_for(self.want.scale, "clean", self.want.weights, self.want.attention)

    def read(self, item: Item) -> Loaded:
        from psal_cli.image import check_holds, read_picture

        plan = self._plan(item, self.header(item))
        self.talk.say(f"{item.input}: {plan.text}")
        picture = read_picture(item.input, self.want.max_pixels)
        check_holds(picture, item.output, self.encoding(item, picture.format))
        return Loaded(picture, plan)

    def _plan(self, item: Item, header):
        """The plan. Raises MemoryLimitError: it cannot fit; InputError: the result is too large."""
        from psal_cli.image.writing import check_size
        from psal_cli.verbs.upscale.memory_model import plan

        want = self.want
        width, height = header.width * want.scale, header.height * want.scale
        if width * height > want.max_pixels:
            cure = f"allow them with --max-pixels {width * height}, or take a smaller --scale"
            raise InputError(f"{item.input}: the result would have {width}x{height} pixels, more than allowed: {cure}")
        check_size((width, height), item.output, self.encoding(item, header.format), "the result")
        try:
            found = plan(
                header,
                self.formats(item, header.format),
                self._networks(),
                ensemble=want.ensemble,
                streams=self.streams(item, header, channels=header.channels),
                limit=want.max_memory,
            )
        except InputError as error:
            raise InputError(f"{item.input}: {error}") from error
        return self.planned(item, found)

    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result:
        """The library call."""
        from psal_cli.image.resizing import resized
        from psal_cli.verbs.upscale.upscaler import upscale as enlarged

        want, picture = self.want, loaded.picture
        model = want.model if want.model != "auto" else "clean" if picture.lossless else "photo"
        self.facts[item] = {"scale": want.scale, "model": None if want.weights else model}
        self.talk.detail(f"{item.input}: {picture.format}, {picture.size[0]}x{picture.size[1]}, model {want.weights or model}")
        field = []
        pixels, alpha = enlarged(
            picture.pixels,
            want.scale,
            alpha=picture.alpha,
            model=model,
            weights=want.weights,
            attention=want.attention,
            device=want.device,
            seed=want.seed,
            ensemble=want.ensemble,
            largest=loaded.plan.largest,
            say=self.talk.say,
            progress=progress,
            matched=(lambda *found: field.extend(found)) if "save_offsets" in item.outputs else None,
        )
        metadata = resized(picture.metadata, pixels.shape[1::-1])
        return Result(picture, replace(picture, pixels=pixels, alpha=alpha, metadata=metadata), field)

    def write(self, item: Item, result: Result) -> str:
        from psal_cli.image import write_picture
        from psal_cli.viz.drawing import enlarged_side_by_side

        if path := item.outputs.get("save_offsets"):
            self._write_offsets(path, result)
        if path := item.outputs.get("compare"):
            write_picture(enlarged_side_by_side(result.before, result.after), path, self.want.force)
        write_picture(result.after, item.output, self.want.force, self.encoding(item, result.before.format))
        return "done"

    def _write_offsets(self, path, result: Result) -> None:
        from psal_cli.viz.field import write_field

        nnf, size = result.field
        write_field(path, self.want.force, nnf, [size], result.before, arrows=self.want.arrows)

    def preview(self, item: Item) -> dict:
        header = self.header(item)
        plan = self._plan(item, header)
        size = {"width": header.width, "height": header.height}
        return size | {"scale": self.want.scale, "memory_bytes": plan.bytes}
