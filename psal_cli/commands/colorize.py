"""`psal colorize`: give grey pictures the colours of a reference."""

from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, NamedTuple

import click

from psal_cli.batch.plan import Item, as_path
from psal_cli.commands import options
from psal_cli.commands.console import Progress, Talk
from psal_cli.commands.run import run_verb
from psal_cli.commands.verb import Verb
from psal_cli.errors import InputError

EXAMPLE = "psal colorize examples/interior_grey.jpg --ref examples/interior_reference.jpg -o interior.jpg"
MANY = 0.25  # of a picture: guesses that are worth a word
PSAL, PAPER = "Of --engine psal: ", "Of --engine paper: "


@click.command(short_help="Colour grey photographs from a reference.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@click.option(
    "--ref",
    type=options.PICTURE,
    multiple=True,
    required=True,
    help="A colour picture of the same kind of scene, of any size; may be given several times. One for all; a folder with the "
    "inputs' tree and names; or a pattern with {stem}, {name} or {dir} of the input.",
)
@options.output_options
@options.batch_options
@click.option(
    "--engine",
    type=click.Choice(["psal", "paper"]),
    default="psal",
    show_default=True,
    help="psal: sees at six scales, checks its matches. paper: the network of the PSAL paper.",
)
@click.option("--strength", type=options.Finite(0, 2), default=1.0, show_default=True, help="Of the colours; 0 leaves it grey.")
@click.option(
    "--attention",
    type=click.Choice(["aggregation", "psal3", "psal1", "full", "local"]),
    default="aggregation",
    show_default=True,
    help=f"{PAPER}its layer. psal1 cannot learn what is alike; full is for small pictures, local for one reference of "
    "IMAGE's size.",
)
@click.option("--iterations", type=click.IntRange(1, 1000), help=f"{PAPER}rounds of search.")
@click.option("--weights", type=options.PICTURE, help=f"{PAPER}other weights, .safetensors, .pt or .pth.")
@options.seed_option
@options.device_options
@click.option(
    "--confidence", type=options.PICTURE, help=f"{PSAL}also write where colours are borrowed (white) or guessed (black)."
)
@options.offsets_options
@click.option("--compare", type=options.PICTURE, help="Also write input, references and result side by side.")
@options.talk_options
def colorize(**chosen) -> None:
    """Give each grey IMAGE, a file or a folder, the colours of the references.

    Writes IMAGE_colorized beside IMAGE, or OUTPUT: red, green, blue, with the depth, alpha and metadata of the input. Its
    luminance is kept to the last bit but for rounding; a coloured IMAGE is used by its luminance.
    """
    run_verb(SimpleNamespace(**chosen), Colorize)


class Loaded(NamedTuple):
    picture: Any  # psal_cli.image.Picture
    references: list[Any]
    plan: Any  # psal_cli.verbs.colorize.memory_model.Plan


class Result(NamedTuple):
    loaded: Loaded
    found: Any  # psal_cli.verbs.colorize.coarse_to_fine.Colorized
    picture: Any  # the result


