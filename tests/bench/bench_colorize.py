"""Quality, seconds and memory of `psal colorize`, beside two classical transfers of colour and the network of the paper.

    .venv/bin/python tests/bench/bench_colorize.py --write-readme --page out/colorize.jpg

Quality: DAVIS at 854x480, the target made grey without a change of luminance, references 1, 3, 5 and 10 frames before and after;
mean squared error of a* and b* over all pixels (CIE Lab, range about -100 to 100). Speed: the whole command.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from colour_transfer import reinhard, welsh
from davis import FOLDER, ROOT, Pair, pairs
from PIL import Image
from report import header, table, write_json, write_readme

from psal_cli.tasks import colorize as task
from psal_cli.tasks import paper_colorization
from psal_cli.tasks.chroma import coloured, lab, lightness
from psal_cli.tasks.enlarging import Enlarged
from psal_cli.weights import manifest

HIGHRES = ROOT.parent / "shared/data/eval/highres"
REPEATS = 3


def methods() -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Name -> (grey uint8 [H, W, 1], reference uint8 [H, W, 3]) -> chroma float32 [H, W, 2], divided by 100."""
    found = {
        "Reinhard et al. 2001, in Lab": lambda grey, reference: reinhard(lightness(grey), lab(reference)),
        "Welsh et al. 2002": lambda grey, reference: welsh(lightness(grey), lab(reference)),
    }
    for name in ("psal3", "aggregation"):
        if f"colorize-paper-{name}" in manifest():
            found[f"paper network, {name}"] = partial(by_paper, name)
            found[f"paper network, {name}, at 256x256"] = partial(by_paper_reduced, name)
    found["`psal colorize`"] = by_psal
    return found


def by_paper(layer: str, grey: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return paper_colorization.colorize(grey, [reference], attention=layer).chroma


def by_paper_reduced(layer: str, grey: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """At the size that the network was trained with; the chroma enlarged."""
    grey_small, reference_small = (cv2.resize(x, (256, 256), interpolation=cv2.INTER_AREA) for x in (grey, reference))
    return cv2.resize(by_paper(layer, grey_small[..., None], reference_small), grey.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def by_psal(grey: np.ndarray, reference: np.ndarray) -> np.ndarray:
    found = task.colorize(grey, [reference])
    return Enlarged(found.chroma, found.light, grey.shape[:2]).rows(0, len(grey), lightness(grey))


def quality(folder: Path, page: Path | None) -> list[dict]:
    """A row a method."""
    rows, strips = {name: [] for name in methods()}, []
    for pair in pairs(folder):
        truth = lab(pair.target)
        grey = coloured(pair.target, np.zeros((*pair.target.shape[:2], 2), np.float32))[..., :1]
        strip = [pair.reference, np.repeat(grey, 3, 2), pair.target]
        for name, colours in methods().items():
            chroma = colours(grey, pair.reference)
            squared = ((chroma - truth[..., 1:]) * 100) ** 2
            rows[name].append({"pair": f"{pair.sequence} {pair.distance:+d}", "error": float(squared.mean())})
            strip.append(coloured(grey, chroma))
        if pair.distance in (-10, 5):
            strips.append(_strip(pair, strip))
        print(f"{pair.sequence} {pair.distance:+d}: {rows['`psal colorize`'][-1]['error']:.1f}", file=sys.stderr, flush=True)
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate(strips)).save(page, quality=90)
    return [
        {"method": name, "error": float(np.mean([p["error"] for p in found])), "pairs": found} for name, found in rows.items()
    ]


def _strip(pair: Pair, pictures: list[np.ndarray]) -> np.ndarray:
    """Reference, input, truth and what each method makes of it, half as large."""
    return np.concatenate([cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for picture in pictures], 1)


def speed(folder: Path) -> list[dict]:
    """The median of a few runs of the whole command, after one that warms the disk's cache."""
    small = [Image.open(folder / "blackswan" / f"{name}.jpg") for name in ("+00", "+05")]
    photo = Image.open(sorted(HIGHRES.glob("seeding*"))[0]).convert("RGB")
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
    parser.add_argument("--data", type=Path, default=FOLDER, help="the folder with the sequences")
    parser.add_argument("--page", type=Path, help="write a sheet of pictures there")
    parser.add_argument("--write-readme", action="store_true", help="also put the tables into tests/bench/README.md")
    arguments = parser.parse_args()
    rows, times = quality(arguments.data, arguments.page), speed(arguments.data)
    results = {**header("torch", "psal"), "quality": rows, "speed": times}
    write_json("colorize", results)
    ours = rows[-1]["error"]
    cells = [[row["method"], f"{row['error']:.1f}", f"{ours / row['error']:.2f}"] for row in rows]
    text = table(["80 pairs of DAVIS, 854x480", "mean squared error of chroma", "`psal colorize` over it"], cells)
    cells = [
        [row["name"], f"{row['seconds']:.1f}", *(f"{row[name] / 1e9:.2f}" for name in ("peak_bytes", "estimated_bytes"))]
        for row in times
    ]
    text += "\n\n" + table(["`psal colorize`, whole command", "seconds", "GB at its peak", "GB estimated"], cells)
    machine = results["machine"]
    text += f"\n\n{machine['processor']}, {machine['cores']} cores, {results['date']}."
    print(text)
    if arguments.write_readme:
        write_readme("colorize", text)


if __name__ == "__main__":
    main()
