"""The shape of the package: its names, the direction of its imports, and the structs that it shares with ext/psal.h."""

import ast
import ctypes
import graphlib
import importlib
import re
from pathlib import Path

import pytest

import psal_cli
from psal_cli import native

PACKAGE = Path(psal_cli.__file__).parent
HEADER = (Path(__file__).parents[1] / "ext" / "psal.h").read_text()

# Top to bottom: each of these rooms imports only what stands below it.
ORDER = ["commands", "benchmarks", "training", "tasks", "weights", "networks", "attention", "ops", "checks", "native"]
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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    for line, (other, *_) in imported_rooms(path):
        if other != room(path) and room(path) in ORDER and other in ORDER:
            assert ORDER.index(other) > ORDER.index(room(path)), (
                f"line {line}: {room(path)} imports {other}, which stands above it"
            )


def test_rooms_do_not_import_each_other_in_circles():
    inner = [path for path in MODULES if room(path) != "__init__"]  # the package itself imports the public names, when asked
    graph = {room(path): set() for path in inner}
    for path in inner:
        graph[room(path)] |= {other for _, (other, *_) in imported_rooms(path) if other != room(path)}
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_oracle_shares_nothing_with_what_it_judges():
    assert not list(imported_rooms(PACKAGE / "reference.py"))
    for path in MODULES:
        assert all(other != "reference" for _, (other, *_) in imported_rooms(path)), path


NAMES = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for path in MODULES]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_all_is_there(name):
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    assert all(hasattr(module, each) for each in names)


def test_the_package_says_what_is_public():
    assert {"PSAttention", "ps_attention"} <= set(psal_cli.__all__)


# ------------------------------------------------------------------------------------------------------- ext/psal.h


def fields_of(struct):
    """(name, ctypes type) of each field of a struct of the header."""
    plain = {"int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64, "uint64_t": ctypes.c_uint64, "float": ctypes.c_float}
    plain["psal_place"] = native.Place
    body = re.search(r"typedef struct \{([^}]*)\} " + struct + ";", HEADER)[1]
    for declaration in re.sub(r"//.*", "", body).split(";"):
        words = declaration.replace("const ", "").replace(",", " ").split()  # type, then names; a pointer's type ends in *
        for name in words[1:]:
            yield name, ctypes.c_void_p if words[0].endswith("*") else plain[words[0]]


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
        | native.SCHEDULES
        | native.PIXELS
    )
    assert {name.upper().replace("-", "_"): value for name, value in mirrored.items()} == values


def test_every_function_of_the_header_is_declared():
    lib = native.library()
    for name in re.findall(r"^PSAL_EXPORT .*?(\w+)\(", HEADER, re.MULTILINE):
        assert name in vars(lib), f"{name} is not declared in native.library"
