"""Draws pictures that explain a result: the field as colours; input, mask and result side by side."""

from collections.abc import Callable, Sequence
from math import ceil

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from psal_cli.image import Picture
from psal_cli.image.fitting import plain, rounded
from psal_cli.image.metadata import Metadata
from psal_cli.strips import strips

PANEL = 1200  # the longest side of one panel, pixels
GAP = 8
TILE = 400  # the longest side of a picture on a contact sheet, pixels
SHEET = 40_000_000  # pixels of a contact sheet
BAND = 256  # rows
LETTER = 16  # pixels: the height of a label
MARGIN = 4  # pixels around an enlarged part
DIMMED = 0.35
RED = np.array([255, 0, 0], np.uint8)
ARROWS = 18  # arrows along the longer side
TIP = 6  # length of an arrow's head relative to its width


def side_by_side(before: Picture, after: Picture, mask: np.ndarray | None = None, references: Sequence[Picture] = ()) -> Picture:
    """Input, input with the mask (bool [H, W]) in red, references and result, each at most 1200 pixels long, on white. The sheet
    has the result's profile; panels with another one are converted to sRGB.
    """
    icc = after.metadata.icc if after.pixels.shape[2] == 3 else None  # a grey profile does not fit the red mask
    first, last = (_panel(picture, after.metadata.icc) for picture in (before, after))
    panels = [first]
    if mask is not None:
        share = _shrunk(np.where(mask, np.uint8(255), np.uint8(0)))[..., None].astype(np.float32) * (2 / 3 / 255)
        panels.append(np.rint(first * (1 - share) + RED * share).astype(np.uint8))
    panels += [_as_high(_panel(reference, after.metadata.icc), first.shape[0]) for reference in references]
    gap = np.full((first.shape[0], GAP, 3), 255, np.uint8)
    row = [part for panel in (*panels, last) for part in (gap, panel)][1:]
    return Picture(np.concatenate(row, 1), metadata=Metadata(icc=icc))


def enlarged_side_by_side(before: Picture, after: Picture) -> Picture:
    """The middle of the bicubic enlargement and of the result, side by side, at most 1200 pixels long, on white."""
    down, across = (new / old for new, old in zip(after.pixels.shape[:2], before.pixels.shape[:2], strict=True))
    rows, columns = (_middle(side, PANEL) for side in after.pixels.shape[:2])
    top, left = (max(int(part.start / scale) - MARGIN, 0) for part, scale in ((rows, down), (columns, across)))
    around = np.s_[top : ceil(rows.stop / down) + MARGIN, left : ceil(columns.stop / across) + MARGIN]
    box = (columns.start / across - left, rows.start / down - top, columns.stop / across - left, rows.stop / down - top)
    small = Image.fromarray(_flat(before.pixels[around], None if before.alpha is None else before.alpha[around]))
    last = _flat(after.pixels[rows, columns], None if after.alpha is None else after.alpha[rows, columns])
    first = np.asarray(small.resize(last.shape[1::-1], Image.Resampling.BICUBIC, box=box))
    gap = np.full((last.shape[0], GAP, 3), 255, np.uint8)
    icc = after.metadata.icc if after.pixels.shape[2] == 3 else None
    return Picture(np.concatenate([first, gap, last], 1), metadata=Metadata(icc=icc))


def contact_sheet(rows: Sequence[Sequence[Callable[[], Picture]]], labels: Sequence[Sequence[str]] = ()) -> Picture:
    """Thumbnails, a row for each of `rows`, in sRGB on white; a single row is broken into a square. rows: functions that read the
    pictures, one in memory at a time. labels: text below each picture, default none.
    """
    if len(rows) == 1:
        columns = ceil(len(rows[0]) ** 0.5)
        starts = range(0, len(rows[0]), columns)
        labels = [labels[0][start : start + columns] for start in starts] if labels else ()
        rows = [rows[0][start : start + columns] for start in starts]
    across, down = max(map(len, rows)), len(rows)
    longest = int(min(TILE, (SHEET / (across * down)) ** 0.5))
    tiles = [[_panel(read(), None, longest) for read in row] for row in rows]
    if labels:
        tiles = [list(map(_labelled, row, texts)) for row, texts in zip(tiles, labels, strict=True)]
    height, width = (max(tile.shape[axis] for row in tiles for tile in row) for axis in (0, 1))
    sheet = np.full((down * (height + GAP) - GAP, across * (width + GAP) - GAP, 3), 255, np.uint8)
    for top, row in zip(range(0, sheet.shape[0], height + GAP), tiles, strict=True):
        for left, tile in zip(range(0, sheet.shape[1], width + GAP), row, strict=False):  # rows may differ in length
            below, beside = (height - tile.shape[0]) // 2, (width - tile.shape[1]) // 2
            sheet[top + below : top + below + tile.shape[0], left + beside : left + beside + tile.shape[1]] = tile
    return Picture(sheet)


