"""What a file says of its picture before it is decoded."""

from typing import NamedTuple


class Header(NamedTuple):
    """What a file says before it is decoded: format as Pillow names it; width, height of the upright picture; channels of
    colour (1 or 3), bits (8 or 16) and alpha of the picture that psal makes of it."""

    format: str
    width: int
    height: int
    channels: int
    bits: int
    alpha: bool
