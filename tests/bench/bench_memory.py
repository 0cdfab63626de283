"""The memory that the verbs which edit pictures say they will take, beside what they take at their peak.

For each row a photograph (mirrored where it is too small), for inpaint a mask, for reconstruct the photograph as its own key,
and the whole command in a process of its own: first with --dry-run, which prints the estimate, then in earnest, which prints
the most memory that the process held. Prints a row each, writes results/memory.json, and with --write-readme puts the table
into README.md. Other load does not matter.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from data_folder import PHOTO, existing
from PIL import Image
from report import RESULTS, header, write_json, write_readme

from psal_cli.benchmarks.output import markdown_table

SMALL = (0.4, 0.3, 0.05, 0.05), (0.7, 0.8, 0.03, 0.06)  # top, left, height, width: shares of the picture's height
WIDE = ((0.2, 0.2, 0.5, 0.6),)
SCRATCH = ((0.1, 0.4, 0.8, 0.001),)
REBUILT = "reconstruct"
VERBS = {tuple: "inpaint", int: "upscale", str: REBUILT, type(None): "generate"}  # by what a row says of it
# megapixels, bits, channels, extension, holes or the scale of psal upscale or REBUILT or, for psal generate, None; options
ROWS = [
    (0.3, 8, 3, "jpg", SMALL, []),
    (1, 8, 3, "jpg", SMALL, []),
    (4, 8, 3, "jpg", SMALL, []),
    (16, 8, 3, "jpg", SMALL, []),
    (60, 8, 3, "jpg", SMALL, []),
    (150, 8, 3, "jpg", SMALL, []),
    (1, 8, 3, "png", WIDE, []),
    (4, 8, 3, "jpg", WIDE, []),
    (16, 8, 3, "jpg", SCRATCH, []),
    (16, 8, 1, "png", SMALL, []),
    (16, 16, 3, "png", SMALL, []),
    (60, 16, 3, "tif", SMALL, []),
    (16, 8, 3, "webp", SMALL, []),
    (16, 8, 4, "png", SMALL, []),
    (16, 8, 4, "webp", SMALL, []),
    (16, 16, 3, "png", SMALL, ["-o", "out.jpg"]),
    (16, 8, 3, "jpg", SMALL, ["--engine", "patch"]),
    (1, 8, 3, "jpg", WIDE, ["--engine", "network"]),
    (9, 8, 3, "jpg", SMALL, ["--engine", "network"]),
    (16, 8, 3, "jpg", SMALL, ["--engine", "network"]),
    (16, 8, 3, "jpg", SMALL, ["--mask", "layer.png"]),
    (16, 8, 3, "jpg", SMALL, ["--feather", "20"]),
    (60, 8, 3, "jpg", SMALL, ["--save-offsets", "field.png", "--compare", "compare.jpg"]),
    (16, 8, 3, "jpg", SMALL, ["--max-memory", "600M"]),
    (60, 8, 3, "jpg", SMALL, ["--max-memory", "1.2G"]),
    (60, 8, 3, "jpg", SMALL, ["--max-memory", "1.2G", "--mask", "layer.png"]),
    (60, 16, 3, "tif", SMALL, ["--max-memory", "1.6G"]),
    (150, 8, 3, "jpg", SMALL, ["--max-memory", "2G"]),
    (0.3, 8, 3, "jpg", 2, []),
    (0.3, 8, 3, "jpg", 8, []),
    (0.05, 8, 3, "png", 4, ["--ensemble"]),
    (0.05, 8, 3, "png", 2, ["--attention", "full"]),
    (1, 8, 3, "jpg", 4, []),
    (1, 16, 3, "png", 3, []),
    (1, 8, 4, "png", 2, []),
    (4, 8, 3, "jpg", 2, ["--max-memory", "3.2G"]),
    (0.05, 8, 3, "png", REBUILT, ["--attention", "full"]),
    (0.3, 8, 3, "jpg", REBUILT, []),
    (1, 16, 3, "png", REBUILT, ["-k", "8"]),
    (1, 8, 1, "png", REBUILT, ["--attention", "aggregation"]),
    (4, 8, 3, "jpg", REBUILT, ["--save-offsets", "field.png"]),
    (4, 8, 3, "jpg", REBUILT, ["--save-offsets", "field.npy"]),
    (16, 8, 4, "png", REBUILT, []),
    (0.3, 8, 3, "jpg", None, []),
    (2, 8, 3, "jpg", None, []),
    (2, 8, 3, "jpg", None, ["--coherence"]),
    (2, 8, 3, "jpg", None, ["--wrap", "--save-offsets", "field.png"]),
    (2, 8, 3, "jpg", None, ["--save-offsets", "field.npy"]),
    (2, 16, 3, "png", None, ["--method", "psin"]),
    (2, 8, 4, "png", None, []),
    (8, 8, 3, "jpg", None, ["--method", "psin"]),
    (0.1, 8, 3, "jpg", None, ["--size", "3000x2000"]),
    (4, 8, 1, "png", None, ["--method", "psin", "--size", "300x200"]),
]


def photograph(height: int, width: int, channels: int) -> np.ndarray:
    """uint8 [height, width, channels]: the photograph, mirrored at its borders as often as it takes."""
    source = np.array(Image.open(existing(PHOTO)).convert("RGB"))[..., :channels]
    rows, columns = (np.arange(2 * size) for size in source.shape[:2])
    rows, columns = (np.where(index < len(index) // 2, index, len(index) - 1 - index) for index in (rows, columns))
    return source[np.resize(rows, height)[:, None], np.resize(columns, width)]


def make(folder: Path, megapixels: float, bits: int, channels: int, extension: str, holes) -> tuple[int, int]:
    """Writes photo.EXT, mask.png and the same as a layer of one colour, layer.png; returns (width, height)."""
    from psal_cli.image import Picture, write_picture

    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = round(height * 1.5)
    pixels = photograph(height, width, min(channels, 3))
    alpha = np.resize(np.arange(255, 127, -1, np.uint8), (height, width)) if channels == 4 else None
    if bits == 16:
        pixels = pixels.astype(np.uint16) * 257
    write_picture(Picture(pixels, alpha, lossless=False), folder / f"photo.{extension}")
    mask = np.zeros((height, width), np.uint8)
    for top, left, tall, wide in holes if isinstance(holes, tuple) else ():
        top, left = round(top * height), round(left * height)
        mask[top : top + max(round(tall * height), 3), left : left + max(round(wide * height), 3)] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(np.dstack([np.full_like(pixels[..., :1], 200, np.uint8).repeat(3, 2), mask])).save(folder / "layer.png")
    return width, height


def run(folder: Path, *options: str) -> dict:
    command = [str(Path(sys.executable).parent / "psal"), *options, "--force", "--json", "-q"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def measure(megapixels: float, bits: int, channels: int, extension: str, holes, options: list[str]) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        width, height = make(folder, megapixels, bits, channels, extension, holes)
        photo = f"photo.{extension}"
        verb = VERBS[type(holes)]
        wants = {"inpaint": ["--mask", "mask.png"], "upscale": ["-x", str(holes)], "reconstruct": ["--from", photo]}.get(verb, [])
        arguments = [verb, *wants, photo, "-o", f"out.{extension}", *options]
        planned = run(folder, *arguments, "--dry-run")
        peak = run(folder, *arguments)["peak_memory_bytes"]
    named = {SMALL: "two small holes", WIDE: "a hole of a fifth", SCRATCH: "a scratch", REBUILT: REBUILT, None: "generate"}
    kind = named.get(holes, f"upscale x{holes}")
    colours = {1: "grey", 3: "colour", 4: "colour with alpha"}[channels]
    what = f"{width * height / 1e6:.1f} MP, {bits}-bit {colours} {extension.upper()}, {kind}"
    return {
        "verb": verb,
        "name": " ".join([what, *options]),
        "estimate_bytes": planned["memory_bytes"],
        "peak_bytes": peak,
        "relative_error": planned["memory_bytes"] / peak - 1,
        "reach": planned.get("reach"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-readme", action="store_true", help="also put the table into README.md")
    parser.add_argument("--verb", choices=VERBS.values(), help="measure its rows only, and keep the others as they are")
    arguments = parser.parse_args()
    before = json.loads((RESULTS / "memory.json").read_text())["rows"] if arguments.verb else []
    rows = []
    for verb in VERBS.values():
        if arguments.verb in (None, verb):
            for row in (row for row in ROWS if VERBS[type(row[4])] == verb):
                rows.append(measure(*row))
                print(json.dumps(rows[-1]), flush=True)
        else:
            rows += [row for row in before if row["verb"] == verb]
    write_json("memory", {**header("torch", "opencv-python-headless", "Pillow", "psal"), "rows": rows})
    cells = [
        [
            row["name"],
            f"{row['estimate_bytes'] / 1e9:.2f}",
            f"{row['peak_bytes'] / 1e9:.2f}",
            f"{100 * row['relative_error']:+.0f} %",
            row["reach"],
        ]
        for row in rows
    ]
    text = markdown_table(
        ["whole command, `psal inpaint` where it names no other", "estimate, GB", "measured, GB", "error", "reach, pixels"],
        cells,
    )
    print(text)
    if arguments.write_readme:
        write_readme("memory", text)


if __name__ == "__main__":
    main()
