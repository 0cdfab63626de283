"""How large a result is to be, and which factors lead there. Importing this loads neither torch nor OpenCV."""

from collections.abc import Iterable, Mapping
from math import floor, isfinite, prod, sqrt

from psal_cli.errors import InvalidValueError
from psal_cli.verbs.upscale.options import MOST, UpscaleOptions

# Of a factor, those of the networks that ship whose product it is: with 4 first the second would see sixteen times the pixels.
PASSES: dict[int, tuple[int, ...]] = {prod(x): x for x in ((2,), (3,), (4,), (2, 3), (2, 4), (3, 3), (3, 4), (4, 4))}
Size = tuple[int, int]  # (width, height)


def passes_of(scale: int) -> dict[int, tuple[int, ...]]:
    """Of each factor, how often a network that enlarges by `scale` is applied."""
    return {scale**count: (scale,) * count for count in range(1, 5) if count == 1 or scale**count <= MOST}


def size_wanted(size: Size, scale: float | None, options: UpscaleOptions) -> Size:
    """The size of the result: that nearest to what is asked, of the picture's own proportions.

    Args:
        size: of the picture. scale: a factor, None where the options name a size.

    Raises:
        InvalidValueError: no factor and no size, or more than one; a side that would have no pixel.
    """
    width, height = size
    given = [name for name in ("long_side", "megapixels") if getattr(options, name) is not None]
    given += ["width or height"] if options.width is not None or options.height is not None else []
    given += ["scale"] if scale is not None else []
    if len(given) != 1:
        found = " and ".join(given) or "missing"
        raise InvalidValueError("scale", found, "one of scale, width and height, long_side and megapixels")
    if scale is not None:
        if not (isfinite(scale) and 1 < scale <= MOST):
            raise InvalidValueError("scale", f"{scale:g}", f"above 1, at most {MOST}")
        factor = float(scale)
    elif options.long_side is not None:
        factor = options.long_side / max(size)
    elif options.megapixels is not None:
        factor = sqrt(options.megapixels * 1e6 / (width * height))
    else:
        sides = [new / old for new, old in ((options.width, width), (options.height, height)) if new is not None]
        factor = min(sides)
    found_width, found_height = (floor(side * factor + 0.5) for side in size)
    if found_width < 1 or found_height < 1:
        what = "scale" if scale is not None else given[0].partition(" ")[0]
        if what == "width" and options.width is None:
            what = "height"
        value = scale if scale is not None else getattr(options, what)
        raise InvalidValueError(
            what,
            f"{value}, of which a picture of {width}x{height} becomes {found_width}x{found_height}",
            "one that leaves a pixel of each side",
        )
    return found_width, found_height


def factor_for(size: Size, wanted: Size, factors: Iterable[int]) -> int:
    """The least of the factors that makes the picture as large as wanted, 1 where it is so already.

    Raises InvalidValueError where the largest is not enough.
    """
    needed = max(new / old for new, old in zip(wanted, size, strict=True))
    if needed <= 1:
        return 1
    enough = [factor for factor in sorted(factors) if all(old * factor >= new for new, old in zip(wanted, size, strict=True))]
    if not enough:
        most = max(factors)
        raise InvalidValueError("scale", f"{needed:.4g}, of {size[0]}x{size[1]} to {wanted[0]}x{wanted[1]}", f"at most {most}")
    return enough[0]


def check_factor(scale: float | None, passes: Mapping[int, tuple[int, ...]], source: str) -> None:
    """Raises InvalidValueError for a whole factor that the user's network does not enlarge by: it would be made by reduction."""
    if scale is not None and float(scale).is_integer() and int(scale) not in passes:
        own = min(passes)
        others = "".join(f" or {factor}" for factor in sorted(passes)[1:])
        raise InvalidValueError("scale", f"{scale:g}", f"{own}{others}, by which {source} enlarges, or other weights")
