"""Defaults of options from TOML files: the file of --config and the user's own.

A file has a table for each command, such as [inpaint] or [bench.memory], and one for all of them, [common]; keys are the
names of options. Precedence: command line, environment, the file of --config, the user's own file.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import click

from psal_cli.commands.arguments import Arguments
from psal_cli.commands.spelling import did_you_mean
from psal_cli.errors import InputError

VARIABLE = "PSAL_CONFIG"  # environment variable in place of --config
NONE = "none"
COMMON = "common"
OF_ONE_RUN = ("from_file",)  # options that cannot have a default
MODEL = "inpaint"  # a verb that has all common options
GIVEN, READ = "psal_cli.configuration.given", "psal_cli.configuration.read"  # keys of the context that all commands share
CURE = f"correct the file, or leave it aside with --config {NONE}"

Value = bool | str | tuple[str, ...]


def user_file() -> Path:
    """The path of the user's own file, which need not exist."""
    return Path(click.get_app_dir("psal")) / "config.toml"


def use(ctx: click.Context, option: click.Parameter, text: str | None) -> None:
    """Sets the defaults of the context's command from the configuration files. text: the value of --config. Raises InputError."""
    if ctx.resilient_parsing:
        return
    typed = ctx.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
    if isinstance(ctx.command, click.Group):  # the subcommand reads it
        ctx.meta[GIVEN] = text if typed else ctx.meta.get(GIVEN)
        return
    ctx.meta[READ] = files(text if typed else ctx.meta.get(GIVEN) or text)
    ctx.default_map = {name: value for path in reversed(ctx.meta[READ]) for name, value in _defaults(ctx, path).items()}


def files(text: str | None) -> list[Path]:
    """The configuration files to read, the one that wins first."""
    if text == NONE:
        return []
    own = user_file()
    return ([Path(text).expanduser()] if text else []) + ([own] if os.path.isfile(own) else [])


def read_files(ctx: click.Context) -> list[Path]:
    """The files that the context's command has read, the one that wins first."""
    read: list[Path] = ctx.meta.get(READ, [])
    return read


def check(ctx: click.Context, path: Path) -> None:
    """Checks the tables of all commands. Raises InputError for the first mistake."""
    for below in _contexts(ctx.find_root().command, ctx.find_root()):
        _defaults(below, path)


def key(option: click.Option) -> str:
    """The name of an option in a file and, in capitals, in the environment: its long name, or else its short one."""
    return max(option.opts, key=len).lstrip("-")


def _contexts(command: click.Command, ctx: click.Context) -> Iterator[click.Context]:
    """A context for each subcommand that is not a group."""
    if not isinstance(command, click.Group):
        yield ctx
        return
    for name in command.list_commands(ctx):
        if child := command.get_command(ctx, name):
            yield from _contexts(child, click.Context(child, parent=ctx, info_name=name))


def _defaults(ctx: click.Context, path: Path) -> dict[str, Value]:
    """parameter -> value, for the context's command in one file. Raises InputError."""
    table = _load(path)
    shared = table.pop(COMMON, {})
    if not isinstance(shared, dict):
        _refuse(path, COMMON, shared, "expected a table")
    chain = _chain(ctx)
    for parent, child in pairwise(chain):
        _check_tables(parent, path, table)
        below = table.get(child.info_name or "", {})
        table = below if isinstance(below, dict) else {}  # checked by _check_tables
    own = options(ctx.command)
    values = _common(ctx, path, shared)
    for name, value in table.items():
        if (option := own.get(_dashed(name))) is None:
            _refuse(path, f"[{_table(ctx)}] {name}", value, f"there is no such option.{did_you_mean(_dashed(name), own)}")
        values[option.name or ""] = _checked(ctx, path, _table(ctx), name, value, option)
    return values


def _common(ctx: click.Context, path: Path, table: dict[str, object]) -> dict[str, Value]:
    """The values of [common] for options of the context's command. Raises InputError."""
    root, own, values = ctx.find_root(), options(ctx.command), dict[str, Value]()
    assert isinstance(root.command, click.Group)
    model = root.command.get_command(root, MODEL)
    names = {field.name for field in dataclasses.fields(Arguments)}
    shared = {name: option for name, option in options(model).items() if option.name in names} if model and table else {}
    for name, value in table.items():
        if _dashed(name) not in shared:
            cure = f"put it below [{_table(ctx)}]" if _dashed(name) in own else f"it is unknown.{did_you_mean(name, shared)}"
            _refuse(path, f"[{COMMON}] {name}", value, f"not all commands have this option: {cure}")
        if option := own.get(_dashed(name)):
            values[option.name or ""] = _checked(ctx, path, COMMON, name, value, option)
    return values


def options(command: click.Command) -> dict[str, click.Option]:
    """The options of a command by their names in a file; for a pair of flags, the first name."""
    return {key(param): param for param in command.params if isinstance(param, click.Option) and not param.is_eager}


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _chain(ctx: click.Context) -> list[click.Context]:
    """The contexts from psal down to the command."""
    return ([] if ctx.parent is None else _chain(ctx.parent)) + [ctx]


def _table(ctx: click.Context) -> str:
    """The name of the command's table."""
    return ".".join(context.info_name or "" for context in _chain(ctx)[1:])


def _load(path: Path) -> dict[str, object]:
    import tomllib  # only now: most users have no such file

    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise InputError(f"{path}: the configuration file cannot be read: {error.strerror}: name another") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise InputError(f"{path}: the configuration file is not valid TOML: {error}: {CURE}") from error


def _check_tables(group: click.Context, path: Path, tables: Mapping[str, object]) -> None:
    """Raises InputError for any entry that is not a table of a command."""
    assert isinstance(group.command, click.Group)
    known, above = group.command.list_commands(group), _table(group)
    for name, value in tables.items():
        full = f"{above}.{name}" if above else name
        if not isinstance(value, dict):
            _refuse(path, full, value, f"options belong below the name of a command, such as [{known[0]}], or below [{COMMON}]")
        if name not in known:
            raise InputError(f"{path}: [{full}] is not a command of psal.{did_you_mean(name, [*known, COMMON])} {CURE.capitalize()}")


def _checked(ctx: click.Context, path: Path, table: str, name: str, value: object, option: click.Option) -> Value:
    """Converts a value to a default for click. Raises InputError for a value that the option does not accept."""
    where = f"[{table}] {name}"
    if option.name in OF_ONE_RUN:
        _refuse(path, where, value, "it names the pictures of one run: give it on the command line")
    if option.is_flag:
        return value if isinstance(value, bool) else _refuse(path, where, value, "expected true or false")
    several = value if isinstance(value, list) and option.multiple else [value]
    texts = tuple(_text(path, where, element, option) for element in several)
    for text in texts:
        try:
            option.type.convert(text, option, ctx)
        except click.BadParameter as error:
            _refuse(path, where, value, error.message.rstrip("."))
    return texts if option.multiple else texts[0]


def _text(path: Path, where: str, value: object, option: click.Option) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        _refuse(path, where, value, "expected a number" if option.count else "expected a text or a number")
    text = str(value)
    return os.path.expanduser(text) if option.type.name == "file" else text


def _refuse(path: Path, where: str, value: object, why: str) -> NoReturn:
    """Raises InputError with the file, the key, its value, the mistake and the cure."""
    end = "" if why.endswith("?") else "."
    raise InputError(f"{path}: {where} = {json.dumps(value, default=str)}: {why}{end} {CURE.capitalize()}")
