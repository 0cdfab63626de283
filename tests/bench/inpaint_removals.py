"""The removals of removals.json: real objects in photographs of 2 to 16 megapixels, and the same silhouettes moved to a place of
the same photograph where it is known what lies behind them.

The masks were drawn by hand, as polygons of (column, row) in the picture as it is shown, after its EXIF rotation. Half lie on
smooth or blurred ground, half on structure. The pictures are not part of the repository: `folder` is a path in the data folder,
`repository` one on GitHub, looked for as `<repositories>/<owner>/<name>/<path>`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from inpaint_cases import Case
from inpaint_masks import Silhouette, tight
from PIL import Image, ImageOps

REMOVALS = Path(__file__).parent / "removals.json"
Polygons = list[list[list[int]]]


@dataclass(frozen=True)
class Removal:
    name: str
    ground: str  # "smooth" or "structured"
    size: tuple[int, int]  # width, height
    polygons: Polygons
    moved: tuple[int, int] | None  # columns, rows: where the silhouette lies on known ground; None: nowhere
    folder: str | None = None
    repository: str | None = None
    path: str | None = None

    def mask(self, moved: bool = False) -> np.ndarray:
        """bool `[H,W]`, True = fill: the object, or its silhouette on known ground."""
        shift = self.moved if moved and self.moved else (0, 0)
        return filled_polygons(self.polygons, self.size, shift)

    def file(self, data: Path, repositories: Path) -> Path:
        """Where the picture is.

        Raises:
            FileNotFoundError: it is not there; the message says where it comes from.
        """
        path = data / self.folder if self.folder else repositories / str(self.repository) / str(self.path)
        if not path.exists():
            cure = f"from https://github.com/{self.repository}, see --repositories" if self.repository else "see --data"
            raise FileNotFoundError(f"{path} is missing: {cure}")
        return path

    def picture(self, data: Path, repositories: Path) -> np.ndarray:
        """uint8 `[H,W,3]` RGB.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it is another picture than the polygons were drawn on.
        """
        path = self.file(data, repositories)
        with Image.open(path) as picture:
            shown = ImageOps.exif_transpose(picture).convert("RGB")
        if shown.size != self.size:
            raise ValueError(f"{path} is {shown.size[0]}x{shown.size[1]}, the mask was drawn on {self.size[0]}x{self.size[1]}")
        return np.asarray(shown)


def filled_polygons(polygons: Polygons, size: tuple[int, int], shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """bool `[H,W]`: what lies in any of the polygons, moved by (columns, rows)."""
    canvas = np.zeros(size[::-1], np.uint8)
    for polygon in polygons:
        cv2.fillPoly(canvas, [np.array(polygon, np.int32) + np.array(shift, np.int32)], 1)
    return canvas.astype(bool)


def removals() -> list[Removal]:
    """All of removals.json."""
    entries = json.loads(REMOVALS.read_text())
    return [
        Removal(
            name=entry["name"],
            ground=entry["ground"],
            size=tuple(entry["size"]),
            polygons=entry["polygons"],
            moved=tuple(entry["moved"]) if "moved" in entry else None,
            folder=entry.get("folder"),
            repository=entry.get("repository"),
            path=entry.get("path"),
        )
        for entry in entries
    ]


def drawn_silhouettes() -> list[Silhouette]:
    """The silhouettes of the objects: what the bench falls back on where there is no folder of others."""
    return [Silhouette(f"drawn-{removal.name}", tight(removal.mask())) for removal in removals()]


def case_of(removal: Removal, picture: np.ndarray, moved: bool) -> Case:
    """The removal as a case; without `moved` its truth is not known, and `Case.truth` is the picture with the object."""
    name = f"{'moved' if moved else 'removal'}-{removal.name}"
    return Case(name, "removals", "objects", removal.ground, "removals", picture, removal.mask(moved))


def available(data: Path, repositories: Path, names: list[str] | None = None) -> Iterator[tuple[Removal, np.ndarray | str]]:
    """Each removal (of those names) with its picture, or with what is missing."""
    for removal in removals():
        if names is None or removal.name in names:
            try:
                yield removal, removal.picture(data, repositories)
            except (FileNotFoundError, ValueError) as error:
                yield removal, str(error)
