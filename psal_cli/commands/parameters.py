"""Parameter types: valid values, and the errors for others."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from psal_cli import storage
from psal_cli.batch.clusters import check_address
from psal_cli.batch.shards import parse
from psal_cli.commands.schedulers import AUTO
from psal_cli.errors import InputError, InvalidValueError
from psal_cli.memory import parse_size

if TYPE_CHECKING:
    Text = click.ParamType[str]
    Number = click.ParamType[int]
    Pair = click.ParamType[tuple[int, int]]
else:
    Text = Number = Pair = click.ParamType  # older versions of click have no generic one

LONGEST = 65535  # pixels: the longest side that the engine can index
PIXELS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


class File(Text):
    """The name of a file or folder. Whether it exists is checked on reading, with the same message for every file.

    written: a file to write; local: URLs are refused.
    """

    name = "file"
    envvar_list_splitter = os.pathsep  # separator in an environment variable, as in PATH

    def __init__(self, written: bool = False, local: bool = False):
        self.written, self.local = written, local

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:  # an empty variable in a script does not mean this folder
            self.fail("the name is empty", param, ctx)
        if problem := storage.problem(str(value), self.written, self.local):
            self.fail(problem, param, ctx)
        return str(value)

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return [rv] if storage.URL.fullmatch(rv) else super().split_envvar_value(rv)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


class Suffix(Text):
    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if os.sep in text or "\0" in text:
            self.fail(f"{value!r} is not a part of a name: it goes between name and extension", param, ctx)
        return text


class Pixels(Number):
    name = "pixels"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)", str(value).lower())
        number = round(float(match[1]) * PIXELS[match[2]]) if match else 0
        return number or self.fail(f"{value!r} is not a number of pixels: e.g. 600M", param, ctx)


class Device(Text):
    name = "device"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", text := str(value)):
            return text
        self.fail(f"{value!r} is not a device: auto, cpu, cuda or cuda:N", param, ctx)


class Shards(Text):
    name = "I/N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value != AUTO:
            try:
                parse(str(value))
            except InvalidValueError as error:
                self.fail(f"{value!r} is not a shard: {error.expected}, or auto", param, ctx)
        return str(value)


class Cluster(Text):
    name = "address|local:N"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if problem := check_address(str(value)):
            self.fail(problem, param, ctx)
        return str(value)


class Size(Pair):
    name = "WxH"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(value).lower())
        size = (int(match[1]), int(match[2])) if match else (0, 0)
        if not all(0 < side <= LONGEST for side in size):
            self.fail(f"{value!r} is not a size: width x height in pixels, e.g. 1024x512, each at most {LONGEST}", param, ctx)
        return size


class Memory(Number):
    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_size(str(value))
        except InputError as error:
            self.fail(str(error), param, ctx)


PICTURE, RESULT = File(), File(written=True)
FILE, LIST = File(local=True), File(written=True, local=True)
