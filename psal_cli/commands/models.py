"""`psal models`: lists the shipped networks and those in the user's model folder."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from psal_cli.commands.command import Command
from psal_cli.errors import printable

if TYPE_CHECKING:
    from psal_cli.verbs.catalogue import Entry

SHOWN = 12  # characters of a checksum; --json prints all


@click.command(cls=Command, short_help="The networks that there are.", epilog="\b\nExample:\n  psal models")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per network.")
def models(as_json: bool) -> None:
    """List the networks that ship with psal and those in your model folder, with scale, parameters, licence and sha256.

    `psal upscale --weights NAME` and `psal inpaint --painter NAME` find a file in the folder by its name, with or without the
    extension. The folder is ~/.local/share/psal/models on Linux (XDG_DATA_HOME), ~/Library/Application Support/psal/models on
    macOS, %LOCALAPPDATA%\\psal\\models on Windows. PSAL_MODELS names further ones, which come first.
    """
    from psal_cli.foreign.folder import folders
    from psal_cli.verbs import catalogue

    for entry in (*catalogue.shipped(), *catalogue.own()):
        click.echo(json.dumps(dataclasses.asdict(entry), default=str) if as_json else printable(_line(entry)))
    if not as_json:
        click.echo(f"your own: {', '.join(map(str, folders()))}", err=True)


def _line(entry: Entry) -> str:
    if entry.problem:
        return f"{entry.name:32}  {entry.problem}"
    scale = f"x{entry.scale}" if entry.scale else ""
    count = f"{entry.parameters / 1e6:.2f} M" if entry.parameters is not None else ""
    licence, checksum = entry.licence or "licence not stated", (entry.sha256 or "")[:SHOWN]
    return f"{entry.name:32}  {scale:3}  {count:>8}  {licence:18}  {checksum}  {entry.task or ''}, {entry.architecture or ''}"
