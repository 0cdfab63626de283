"""Lightness and chroma: CIE Lab with the white point of sRGB, and the way back with luminance kept."""

from functools import cache

import numpy as np

from psal_cli.image.arrays import to_depth

LIGHT = np.array([0.2126, 0.7152, 0.0722], np.float32)  # luminance of linear red, green and blue (sRGB)
# Linear RGB to X, Y and Z relative to white.
TO_LIGHTS = np.array([[0.4124, 0.3576, 0.1805], LIGHT, [0.0193, 0.1192, 0.9505]], np.float64)
TO_LIGHTS = (TO_LIGHTS / TO_LIGHTS.sum(1, keepdims=True)).astype(np.float32)
FROM_LIGHTS = np.linalg.inv(TO_LIGHTS.astype(np.float64)).astype(np.float32)
BEND = 6 / 29  # constants of CIE Lab's cube root


@cache
def _decoding(dtype: str) -> np.ndarray:
    """The linear value of every level of a bit depth."""
    white = np.iinfo(dtype).max
    return light_beyond(np.arange(white + 1, dtype=np.float64) / white)


def light_beyond(encoded: np.ndarray) -> np.ndarray:
    """What sRGB encodes as linear light, float32; floats go on beyond 0 and 1."""
    bent = ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.asarray(np.where(encoded <= 0.04045, encoded / 12.92, bent), np.float32)


def _linear_light(pixels: np.ndarray) -> np.ndarray:
    """float32 [H, W, C], linear light."""
    return light_beyond(pixels) if pixels.dtype.kind == "f" else _decoding(pixels.dtype.name)[pixels]


def luminance(pixels: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float32 [H, W, 1 or 3], as sRGB -> float32 [H, W], 1 = white."""
    linear = _linear_light(pixels)
    return linear[..., 0] if pixels.shape[2] == 1 else linear @ LIGHT


def tone(pixels: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float32 [H, W, 1 or 3], as sRGB -> float32 [H, W] in [0, 1], the sRGB grey of the same luminance."""
    return encoded(luminance(pixels))


def lightness(pixels: np.ndarray) -> np.ndarray:
    """uint8, uint16 or float32 [H, W, 1 or 3], as sRGB -> float32 [H, W], L* / 100."""
    return _bent(luminance(pixels)) * np.float32(1.16) - np.float32(0.16)


def tone_of(lightness: np.ndarray) -> np.ndarray:
    """float32 [H, W], L* / 100 -> the sRGB grey of that lightness, float32 [H, W] in [0, 1]."""
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
    """Pixels with their own luminance and other colours.

    Colours outside the sRGB gamut at that luminance are desaturated, because clipping would change the luminance. Pixels outside
    [0, 1] stay grey.

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
    """Linear RGB, possibly outside [0, 1], from luminance [H, W, 1] and chroma [H, W, 2]."""
    bent = _bent(light[..., 0])
    lights = np.empty((*bent.shape, 3), np.float32)
    lights[..., 0] = _straight(bent + chroma[..., 0] / np.float32(5))
    lights[..., 1] = light[..., 0]
    lights[..., 2] = _straight(bent - chroma[..., 1] / np.float32(2))
    rgb = lights @ FROM_LIGHTS.T
    return np.asarray(rgb + (light - (rgb @ LIGHT)[..., None]))  # corrects the luminance for the rounding of the matrices


def _share(light: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    """[H, W, 1] in [0, 1]: the largest step from grey towards the colour that stays inside [0, 1]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        over = np.where(rgb > 1, (1 - light) / (rgb - light), 1)
        under = np.where(rgb < 0, light / (light - rgb), 1)
    return np.asarray(np.minimum(over, under).min(2, keepdims=True).clip(0, 1))


def encoded(linear: np.ndarray) -> np.ndarray:
    """Linear light encoded as sRGB, both clipped to [0, 1]."""
    return encoded_beyond(linear.clip(0, 1))


def encoded_beyond(linear: np.ndarray) -> np.ndarray:
    """As `encoded`, extended beyond [0, 1]; the inverse of `light_beyond`."""
    bent = np.float32(1.055) * np.maximum(linear, 0) ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(linear <= 0.0031308, linear * np.float32(12.92), bent)


def _bent(light: np.ndarray) -> np.ndarray:
    return np.where(light > BEND**3, np.cbrt(light), light / np.float32(3 * BEND**2) + np.float32(4 / 29))


def _straight(bent: np.ndarray) -> np.ndarray:
    return np.where(bent > BEND, bent**3, np.float32(3 * BEND**2) * (bent - np.float32(4 / 29)))
