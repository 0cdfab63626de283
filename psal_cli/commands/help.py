"""`psal help`: what `psal VERB --help` says."""

import click

from psal_cli.commands import COMMANDS, main


@click.command(short_help="What a verb does and its options.", epilog="\b\nExample:\n  psal help inpaint")
@click.argument("verb", type=click.Choice(COMMANDS), required=False)
@click.pass_context
def help(ctx: click.Context, verb: str | None) -> None:
    """Print the help of VERB, or of psal."""
    parent = ctx.parent or ctx
    command = main.get_command(parent, verb) if verb else None
    if command:
        with click.Context(command, parent=parent, info_name=verb) as inner:
            click.echo(command.get_help(inner))
    else:
        click.echo(parent.get_help())
