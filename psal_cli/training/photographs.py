"""The photographs that the recipes learn from."""

from pathlib import Path

import cv2
import numpy as np

from psal_cli.errors import InputError

SIDE = 384  # photographs are kept with this short side
EVERY = 12  # one photograph in so many is for validation


def files_of(data: Path) -> list[Path]:
    return sorted((data / "photos").glob("*.webp"))


def scenes_of(data: Path) -> list[Path]:
    """Everyday scenes, of a short side up to SIDE; not for super-resolution."""
    return sorted((data / "scenes").glob("*.webp"))


def read(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 [H, W, 3] RGB, resized to (H, W) or to a short side of SIDE."""
    picture = decoded(path)
    if size is None:
        scale = SIDE / min(picture.shape[:2])
        size = (round(picture.shape[0] * scale), round(picture.shape[1] * scale))
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def decoded(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"{path} is not a picture")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
