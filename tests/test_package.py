"""The shape of the package: its names, the direction of its imports, and the structs that it shares with ext/psal.h."""

import ast
import ctypes
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import psal_cli
from psal_cli import native

from .photos import ENV, texture

PACKAGE = Path(psal_cli.__file__).parent
HEADER = (Path(__file__).parents[1] / "ext" / "psal.h").read_text()

# Top to bottom. A room imports only from the floors below its own, never from another room on the same floor.
FLOORS = [
    {"__main__"},
    {"commands", "integrations"},
    {"training"},
    {"benchmarks", "paint"},
    {"verbs"},
    {"batch", "viz", "networks", "foreign"},
    {"image", "patchmatch", "attention", "timing"},
    {"files", "weights", "memory", "ops", "strips"},
    {"storage"},
    {"errors", "leftovers", "native", "web", "memory_fallback", "user_folders"},
    {"libraries"},
]
FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor}
APART = {"__init__", "reference"}  # the public names, loaded when asked for; the oracle, which imports nothing
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported_rooms(path):
    """(line, parts of the name below psal_cli) of everything the file imports from psal_cli, inside functions too."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*parts[: -node.level], node.module or ""] if node.level else [node.module]
            names = [".".join([*filter(None, base), alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("psal_cli.") and not name.startswith("psal_cli.__"):
                yield node.lineno, name.split(".")[1:]


def room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def test_every_room_has_a_floor():
    assert {room(path) for path in MODULES} == FLOOR.keys() | APART


@pytest.mark.slow
@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = room(path)
    if own in APART:
        return
    for line, (other, *_) in imported_rooms(path):
        assert other == own or FLOOR[other] > FLOOR[own], f"line {line}: {own} imports {other}, which is not below it"


@pytest.mark.slow
def test_oracle_shares_nothing_with_what_it_judges():
    assert not list(imported_rooms(PACKAGE / "reference.py"))
    for path in MODULES:
        assert all(other != "reference" for _, (other, *_) in imported_rooms(path)), path


NAMES = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for path in MODULES]


@pytest.mark.parametrize(
    "name", [name for name in NAMES if not name.startswith("psal_cli.integrations.gimp")]
)  # in GIMP's Python
def test_every_name_in_all_is_there(name):
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    assert all(hasattr(module, each) for each in names)


VERBS = ("inpaint", "colorize", "upscale", "generate", "reconstruct")


def test_the_package_says_what_is_public_and_where_it_lives():
    verbs = {f"{verb}{kind}" for verb in map(str.capitalize, VERBS) for kind in ("Options", "Result")}
    assert {"PSAttention", "ps_attention", "Field", *VERBS, *verbs} <= set(psal_cli.__all__)
    assert dir(psal_cli) == psal_cli.__all__ and psal_cli._HOMES.keys() == set(psal_cli.__all__) - {"__version__"}
    for name, home in psal_cli._HOMES.items():
        assert getattr(psal_cli, name) is getattr(importlib.import_module(f"psal_cli.{home}"), name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        psal_cli.__getattr__("nothing")


PROCESS = """
import logging, os, signal, sys, warnings
import torch, cv2
from PIL import Image, PngImagePlugin, TiffImagePlugin

def state():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    logs = [(log.level, log.propagate, list(log.handlers)) for log in map(logging.getLogger, (None, "PIL", "psal_cli"))]
    threads = torch.get_num_threads(), cv2.getNumThreads()
    return handlers, limits, logs, list(warnings.filters), dict(TiffImagePlugin.OPEN_INFO), threads, dict(os.environ)

Image.init()
before = state()
import psal_cli, psal_cli.image
for name in psal_cli.__all__:
    getattr(psal_cli, name)
changed = [one for one, other in zip(before, state()) if one != other]
assert not changed, changed
"""


@pytest.mark.subprocess
def test_an_import_changes_nothing_in_the_host_process():
    done = subprocess.run([sys.executable, "-P", "-c", PROCESS], env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------------------------- ext/psal.h


def fields_of(struct):
    """(name, ctypes type) of each field of a struct of the header."""
    plain = {"int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64, "uint64_t": ctypes.c_uint64, "float": ctypes.c_float}
    plain["psal_place"] = native.Place
    body = re.search(r"typedef struct \{([^}]*)\} " + struct + ";", HEADER)[1]
    for declaration in re.sub(r"//.*", "", body).split(";"):
        words = declaration.replace("const ", "").replace(",", " ").split()  # type, then names; a pointer's type ends in *
        for name in words[1:]:
            name, *count = name.removesuffix("]").split("[")
            kind = ctypes.c_void_p if words[0].endswith("*") else plain[words[0]]
            yield name, kind * int(count[0]) if count else kind


@pytest.mark.parametrize(
    ("struct", "mirror"),
    [
        ("psal_place", "Place"),
        ("psal_search_args", "SearchArgs"),
        ("psal_window_args", "WindowArgs"),
        ("psal_compose_args", "ComposeArgs"),
    ],
)
def test_structs_are_those_of_the_header(struct, mirror):
    assert list(fields_of(struct)) == list(getattr(native, mirror)._fields_)


def test_enumerations_are_those_of_the_header():
    values = {name: int(value) for name, value in re.findall(r"PSAL_(\w+) = (\d+)", HEADER)}
    mirrored = (
        {str(dtype).removeprefix("torch."): value for dtype, value in native.DTYPES.items()}
        | native.SIMILARITIES
        | native.PIXELS
        | native.SCHEDULES
        | native.PIXELS
    )
    assert {name.upper().replace("-", "_"): value for name, value in mirrored.items()} == values


class AnyLibrary:
    """Has every function that it is asked for."""

    def __getattr__(self, name):
        return vars(self).setdefault(name, type("Function", (), {})())


def test_every_function_of_the_header_is_declared():
    names = set(re.findall(r"^PSAL_EXPORT .*?(\w+)\(", HEADER, re.MULTILINE))
    cuda = AnyLibrary()  # that of CUDA may not be there
    native.declare(cuda, "cuda")
    assert vars(cuda).keys() == {name for name in names if name.endswith("_cuda")}
    assert names - vars(cuda).keys() <= vars(native.library()).keys()


def test_at_most_six_functions_lead_from_inpaint_to_a_kernel(monkeypatch):
    chains = {}
    kernel = native.kernel

    def watched(name, device):
        def run(arguments):
            frame, chain = sys._getframe(1), []
            while frame is not None:
                if frame.f_globals.get("__name__", "").startswith("psal_cli."):
                    chain.append(frame.f_code.co_name)
                frame = frame.f_back
            chains[name] = max(chains.get(name, []), chain, key=len)
            kernel(name, device)(arguments)

        return run

    monkeypatch.setattr(native, "kernel", watched)
    image = texture(0)
    hole = np.zeros(image.shape[:2], bool)
    hole[8:24, 8:30] = True
    psal_cli.inpaint(np.tile(image, (3, 3, 1)), np.pad(hole, [(0, 2 * side) for side in hole.shape]), engine="patch")
    assert chains.keys() == {"search", "log_total", "spread", "place_seams", "compose"}
    assert all(len(chain) <= 6 and chain[-1] == "inpaint" for chain in chains.values()), chains
