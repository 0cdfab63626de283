"""`psal colorize` between different photographs, beside two classical transfers of colour and the network of the paper.

    .venv/bin/python tests/bench/gather_colour_pairs.py
    .venv/bin/python tests/bench/bench_colorize_pairs.py --write-readme --page out/pairs.jpg

The pairs of colour_pairs.toml, 448 pixels long: two views of one place, the two sides of a photograph, two scenes of one kind.
Settings are chosen by the part "choose" (--part choose); the figures of README.md are those of the part "report".
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from colorize_methods import by_guess, by_paper, by_psal
from colour_faults import colourfulness, lost_edges, speckles, stray_edges, wrong_hue
from colour_pairs import KINDS, PARTS, PhotographPair, photograph_pairs
from colour_transfer import reinhard, welsh
from data_folder import add_data_option
from PIL import Image
from report import header, write_json, write_readme

from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.output import markdown_table
from psal_cli.image.cielab import coloured, lab, lightness
from psal_cli.verbs.colorize.semantics import PACKAGES

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
OURS, SEMANTIC = "`psal colorize`", "`psal colorize --features semantic`"
HEADS = {"place": "views of one place", "sides": "two sides of a photograph", "kind": "scenes of one kind"}
HEIGHT = 180  # pixels: of the pictures of the sheet
MEASURES = ("error", "wrong_hue", "lost_edges", "stray_edges", "speckles", "colourfulness")


def methods() -> dict[str, Method]:
    found = {
        "Reinhard et al. 2001, in Lab": lambda grey, reference: reinhard(lightness(grey), lab(reference)),
        "Welsh et al. 2002": lambda grey, reference: welsh(lightness(grey), lab(reference)),
        "paper network, aggregation": partial(by_paper, "aggregation"),
        OURS: by_psal,
        "`psal colorize --auto`, without the reference": by_guess,
    }
    if all(importlib.util.find_spec(name) for name in PACKAGES):
        found[SEMANTIC] = partial(by_psal, semantic=True)
    return found


def measured(pair: PhotographPair, grey: np.ndarray, chroma: np.ndarray) -> dict[str, float]:
    """The measures of one result; colourfulness: over that of the reference."""
    truth = lab(pair.target)
    return {
        "error": float((((chroma - truth[..., 1:]) * 100) ** 2).mean()),
        "wrong_hue": wrong_hue(truth[..., 1:], chroma),
        "lost_edges": lost_edges(truth[..., 1:], chroma),
        "stray_edges": stray_edges(truth[..., 0], chroma),
        "speckles": speckles(chroma),
        "colourfulness": colourfulness(coloured(grey, chroma)) / max(colourfulness(pair.reference), 1.0),
    }


def grey_of(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 1], of the luminance of uint8 [H, W, 3]."""
    return coloured(picture, np.zeros((*picture.shape[:2], 2), np.float32))[..., :1]


def run(pairs: Iterable[PhotographPair], ways: dict[str, Method], page: Path | None) -> list[dict]:
    """A row a pair and method. page: where to draw the pairs: reference, input, truth, and each method's result."""
    rows, strips = [], []
    for pair in pairs:
        grey = grey_of(pair.target)
        strip = [pair.reference, grey.repeat(3, 2), pair.target]
        for name, colours in ways.items():
            chroma = colours(grey, pair.reference)
            rows.append({"pair": pair.name, "kind": pair.kind, "method": name, **measured(pair, grey, chroma)})
            strip.append(coloured(grey, chroma))
        strips.append(np.concatenate([_scaled(picture) for picture in strip], 1))
        print(f"{pair.kind} {pair.name}: {rows[-1]['error']:.1f}", file=sys.stderr, flush=True)
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        width = max(strip.shape[1] for strip in strips)
        padded = [np.pad(strip, ((0, 6), (0, width - strip.shape[1]), (0, 0)), constant_values=255) for strip in strips]
        Image.fromarray(np.concatenate(padded)).save(page, quality=90)
    return rows


def means(rows: list[dict]) -> list[dict]:
    """Of the rows of `run`, by kind and method, in their order."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["kind"], row["method"]), []).append(row)
    return [
        {"kind": kind, "method": method, "pairs": len(group), **{m: float(np.mean([row[m] for row in group])) for m in MEASURES}}
        for (kind, method), group in groups.items()
    ]


def table(kind: str, rows: list[dict]) -> str:
    """Of the means of one kind."""
    ours = next(row["error"] for row in rows if row["method"] == OURS)
    cells = [
        [
            row["method"],
            f"{row['error']:.1f}",
            f"{ours / row['error']:.2f}",
            *(f"{row[m] * 100:.1f}" for m in ("wrong_hue", "lost_edges", "stray_edges", "speckles")),
            f"{row['colourfulness']:.2f}",
        ]
        for row in rows
    ]
    head = f"{rows[0]['pairs']} pairs, {HEADS[kind]}"
    names = ["wrong hue, %", "lost edges, %", "stray edges, %", "speckles, %", "colourfulness"]
    return markdown_table([head, "squared error of chroma", "`psal colorize` over it", *names], cells)


def _scaled(picture: np.ndarray) -> np.ndarray:
    width = round(picture.shape[1] * HEIGHT / picture.shape[0])
    return cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser, "photos/, scenes/ and video/")
    parser.add_argument("--part", choices=PARTS, default="report")
    parser.add_argument("--page", type=Path, help="draw a sheet of all pairs")
    parser.add_argument("--write-readme", action="store_true", help="also put the tables into tests/bench/README.md")
    arguments = parser.parse_args()
    if arguments.write_readme and arguments.part != "report":
        parser.error("--write-readme is for the part that is reported")
    rows = run(photograph_pairs(arguments.part, arguments.data), methods(), arguments.page)
    results = {**header("torch", "psal"), "part": arguments.part, "means": means(rows), "pairs": rows}
    if arguments.part == "report":
        write_json("colorize-pairs", results)
    by_kind = {kind: [row for row in results["means"] if row["kind"] == kind] for kind in KINDS}
    text = "\n\n".join(table(kind, group) for kind, group in by_kind.items()) + f"\n\n{where(results)}"
    print(text)
    if arguments.write_readme:
        write_readme("colorize-pairs", text)


if __name__ == "__main__":
    main()
