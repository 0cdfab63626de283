"""The options that the commands of the inpainting bench share."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import torch
from data_folder import add_data_option
from inpaint_cases import COUNTS, PARTS, Case, cases
from inpaint_masks import Silhouette, silhouettes_in
from inpaint_methods import METHODS, Filler
from inpaint_removals import drawn_silhouettes


def add_case_options(parser: argparse.ArgumentParser) -> None:
    """Which of the seeded holes."""
    parser.add_argument("--part", choices=(*PARTS, "both"), default="report", help="of the cases (default: report)")
    parser.add_argument("--folder", choices=COUNTS, help="cases of this folder only: to run each on a core of its own")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth case only, for a quick look")
    parser.add_argument("--seed", type=int, default=0, help="of pictures and masks (default: 0)")
    parser.add_argument("--silhouettes", type=Path, metavar="DIR", help="PNGs of objects on black; default DATA/silhouettes")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Where the pictures are, and how many threads work on them."""
    add_data_option(parser, "scenes/, photos/ and eval/")
    parser.add_argument("--threads", type=int, default=1, help="of torch and OpenCV (default: 1)")


def set_threads(count: int) -> None:
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def methods_of(parser: argparse.ArgumentParser, listed: str) -> list[str]:
    """The methods of a list separated by commas; some names hold commas themselves ("psal network, PSAL-3")."""
    methods: list[str] = []
    for part in (part.strip() for part in listed.split(",")):
        if methods and f"{methods[-1]}, {part}" in METHODS:
            methods[-1] += f", {part}"
        else:
            methods.append(part)
    if unknown := [name for name in methods if name not in METHODS]:
        parser.error(f"no method named {unknown[0]!r}; there are: {'; '.join(METHODS)}")
    return methods


def load(chosen: list[str]) -> tuple[dict[str, Filler], dict[str, str]]:
    """The methods that can run, and for each of the others what is missing."""
    loaded: dict[str, Filler] = {}
    missing: dict[str, str] = {}
    for name in chosen:
        try:
            loaded[name] = METHODS[name].load()
        except ImportError as error:
            missing[name] = str(error)
    return loaded, missing


def silhouettes(data: Path, folder: Path | None) -> list[Silhouette]:
    """Those of the folder or of the data's; where there is neither, those drawn for the removals, and a line that says so."""
    if folder is None:
        folder = data / "silhouettes"
        if not folder.exists():
            print(f"{folder} does not exist: objects have the shapes drawn in removals.json (see --silhouettes)", file=sys.stderr)
            return drawn_silhouettes()
    return silhouettes_in(folder)


def chosen_cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """The cases that the options name.

    Raises:
        FileNotFoundError: a folder has no pictures.
    """
    parts = PARTS if arguments.part == "both" else (arguments.part,)
    all_cases = cases(arguments.data, parts, silhouettes(arguments.data, arguments.silhouettes), arguments.seed, arguments.folder)
    return (case for number, case in enumerate(all_cases) if number % arguments.every == 0)
