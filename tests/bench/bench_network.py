"""The inpainting experiment of the paper (Cherel et al., arXiv 2202.03163, section 4.4, table 6), with the weights that ship.

    .venv/bin/python tests/bench/bench_network.py --write-readme

Table 6: a hole of 128x128 anywhere in 256x256, in crops of B100 and of the photographs of highres halved. All figures are of
the hole: l1 and l2 the mean absolute and squared error as shares of the range, TV the mean absolute difference of neighbours in
both directions. Then seconds and memory of the whole network with the original attention and with PSAL, for pictures with five
such holes, in a process of its own for each row.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from data_folder import add_data_option
from inpaint_cases import read
from metrics import gradient_energy, gradient_ratio, luminance, psnr, ring_around, ssim_map
from report import ROOT, header, write_json, write_readme

from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.measuring import growth
from psal_cli.benchmarks.output import markdown_table
from psal_cli.image.arrays import replaced
from psal_cli.memory import in_words
from psal_cli.patchmatch.diffusion import diffused
from psal_cli.verbs.inpaint.fill import fill
from psal_cli.verbs.inpaint.guide import ColourGuide
from psal_cli.verbs.inpaint.memory_model import network_bytes
from psal_cli.verbs.inpaint.options import InpaintOptions
from psal_cli.verbs.inpaint.painter import WEIGHTS, Painter, network_of

SIDE, HOLE = 256, 128
ORIGINAL = str(ROOT / "weights/benchmarks/inpaint-original.safetensors")
CROPS = 10  # of each photograph of highres
METHODS = {  # name -> engine, attention, weights
    "network, PSAL-3": ("network", "psal", WEIGHTS),
    "network, PSAL-3 with aggregation, the same weights": ("network", "aggregation", WEIGHTS),
    "network, original attention, the same weights": ("network", "original", WEIGHTS),
    "network, original attention, trained with it": (
        "network",
        "original",
        ORIGINAL,
    ),
    "psal combined": ("combined", "psal", WEIGHTS),
    "psal patch": ("patch", None, None),
    "diffusion, what the network starts from": ("network", None, None),
}
PAPER = {
    "original attention (paper, Places2, trained with it)": (11.8, 3.6, 16.4, 6.6, 53.7),
    "PSAL (paper, Places2, trained with it)": (11.6, 3.6, 16.6, 6.9, 54.1),
}
SIZES = ((256, 256), (512, 512), (768, 768), (1024, 1024), (1536, 1536), (2048, 2048), (2700, 3300))
ROOM = 8e9  # bytes: what needs more is not tried


def crops(data: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """uint8 [256, 256, 3] and bool [256, 256], True = fill: one of each picture of B100, ten of each of highres."""
    random = np.random.default_rng(0)
    for folder, count, size in (("B100", 1, SIDE), ("highres", CROPS, 2 * SIDE)):
        paths = sorted((data / folder).glob("*.jpg"))
        if not paths:
            raise FileNotFoundError(f"{data / folder}: no pictures there; name the evaluation data with --data")
        for path in paths:
            picture = read(path)
            for _ in range(count):
                top, left = (random.integers(side - size + 1) for side in picture.shape[:2])
                crop = picture[top : top + size, left : left + size]
                mask = np.zeros((SIDE, SIDE), bool)
                row, column = random.integers(SIDE - HOLE + 1, size=2)
                mask[row : row + HOLE, column : column + HOLE] = True
                yield cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA), mask


def filled(picture: np.ndarray, mask: np.ndarray, method: str) -> np.ndarray:
    engine, attention, weights = METHODS[method]
    image = np.where(mask[..., None], np.uint8(0), picture)
    painter = Painter(network_of(attention, weights)) if weights else diffusion
    network = painter if engine == "network" else ColourGuide(painter)
    return replaced(image, mask, fill(image, mask, mask, InpaintOptions(engine=engine), network).values)


def diffusion(known: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The colours around a hole, diffused into it; as a `Painter`."""
    image, mask = torch.from_numpy(known).permute(2, 0, 1)[None], torch.from_numpy(hole.astype(np.float32))[None, None]
    return diffused(image * (1 - mask), mask)[0].permute(1, 2, 0).numpy()[hole]


