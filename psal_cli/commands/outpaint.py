"""`psal outpaint`: fill beyond the borders of pictures, as `psal inpaint --expand` does."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import click

from psal_cli.commands import options, parameters
from psal_cli.commands.arguments import InpaintArguments, into
from psal_cli.commands.command import Command
from psal_cli.commands.engines import filling_options
from psal_cli.commands.expand import ExpansionParameter
from psal_cli.commands.inpaint import Inpaint
from psal_cli.commands.run import run_verb

EXAMPLE = "psal outpaint examples/pagoda.jpg --expand 16:9 -o wide.jpg"
NO_MASK = partial(
    InpaintArguments,
    mask=None,
    mask_layer=None,
    box=(),
    polygon=(),
    polygon_file=None,
    polygon_label=(),
    strokes=None,
    if_masked=False,
    mask_invert=False,
    dilate=0,
    feather=0,
)


@click.command(cls=Command, short_help="Make the canvas of pictures larger.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@options.input_options
@click.option(
    "--expand",
    type=ExpansionParameter(),
    required=True,
    help="How much larger: pixels at the top, right, bottom and left, e.g. 0,200,0,200; a size, e.g. 1920x1080; or an aspect "
    "ratio, e.g. 16:9. With the last two IMAGE lies in the middle.",
)
@filling_options
@click.option(
    "--compare", type=parameters.RESULT, help="Also write the canvas before, the new area, and the result side by side."
)
@options.talk_options
@into(NO_MASK)
def outpaint(arguments: InpaintArguments) -> None:
    """Make the canvas of each IMAGE, a file or a folder, larger, and fill the new area to match.

    Writes IMAGE_outpainted beside IMAGE, or OUTPUT. The pixels of IMAGE do not change, and the new area is joined to them
    seamlessly. psal inpaint --expand does the same and also fills a mask; psal generate --keep rearranges a texture around the
    kept pixels. Orientation, ICC profile, metadata, alpha, 16 bits and floating-point numbers are kept.
    """
    run_verb(arguments, Outpaint)


class Outpaint(Inpaint):
    beside = "_outpainted"
    sidecar_options: ClassVar[tuple[str, ...]] = ("source_mask",)
