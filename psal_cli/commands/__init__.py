"""The `psal` command: imports a verb's module on use, and turns any error into one line."""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import click

from psal_cli import __version__
from psal_cli.commands.command import Group
from psal_cli.commands.cures import outcome
from psal_cli.errors import INTERRUPTED
from psal_cli.files import REASONS, STDIO, give_up_stdout, unwritten

COMMANDS = (
    *("inpaint", "outpaint", "colorize", "upscale", "generate", "reconstruct", "paint"),
    *("batch", "models", "bench", "doctor", "help", "completion"),
)
# Idle threads sleep instead of spinning, which makes several psal processes side by side many times faster.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
VERBOSITY = "psal_cli.verbosity"  # key of the -v count in the context that all commands share


class Verbs(Group):
    """A group whose commands are the modules of this package; each holds a command of its own name."""

    def __call__(self, *args: object, **kwargs: object) -> None:
        """Entry of the process. After a signal it exits at once: a second signal would hit libraries that are shutting down."""
        try:
            super().__call__(*args, **kwargs)
        except SystemExit as end:
            if end.code == INTERRUPTED:
                with suppress(OSError, AttributeError):
                    sys.stdout.flush()
                os._exit(INTERRUPTED)
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"psal_cli.commands.{name}"), name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if ctx.meta.get(VERBOSITY, 0) >= 2:
                traceback.print_exc()
            if isinstance(error, OSError) and error.filename is None and error.errno in REASONS:
                raise  # of stdout, see main
            code, line = outcome(error)
            click.echo(f"psal: {line}", err=True)
            ctx.exit(code)

    def main(  # type: ignore[override]  # click has overloads by `standalone_mode`, the last of which returns Any
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *, standalone_mode: bool = True, **kwargs: object
    ) -> object:
        """As click's main, but prints one line for an error and exits with 130 when interrupted."""
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **kwargs)  # type: ignore[call-overload]
        try:
            code = super().main(args, prog_name, standalone_mode=False, **kwargs)  # type: ignore[call-overload]
        except click.ClickException as error:
            context = error.ctx if isinstance(error, click.UsageError) else None
            where = context.command_path if context else "psal"
            click.echo(f"{where}: {' '.join(error.format_message().split())} (see {where} --help)", err=True)
            code = error.exit_code
        except click.Abort:
            click.echo("psal: interrupted", err=True)
            code = INTERRUPTED
        except OSError as error:  # of what --help, doctor and others print
            give_up_stdout()
            with suppress(OSError):
                click.echo(f"psal: {unwritten(STDIO, error)}", err=True)
            code = 1
        sys.exit(code if isinstance(code, int) else 0)


@click.group(
    cls=Verbs,
    name="psal",
    context_settings={"auto_envvar_prefix": "PSAL", "max_content_width": 110},
    epilog="Exit codes: 0 all done; 1 a file could not be written, or some of several pictures failed; 2 usage error or unusable "
    "input; 3 nothing to do; 4 out of memory; 130 interrupted. Messages go to stderr, pictures and data to stdout.\n\n"
    "\b\nExample:\n  psal inpaint examples/dandelions.jpg --mask examples/dandelions_mask.png -o clean.jpg",
)
@click.version_option(__version__, prog_name="psal", allow_from_autoenv=False)
def main() -> None:
    """Edit photographs at their native resolution, with PatchMatch at the core."""
