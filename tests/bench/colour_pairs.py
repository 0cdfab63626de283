"""The pairs of different photographs of colour_pairs.toml."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from psal_cli.user_folders import state_folder

PAIRS = Path(__file__).with_suffix(".toml")
GATHERED = state_folder() / "colour-pairs"
PARTS, KINDS = ("choose", "report"), ("place", "sides", "kind")
SIDE = 448  # pixels, the longer side: psal searches colours at this size first


class PhotographPair(NamedTuple):
    """part: one of PARTS; kind: one of KINDS; target, reference: uint8 [h, w, 3], SIDE pixels long."""

    name: str
    part: str
    kind: str
    target: np.ndarray
    reference: np.ndarray


def listed(part: str) -> list[tuple[str, str, str]]:
    """(kind, target, reference) of a part, as colour_pairs.toml has them."""
    return [(kind, target, reference) for kind, target, reference in tomllib.loads(PAIRS.read_text())[part]]


def photograph_pairs(part: str, data: Path, gathered: Path = GATHERED) -> Iterator[PhotographPair]:
    """The pairs of a part.

    Raises:
        FileNotFoundError: a picture is not there; the message says where it comes from.
    """
    for kind, target, reference in listed(part):
        yield PhotographPair(_short(target), part, kind, *(_read(source, data, gathered) for source in (target, reference)))


def gathered_file(source: str, folder: Path) -> Path:
    """Where a picture `owner/name:path` of a public repository is kept."""
    return folder / source.replace(":", "/")


def _short(source: str) -> str:
    """What tells it from the others: its file, after its folder where that has another name than "images"."""
    name, _, half = source.partition("#")
    parts = [part for part in Path(name.replace(":", "/")).with_suffix("").parts if not part.endswith(("images", "mapping"))]
    return " ".join(filter(None, [*parts[-2:], half]))


def _read(source: str, data: Path, gathered: Path) -> np.ndarray:
    name, _, half = source.partition("#")
    path = gathered_file(name, gathered) if ":" in name else data / name
    if not path.exists():
        cure = "run tests/bench/gather_colour_pairs.py" if ":" in name else "see --data"
        raise FileNotFoundError(f"{path} is missing: {cure}")
    with Image.open(path) as file:
        picture = ImageOps.exif_transpose(file).convert("RGB")
    if half:
        middle = picture.width // 2
        picture = picture.crop((0, 0, middle, picture.height) if half == "left" else (middle, 0, picture.width, picture.height))
    scale = SIDE / max(picture.size)
    return np.asarray(picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS))
