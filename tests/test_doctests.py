"""The examples in docstrings of the public names run and say what comes out."""

import doctest
import importlib

import pytest

import psal_cli

MODULES = sorted({getattr(psal_cli, name).__module__ for name in psal_cli.__all__ if name[0] != "_"})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["psal_cli", *MODULES])
def test_examples_run(name):
    module = importlib.import_module(name)
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert not outcome.failed
    public = [each for each in psal_cli.__all__ if getattr(getattr(psal_cli, each), "__module__", "") == name]
    tried = [test.name for test in doctest.DocTestFinder().find(module) if test.examples]
    for each in public:
        assert f"{name}.{each}" in tried, f"{each} has no example"
