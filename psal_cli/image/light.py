"""Converts between linear light and sRGB encoding, and makes and recognises linear ICC profiles.

Pillow's colour management has 8 bits only. These functions keep floats, also below black and above white.
"""

import struct
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from psal_cli.image.cielab import encoded_beyond, light_beyond
from psal_cli.image.curves import colorants, tone_curve

Floats = npt.NDArray[np.float32]
Chromaticities = tuple[float, ...]  # x and y of red, green, blue and white

REC_709: Chromaticities = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
D50 = np.array([0.9642, 1.0, 0.8249])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
STEPS = np.linspace(0, 1, 9)


@lru_cache(maxsize=8)
def linear_profile(channels: int, chromaticities: Chromaticities = REC_709) -> bytes:
    """A linear ICC profile with these primaries, for 1 or 3 channels (version 2.4, matrix and curves).

    Raises ValueError for impossible chromaticities.
    """
    curve = b"curv" + bytes(8)  # no entries: the identity
    tags = {b"wtpt": _xyz(D50)}
    if channels == 1:
        tags[b"kTRC"] = curve
    else:
        columns = _adapted(chromaticities).T
        tags |= {name + b"XYZ": _xyz(column) for name, column in zip((b"r", b"g", b"b"), columns, strict=True)}
        tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    text = b"linear light"
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(79)
    tags[b"cprt"] = b"text" + bytes(4) + b"CC0\0"
    return _icc(b"GRAY" if channels == 1 else b"RGB ", tags)


@lru_cache(maxsize=8)
def is_linear(icc: bytes | None) -> bool:
    """Whether a profile is linear."""
    curve = None if icc is None else tone_curve(icc, STEPS)
    return curve is not None and bool(np.abs(curve - STEPS).max() < 1e-4)


def to_light(pixels: Floats, icc: bytes | None) -> Floats | None:
    """Converts values from a profile (None: sRGB) to linear light with Rec. 709 primaries; None if the profile has tables.

    pixels: float32 [..., C], white = 1.
    """
    if icc is None:
        return light_beyond(pixels)
    if (curve := tone_curve(icc, STEPS)) is None:
        return None
    if np.abs(curve - STEPS).max() < 1e-4:
        light = pixels
    else:
        inside = np.asarray(tone_curve(icc, pixels.clip(0, 1)), np.float32)
        light = np.where((pixels >= 0) & (pixels <= 1), inside, light_beyond(pixels))
    return _with_primaries(np.asarray(light, np.float32), icc)


def to_encoded(pixels: Floats, icc: bytes | None) -> Floats | None:
    """Converts values from a profile (None: sRGB) to sRGB encoding; None if the profile has tables."""
    light = pixels if icc is None else to_light(pixels, icc)
    return light if light is None or icc is None else encoded_beyond(light)


def _with_primaries(light: Floats, icc: bytes) -> Floats:
    """Converts linear light from the primaries of a profile to those of Rec. 709."""
    own = colorants(icc) if light.shape[-1] == 3 else None
    if own is None:
        return light
    matrix = np.linalg.solve(_adapted(REC_709), own)
    if np.abs(matrix - np.eye(3)).max() < 2e-3:  # equal except for rounding
        return light
    return np.asarray(light @ matrix.T.astype(np.float32), np.float32)


def _adapted(chromaticities: Chromaticities) -> npt.NDArray[np.float64]:
    """[3, 3]: the columns are red, green and blue in XYZ, adapted to D50 as ICC profiles have them (Bradford)."""
    places = np.array(chromaticities, np.float64).reshape(4, 2)
    if not np.isfinite(places).all() or (np.abs(places[:, 1]) < 1e-6).any():
        raise ValueError(f"chromaticities {chromaticities}")
    lights = np.stack([places[:, 0] / places[:, 1], np.ones(4), (1 - places.sum(1)) / places[:, 1]])
    primaries, white = lights[:, :3], lights[:, 3]
    try:
        scaled = primaries * np.linalg.solve(primaries, white)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"chromaticities {chromaticities}") from error
    cones = (BRADFORD @ D50) / (BRADFORD @ white)
    return np.asarray(np.linalg.solve(BRADFORD, cones[:, None] * (BRADFORD @ scaled)))


def _xyz(values: npt.NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(value) * 65536) for value in values.clip(-32767, 32767)))


def _icc(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A display profile with these tags."""
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + body
