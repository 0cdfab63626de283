"""Seconds and peak memory of whole commands: start-up, reading, working, writing.

`psal inpaint` of a 2048x2048 crop of a photograph with one hole of 256x256, and of the whole 15.9 megapixels with five holes of
128 to 256 px; `psal upscale` of the photograph reduced to a megapixel, and to two.
Prints a row each, and with --write-readme puts them into the README of the repository.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from data_folder import PHOTO, existing
from PIL import Image
from report import ROOT, header, write_json, write_readme

from psal_cli.benchmarks.output import markdown_table

REPEATS = 3
HOLES = ((300, 700, 128), (1400, 600, 160), (1800, 3000, 192), (400, 2400, 224), (2400, 4600, 256))  # row, column, side


def mask(height: int, width: int, boxes) -> Image.Image:
    pixels = np.zeros((height, width), np.uint8)
    for row, column, side in boxes:
        pixels[row : row + side, column : column + side] = 255
    return Image.fromarray(pixels)


def measure(folder: Path, name: str, photo: Image.Image, *options: str, repeats: int = REPEATS) -> dict:
    """The median of a few runs after one that warms the disk's cache; peak memory as the command itself reports it."""
    photo.save(folder / "photo.jpg", quality=92)
    command = [str(Path(sys.executable).parent / "psal"), *options, "photo.jpg", "-o", "out.jpg", "--force"]
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        done = subprocess.run([*command, "--json", "-q"], cwd=folder, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    return {
        "name": f"{options[0]} {name}",
        "seconds": float(np.median(seconds[1:])),
        "peak_memory_bytes": json.loads(done.stdout)["peak_memory_bytes"],
    }


def filling(folder: Path, name: str, photo: Image.Image, boxes) -> dict:
    mask(photo.height, photo.width, boxes).save(folder / "mask.png")
    return measure(folder, name, photo, "inpaint", "--mask", "mask.png")


def enlarging(folder: Path, photo: Image.Image, size: tuple[int, int], scale: int) -> dict:
    width, height = size
    name = f"-x {scale}, {width}x{height} to {scale * width}x{scale * height}"
    small = photo.resize(size, Image.Resampling.BICUBIC)
    return measure(folder, name, small, "upscale", "-x", str(scale), repeats=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-readme", action="store_true", help="also put the figures into README.md")
    arguments = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None
    photo = Image.open(existing(PHOTO)).convert("RGB")
    with tempfile.TemporaryDirectory() as name:
        rows = [
            filling(Path(name), "2048x2048, one hole of 256x256", photo.crop((0, 0, 2048, 2048)), [(1000, 1000, 256)]),
            filling(Path(name), "5312x2988, five holes of 128 to 256 px", photo, HOLES),
            enlarging(Path(name), photo, (1328, 747), 4),
            enlarging(Path(name), photo, (1920, 1080), 2),
        ]
    results = {**header("torch", "psal"), "rows": rows}
    write_json("command", results)
    cells = [[row["name"], f"{row['seconds']:.1f}", f"{row['peak_memory_bytes'] / 1e9:.2f}"] for row in rows]
    text = markdown_table(["whole command, `psal`", "seconds", "GB at its peak"], cells)
    print(text)
    if arguments.write_readme:
        machine = results["machine"]
        where = f"{machine['processor']}, {machine['cores']} cores, {results['date']}; `tests/bench/bench_command.py`."
        write_readme("speed", f"{text}\n\n{where}", ROOT / "README.md")


if __name__ == "__main__":
    main()
