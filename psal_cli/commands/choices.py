"""-n and --sheet of `psal inpaint`: several fills of one hole, and a sheet to choose from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from psal_cli.batch.inputs import Item, as_path
from psal_cli.batch.plan import make_folders
from psal_cli.commands import parameters
from psal_cli.commands.arguments import InpaintArguments
from psal_cli.commands.options import group
from psal_cli.commands.ranges import IntRange
from psal_cli.errors import InputError
from psal_cli.files import STDIO

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from psal_cli.image import Picture
    from psal_cli.patchmatch.regions import Box

choice_options = group(
    click.option("-n", "results", type=IntRange(1, 9999), default=1, show_default=True, help="Number of fills of each IMAGE."),
    click.option(
        "--sheet",
        type=parameters.RESULT,
        help="Also write all fills of each IMAGE on one sheet, cut out around the hole, with their seeds.",
    ),
)


def check_choices(arguments: InpaintArguments) -> None:
    """Raises click.UsageError if there are not enough seeds, InputError if a sheet could not read the results."""
    if arguments.seed + arguments.results > 2**32:
        many = f"{arguments.results} fills need as many seeds, which end at 2^32 - 1"
        raise click.UsageError(f"--seed {arguments.seed}: {many}")
    if arguments.sheet and arguments.output == str(STDIO):
        raise InputError("--sheet shows results from their files: name a file with -o")


def write_sheet(
    arguments: InpaintArguments,
    items: list[Item],
    before: Callable[[Item], Picture],
    hole: Callable[[Item], npt.NDArray[np.bool_]],
    seed: Callable[[Item], int],
) -> None:
    """Writes --sheet: a row for each picture, the original first, then its fills. Raises PsalError.

    before: reads the picture of an item at the size of its result; hole: its filled pixels, bool [H, W]; seed: of its fill.
    """
    from psal_cli.image import read_picture, write_picture
    from psal_cli.viz.cutouts import around
    from psal_cli.viz.drawing import contact_sheet

    rows: dict[tuple[Path, ...], list[Item]] = {}
    for item in items:
        rows.setdefault((item.input, *item.sidecar_files), []).append(item)
    pictures, labels = [], []
    for row in rows.values():
        box = around(hole(row[0]))
        readers = [partial(before, row[0]), *(partial(read_picture, item.output, arguments.max_pixels) for item in row)]
        pictures.append([partial(_part, read, box) for read in readers])
        labels.append(["before", *(f"seed {seed(item)}" for item in row)])
    path = as_path(arguments.sheet or "")
    make_folders([path])
    write_picture(contact_sheet(pictures, labels), path, arguments.force)


def _part(read: Callable[[], Picture], box: Box) -> Picture:
    from psal_cli.viz.cutouts import cut_out

    return cut_out(read(), box)
