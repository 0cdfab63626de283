"""Quality, seconds and memory of `psal colorize`, beside two classical transfers of colour and the network of the paper.

    .venv/bin/python tests/bench/bench_colorize.py --write-readme --page out/colorize.jpg

Quality: DAVIS at 854x480, the target made grey without a change of luminance, references 1, 3, 5 and 10 frames before and after;
mean squared error of a* and b* over all pixels (CIE Lab, range about -100 to 100); and pairs of two photographs of one kind of
place. Speckles and stray edges are counted in all of them. Speed: the whole command.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from colorize_methods import by_paper, by_paper_reduced, by_psal, by_votes
from colour_faults import speckles, stray_edges
from colour_transfer import reinhard, welsh
from data_folder import FOLDER, HIGHRES, PHOTO, add_data_option
from PIL import Image
from report import header, write_json, write_readme

from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.output import markdown_table
from psal_cli.benchmarks.pairs import Pair, pairs
from psal_cli.image.cielab import coloured, lab, lightness
from psal_cli.weights import manifest

PHOTOGRAPHS = ((201, 273), (171, 294), (126, 21))
TRUTH, OURS = "the picture itself", "`psal colorize`"
REPEATS = 3


def methods() -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Name -> (grey uint8 [H, W, 1], reference uint8 [H, W, 3]) -> chroma float32 [H, W, 2], divided by 100."""
    fillers = {
        "Reinhard et al. 2001, in Lab": lambda grey, reference: reinhard(lightness(grey), lab(reference)),
        "Welsh et al. 2002": lambda grey, reference: welsh(lightness(grey), lab(reference)),
    }
    for name in ("psal3", "aggregation"):
        if f"colorize-paper-{name}" in manifest():
            fillers[f"paper network, {name}"] = partial(by_paper, name)
            fillers[f"paper network, {name}, at 256x256"] = partial(by_paper_reduced, name)
    fillers["psal's matches alone"] = by_votes
    fillers[OURS] = by_psal
    return fillers


def photographs() -> Iterator[Pair]:
    """Pairs of two different photographs of one kind of place (of the training set: nothing else here has such), 854 px wide."""
    for numbers in PHOTOGRAPHS:
        target, reference = (_photograph(FOLDER / f"photos/{number:04}.webp", 854) for number in numbers)
        yield Pair(f"photos {numbers[0]} from {numbers[1]}", 0, target, reference)


def sides() -> Iterator[Pair]:
    """The left and the right of photographs that nothing was trained on, each coloured from the other; 854 px wide both."""
    for path in sorted(HIGHRES.glob("*.jpg")):
        photo = _photograph(path, 2 * 854)
        left, right = (np.ascontiguousarray(photo[:, part]) for part in (slice(854), slice(854, None)))
        yield Pair(f"{path.stem}, left from right", 0, left, right)
        yield Pair(f"{path.stem}, right from left", 0, right, left)


def _photograph(path: Path, width: int) -> np.ndarray:
    picture = Image.open(path).convert("RGB")
    return np.asarray(picture.resize((width, round(width * picture.height / picture.width)), Image.Resampling.LANCZOS))


def quality(pairs: Iterable[Pair], page: Path | None) -> list[dict]:
    """A row a method, and one of the pictures as they are. page: where to draw the pairs, of a clip only two."""
    rows, strips = {name: [] for name in (TRUTH, *methods())}, []
    for pair in pairs:
        truth = lab(pair.target)
        grey = coloured(pair.target, np.zeros((*pair.target.shape[:2], 2), np.float32))[..., :1]
        strip = [pair.reference, np.repeat(grey, 3, 2), pair.target]
        for name, colours in {TRUTH: None, **methods()}.items():
            chroma = colours(grey, pair.reference) if colours else truth[..., 1:]
            error = float((((chroma - truth[..., 1:]) * 100) ** 2).mean())
            specks = {"speckles": speckles(chroma), "stray_edges": stray_edges(truth[..., 0], chroma)}
            rows[name].append({"pair": f"{pair.sequence} {pair.distance:+d}", "error": error, **specks})
            if name != TRUTH:
                strip.append(coloured(grey, chroma))
        if page and pair.distance in (-10, 0, 5):
            strips.append(_strip(strip))
        print(f"{pair.sequence} {pair.distance:+d}: {rows[OURS][-1]['error']:.1f}", file=sys.stderr, flush=True)
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        width = max(strip.shape[1] for strip in strips)
        padded = [np.pad(strip, ((0, 8), (0, width - strip.shape[1]), (0, 0)), constant_values=255) for strip in strips]
        Image.fromarray(np.concatenate(padded)).save(page, quality=90)
    names = ("error", "speckles", "stray_edges")
    return [{"method": m, **{n: float(np.mean([p[n] for p in row])) for n in names}, "pairs": row} for m, row in rows.items()]


