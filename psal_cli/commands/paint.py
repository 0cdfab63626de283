"""`psal paint`: paint masks in the browser and fill them."""

from __future__ import annotations

import importlib
import secrets

import click

from psal_cli.commands import parameters
from psal_cli.commands.command import Command
from psal_cli.commands.console import Console
from psal_cli.commands.devices import choose_device, set_threads
from psal_cli.commands.ranges import IntRange
from psal_cli.errors import InputError, NothingToDoError
from psal_cli.files import STDIO

EXAMPLE = "psal paint examples/dandelions.jpg"
LOCAL = "127.0.0.1"
SHORTEST = 16  # characters of a token, against guessing
NEEDED = ("starlette", "uvicorn")


@click.command(cls=Command, short_help="Paint in the browser what should go.", epilog=f"\b\nExample:\n  {EXAMPLE}")
@click.argument("images", type=parameters.PICTURE, nargs=-1, metavar="[PHOTO|FOLDER]...")
@click.option("-r", "--recursive", is_flag=True, help="Show the pictures of subfolders too.")
@click.option(
    "--max-pixels",
    type=parameters.Pixels(),
    default="600M",
    show_default=True,
    help="Refuse larger pictures without decoding them.",
)
@click.option("-o", "--output", type=parameters.RESULT, metavar="FOLDER", help="Save in FOLDER instead of beside each picture.")
@click.option("--port", type=IntRange(0, 65535), default=0, help="Listen on this port. Default: a free one.")
@click.option("--no-browser", is_flag=True, help="Print the address and open no browser.")
@click.option(
    "--listen",
    metavar="ADDRESS",
    default=LOCAL,
    show_default=True,
    help="Listen on this address, so that other machines can open the page. Requires --token.",
)
@click.option(
    "--token", metavar="TEXT", help=f"The secret in the page's address, {SHORTEST} letters and digits or more. Default: random."
)
@click.option("--device", type=parameters.Device(), default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=IntRange(1, 1024), help="CPU threads. Default: chosen by torch.")
@click.option("-q", "--quiet", is_flag=True, help="Print the address and errors only.")
@click.option("-v", "--verbose", count=True, help="Print more. -vv adds a traceback when something fails.")
def paint(
    images: tuple[str, ...],
    recursive: bool,
    max_pixels: int,
    output: str | None,
    port: int,
    no_browser: bool,
    listen: str,
    token: str | None,
    device: str,
    threads: int | None,
    quiet: bool,
    verbose: int,
) -> None:
    """Open a page in the browser to paint what should go from photographs, at full resolution.

    Without arguments it shows the pictures of this folder. Nothing leaves this machine: the page comes from a server on it,
    which ends with Ctrl-C. Results are saved as IMAGE_inpainted beside IMAGE, with format, 16 bits and metadata kept.
    """
    _check_installed()
    if listen != LOCAL and token is None:
        raise click.UsageError("--listen requires --token: whoever knows it can see and save the pictures")
    if token is not None and (len(token) < SHORTEST or not token.isalnum() or not token.isascii()):
        raise click.UsageError(f"--token takes {SHORTEST} letters and digits or more, e.g. {secrets.token_hex(12)}")
    with Console(quiet, verbose, False) as console:
        from psal_cli.batch import inputs, plan
        from psal_cli.image import READABLE
        from psal_cli.paint.server import serve
        from psal_cli.paint.session import without_masks

        items, several = inputs.find_inputs(images or (".",), (), recursive, READABLE)
        items = without_masks(items) if several else items
        items = plan.place(items, {"output": output}, True if output else several, None, "_inpainted", None)
        if any(item.input == STDIO for item in items):
            raise InputError("- is stdin, which has no place to save beside: name a file or a folder")
        if not items:
            raise NothingToDoError(f"nothing to paint on: no picture in {', '.join(images) or 'this folder'}")
        if len(items) == 1 and items[0].problem:
            raise items[0].problem
        if listen != LOCAL:
            console.line(
                f"listening on {listen}: whoever knows the token can see and save these pictures, and the connection is "
                "not encrypted"
            )
        serve(
            items,
            address=listen,
            port=port,
            token=token or secrets.token_urlsafe(24),
            device=lambda: _device(device, threads),
            max_pixels=max_pixels,
            say=lambda page: click.echo(page),
            browser=not no_browser,
        )


def _device(name: str, threads: int | None) -> str:
    set_threads(threads)
    return choose_device(name)[0]


def _check_installed() -> None:
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError("psal paint needs packages of its own: pip install 'psal[paint]'") from error
