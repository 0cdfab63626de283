"""Defaults of `psal upscale` from configuration files or the environment that typed options exclude."""

from __future__ import annotations

from dataclasses import replace

import click

from psal_cli.commands.arguments import UpscaleArguments

SIZES = ("scale", "width", "height", "long_side", "megapixels")


def one_of_each(arguments: UpscaleArguments) -> UpscaleArguments:
    """Drops defaults that typed options exclude. Raises UsageError for two typed ones that exclude each other."""
    return _one_size(_one_network(arguments))


def _one_network(arguments: UpscaleArguments) -> UpscaleArguments:
    """Keeps one of --model, --weights and --strength; typed options win over defaults.

    Raises UsageError for two that were typed.
    """
    typed = _typed("model", "weights", "strength")
    if "weights" in typed:
        for other in ("model", "strength"):
            if other in typed and arguments.weights:
                raise click.UsageError(f"--{other} and --weights are mutually exclusive: leave one of them out")
        return replace(arguments, strength=None)
    if typed and arguments.weights:
        arguments = replace(arguments, weights=None)
    if arguments.weights or ("model" in typed and "strength" not in typed):
        return replace(arguments, strength=None)
    if arguments.strength is not None and arguments.model == "clean" and "model" in typed:
        raise click.UsageError("--strength blends the model photo with clean: leave out --model clean")
    return arguments


def _one_size(arguments: UpscaleArguments) -> UpscaleArguments:
    if not (typed := _typed(*SIZES)):
        return arguments
    return replace(
        arguments,
        scale=arguments.scale if "scale" in typed else None,
        width=arguments.width if "width" in typed else None,
        height=arguments.height if "height" in typed else None,
        long_side=arguments.long_side if "long_side" in typed else None,
        megapixels=arguments.megapixels if "megapixels" in typed else None,
    )


def _typed(*names: str) -> set[str]:
    source_of = click.get_current_context().get_parameter_source
    return {name for name in names if source_of(name) is click.core.ParameterSource.COMMANDLINE}
