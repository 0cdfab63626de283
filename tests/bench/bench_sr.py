"""Super-resolution on Set5, Set14 and B100, beside what is published; on compressed pictures; whole or in tiles; on facades.

    .venv/bin/python tests/bench/bench_sr.py --write-readme                    # all tables
    .venv/bin/python tests/bench/bench_sr.py --tables whole --scales 4         # one of them, its other rows kept

The facades are in --public, a folder with a checkout of the repository raghudeep/ParisArtDecoFacadesDataset, and in scenes/. None
of them is trained with.

Pictures are reduced by the antialiased cubic kernel, rounded to 8 bits, enlarged again and rounded. PSNR and SSIM are of the
luminance (BT.601, 16 to 235), without `scale` pixels at each border.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import partial
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import torch
from data_folder import add_data_option
from metrics import ssim_map
from PIL import Image
from report import RESULTS, ROOT, header, write_json, write_readme

from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.output import markdown_table
from psal_cli.networks.upscaling import enlarged, reduced
from psal_cli.training.photographs import EVERY, files_of
from psal_cli.training.super_resolution import luminance
from psal_cli.verbs.upscale.networks import network_of, weights_of
from psal_cli.verbs.upscale.upscaler import Upscaler

ROOM = 1 << 14  # pixels that full attention works on at a time
TILE, OVERLAP = 256, 40  # pixels: side of a tile, and what is looked at around it; convolutions see no farther
PART = 140  # pixels: side of what --facade shows
QUALITIES = (90, 75, 50)  # of JPEG
PARIS = "ParisArtDecoFacadesDataset/images/facade_{}.png"
OF_PARIS = 3, 4, 6, 8, 12, 23, 32, 33, 34, 36, 37, 38, 39, 52, 53, 64, 68, 77  # those without large trees
OF_SCENES = "0096", "0312", "0610", "0666", "0924", "1194", "1541", "1630", "1748", "2150", "2206", "2501"
Enlarge = Callable[[np.ndarray, int], np.ndarray]

# PSNR on Set5, Set14, B100, as the papers print them.
PUBLISHED = {
    "VDSR": {2: (37.53, 33.03, 31.90), 3: (33.66, 29.77, 28.82), 4: (31.35, 28.01, 27.29)},
    "CARN-M": {2: (37.53, 33.26, 31.92), 3: (33.99, 30.08, 28.91), 4: (31.92, 28.42, 27.44)},
    "IMDN": {2: (38.00, 33.63, 32.19), 3: (34.36, 30.32, 29.09), 4: (32.21, 28.58, 27.56)},
    "CSNLN": {2: (38.28, 34.12, 32.40), 3: (34.74, 30.66, 29.33), 4: (32.68, 28.95, 27.80)},
}


def pictures(files: Iterable[Path], scale: int, quality: int | None = None) -> list[tuple[np.ndarray, np.ndarray]]:
    """uint8 [H, W, 3]: each picture reduced, with a quality as JPEG leaves it, and the truth, cropped to a multiple of scale."""
    pairs = []
    for path in files:
        truth = np.asarray(Image.open(path).convert("RGB"))
        truth = truth[: truth.shape[0] // scale * scale, : truth.shape[1] // scale * scale]
        small = cubic(truth, scale, reduced)
        if quality:
            Image.fromarray(small).save(file := BytesIO(), "JPEG", quality=quality)
            small = np.asarray(Image.open(file))
        pairs.append((small, truth))
    if not pairs:
        raise FileNotFoundError("no pictures there; name the evaluation data with --data")
    return pairs


def in_set(data: Path, name: str) -> list[Path]:
    return sorted(path for path in (data / name).glob("*") if path.suffix in (".png", ".jpg", ".bmp"))


def cubic(picture: np.ndarray, scale: int, change: Callable = enlarged) -> np.ndarray:
    image = change(torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32))[None], scale)[0]
    return image.round().clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8)


def lanczos(picture: np.ndarray, scale: int) -> np.ndarray:
    size = picture.shape[1] * scale, picture.shape[0] * scale
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def by_network(model: str, picture: np.ndarray, scale: int, attention: str = "psal", **options) -> np.ndarray:
    return Upscaler([network_of(weights_of(scale, model), scale, attention)], **options)(picture)[0]


def in_tiles(picture: np.ndarray, scale: int) -> np.ndarray:
    """What the network makes of tiles, each with what its convolutions see around it: only the attention is cut off."""
    out = np.empty((picture.shape[0] * scale, picture.shape[1] * scale, 3), np.uint8)
    for top in range(0, picture.shape[0], TILE):
        for left in range(0, picture.shape[1], TILE):
            first = max(top - OVERLAP, 0), max(left - OVERLAP, 0)
            tile = picture[first[0] : top + TILE + OVERLAP, first[1] : left + TILE + OVERLAP]
            enlarged = by_network("clean", tile, scale)[(top - first[0]) * scale :, (left - first[1]) * scale :]
            place = out[top * scale : (top + TILE) * scale, left * scale : (left + TILE) * scale]
            place[...] = enlarged[: place.shape[0], : place.shape[1]]
    return out


def without_branch(picture: np.ndarray, scale: int) -> np.ndarray:
    """By the trunk, which was trained without the attention and was not changed when that was trained."""
    network = deepcopy(network_of(weights_of(scale, "clean"), scale))
    network.cross = None
    return Upscaler([network])(picture)[0]


def facades(data: Path, public: Path | None) -> list[Path]:
    if public is None:
        raise FileNotFoundError("the table of facades needs --public, a folder with a checkout of ParisArtDecoFacadesDataset")
    scenes = [data.parent / "scenes" / f"{name}.webp" for name in OF_SCENES]
    return [public / PARIS.format(number) for number in OF_PARIS] + scenes


FULL, EIGHT = "psal, full attention", "psal, mean of 8 (--ensemble)"
SLOW = {FULL: 3, EIGHT: 4}  # below those scales a quarter of an hour each: Set5 alone
METHODS: dict[str, Enlarge] = {
    "bicubic": cubic,
    "Lanczos": lanczos,
    "psal": partial(by_network, "clean"),
    FULL: partial(by_network, "clean", attention="full", largest=ROOM),
    "psal, local attention": partial(by_network, "clean", attention="local"),
    "psal, without the attention": without_branch,
    EIGHT: partial(by_network, "clean", ensemble=True),
    "psal, --model photo": partial(by_network, "photo"),
    "psal, in tiles of 256 pixels": in_tiles,
}
TABLES = {  # name -> rows, and what gives the pictures of each column
    "benchmarks": (
        ["bicubic", "Lanczos", "psal", FULL, "psal, without the attention", EIGHT, "psal, --model photo"],
        {name: lambda data, scale, _, name=name: pictures(in_set(data, name), scale) for name in ("Set5", "Set14", "B100")},
    ),
    "compressed": (
        ["bicubic", "Lanczos", "psal", "psal, --model photo"],
        {
            f"B100, JPEG {quality}": lambda data, scale, _, quality=quality: pictures(in_set(data, "B100"), scale, quality)
            for quality in QUALITIES
        },
    ),
    "whole": (
        ["bicubic", "psal", "psal, in tiles of 256 pixels", "psal, without the attention"],
        {
            "8 photographs held out": lambda data, scale, _: pictures(files_of(data.parent)[:: 4 * EVERY], scale),
            "examples/facade.jpg": lambda data, scale, _: pictures([ROOT / "examples" / "facade.jpg"], scale),
        },
    ),
    "facades": (
        ["bicubic", "psal", FULL, "psal, local attention", "psal, without the attention"],
        {"30 facades": lambda data, scale, public: pictures(facades(data, public), scale)},
    ),
}


def figures(picture: np.ndarray, truth: np.ndarray, scale: int) -> tuple[float, float]:
    """PSNR in dB and SSIM."""
    both = torch.from_numpy(np.stack([picture, truth]).transpose(0, 3, 1, 2)).double() / 255
    drawn, true = luminance(both)[:, scale:-scale, scale:-scale].numpy()
    valid = np.s_[5:-5, 5:-5]  # windows of 11 pixels that lie whole in the picture, as in the authors' code
    return float(-10 * np.log10(np.mean((drawn - true) ** 2))), float(ssim_map(drawn, true)[valid].mean())


def facade(path: Path) -> None:
    """Draws the part of examples/facade.jpg where tiles cost most at x2: the truth, tiles, whole, and errors, sixfold."""
    ((small, truth),) = pictures([ROOT / "examples" / "facade.jpg"], 2)
    made = [METHODS[name](small, 2) for name in TABLES["whole"][0][1:]]  # whole, in tiles, without the attention
    squares = [np.square(x.astype(np.float32) - truth).mean(2) for x in made]
    cost = cv2.blur(squares[1] - squares[0], (PART, PART))
    inner = cost[PART // 2 : -PART // 2, PART // 2 : -PART // 2]
    top, left = (int(at) for at in np.unravel_index(inner.argmax(), inner.shape))
    part = np.s_[top : top + PART, left : left + PART]
    for name, x in zip(TABLES["whole"][0][1:], squares, strict=True):
        print(f"{name}: {10 * np.log10(255**2 / x[part].mean()):.2f} dB of RGB at column {left}, row {top}")
    errors = [(np.abs(x.astype(int) - truth) * 6).clip(max=255).astype(np.uint8) for x in made]
    rows = [truth, made[1], made[0]], [errors[2], errors[1], errors[0]]
    Image.fromarray(np.vstack([np.hstack([x[part] for x in row]) for row in rows]).repeat(3, 0).repeat(3, 1)).save(path)


def measured(name: str, data: Path, public: Path | None, scales: list[int]) -> list[dict]:
    """The rows of a table."""
    methods, columns = TABLES[name]
    rows = []
    for scale in scales:
        pairs = {column: load(data, scale, public) for column, load in columns.items()}
        for method in methods:
            row = {"scale": scale, "method": method}
            for column, those in pairs.items():
                if scale < SLOW.get(method, 2) and column != "Set5":
                    continue
                psnr, ssim = np.mean([figures(METHODS[method](small, scale), truth, scale) for small, truth in those], 0)
                row[column] = {"psnr": psnr, "ssim": ssim}
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def markdown(name: str, rows: list[dict]) -> str:
    columns, cells = list(TABLES[name][1]), []
    for scale in dict.fromkeys(row["scale"] for row in rows):
        for row in (row for row in rows if row["scale"] == scale):
            values = [f"{row[x]['psnr']:.2f} / {row[x]['ssim']:.4f}" if x in row else None for x in columns]
            cells.append([f"x{scale} {row['method']}", *values])
        for paper, decibels in PUBLISHED.items() if name == "benchmarks" else ():
            cells.append([f"x{scale} {paper}, published", *(f"{x:.2f}" for x in decibels[scale])])
    return markdown_table(["PSNR, dB / SSIM", *columns], cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser, "Set5/, Set14/, B100/ and highres/", "eval")
    parser.add_argument("--public", type=Path, help="folder with a checkout of ParisArtDecoFacadesDataset, for the facades")
    parser.add_argument("--scales", default="2,3,4", help="default: %(default)s")
    parser.add_argument("--tables", default=",".join(TABLES), help="default: %(default)s")
    parser.add_argument("--write-readme", action="store_true", help="also put the tables into README.md")
    parser.add_argument("--facade", type=Path, help="draw what is lost in tiles into this file, and nothing else")
    arguments = parser.parse_args()
    if arguments.facade:
        facade(arguments.facade)
        return 0
    scales, tables = [int(x) for x in arguments.scales.split(",")], {}
    before = json.loads(path.read_text()) if (path := RESULTS / "sr.json").exists() else {}
    context = header("torch", "numpy", "opencv-python-headless", "psal")
    for name in arguments.tables.split(","):
        kept = [row for row in before.get(name, []) if row["scale"] not in scales]
        rows = kept + measured(name, arguments.data, arguments.public, scales)
        tables[name] = sorted(rows, key=lambda row: row["scale"])
        text = f"{markdown(name, tables[name])}\n\n{where(context)}"
        print(text)
        if arguments.write_readme:
            write_readme(f"sr-{name}", text)
    write_json("sr", {**before, **context, **tables})
    return 0


if __name__ == "__main__":
    sys.exit(main())
