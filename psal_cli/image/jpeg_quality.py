"""The quality of a JPEG file, from its quantization tables."""

from collections.abc import Mapping, Sequence

# The sum of the example luminance table in the standard (ITU-T T.81, annex K), which libjpeg scales.
EXAMPLE = 3685


def quality_of(tables: Mapping[int, Sequence[int]]) -> int | None:
    """The quality, 1 to 100, for which libjpeg's luminance table is equally coarse; None without tables.

    Example:
        >>> quality_of({0: [16] * 64}) > quality_of({0: [40] * 64})
        True
    """
    if 0 not in tables:
        return None
    percent = 100 * sum(tables[0]) / EXAMPLE
    quality = 100 - percent / 2 if percent <= 100 else 5000 / percent
    return max(1, min(100, round(quality)))
