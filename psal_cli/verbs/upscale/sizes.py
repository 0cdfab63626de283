"""The size of a result, and the factors that lead to it. Importing this loads neither torch nor OpenCV."""

from collections.abc import Iterable, Mapping
from math import floor, isfinite, prod, sqrt

from psal_cli.errors import InvalidValueError
from psal_cli.verbs.upscale.options import MOST, UpscaleOptions

# factor -> scales of the shipped networks. The larger scale comes last: after 4, a second network would see sixteen times the
# pixels.
PASSES: dict[int, tuple[int, ...]] = {prod(x): x for x in ((2,), (3,), (4,), (2, 3), (2, 4), (3, 3), (3, 4), (4, 4))}
Size = tuple[int, int]  # (width, height)


def passes_of(scale: int) -> dict[int, tuple[int, ...]]:
    """factor -> the scale of each pass of a network that enlarges by `scale`."""
    return {scale**count: (scale,) * count for count in range(1, 5) if count == 1 or scale**count <= MOST}


def size_wanted(size: Size, scale: float | None, options: UpscaleOptions) -> Size:
    """The size of the result: the one nearest to the request with the picture's aspect ratio.

    Args:
        size: of the picture. scale: a factor, None where the options name a size.

    Raises:
        InvalidValueError: no factor and no size, or several; a side that would have no pixel.
    """
    width, height = size
    what, value = asked(scale, options)
    if what == "scale":
        if not (isfinite(value) and 1 < value <= MOST):
            raise InvalidValueError("scale", f"{value:g}", f"above 1, at most {MOST}")
        factor = float(value)
    elif what == "long_side":
        factor = value / max(size)
    elif what == "megapixels":
        factor = sqrt(value * 1e6 / (width * height))
    else:
        factor = min(new / old for new, old in ((options.width, width), (options.height, height)) if new is not None)
    result = (floor(width * factor + 0.5), floor(height * factor + 0.5))
    if min(result) < 1:
        would = f"{value:g}, of which {width}x{height} becomes {result[0]}x{result[1]}"
        raise InvalidValueError(what, would, "a size that leaves a pixel of each side")
    return result


def asked(scale: float | None, options: UpscaleOptions) -> tuple[str, float]:
    """(name, value) of the argument that sets the size; with width and height, that of width.

    Raises InvalidValueError if there is none, or several.
    """
    box = ("width", options.width) if options.width is not None else ("height", options.height)
    choices = (("scale", scale), box, ("long_side", options.long_side), ("megapixels", options.megapixels))
    given = [(name, value) for name, value in choices if value is not None]
    if len(given) != 1:
        names_given = " and ".join(name for name, _ in given) or "missing"
        raise InvalidValueError("scale", names_given, "one of scale, width and height, long_side and megapixels")
    return given[0]


def label(scale: float | None, width: int | None, height: int | None, long_side: int | None, megapixels: float | None) -> str:
    """The suffix of a result's file name that states the requested size, "upscaled" if there is none.

    Example:
        >>> label(None, 800, 600, None, None)
        '800x600'
    """
    if scale is not None:
        return f"x{scale:g}"
    if width is not None and height is not None:
        return f"{width}x{height}"
    names = {"w": width, "h": height, "long": long_side}
    named = next((f"{word}{value}" for word, value in names.items() if value is not None), None)
    return named or ("upscaled" if megapixels is None else f"{megapixels:g}mp")


def factor_for(size: Size, wanted: Size, factors: Iterable[int], what: str) -> int:
    """The smallest of the factors that makes the picture at least as large as wanted, 1 if it is already.

    Raises InvalidValueError, for the argument `what`, if the largest is not enough.
    """
    if all(new <= old for new, old in zip(wanted, size, strict=True)):
        return 1
    enough = [factor for factor in sorted(factors) if all(old * factor >= new for new, old in zip(wanted, size, strict=True))]
    if not enough:
        needed = max(new / old for new, old in zip(wanted, size, strict=True))
        times = f"{needed:.4g} times {size[0]}x{size[1]}"
        raise InvalidValueError(what, times, f"at most {max(factors)} times")
    return enough[0]


def check_factor(scale: float | None, passes: Mapping[int, tuple[int, ...]], source: str) -> None:
    """Raises InvalidValueError for a whole factor that the user's network can only reach by reducing a larger result."""
    if scale is not None and float(scale).is_integer() and int(scale) not in passes:
        own = min(passes)
        others = "".join(f" or {factor}" for factor in sorted(passes)[1:])
        raise InvalidValueError("scale", f"{scale:g}", f"{own}{others}, by which {source} enlarges, or other weights")
