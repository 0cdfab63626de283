"""The tone curve and primaries of an ICC profile, read from the profile itself: Pillow's colour management has 8 bits only."""

import struct

import numpy as np

COUNT, FIRST, ENTRY = 128, 132, 12  # bytes: offset of the tag table, size of an entry
PARAMETERS = (1, 3, 4, 5, 7)  # number of parameters by type of parametric curve


def tone_curve(icc: bytes, levels: np.ndarray) -> np.ndarray | None:
    """The luminance (white = 1) of grey levels in a profile, float64 like `levels`, 0 to 1; None if the profile has no plain
    curve.

    RGB profiles use the curve of green: common profiles have the same for all channels. (ICC.1:2022, 10.6 and 10.18)
    """
    try:
        tags = _tags(icc)
        curve = tags.get(b"kTRC") or tags[b"gTRC"]
        return {b"curv": _sampled, b"para": _parametric}[curve[:4]](curve, levels)
    except (struct.error, LookupError, ValueError):
        return None


def colorants(icc: bytes) -> np.ndarray | None:
    """float64 [3, 3]: the columns are red, green and blue of an RGB profile in XYZ under D50; None where it has no matrix."""
    try:
        tags = _tags(icc)
        columns = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    except (struct.error, LookupError):
        return None
    return np.array(columns).T / 65536


def _tags(icc: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc, COUNT)
    entries = [struct.unpack_from(">4sII", icc, at) for at in range(FIRST, FIRST + ENTRY * min(count, 100), ENTRY)]
    return {name: icc[offset : offset + size] for name, offset, size in entries}


def _sampled(curve: bytes, levels: np.ndarray) -> np.ndarray:
    (count,) = struct.unpack_from(">I", curve, 8)
    if count == 0:
        return levels
    if count == 1:
        return np.asarray(levels ** (struct.unpack_from(">H", curve, 12)[0] / 256))
    table = np.frombuffer(curve, ">u2", count, 12).astype(np.float64) / 65535
    return np.asarray(np.interp(levels, np.linspace(0, 1, count), table))


def _parametric(curve: bytes, levels: np.ndarray) -> np.ndarray:
    (kind,) = struct.unpack_from(">H", curve, 8)
    g, a, b, c, d, e, f = (*(x / 65536 for x in struct.unpack_from(f">{PARAMETERS[kind]}i", curve, 12)), *[0.0] * 7)[:7]
    if kind == 0:
        return np.asarray(levels**g)
    if kind < 3:  # a power above -b / a, a constant (c, or 0) below
        bent = np.maximum(a * levels + b, 0) ** g
        return np.asarray(np.where(levels >= -b / a, bent + c, c))
    bent = np.maximum(a * levels + b, 0) ** g + (e if kind == 4 else 0)
    return np.asarray(np.where(levels >= d, bent, c * levels + (f if kind == 4 else 0)))
