"""`psal colorize --previous`: error and flicker of films, beside the same frames coloured one by one and the films themselves.

    .venv/bin/python tests/bench/bench_colorize_film.py --write-readme

The sequences of DAVIS at 448 pixels: the first frame is the reference, the others are coloured in order. Flicker is how much
chroma changes along the optical flow from frame to frame, where the flow is sure; the films themselves have some.
"""

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from bench_colorize_pairs import grey_of
from data_folder import add_data_option
from report import header, write_json, write_readme

from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.output import markdown_table
from psal_cli.benchmarks.pairs import frame
from psal_cli.image.cielab import coloured, lab, lightness
from psal_cli.verbs.colorize import coarse_to_fine
from psal_cli.verbs.colorize.film import carried, flow, sampled

WIDTH = 448
EACH, CARRIED, TRUTH = "each frame by itself", "`--previous`", "the film itself"


def film(folder: Path) -> list[np.ndarray]:
    """The frames of a sequence in order, uint8 [h, w, 3]."""
    frames = [frame(path, None) for path in sorted(folder.glob("*.jpg"), key=lambda path: int(path.stem))]
    height = round(WIDTH * frames[0].shape[0] / frames[0].shape[1])
    return [cv2.resize(x, (WIDTH, height), interpolation=cv2.INTER_AREA) for x in frames]


def ways(frames: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Chroma float32 [h, w, 2] of all frames, by each way; that of the first is always its own."""
    first, before = lab(frames[0])[..., 1:], frames[0]
    out = {EACH: [first], CARRIED: [first], TRUTH: [lab(x)[..., 1:] for x in frames]}
    for picture in frames[1:]:
        grey = grey_of(picture)
        found = coarse_to_fine.colorize(grey, [frames[0]])
        out[EACH].append(found.chroma)
        out[CARRIED].append(carried(found, before).chroma)
        before = coloured(grey, out[CARRIED][-1])
    return out


def flicker(chroma: list[np.ndarray], lights: list[np.ndarray]) -> float:
    """Units of Lab from frame to frame along the flow, where it returns to within a pixel and the lightness is the same."""
    changes = []
    for (before, light), (after, now) in pairwise(zip(chroma, lights, strict=True)):
        back = flow(now, light)
        astray = np.linalg.norm(back + sampled(flow(light, now), back), axis=2)
        sure = (astray < 1) & (np.abs(sampled(light, back) - now) < 0.05)
        changes.append(100 * np.linalg.norm(sampled(before, back) - after, axis=2)[sure].mean())
    return float(np.mean(changes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser, "the sequences of DAVIS", "eval/DAVIS")
    parser.add_argument("--write-readme", action="store_true", help="also put the table into tests/bench/README.md")
    arguments = parser.parse_args()
    rows = []
    for folder in sorted(path for path in arguments.data.iterdir() if path.is_dir()):
        frames = film(folder)
        lights = [lightness(grey_of(x)) for x in frames]
        for way, chroma in (made := ways(frames)).items():
            error = np.mean([((100 * (x - y)) ** 2).mean() for x, y in zip(chroma[1:], made[TRUTH][1:], strict=True)])
            rows.append({"film": folder.name, "way": way, "error": float(error), "flicker": flicker(chroma, lights)})
            print(f"{folder.name}, {way}: error {error:.1f}, flicker {rows[-1]['flicker']:.2f}", file=sys.stderr, flush=True)
    results = {**header("torch", "psal"), "rows": rows}
    write_json("colorize-film", results)
    cells = []
    for way in (TRUTH, EACH, CARRIED):
        own = [row for row in rows if row["way"] == way]
        error, change = (float(np.mean([row[name] for row in own])) for name in ("error", "flicker"))
        cells.append([way, "" if way == TRUTH else f"{error:.1f}", f"{change:.2f}"])
    text = markdown_table([f"{len(rows) // 3} films of DAVIS, {WIDTH} pixels", "squared error of chroma", "flicker"], cells)
    text += f"\n\n{where(results)}"
    print(text)
    if arguments.write_readme:
        write_readme("colorize-film", text)


if __name__ == "__main__":
    main()