def _middle(side: int, most: int) -> slice:
    start = max(side - most, 0) // 2
    return slice(start, min(start + most, side))


def _as_high(panel: np.ndarray, height: int) -> np.ndarray:
    """A panel scaled to a height or, if that would make it longer than PANEL, smaller on white."""
    scale = min(height / panel.shape[0], PANEL / panel.shape[1])
    size = (max(round(panel.shape[1] * scale), 1), max(round(panel.shape[0] * scale), 1))
    panel = cv2.resize(panel, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    below = height - panel.shape[0]
    return np.pad(panel, ((below // 2, below - below // 2), (0, 0), (0, 0)), constant_values=255)


def _labelled(tile: np.ndarray, text: str) -> np.ndarray:
    """A tile with a line of text below it, as wide as the wider of both."""
    font = ImageFont.load_default(LETTER)
    strip = Image.new("RGB", (max(tile.shape[1], ceil(font.getlength(text))), 2 * LETTER), "white")
    ImageDraw.Draw(strip).text((strip.width / 2, LETTER), text, "black", font, "mm")
    beside = strip.width - tile.shape[1]
    wide = np.pad(tile, ((0, 0), (beside // 2, beside - beside // 2), (0, 0)), constant_values=255)
    return np.concatenate([wide, np.asarray(strip)])


def draw_field(
    nnf: np.ndarray,
    sizes: Sequence[tuple[float, float]],
    picture: Picture,
    which: np.ndarray | None = None,
    *,
    arrows: bool = False,
) -> Picture:
    """Draws the field over the dimmed picture, with a legend in a strip below. Sources are scaled to the picture.

    Hue is the direction to the source, saturation the distance: white is near, full colour is the 95th percentile.

    Args:
        nnf: int32 [2, h, w], row and column in the source, -1 where there is none, at the size that was searched; the legend is
            in pixels of the picture.
        sizes: (height, width) of each source.
        picture: the background, dimmed.
        which: int32 [h, w], the index of each pixel's source, default 0.
        arrows: draw arrows in these colours from some pixels to their sources, instead of colouring all pixels.
    """
    height, width = nnf.shape[1:]
    scale = np.array([height, width]) / np.array(sizes)

    def moved(rows: slice) -> tuple[np.ndarray, np.ndarray]:
        known = nnf[0, rows] >= 0
        places = np.argwhere(known)
        places[:, 0] += rows.start
        number = 0 if which is None else which[rows][known]
        return places, ((nnf[:, rows][:, known].T + 0.5) * scale[number]).astype(np.int32) - places

    unit = picture.size[0] / width
    if picture.size != (width, height):
        below = _panel(picture, picture.metadata.icc)
        picture = Picture(cv2.resize(below, (width, height), interpolation=cv2.INTER_AREA))
    return _wheel(moved, (height, width), picture, unit, arrows)


def _wheel(
    moved: Callable[[slice], tuple[np.ndarray, np.ndarray]], size: tuple[int, int], picture: Picture, unit: float, arrows: bool
) -> Picture:
    """Colours of `draw_field`. moved: for some rows, the pixels with an offset, int64 [n, 2], and the offsets, [n, 2]; in chunks,
    because temporaries take a multiple of the picture. unit: pixels of the user's picture per pixel here."""
    height, width = size
    cell = max(max(size) // ARROWS, 1)
    step = cell if arrows else BAND
    bands = [part.rows for part in strips(height, step)]
    distances = [np.hypot(*moved(band)[1].T.astype(np.float32)) for band in bands]
    moving = [band for band, distance in zip(bands, distances, strict=True) if len(distance)]
    far = max(float(np.percentile(np.concatenate(distances), 95, overwrite_input=True)), 1)
    legend = _legend(int(np.clip(height // 8, 48, 240)), far * unit)
    canvas = np.zeros((height + legend.shape[0], max(width, legend.shape[1]), 3), np.uint8)
    canvas[height:, : legend.shape[1]] = legend
    for band in bands:
        alpha = None if picture.alpha is None else picture.alpha[band]
        grey = cv2.cvtColor(_flat(picture.pixels[band], alpha), cv2.COLOR_RGB2GRAY)
        canvas[band, :width] = (grey * np.float32(DIMMED)).astype(np.uint8)[..., None]
    if arrows:
        _draw_arrows(canvas[:height, :width], [_nearest_per_cell(*moved(band), cell) for band in moving], far)
    else:
        for band in moving:
            places, offset = moved(band)
            canvas[places[:, 0], places[:, 1]] = _colours(offset, far)
    return Picture(canvas)


def _nearest_per_cell(places: np.ndarray, offset: np.ndarray, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """For a row of cells, the given pixel nearest to the middle of each."""
    number = places[:, 1] // cell
    from_middle = np.hypot(*(places % cell - cell // 2).T)
    order = np.lexsort((from_middle, number))
    chosen = order[np.unique(number[order], return_index=True)[1]]
    return places[chosen], offset[chosen]


def _draw_arrows(canvas: np.ndarray, arrows: list[tuple[np.ndarray, np.ndarray]], far: float) -> None:
    """arrows: positions and offsets, in chunks."""
    part = np.ascontiguousarray(canvas)  # OpenCV draws on contiguous arrays
    thick = max(round(max(canvas.shape[:2]) / 800), 1)
    for places, offset in arrows:
        for place, step, colour in zip(places, offset, _colours(offset, far), strict=True):
            start, end = (tuple(map(int, at[::-1])) for at in (place, place + step))
            tip = TIP * thick / max(float(np.hypot(*step)), TIP * thick)
            cv2.arrowedLine(part, start, end, colour.tolist(), thick, cv2.LINE_AA, tipLength=tip)
    canvas[:] = part


def share_map(share: np.ndarray, size: tuple[int, int]) -> Picture:
    """A grey picture of (width, height) from float32 [h, w], 0 black to 1 white."""
    grey = np.rint(share.clip(0, 1) * 255).astype(np.uint8)
    return Picture(cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)[..., None])


def _colours(offset: np.ndarray, far: float) -> np.ndarray:
    """[N, 2] (row, column) -> uint8 [N, 3]."""
    offset = offset.astype(np.float32)
    hue = np.degrees(np.arctan2(-offset[:, 0], offset[:, 1])) % 360  # hue 0 (red) points right, angles count counterclockwise
    saturation = np.minimum(np.hypot(offset[:, 0], offset[:, 1]) / far, 1)
    hsv = np.stack([hue, saturation, np.ones_like(hue)], 1)[None]
    return np.asarray((cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0] * 255).round(), np.uint8)


def _legend(side: int, far: float) -> np.ndarray:
    """The colour wheel: each position shows the colour of an offset in that direction."""
    centred = np.indices((side, side)).reshape(2, -1).T - (side - 1) / 2
    inside = np.hypot(centred[:, 0], centred[:, 1]) <= side / 2
    wheel = np.zeros((side * side, 3), np.uint8)
    wheel[inside] = _colours(centred[inside], side / 2)
    text, font = f"rim: the source is {far:.0f} px away, or more", ImageFont.load_default(side / 4)
    strip = Image.new("RGB", (side + 4 * GAP + ceil(font.getlength(text)), side + 2 * GAP))
    strip.paste(Image.fromarray(wheel.reshape(side, side, 3)), (GAP, GAP))
    ImageDraw.Draw(strip).text((side + 3 * GAP, strip.height / 2), text, font=font, anchor="lm")
    return np.asarray(strip)


def _flat(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """uint8 [H, W, 3]: alpha over white, 16 bits and floats rounded to 8."""
    if pixels.dtype.kind == "f":
        pixels, alpha = rounded(pixels), None if alpha is None else rounded(alpha)
    if alpha is not None:
        white = np.iinfo(pixels.dtype).max
        share = alpha[..., None].astype(np.float32) / white
        pixels = np.rint(pixels * share + white * (1 - share)).astype(pixels.dtype)
    pixels = rounded(pixels)
    return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels


def _panel(picture: Picture, icc: bytes | None, longest: int = PANEL) -> np.ndarray:
    """uint8 [H, W, 3]: the picture on white, reduced, in its own profile if that is `profile`, else in sRGB."""
    pixels, alpha = _shrunk(picture.pixels, longest), None if picture.alpha is None else _shrunk(picture.alpha, longest)
    pixels = pixels.reshape(*pixels.shape[:2], -1)  # OpenCV drops the channel axis of a grey picture
    if picture.metadata.icc != icc:
        pixels, alpha = plain(pixels, picture.metadata.icc), None if alpha is None else rounded(alpha)
    return _flat(pixels, alpha)


def _shrunk(image: np.ndarray, longest: int = PANEL) -> np.ndarray:
    height, width = image.shape[:2]
    scale = min(longest / max(height, width), 1)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
