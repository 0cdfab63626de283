"""--expand: enlarges the canvas of a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from psal_cli.image import Header, Picture
    from psal_cli.verbs.inpaint.margins import Margins

    ExpansionType = click.ParamType["Expansion"]
else:
    ExpansionType = click.ParamType  # older versions of click have no generic one

SIDES = re.compile(r"(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5})")
SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
ASPECT = re.compile(r"(\d{1,5}(?:\.\d{1,5})?):(\d{1,5}(?:\.\d{1,5})?)")


@dataclass(frozen=True)
class Expansion:
    """The value of --expand; one of the three is not None.

    sides: pixels at top, right, bottom and left; size: (width, height) of the canvas; aspect: its width : height.
    """

    sides: tuple[int, int, int, int] | None = None
    size: tuple[int, int] | None = None
    aspect: Fraction | None = None

    def margins(self, size: tuple[int, int]) -> Margins:
        """The margins for a picture of `size` (width, height). Raises InvalidValueError if it is larger than the canvas."""
        from psal_cli.verbs.inpaint.margins import Margins

        if self.sides is not None:
            return Margins(*self.sides)
        if self.size is not None:
            return Margins.to_size(size[::-1], self.size[::-1])
        assert self.aspect is not None
        return Margins.to_aspect(size[::-1], self.aspect)


class ExpansionParameter(ExpansionType):
    name = "TOP,RIGHT,BOTTOM,LEFT|WxH|W:H"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Expansion:
        text = str(value).replace(" ", "")
        if sides := SIDES.fullmatch(text):
            top, right, bottom, left = map(int, sides.groups())
            if top or right or bottom or left:
                return Expansion(sides=(top, right, bottom, left))
        if size := SIZE.fullmatch(text.lower()):
            return Expansion(size=(int(size[1]), int(size[2])))
        if (aspect := ASPECT.fullmatch(text)) and Fraction(aspect[1]) and Fraction(aspect[2]):
            return Expansion(aspect=Fraction(aspect[1]) / Fraction(aspect[2]))
        forms = "pixels at top, right, bottom and left, e.g. 0,200,0,200; a size, e.g. 1920x1080; or an aspect ratio, e.g. 16:9"
        self.fail(f"{value!r} is not a larger canvas: {forms}", param, ctx)


expand_option = click.option(
    "--expand",
    type=ExpansionParameter(),
    help="Make the canvas larger and fill the new area: by pixels at the top, right, bottom and left; to a size; or to an aspect "
    "ratio such as 16:9, with IMAGE in the middle. Masks, shapes and strokes are those of IMAGE as it is, and are filled too.",
)


def expanded_header(header: Header, margins: Margins) -> Header:
    """The header of the picture on its canvas."""
    height, width = margins.applied((header.height, header.width))
    return header._replace(width=width, height=height)


def expanded_picture(picture: Picture, margins: Margins) -> Picture:
    """The picture on its canvas, with white around it. Alpha continues that of the border; metadata hold the new size."""
    from psal_cli.image.resizing import resized

    alpha = None if picture.alpha is None else margins.around(picture.alpha)
    canvas = replace(picture, pixels=margins.around(picture.pixels, picture.white), alpha=alpha)
    return canvas if canvas.size == picture.size else replace(canvas, metadata=resized(canvas.metadata, canvas.size))
