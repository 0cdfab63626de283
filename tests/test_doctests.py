"""The examples in docstrings of the public names run and say what comes out."""

import doctest
import importlib

import pytest

import psal_cli
import psal_cli.attention
import psal_cli.ops

ROOMS = (psal_cli, psal_cli.attention, psal_cli.ops)
PUBLIC = {getattr(room, name) for room in ROOMS for name in room.__all__ if name[0] != "_"}
MODULES = sorted({each.__module__ for each in PUBLIC})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["psal_cli", *MODULES])
def test_examples_run(name):
    module = importlib.import_module(name)
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert not outcome.failed
    public = [each.__name__ for each in PUBLIC if each.__module__ == name]
    tried = [test.name for test in doctest.DocTestFinder().find(module) if test.examples]
    for each in public:
        assert f"{name}.{each}" in tried, f"{each} has no example"
