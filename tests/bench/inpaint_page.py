"""Contact sheets of the filled holes, for looking at: the crops of a case side by side, each with its name and figures."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL, GAP, HEAD = 232, 6, 18  # pixels on the page
ACROSS = 6  # cells in a line at most; a case with more is split into equal lines
CASES = 2  # a page
LARGE = 960  # pixels at most: the sides of the cells of a line that fills a page
WINDOW = 0.45  # of the picture's shorter side, seen around the hole


@dataclass(frozen=True)
class Cell:
    label: str
    crop: np.ndarray | None  # uint8 [S,S,3]; None stays grey


def window_around(mask: np.ndarray) -> tuple[slice, slice]:
    """The square window, 45 % of the shorter side, that shows the most hole in its middle."""
    size = int(WINDOW * min(mask.shape))
    middle = size // 2
    # The hole's pixels in the middle half of the window, by where the window's centre is.
    count = cv2.boxFilter(mask.astype(np.float32), -1, (middle, middle), normalize=False, borderType=cv2.BORDER_CONSTANT)
    inner = count[middle : mask.shape[0] - middle, middle : mask.shape[1] - middle]
    row, col = np.unravel_index(int(inner.argmax()), inner.shape)
    return slice(int(row), int(row) + size), slice(int(col), int(col) + size)


def marked(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with its hole in red."""
    return np.where(mask[..., None], np.array([255, 0, 0], np.uint8), image)


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with the outline of its hole in red, as wide as it takes to be seen on a page."""
    width = max(1, round(max(mask.shape) / LARGE)) * 2 + 1
    edge = mask ^ cv2.erode(mask.astype(np.uint8), np.ones((width, width), np.uint8)).astype(bool)
    return marked(image, edge)


def write_line(path: Path, cells: list[Cell]) -> Path:
    """One PNG of crops of one size side by side, at most LARGE pixels high and wide each; never enlarged."""
    font = ImageFont.load_default(size=20)
    pictures = [Image.fromarray(cell.crop) for cell in cells if cell.crop is not None]
    for picture in pictures:
        picture.thumbnail((LARGE, LARGE), Image.Resampling.LANCZOS)
    width, height = pictures[0].size
    page = Image.new("RGB", (len(cells) * (width + GAP) + GAP, 28 + height + GAP), "white")
    draw = ImageDraw.Draw(page)
    for index, (cell, picture) in enumerate(zip(cells, pictures, strict=True)):
        left = GAP + index * (width + GAP)
        draw.text((left, 2), cell.label, "black", font)
        page.paste(picture, (left, 28))
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)
    return path


def write_page(path: Path, rows: list[list[Cell]]) -> None:
    """One PNG with the cells of a few cases, each case on lines of its own."""
    font = ImageFont.load_default(size=13)
    across = -(-len(rows[0]) // -(-len(rows[0]) // ACROSS))  # as many lines as needed, equally long
    lines = [row[start : start + across] for row in rows for start in range(0, len(row), across)]
    page = Image.new("RGB", (across * (CELL + GAP) + GAP, len(lines) * (HEAD + CELL + GAP)), "white")
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        top = number * (HEAD + CELL + GAP)
        for index, cell in enumerate(line):
            left = GAP + index * (CELL + GAP)
            draw.text((left, top + 1), cell.label, "black", font)
            crop = np.full((CELL, CELL, 3), 200, np.uint8) if cell.crop is None else cell.crop
            page.paste(Image.fromarray(crop).resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top + HEAD))
    page.save(path)


def write_pages(folder: Path, rows: list[list[Cell]]) -> list[Path]:
    """`inpaint_01.png`, ... in the folder (made when missing), two cases each; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for start in range(0, len(rows), CASES):
        paths.append(folder / f"inpaint_{start // CASES + 1:02d}.png")
        write_page(paths[-1], rows[start : start + CASES])
    return paths
