"""The library's words are not the command's: no text in it names an option, and each cure has words in both."""

import ast
import re
from pathlib import Path

import pytest

import psal_cli
from psal_cli.commands.cures import CURES, outcome
from psal_cli.errors import Cure, InputError

PACKAGE = Path(psal_cli.__file__).parent
COMMANDS = {"commands", "training"}  # each recipe is a command of its own
CALLERS = ("integrations/gimp", "paint/networks.py", "benchmarks/cuda_build.py")  # they run psal, cmake or pytest
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
LIBRARY = [path for name, path in FILES.items() if name.split("/")[0] not in COMMANDS and not name.startswith(CALLERS)]
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+|(?<=\s)-[a-z]{1,2}(?![\w-])")


def texts(tree):
    """(line, text) of each string that is not a docstring, those with values in them too."""
    nodes = list(ast.walk(tree))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_library_names_no_option(path):
    flags = [(line, text) for line, text in texts(ast.parse(path.read_text())) if FLAG.search(text)]
    assert not flags


def test_the_command_says_which_option_cures():
    for cure in Cure:
        error = InputError("photo.png is odd", cure, "mask", "_x")
        code, line = outcome(error)
        assert code == 2 and str(error) == f"photo.png is odd: {cure.value.format('mask', '_x')}"
        assert line == f"photo.png is odd: {CURES[cure].format('mask', '_x')}" and FLAG.search(line)
        assert not FLAG.search(str(error))
    assert outcome(InputError("photo.png is odd")) == (2, "photo.png is odd")
