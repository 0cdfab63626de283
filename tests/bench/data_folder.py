"""The folder of pictures that benchmarks need and that do not ship; by default it is beside the checkout."""

import argparse
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / "shared/data"
HIGHRES = FOLDER / "eval/highres"
PHOTO = HIGHRES / "seeding_by_Clements_Engelhardt.jpg"


def existing(path: str | Path) -> Path:
    """The path; if there is nothing, the program ends with one line."""
    if not Path(path).exists():
        raise SystemExit(f"{path} is missing: this benchmark needs pictures that do not ship, see tests/bench/README.md")
    return Path(path)


def add_data_option(parser: argparse.ArgumentParser, holds: str, inside: str = "") -> None:
    """Adds --data. holds: what that folder has, for the help; inside: the default, relative to FOLDER."""
    default = str(FOLDER / inside)
    parser.add_argument("--data", type=existing, default=default, help=f"folder with {holds}; default: %(default)s")