def _strip(pictures: list[np.ndarray]) -> np.ndarray:
    """Reference, input, truth and what each method makes of it, half as large; the reference as high as the others."""
    height = pictures[1].shape[0] // 2
    sizes = [(round(x.shape[1] * height / x.shape[0]), height) for x in pictures]
    small = [cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x, size in zip(pictures, sizes, strict=True)]
    return np.concatenate(small, 1)


def speed(folder: Path) -> list[dict]:
    """The median of a few runs of the whole command, after one that warms the disk's cache."""
    small = [Image.open(folder / "blackswan" / f"{name}.jpg") for name in ("+00", "+05")]
    photo = Image.open(PHOTO).convert("RGB")
    large = [photo.resize((4000, 3000)), photo.crop((200, 100, 4900, 2900)).resize((4000, 3000))]
    return [_timed(name, *pictures) for name, pictures in (("854x480", small), ("4000x3000, 12 MP", large))]


def _timed(name: str, target: Image.Image, reference: Image.Image) -> dict:
    with tempfile.TemporaryDirectory() as place:
        target.convert("L").save(Path(place, "grey.jpg"), quality=92)
        reference.save(Path(place, "reference.jpg"), quality=92)
        command = [str(Path(sys.executable).parent / "psal"), "colorize", "grey.jpg", "--ref", "reference.jpg", "-o", "out.jpg"]
        planned = subprocess.run([*command, "--dry-run", "--json"], cwd=place, capture_output=True, text=True, check=True)
        seconds = []
        for _ in range(REPEATS + 1):
            start = time.perf_counter()
            done = subprocess.run([*command, "--force", "--json", "-q"], cwd=place, capture_output=True, text=True, check=True)
            seconds.append(time.perf_counter() - start)
    peak, estimate = json.loads(done.stdout)["peak_memory_bytes"], json.loads(planned.stdout)["memory_bytes"]
    return {"name": name, "seconds": float(np.median(seconds[1:])), "peak_bytes": peak, "estimated_bytes": estimate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser, "the sequences of DAVIS", "eval/DAVIS")
    parser.add_argument("--page", type=Path, help="draw sheets: of this name and _davis, _sides, _photographs")
    parser.add_argument("--write-readme", action="store_true", help="also put the tables into tests/bench/README.md")
    arguments = parser.parse_args()
    sets = {"davis": pairs(arguments.data), "sides": sides(), "photographs": photographs()}
    pages = {name: arguments.page and arguments.page.with_stem(f"{arguments.page.stem}_{name}") for name in sets}
    results = {
        **header("torch", "psal"),
        **{name: quality(pairs_of_set, pages[name]) for name, pairs_of_set in sets.items()},
        "speed": speed(arguments.data),
    }
    write_json("colorize", results)
    heads = {
        "davis": "80 pairs of DAVIS, 854x480",
        "sides": "the two sides of 3 photographs",
        "photographs": f"{len(PHOTOGRAPHS)} pairs of different photographs",
    }
    text = "\n\n".join(_quality_table(head, results[name]) for name, head in heads.items())
    cells = [
        [row["name"], f"{row['seconds']:.1f}", *(f"{row[name] / 1e9:.2f}" for name in ("peak_bytes", "estimated_bytes"))]
        for row in results["speed"]
    ]
    text += "\n\n" + markdown_table([f"{OURS}, whole command", "seconds", "GB at its peak", "GB estimated"], cells)
    text += f"\n\n{where(results)}"
    print(text)
    if arguments.write_readme:
        write_readme("colorize", text)


def _quality_table(head: str, rows: list[dict]) -> str:
    ours = rows[-1]["error"]
    cells = [
        [
            row["method"],
            *([f"{row['error']:.1f}", f"{ours / row['error']:.2f}"] if row["error"] else ["", ""]),
            *(f"{row[name] * 100:.2f}" for name in ("speckles", "stray_edges")),
        ]
        for row in rows
    ]
    return markdown_table([head, "mean squared error of chroma", f"{OURS} over it", "speckles, %", "stray edges, %"], cells)


if __name__ == "__main__":
    main()