def figures(picture: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    error = np.abs(picture[mask].astype(float) - truth[mask]) / 255
    region = picture.astype(float) / 255
    light, ring = luminance(picture), ring_around(mask)
    inside = mask[1:] & mask[:-1], mask[:, 1:] & mask[:, :-1]
    variation = sum(np.abs(np.diff(region, axis=axis))[inside[axis]].mean() for axis in (0, 1))
    return {
        "l1": 100 * error.mean(),
        "l2": 100 * (error**2).mean(),
        "psnr": psnr(picture, truth, mask),
        "tv": 100 * variation,
        "ssim": 100 * float(ssim_map(light, luminance(truth))[mask].mean()),
        "gradient_ring": gradient_ratio(gradient_energy(light, mask), gradient_energy(light, ring)),
    }


def quality(data: Path, methods: list[str]) -> list[dict]:
    rows = []
    for method in ["the picture itself", *methods]:
        start, rows_of_crops = time.perf_counter(), []
        for truth, mask in crops(data):
            rows_of_crops.append(figures(truth if method not in METHODS else filled(truth, mask, method), truth, mask))
        means = {
            name: float(np.mean([row[name] for row in rows_of_crops])) for name in rows_of_crops[0] if name != "gradient_ring"
        }
        means["gradient_ring"] = float(np.exp(np.mean([np.log(row["gradient_ring"]) for row in rows_of_crops])))
        rows.append(
            {
                "method": method,
                "crops": len(rows_of_crops),
                **means,
                "seconds": (time.perf_counter() - start) / len(rows_of_crops),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def cost(size: tuple[int, int], attention: str) -> dict:
    """Seconds and bytes beside what was held before, of drawing five holes; needed: bytes, estimated."""
    painter = Painter(network_of(attention, WEIGHTS))
    picture, mask = np.random.default_rng(0).random((*size, 3), np.float32), np.zeros(size, bool)
    for number in range(5 if min(size) > 3 * HOLE else 1):
        row, column = ((37 + 977 * number, 91 + 1531 * number)[axis] % (size[axis] - HOLE) for axis in (0, 1))
        mask[row : row + HOLE, column : column + HOLE] = True
    painter(picture[:64, :64], np.pad(np.ones((8, 8), bool), 28))
    start = time.perf_counter()
    taken = growth(lambda: painter(picture, mask), "cpu")
    return {"seconds": time.perf_counter() - start, "bytes": taken}


def costs() -> list[dict]:
    rows = []
    for size in SIZES:
        for attention in ("psal", "original"):
            needed = network_bytes(size[0] * size[1], (2 * HOLE + 320) ** 2, network_of(attention, WEIGHTS))
            row = {"size": size, "attention": attention, "needed": needed}
            if needed < ROOM:
                command = [sys.executable, __file__, "--cost", json.dumps([size, attention])]
                row |= json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def markdown(quality_rows: list[dict], cost_rows: list[dict]) -> str:
    columns = ["hole of 128x128 in 256x256", "l1, %", "l2, %", "PSNR", "TV, %", "SSIM, %", "gradient / ring", "s"]
    names = ("l1", "l2", "psnr", "tv", "ssim", "gradient_ring", "seconds")
    cells = [[row["method"], *(f"{row[name]:.2f}" for name in names)] for row in quality_rows]
    cells += [[name, *map(str, values), None, None] for name, values in PAPER.items()]
    text = markdown_table(columns, cells)
    cells = []
    for size in SIZES:
        own = {row["attention"]: row for row in cost_rows if tuple(row["size"]) == size}
        line = [f"{size[1]}x{size[0]}"]
        for attention in ("psal", "original"):
            row = own[attention]
            measured = "seconds" in row
            line += [f"{row['seconds']:.1f}" if measured else None]
            line += [f"{row['bytes'] / 1e9:.2f}" if measured else f"needs {in_words(row['needed'])}"]
        cells.append(line)
    return text + "\n\n" + markdown_table(["whole network", "PSAL-3, s", "GB", "original, s", "GB"], cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser, "B100/ and highres/", "eval")
    parser.add_argument("--cost", help=argparse.SUPPRESS)
    parser.add_argument("--write-readme", action="store_true", help="also put the tables into README.md")
    arguments = parser.parse_args()
    if arguments.cost:
        size, attention = json.loads(arguments.cost)
        print(json.dumps(cost(tuple(size), attention)))
        return 0
    tables = {"quality": quality(arguments.data, list(METHODS)), "costs": costs()}
    context = header("torch", "numpy", "opencv-python-headless", "psal")
    write_json("network", {**context, **tables})
    text = markdown(tables["quality"], tables["costs"])
    text += f"\n\n{where(context)}"
    print(text)
    if arguments.write_readme:
        write_readme("network", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