class Colorize(Verb):
    beside = "_colorized"
    partners = ("ref",)
    outputs = ("confidence", "save_offsets", "compare")

    def __init__(self, want: SimpleNamespace, talk: Talk):
        super().__init__(want, talk)
        self.shared = {path: Lock() for path in map(as_path, want.ref)}  # one for all pictures is read once
        self.known: dict[Path, Any] = {}
        paper, psal = ("attention", "iterations", "weights"), ("confidence", "save_offsets", "arrows")
        self.refuse_mixtures(dict.fromkeys(paper, ("paper",)) | dict.fromkeys(psal, ("psal",)))

    def start(self) -> None:
        from psal_cli.verbs.colorize.memory_model import baseline

        baseline()  # before any picture is in memory

    def read(self, item: Item) -> Loaded:
        from psal_cli.image import check_holds, read_picture

        plan = self._plan(item, self.header(item))
        picture = read_picture(item.input, self.want.max_pixels)
        check_holds(picture, item.output, self.encoding(item, picture.format))
        self.talk.detail(f"{item.input}: {plan.text}")
        return Loaded(picture, [self._reference(path) for path in item.partners.values()], plan)

    def _plan(self, item: Item, header):
        """psal_cli.verbs.colorize.memory_model.Plan. Raises MemoryLimitError when it cannot fit."""
        from psal_cli.image import read_header
        from psal_cli.verbs.colorize.memory_model import plan

        references = [read_header(path, self.want.max_pixels) for path in item.partners.values()]
        try:
            found = plan(
                header,
                references,
                self.formats(item, header.format),
                attention=self.want.attention if self.want.engine == "paper" else None,
                streams=self.streams(item, header, channels=3),
                limit=self.want.max_memory,
            )
        except InputError as error:
            raise InputError(f"{item.input}: {error}") from error
        if found.lowered:
            self.talk.say(f"{item.input}: --max-memory lets colours be looked for at up to {found.longest} pixels")
        return self.planned(item, found)

    def _reference(self, path: Path):
        if path not in self.shared:
            return self._read_reference(path)
        with self.shared[path]:  # pictures may be read beside each other
            if path not in self.known:
                self.known[path] = self._read_reference(path)
            return self.known[path]

    def _read_reference(self, path: Path):
        from psal_cli.image import read_picture
        from psal_cli.verbs.colorize.coarse_to_fine import is_grey

        picture = read_picture(path, self.want.max_pixels)
        visible = _visible(picture)
        if visible is not None and not visible.any():
            raise InputError(f"{path} is wholly transparent, there is nothing to borrow: give another picture with --ref")
        if is_grey(picture.pixels, visible):
            raise InputError(f"{path} is grey, it has no colours to borrow: give a colour picture with --ref")
        return picture

    def work(self, item: Item, loaded: Loaded, progress: Progress | None) -> Result:
        from psal_cli.verbs.colorize.coarse_to_fine import is_grey
        from psal_cli.verbs.recolor import changes_profile, toned

        picture = loaded.picture
        if changes_profile(picture):
            self.talk.say(f"{item.input} has another ICC profile than sRGB, or a grey one: the result is sRGB")
        if not is_grey(picture.pixels):
            self.talk.say(f"{item.input} has colours: they are left out, its luminance counts")
        width, height = picture.size
        self.talk.detail(f"{item.input}: {picture.format}, {width}x{height}, references: {len(loaded.references)}")
        try:
            found = self._found(loaded, progress)
            self._tell_guesses(item, found.confidence)
            return Result(loaded, found, toned(picture, found, self.want.strength))
        except ValueError as error:
            raise InputError(f"{item.input}: {error}") from error

    def _tell_guesses(self, item: Item, confidence) -> None:
        if confidence is None:
            return
        share = float((confidence < 0.5).mean())
        self.facts[item] = {"guessed": round(share, 3)}
        if share > MANY:
            cure = "--confidence shows where, another --ref may help"
            self.talk.say(f"{item.input}: the colours of {share:.0%} of it are guesses, for want of anything alike: {cure}")

    def _found(self, loaded: Loaded, progress: Progress | None):
        """The library call."""
        from psal_cli.verbs.colorize.coarse_to_fine import colorize as coloured
        from psal_cli.verbs.colorize.paper import colorize as by_paper
        from psal_cli.verbs.recolor import as_srgb, colours_of

        want, pictures = self.want, loaded.references
        pixels, references = as_srgb(loaded.picture), [colours_of(reference) for reference in pictures]
        shared = {"visible": list(map(_visible, pictures)), "seed": want.seed, "device": want.device}
        if want.engine == "paper":
            layer = {"attention": want.attention, "iterations": want.iterations, "weights": want.weights}
            return by_paper(pixels, references, **shared, **layer)
        return coloured(pixels, references, **shared, longest=loaded.plan.longest, progress=progress)

    def write(self, item: Item, result: Result) -> str:
        from psal_cli.image import write_picture

        self._write_about(item, result)
        write_picture(result.picture, item.output, self.want.force, self.encoding(item, result.loaded.picture.format))
        return "done"

    def _write_about(self, item: Item, result: Result) -> None:
        from psal_cli.image import write_picture
        from psal_cli.viz import drawing

        picture, found = result.loaded.picture, result.found
        if path := item.outputs.get("confidence"):
            write_picture(drawing.share_map(found.confidence, picture.size), path, self.want.force)
        if path := item.outputs.get("save_offsets"):
            self._write_offsets(path, result)
        if path := item.outputs.get("compare"):
            compared = drawing.side_by_side(picture, result.picture, references=result.loaded.references)
            write_picture(compared, path, self.want.force)

    def _write_offsets(self, path: Path, result: Result) -> None:
        from psal_cli.viz.field import write_field

        origin = result.found.origin.transpose(2, 0, 1)
        sizes = [reference.pixels.shape[:2] for reference in result.loaded.references]
        picture, want = result.loaded.picture, self.want
        write_field(path, want.force, origin[None, 1:], sizes, picture, origin[0], arrows=want.arrows)

    def preview(self, item: Item) -> dict:
        header = self.header(item)
        plan = self._plan(item, header)
        return {"width": header.width, "height": header.height, "memory_bytes": plan.bytes}


def _visible(picture):
    """bool [H, W], what of a reference may be borrowed from; None for all."""
    return None if picture.alpha is None else picture.alpha > picture.white // 2
