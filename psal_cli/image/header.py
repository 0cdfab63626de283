"""The header of a picture, known before it is decoded."""

from typing import NamedTuple


class Header(NamedTuple):
    """A picture's header. format: Pillow's name; width, height: of the upright picture; channels: of colour (1 or 3); bits (8 or
    16, 32 for floats) and alpha as psal reads it."""

    format: str
    width: int
    height: int
    channels: int
    bits: int
    alpha: bool
