"""Lightness and chroma: CIE Lab with the white of sRGB, taken from pixels and put together again without a change of light."""

from functools import cache

import numpy as np

from psal_cli.image.arrays import to_depth

LIGHT = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear red, green and blue (sRGB), their share of luminance
# Linear RGB to X, Y and Z, each a share of white's.
TO_LIGHTS = np.array([[0.4124, 0.3576, 0.1805], LIGHT, [0.0193, 0.1192, 0.9505]], np.float64)
TO_LIGHTS = (TO_LIGHTS / TO_LIGHTS.sum(1, keepdims=True)).astype(np.float32)
FROM_LIGHTS = np.linalg.inv(TO_LIGHTS.astype(np.float64)).astype(np.float32)
BEND = 6 / 29  # of CIE Lab's cube root


@cache
def _decoding(dtype: str) -> np.ndarray:
    """Linear light of every level of a depth."""
    white = np.iinfo(dtype).max
    return light_beyond(np.arange(white + 1, dtype=np.float64) / white)


def light_beyond(encoded: np.ndarray) -> np.ndarray:
    """What sRGB encodes as linear light, float32; floats go on beyond 0 and 1."""
    bent = ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.asarray(np.where(encoded <= 0.04045, encoded / 12.92, bent), np.float32)


def _linear_light(pixels: np.ndarray) -> np.ndarray:
    """float32 [H, W, C], each channel without the encoding of sRGB."""
    return light_beyond(pixels) if pixels.dtype.kind == "f" else _decoding(pixels.dtype.name)[pixels]


def luminance(pixels: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float32 [H, W, 1 or 3], as sRGB -> float32 [H, W], 1 = white."""
    linear = _linear_light(pixels)
    return linear[..., 0] if pixels.shape[2] == 1 else linear @ LIGHT


def tone(pixels: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float32 [H, W, 1 or 3], as sRGB -> float32 [H, W] in [0, 1], the grey of sRGB that has its luminance."""
    return encoded(luminance(pixels))


def lightness(pixels: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float32 [H, W, 1 or 3], as sRGB -> float32 [H, W], L* / 100."""
    return _bent(luminance(pixels)) * np.float32(1.16) - np.float32(0.16)


def tone_of(lightness: np.ndarray) -> np.ndarray:
    """float32 [H, W], L* / 100 -> the grey of sRGB that is as light, float32 [H, W] in [0, 1]."""
    return np.asarray(encoded(_straight((lightness + np.float32(0.16)) / np.float32(1.16))), np.float32)


def lab(pixels: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float32 [H, W, 3], as sRGB -> float32 [H, W, 3]: L*, a* and b*, each divided by 100."""
    bent = _bent(_linear_light(pixels) @ TO_LIGHTS.T)  # OpenCV's Lab is off by up to 0.2, more than 16 bits allow
    out = np.empty_like(bent)
    out[..., 0] = bent[..., 1] * np.float32(1.16) - np.float32(0.16)
    out[..., 1] = (bent[..., 0] - bent[..., 1]) * 5
    out[..., 2] = (bent[..., 1] - bent[..., 2]) * 2
    return out


def coloured(pixels: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """The luminance of some pixels with other colours.

    Colours that the screen cannot show at that luminance are made paler until it can: clipping would change the light. What is
    beyond black or white has none.

    Args:
        pixels: uint8, uint16 or float32 [H, W, 1 or 3], as sRGB; only its luminance counts.
        chroma: float32 [H, W, 2], a* and b* divided by 100.

    Returns:
        [H, W, 3] of the pixels' dtype; its luminance differs from theirs by rounding.
    """
    light = luminance(pixels)[..., None]
    rgb = _linear(light, chroma)
    made = light + _share(light, rgb) * (rgb - light)
    out = to_depth(encoded(made), pixels.dtype)
    beyond = (light < 0) | (light > 1)
    return np.where(beyond, encoded_beyond(made), out) if pixels.dtype.kind == "f" and beyond.any() else out


def _linear(light: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Linear RGB, perhaps outside [0, 1], of luminance [H, W, 1] and chroma [H, W, 2]."""
    bent = _bent(light[..., 0])
    lights = np.empty((*bent.shape, 3), np.float32)
    lights[..., 0] = _straight(bent + chroma[..., 0] / np.float32(5))
    lights[..., 1] = light[..., 0]
    lights[..., 2] = _straight(bent - chroma[..., 1] / np.float32(2))
    rgb = lights @ FROM_LIGHTS.T
    return np.asarray(rgb + (light - (rgb @ LIGHT)[..., None]))  # the matrices are rounded, the light is not


def _share(light: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """[H, W, 1] in [0, 1]: how far one may go from grey to the colour and stay between black and white."""
    with np.errstate(divide="ignore", invalid="ignore"):
        over = np.where(rgb > 1, (1 - light) / (rgb - light), 1)
        under = np.where(rgb < 0, light / (light - rgb), 1)
    return np.asarray(np.minimum(over, under).min(2, keepdims=True).clip(0, 1))


def encoded(linear: np.ndarray) -> np.ndarray:
    """Linear light as sRGB encodes it, both 0 to 1; clipped."""
    return encoded_beyond(linear.clip(0, 1))


def encoded_beyond(linear: np.ndarray) -> np.ndarray:
    """The same, going on beyond both: the opposite of `light_beyond`."""
    bent = np.float32(1.055) * np.maximum(linear, 0) ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(linear <= 0.0031308, linear * np.float32(12.92), bent)


def _bent(light: np.ndarray) -> np.ndarray:
    return np.where(light > BEND**3, np.cbrt(light), light / np.float32(3 * BEND**2) + np.float32(4 / 29))


def _straight(bent: np.ndarray) -> np.ndarray:
    return np.where(bent > BEND, bent**3, np.float32(3 * BEND**2) * (bent - np.float32(4 / 29)))
