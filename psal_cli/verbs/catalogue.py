"""Lists the available networks: those that ship with psal and those in the user's model folder."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

from psal_cli import weights as stored
from psal_cli.errors import InputError, PsalError
from psal_cli.foreign import folder
from psal_cli.foreign.about import ENLARGES, About, digest, licence_in, safetensors_metadata

LICENCE = "MIT"  # psal's own, which its weights share
VERBS = {"inpaint": "inpainting", "colorize": "colour", "upscale": ENLARGES}


@dataclass(frozen=True)
class Entry:
    """One network.

    Attributes:
        name: as options take it. path: its file. ships: whether it ships with psal.
        task, architecture: in words. scale: None if it does not enlarge. parameters: their number.
        licence: None if its file states none. sha256: of the file.
        problem: why it cannot be used, None if it can. Unknown attributes are then None.
    """

    name: str
    path: Path
    ships: bool
    task: str | None = None
    architecture: str | None = None
    scale: int | None = None
    parameters: int | None = None
    licence: str | None = None
    sha256: str | None = None
    problem: str | None = None


def shipped() -> Iterator[Entry]:
    """The networks of the manifest. Their only problem can be a missing or changed file."""
    for name, facts in stored.manifest().items():
        path = stored.FOLDER / facts["file"]
        task = VERBS.get(name.partition("-")[0])
        match = re.fullmatch(r"upscale-x(\d+).*", name)
        scale = int(match[1]) if match else None
        try:
            problem = None if digest(path) == facts["sha256"] else "not the file that was shipped: install psal again"
            count = None if problem else _count(path)
        except (OSError, ValueError) as error:
            problem, count = f"cannot be read ({error}): install psal again", None
        yield Entry(name, path, True, task, "psal", scale, count, LICENCE, facts["sha256"], problem)


def own() -> Iterator[Entry]:
    """The networks in the user's folders, in lookup order. Each one is loaded."""
    for path in folder.listed():
        try:
            about = _about(path)
        except (PsalError, OSError) as error:
            yield Entry(path.name, path, False, problem=str(error))
            continue
        scale = about.scale if about.task == ENLARGES else None
        licence, sha256 = about.licence, digest(path)
        yield Entry(path.name, path, False, about.task, about.architecture, scale, about.parameters or None, licence, sha256)


def _about(path: Path) -> About:
    """What can be told about a file, whatever its task."""
    from psal_cli.foreign import files, painters
    from psal_cli.foreign.network import ForeignNetwork
    from psal_cli.verbs.upscale.networks import network_of

    try:
        network = network_of(path)
    except InputError as error:
        if about := painters.about_of(path):
            return about
        if files.is_onnx(path):
            raise
        try:
            return files.loaded(path, stored.load_file(path), str(path))[1]
        except InputError:
            raise error from None
    if isinstance(network, ForeignNetwork):
        return network.about
    count = sum(x.numel() for x in network.parameters())
    licence = licence_in(safetensors_metadata(path)) if path.suffix == ".safetensors" else None
    return About(str(path), type(network).__name__, ENLARGES, network.scale, count, licence=licence)


def _count(path: Path) -> int:
    """The number of parameters in a safetensors file, from its header."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(prod(x["shape"]) for name, x in header.items() if name != "__metadata__")
