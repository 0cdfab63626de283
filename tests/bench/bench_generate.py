"""`psal generate`: how like their reference samples are, how unlike each other, how much of them is copied whole; seconds.

    .venv/bin/python tests/bench/bench_generate.py --write-readme                    # 50 pictures, 50 samples each: two hours
    .venv/bin/python tests/bench/bench_generate.py --pictures 5 --samples 8 --dry    # a first look

The middle squares of training photographs, reduced to 256 pixels. Of the first sample of each, beside its reference:

- transport: the mean squared distance over which the optimal assignment (scipy's linear_sum_assignment) moves the 11x11 patches
  of the one onto those of the other, in colours, white = 1, both pictures reduced to 48 pixels;
- sliced Wasserstein distance of 7x7 patches, in grey levels, at the full size, a half and a quarter;
- gradients: the mean absolute difference of neighbours, divided by the reference's: less than 1 is blur, more are seams.

Of all samples: diversity, the mean over the pixels of their standard deviation, divided by the reference's; copied, the share of
pixels in a square of 33x33 that is a piece of the reference as it is; seconds of one. Then a sample of 2 megapixels.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from data_folder import add_data_option
from metrics import patches_in, sliced_wasserstein
from PIL import Image
from report import RESULTS, header, write_json, write_readme
from scipy.optimize import linear_sum_assignment

from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.output import markdown_table
from psal_cli.verbs.generate.options import GenerateOptions
from psal_cli.verbs.generate.sampling import sample

LARGE = "eval/highres/seeding_by_Clements_Engelhardt.jpg"
LARGE_SIZE = (1632, 1224)
SIDE, SMALL, PATCH_SIZE, BLOCK = 256, 48, 11, 33
SCALES = (1, 2, 4)
METHODS = ("psin", "psinot")
# The authors' talk: transport and diversity, 50 samples each of pictures of Places50, in units of their own.
TALK = {"SinGAN": (1.34, 0.34), "psin": (0.94, 0.62), "psinot": (0.36, 0.53)}


def reference(path: Path) -> np.ndarray:
    """uint8 [256, 256, 3]."""
    picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    side = min(picture.shape[:2])
    top, left = ((n - side) // 2 for n in picture.shape[:2])
    return cv2.resize(picture[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def reduced(picture: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


def transport(sample: np.ndarray, given: np.ndarray) -> float:
    x, y = (
        np.lib.stride_tricks.sliding_window_view(reduced(p, SMALL).astype(np.float32) / 255, (PATCH_SIZE, PATCH_SIZE), (0, 1))
        for p in (sample, given)
    )
    x, y = (p.reshape(p.shape[0] * p.shape[1], -1) for p in (x, y))
    cost = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * x @ y.T
    return float(cost[linear_sum_assignment(cost)].mean())


def sliced(sample: np.ndarray, given: np.ndarray) -> list[float]:
    out = []
    for scale in SCALES:
        side = SIDE // scale
        out.append(sliced_wasserstein(*(patches_in(reduced(p, side), np.ones((side, side), bool)) for p in (sample, given))))
    return out


def copied(nnf: np.ndarray) -> float:
    """The share of pixels in a square of BLOCK pixels whose matches, int32 [2, H, W], all have one offset."""
    offset = nnf - np.indices(nnf.shape[1:])
    code = offset[0].astype(np.int64) * (1 << 20) + offset[1]
    steps = np.zeros((2, *code.shape), np.float32)  # where a pixel is from elsewhere than that above, on its left
    steps[0, 1:], steps[1, :, 1:] = np.diff(code, axis=0) != 0, np.diff(code, axis=1) != 0
    tall, wide = ((BLOCK, BLOCK - 1), (BLOCK - 1, BLOCK))
    height, width = (side - BLOCK + 1 for side in code.shape)
    rows = cv2.boxFilter(steps[0], -1, tall, anchor=(0, 0), normalize=False, borderType=cv2.BORDER_CONSTANT)
    columns = cv2.boxFilter(steps[1], -1, wide, anchor=(0, 0), normalize=False, borderType=cv2.BORDER_CONSTANT)
    whole = (rows[1 : 1 + height, :width] + columns[:height, 1 : 1 + width] < 0.5).astype(np.uint8)
    whole = cv2.copyMakeBorder(whole, 0, BLOCK - 1, 0, BLOCK - 1, cv2.BORDER_CONSTANT)
    inside = cv2.dilate(whole, np.ones((BLOCK, BLOCK), np.uint8), anchor=(BLOCK - 1, BLOCK - 1))
    return float(inside.mean())


def gradients(picture: np.ndarray) -> float:
    grey = picture.mean(2)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def measured(path: Path, method: str, samples: int) -> dict:
    given, seconds, made = reference(path), [], []
    for seed in range(samples):
        start = time.perf_counter()
        made.append(sample(given, options=GenerateOptions(method=method, seed=seed)))
        seconds.append(time.perf_counter() - start)
    first, stack = made[0].pixels, np.stack([result.pixels for result in made]).astype(np.float32)
    return {
        "picture": path.name,
        "method": method,
        "samples": samples,
        "transport": transport(first, given),
        "sliced_wasserstein": sliced(first, given),
        "diversity": float(stack.std(0, ddof=1).mean() / given.std((0, 1)).mean()),
        "copied": float(np.mean([copied(result.nnf[0]) for result in made])),
        "gradients": gradients(first) / gradients(given),
        "seconds": float(np.median(seconds)),
    }


def large(method: str, data: Path) -> dict:
    """The whole command on a photograph of 2 megapixels, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        Image.open(data / LARGE).convert("RGB").resize(LARGE_SIZE, Image.Resampling.BOX).save(Path(folder, "in.jpg"), quality=95)
        psal = Path(sys.executable).parent / "psal"
        command = [str(psal), "generate", "in.jpg", "-o", "out.jpg", "--method", method, "--json", "-q"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    record = json.loads(done.stdout)
    return {"method": method, "size": list(LARGE_SIZE), "seconds": record["seconds"], "peak_bytes": record["peak_memory_bytes"]}


def table(results: dict) -> str:
    """Means over the pictures; of the seconds the median."""
    lines = []
    for name in ("SinGAN", *METHODS):
        rows = [row for row in results["rows"] if row["method"] == name]
        line = [name, *(f"{figure:.2f}" for figure in TALK[name]), *[None] * 7]
        if rows:
            distances = np.mean([row["sliced_wasserstein"] for row in rows], 0)
            line[3:] = [f"{np.mean([row[key] for row in rows]):.2f}" for key in ("transport", "diversity", "gradients")]
            line += [" / ".join(f"{d:.1f}" for d in distances), f"{100 * np.mean([row['copied'] for row in rows]):.0f} %"]
            line += [f"{np.median([row['seconds'] for row in rows]):.1f}", f"{max(row['seconds'] for row in rows):.1f}"]
        lines.append(line)
    columns = ["method", "talk: transport", "talk: diversity", "transport", "diversity", "gradients", "sliced Wasserstein"]
    text = markdown_table([*columns, "copied", "s", "s, at most"], lines)
    psin, psinot = (np.mean([row["transport"] for row in results["rows"] if row["method"] == name]) for name in METHODS)
    count, samples = len(results["rows"]) // len(METHODS), results["rows"][0]["samples"]
    text += f"\n\n{count} pictures, {samples} samples each. The transport of psinot costs {psinot / psin:.2f} of psin's."
    for row in results["large"]:
        width, height = row["size"]
        text += f" {row['method']}, {width}x{height}: {row['seconds']:.0f} s, {row['peak_bytes'] / 1e9:.2f} GB."
    return f"{text}\n\n{where(results)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--samples", type=int, default=50)
    add_data_option(parser, "photos/ and eval/")
    parser.add_argument("--dry", action="store_true", help="write no results")
    parser.add_argument("--from-json", action="store_true", help="no measuring: the table of results/generate.json")
    parser.add_argument("--write-readme", action="store_true", help="also put the table into tests/bench/README.md")
    arguments = parser.parse_args()
    if arguments.from_json:
        results = json.loads((RESULTS / "generate.json").read_text())
    else:
        files = sorted((arguments.data / "photos").glob("*.webp"))
        files = files[:: len(files) // arguments.pictures][: arguments.pictures]
        results = header("torch", "opencv-python-headless", "scipy", "psal") | {"rows": []}
        for path in files:
            for method in METHODS:
                results["rows"].append(measured(path, method, arguments.samples))
                print(json.dumps(results["rows"][-1]), file=sys.stderr, flush=True)
        results["large"] = [large(method, arguments.data) for method in METHODS]
        if not arguments.dry:
            write_json("generate", results)
    print(table(results))
    if arguments.write_readme:
        write_readme("generate", table(results))


if __name__ == "__main__":
    main()
