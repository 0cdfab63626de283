"""--strokes: what was painted on the page of `psal paint`, and the options of the run that it was painted for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from psal_cli.commands import parameters
from psal_cli.commands.arguments import InpaintArguments

if TYPE_CHECKING:
    from psal_cli.image.strokes import Strokes

strokes_option = click.option(
    "--strokes",
    type=parameters.FILE,
    help="Fill what was painted with psal paint: a file that it saved, or a pattern such as {stem}_strokes.json. Adds to --mask. "
    "Options of the run that were saved with it count unless they are given here.",
)


NAMES = ("engine", "attention", "painter", "patch_size", "iterations", "no_blend", "seed", "feather")


def typed_options() -> frozenset[str]:
    """The options saved with strokes that were typed. Call it in the thread that runs the command."""
    given = click.get_current_context().get_parameter_source
    return frozenset(name for name in NAMES if given(name) is click.core.ParameterSource.COMMANDLINE)


def repeated(arguments: InpaintArguments, strokes: Strokes, typed: frozenset[str]) -> InpaintArguments:
    """The arguments with the options that were saved with strokes, except those that were typed. Raises InvalidValueError."""
    from psal_cli.verbs.inpaint.recorded import recorded

    own = arguments
    other = {"painter"} if own.weights or {"painter", "engine"} & typed else set()  # a painter that may not be there any more
    saved = recorded({name: value for name, value in strokes.options.items() if name not in other})
    free = {name for name in NAMES if ("blend" if name == "no_blend" else name) in strokes.options} - typed - other
    options = saved.options
    return replace(
        own,
        engine=options.engine if "engine" in free else own.engine,
        attention=options.attention if "attention" in free else own.attention,
        painter=str(options.painter) if "painter" in free else own.painter,
        patch_size=options.patch_size if "patch_size" in free else own.patch_size,
        iterations=options.iterations if "iterations" in free else own.iterations,
        no_blend=not options.blend if "no_blend" in free else own.no_blend,
        seed=options.seed if "seed" in free else own.seed,
        feather=saved.feather if "feather" in free else own.feather,
    )
