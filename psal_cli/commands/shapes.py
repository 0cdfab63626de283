"""Options that mark rectangles and polygons of a picture, in addition to or instead of a mask file."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import click

from psal_cli.batch.inputs import as_path
from psal_cli.commands.arguments import InpaintArguments
from psal_cli.commands.options import Decorator, group
from psal_cli.commands.parameters import PICTURE
from psal_cli.errors import InvalidValueError

if TYPE_CHECKING:
    from psal_cli.image.shapes import Box, Polygon

    BoxType = click.ParamType[Box]
    PolygonType = click.ParamType[Polygon]
else:
    BoxType = PolygonType = click.ParamType  # older versions of click have no generic one

NUMBER = r"\s*[+-]?\d{1,9}(?:\.\d{1,9})?\s*"
BOX = re.compile(f"{NUMBER}(?:,{NUMBER}){{3}}")
CORNER = re.compile(f"{NUMBER},{NUMBER}")
BETWEEN = ";"  # several shapes in one environment variable


class BoxParameter(BoxType):
    name = "X,Y,W,H"
    envvar_list_splitter = BETWEEN

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Box:
        from psal_cli.image.shapes import Box

        if not BOX.fullmatch(text := str(value)):
            self.fail(f"{value!r} is not a rectangle: left, top, width and height in pixels, e.g. 100,80,50,40", param, ctx)
        try:
            return Box(*map(float, text.split(",")))
        except InvalidValueError as error:
            self.fail(f"{value!r} holds no pixel: give {error.expected}, e.g. 100,80,50,40", param, ctx)


class PolygonParameter(PolygonType):
    name = "X,Y X,Y X,Y ..."
    envvar_list_splitter = BETWEEN

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Polygon:
        from psal_cli.image.shapes import Polygon

        example = "e.g. '10,10 90,20 50,80'"
        corners = str(value).split()
        if not all(map(CORNER.fullmatch, corners)):
            self.fail(f"{value!r} is not a polygon: pairs X,Y of pixels with blanks between them, {example}", param, ctx)
        try:
            return Polygon(tuple((float(x), float(y)) for x, y in (corner.split(",") for corner in corners)))
        except InvalidValueError as error:
            self.fail(f"{value!r} is not a polygon: give {error.expected}, {example}", param, ctx)


def shape_options(what: str, option: str) -> Decorator:
    """--box and --polygon. what: the verb for the pixels inside, e.g. "Fill"; option: the mask option that they add to."""
    return group(
        click.option(
            "--box",
            type=BoxParameter(),
            multiple=True,
            help=f"{what} a rectangle: its left and upper edge, width and height, in pixels of the upright picture. Adds to "
            f"{option} and to other shapes. May be given several times.",
        ),
        click.option(
            "--polygon",
            type=PolygonParameter(),
            multiple=True,
            help=f"{what} a polygon, in quotes: all pixels whose centres are inside. As --box.",
        ),
    )


outline_options = group(
    click.option(
        "--polygon-file",
        type=PICTURE,
        help="Fill what a JSON file marks: a COCO data set, masks of Segment Anything, or a file of labelme. One file for all "
        "pictures, or a pattern such as {stem}.json. Adds to --mask.",
    ),
    click.option(
        "--polygon-label",
        multiple=True,
        metavar="NAME",
        help="Of --polygon-file, fill only what has this category, label or number. May be given several times.",
    ),
)


def check_marked(arguments: InpaintArguments) -> None:
    """Raises click.UsageError if nothing says what to fill, or an option requires a mask file that is not given."""
    check_file("--mask", arguments.mask)
    if arguments.polygon_label and not arguments.polygon_file:
        raise click.UsageError("--polygon-label requires --polygon-file: leave it out, or give a file")
    others = arguments.strokes, arguments.box, arguments.polygon, arguments.polygon_file, arguments.expand
    if arguments.mask is None and not any(others):
        raise click.UsageError("Missing option '--mask', '--box' or '--polygon': say what to fill, e.g. --box 100,80,50,40")
    source_of = click.get_current_context().get_parameter_source
    for name in ("mask_invert", "if_masked", "mask_layer"):
        if arguments.mask is None and source_of(name) is click.core.ParameterSource.COMMANDLINE:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} requires --mask: leave it out, or give a mask")


def check_file(option: str, value: str | None) -> None:
    """Raises click.UsageError for a rectangle given to an option that takes a mask file."""
    if value is not None and BOX.fullmatch(value) and not os.path.lexists(as_path(value)):
        raise click.UsageError(f"{option} {value}: there is no such file; a rectangle is --box {value}")
