"""What click hands over is what the dataclasses of the commands take."""

import dataclasses
import importlib

import pytest

from psal_cli.commands import arguments

VERBS = ("colorize", "upscale", "generate", "reconstruct")


@pytest.mark.parametrize("verb", VERBS)
def test_a_command_has_the_options_of_its_arguments(verb):
    command = getattr(importlib.import_module(f"psal_cli.commands.{verb}"), verb)
    made = getattr(arguments, f"{verb.capitalize()}Arguments")
    assert {parameter.name for parameter in command.params} == {field.name for field in dataclasses.fields(made)}


@pytest.mark.parametrize("verb", VERBS)
def test_defaults_are_those_of_the_library(verb):
    command = getattr(importlib.import_module(f"psal_cli.commands.{verb}"), verb)
    options = getattr(importlib.import_module(f"psal_cli.verbs.{verb}.options"), f"{verb.capitalize()}Options")
    given = {parameter.name: parameter.default for parameter in command.params if not parameter.required}
    own = {"device": "auto", "model": "auto"}  # the command looks at the machine and at the file
    for field in dataclasses.fields(options):
        if field.name in given:
            default = own.get(field.name, field.default)
            assert given[field.name] == default or (default in (None, False) and not isinstance(given[field.name], str)), (
                field.name
            )


def test_arguments_are_frozen_and_complete():
    with pytest.raises(TypeError, match="missing"):
        arguments.UpscaleArguments(scale="2")
    assert arguments.Arguments.__dataclass_params__.frozen
