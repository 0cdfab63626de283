"""Super-resolution on Set5, Set14 and B100, beside what is published.

    .venv/bin/python tests/bench/bench_sr.py --write-readme

Pictures are reduced by the antialiased cubic kernel, rounded to 8 bits, enlarged again and rounded. PSNR and SSIM are of the
luminance (BT.601, 16 to 235), without `scale` pixels at each border.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from metrics import ssim_map
from PIL import Image
from report import header, table, write_json, write_readme

from psal_cli.tasks.upscale import Upscaler, network_of, weights_of

ROOT = Path(__file__).resolve().parents[2]
SETS = ("Set5", "Set14", "B100")
SCALES = (2, 3, 4)
ROOM = 1 << 14  # pixels that full attention works on at a time
MOST_PAIRS = 3e9  # of queries and keys: larger pictures are left out of the rows with full attention
Enlarge = Callable[[np.ndarray, int], np.ndarray]

# PSNR on Set5, Set14, B100, as the papers print them.
PUBLISHED = {
    "VDSR": {2: (37.53, 33.03, 31.90), 3: (33.66, 29.77, 28.82), 4: (31.35, 28.01, 27.29)},
    "CARN-M": {2: (37.53, 33.26, 31.92), 3: (33.99, 30.08, 28.91), 4: (31.92, 28.42, 27.44)},
    "IMDN": {2: (38.00, 33.63, 32.19), 3: (34.36, 30.32, 29.09), 4: (32.21, 28.58, 27.56)},
    "CSNLN": {2: (38.28, 34.12, 32.40), 3: (34.74, 30.66, 29.33), 4: (32.68, 28.95, 27.80)},
}


def pictures(data: Path, name: str, scale: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """uint8 [H, W, 3]: reduced, and the truth, cropped to a multiple of the scale."""
    files = sorted(path for path in (data / name).iterdir() if path.suffix in (".png", ".jpg", ".bmp"))
    if not files:
        raise FileNotFoundError(f"{data / name}: no pictures there; name the evaluation data with --data")
    for path in files:
        truth = np.asarray(Image.open(path).convert("RGB"))
        truth = truth[: truth.shape[0] // scale * scale, : truth.shape[1] // scale * scale]
        yield resized(truth, 1 / scale), truth


def resized(picture: np.ndarray, scale: float) -> np.ndarray:
    """By the antialiased cubic kernel of a = -1/2."""
    image = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32))[None]
    size = [round(side * scale) for side in picture.shape[:2]]
    out = F.interpolate(image, size, mode="bicubic", antialias=True)[0].round().clamp(0, 255)
    return out.permute(1, 2, 0).numpy().astype(np.uint8)


def lanczos(picture: np.ndarray, scale: int) -> np.ndarray:
    size = picture.shape[1] * scale, picture.shape[0] * scale
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def by_network(model: str, picture: np.ndarray, scale: int, attention: str = "psal", **options) -> np.ndarray:
    return Upscaler([network_of(weights_of(scale, model), scale, attention)], **options)(picture)[0]


METHODS: dict[str, Enlarge] = {
    "bicubic": resized,
    "Lanczos": lanczos,
    "psal": partial(by_network, "clean"),
    "psal, full attention": partial(by_network, "clean", attention="full", largest=ROOM),
    "psal, without the cross-scale branch, trained alike": partial(by_network, "local"),
    "psal, mean of 8 (--ensemble)": partial(by_network, "clean", ensemble=True),
    "psal, --model photo": partial(by_network, "photo"),
}


def luminance(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> float64 [H, W], 16 to 235."""
    return picture @ np.array([65.481, 128.553, 24.966]) / 255 + 16


def figures(picture: np.ndarray, truth: np.ndarray, scale: int) -> tuple[float, float]:
    """PSNR in dB and SSIM."""
    inner = np.s_[scale:-scale, scale:-scale]
    found, true = luminance(picture)[inner], luminance(truth)[inner]
    psnr = 10 * np.log10(255**2 / np.mean((found - true) ** 2))
    valid = np.s_[5:-5, 5:-5]  # windows of 11 pixels that lie whole in the picture, as in the authors' code
    return float(psnr), float(ssim_map(found / 255, true / 255)[valid].mean())


def quality(data: Path, scales: list[int], methods: list[str]) -> list[dict]:
    rows = []
    for scale in scales:
        for method in methods:
            row = {"scale": scale, "method": method, "sets": {}}
            start = time.perf_counter()
            for name in SETS:
                pairs = list(pictures(data, name, scale))
                fitting = [pair for pair in pairs if "full" not in method or pair[0][..., 0].size ** 2 / 4 <= MOST_PAIRS]
                found = [figures(METHODS[method](small, scale), truth, scale) for small, truth in fitting]
                psnr, ssim = np.mean(found, 0)
                row["sets"][name] = {"psnr": psnr, "ssim": ssim, "pictures": len(found), "of": len(pairs)}
            row["seconds"] = time.perf_counter() - start
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def markdown(rows: list[dict]) -> str:
    cells = []
    for scale in dict.fromkeys(row["scale"] for row in rows):
        for row in (row for row in rows if row["scale"] == scale):
            sets = row["sets"].values()
            marks = ["" if one["pictures"] == one["of"] else f" ({one['pictures']} of {one['of']})" for one in sets]
            values = [f"{one['psnr']:.2f} / {one['ssim']:.4f}{mark}" for one, mark in zip(sets, marks, strict=True)]
            cells.append([f"x{scale} {row['method']}", *values, f"{row['seconds']:.0f}"])
        cells += [
            [f"x{scale} {name} (published)", *(f"{x:.2f}" for x in found), None] for name, found in PUBLISHED[scale].items()
        ]
    return table(["", *SETS, "seconds for all"], cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data/eval", help="folder with Set5/, Set14/, B100/")
    parser.add_argument("--scales", default="2,3,4", help="default: %(default)s")
    parser.add_argument("--methods", help="names of rows, separated by ;")
    parser.add_argument("--write-readme", action="store_true", help="also put the table into README.md")
    arguments = parser.parse_args()
    methods = arguments.methods.split(";") if arguments.methods else list(METHODS)
    rows = quality(arguments.data, [int(x) for x in arguments.scales.split(",")], methods)
    about = header("torch", "numpy", "opencv-python-headless", "psal")
    text = f"{markdown(rows)}\n\n{about['machine']['processor']}, {about['machine']['cores']} cores, {about['date']}."
    print(text)
    if arguments.write_readme:
        write_json("sr", {**about, "rows": rows})
        write_readme("sr", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
