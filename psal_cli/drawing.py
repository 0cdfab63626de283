"""Pictures about a result: the field as colours, and before, mask and after side by side."""

from math import ceil

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from psal_cli.image import Picture
from psal_cli.image.fitting import rounded
from psal_cli.image.metadata import Metadata

PANEL = 1200  # the longest side of one panel, pixels
GAP = 8
DIMMED = 0.35
RED = np.array([255, 0, 0], np.uint8)


def side_by_side(before: Picture, mask: np.ndarray, after: Picture) -> Picture:
    """Input, input with the mask (bool [H, W]) in red, and result, each at most 1200 pixels long, on white."""
    marked = _flat(before)
    marked[mask] = marked[mask] // 3 + RED // 3 * 2
    panels = [_panel(image) for image in (_flat(before), marked, _flat(after))]
    gap = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    joined = np.concatenate([panels[0], gap, panels[1], gap, panels[2]], 1)
    icc = before.metadata.icc if before.pixels.shape[2] == 3 else None  # a grey profile does not fit the red
    return Picture(joined, metadata=Metadata(icc=icc))


def offset_wheel(nnf: np.ndarray, mask: np.ndarray, picture: Picture) -> Picture:
    """The field over the dimmed picture, at its size and place, with its legend in a strip below.

    nnf: int32 [H, W, 2], absolute (row, column); mask: bool [H, W], where it is drawn. Hue is the direction to the source,
    saturation the distance: white is near, full colour the distance that only 5 % of the offsets pass.
    """
    height, width = mask.shape
    grey = np.clip(cv2.cvtColor(_flat(picture), cv2.COLOR_RGB2GRAY) * DIMMED, 0, 255).astype(np.uint8)
    drawn = np.repeat(grey[..., None], 3, 2)
    rows, columns = np.nonzero(mask)
    offset = nnf[rows, columns] - np.stack([rows, columns], 1)
    far = max(float(np.percentile(np.hypot(offset[:, 0], offset[:, 1]), 95)), 1)
    drawn[rows, columns] = _colours(offset, far)
    legend = _legend(int(np.clip(height // 8, 48, 240)), far)
    canvas = np.zeros((height + legend.shape[0], max(width, legend.shape[1]), 3), np.uint8)
    canvas[:height, :width] = drawn
    canvas[height:, : legend.shape[1]] = legend
    return Picture(canvas)


def _colours(offset: np.ndarray, far: float) -> np.ndarray:
    """[N, 2] (row, column) -> uint8 [N, 3]."""
    offset = offset.astype(np.float32)
    hue = np.degrees(np.arctan2(-offset[:, 0], offset[:, 1])) % 360  # right is red, counted upwards
    saturation = np.minimum(np.hypot(offset[:, 0], offset[:, 1]) / far, 1)
    hsv = np.stack([hue, saturation, np.ones_like(hue)], 1)[None]
    return (cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0] * 255).round().astype(np.uint8)


def _legend(side: int, far: float) -> np.ndarray:
    """The wheel: the colour at a place means that the source lies in that direction, as far as it says."""
    centred = np.indices((side, side)).reshape(2, -1).T - (side - 1) / 2
    inside = np.hypot(centred[:, 0], centred[:, 1]) <= side / 2
    wheel = np.zeros((side * side, 3), np.uint8)
    wheel[inside] = _colours(centred[inside], side / 2)
    text, font = f"rim: the source is {far:.0f} px away, or more", ImageFont.load_default(side / 4)
    strip = Image.new("RGB", (side + 4 * GAP + ceil(font.getlength(text)), side + 2 * GAP))
    strip.paste(Image.fromarray(wheel.reshape(side, side, 3)), (GAP, GAP))
    ImageDraw.Draw(strip).text((side + 3 * GAP, strip.height / 2), text, font=font, anchor="lm")
    return np.asarray(strip)


def _flat(picture: Picture) -> np.ndarray:
    """uint8 [H, W, 3], a copy: alpha over white, 16 bits rounded to 8."""
    pixels = np.repeat(picture.pixels, 3, 2) if picture.pixels.shape[2] == 1 else picture.pixels.copy()
    if picture.alpha is not None:
        share = picture.alpha[..., None].astype(np.float32) / picture.white
        pixels = np.rint(pixels * share + picture.white * (1 - share)).astype(pixels.dtype)
    return pixels if pixels.dtype == np.uint8 else rounded(pixels)


def _panel(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = min(PANEL / max(height, width), 1)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
