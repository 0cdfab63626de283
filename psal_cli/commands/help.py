"""`psal help`: what `psal VERB --help` says."""

import click

from psal_cli.commands.command import Command


@click.command(cls=Command, short_help="Show the help of a verb.", epilog="\b\nExample:\n  psal help inpaint")
@click.argument("verb", nargs=-1)
@click.pass_context
def help(ctx: click.Context, verb: tuple[str, ...]) -> None:
    """Print all options of VERB, such as inpaint or bench memory, or the help of psal."""
    place = ctx.find_root()
    for name in verb:
        if not isinstance(place.command, click.Group):
            raise click.UsageError(f"{place.info_name} has no commands: psal help {place.info_name}")
        _, command, _ = place.command.resolve_command(place, [name])
        assert command is not None  # else an error says so
        place = click.Context(command, parent=place, info_name=name)
    click.echo(place.get_help())
