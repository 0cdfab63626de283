"""`psal help VERB`: the same as `psal VERB --help`."""

import click

from psal_cli.commands.command import Command


@click.command(cls=Command, short_help="Show the help of a verb.", epilog="\b\nExample:\n  psal help inpaint")
@click.argument("verb", nargs=-1)
@click.pass_context
def help(ctx: click.Context, verb: tuple[str, ...]) -> None:
    """Print all options of VERB, such as inpaint or bench memory, or the help of psal."""
    context = ctx.find_root()
    for name in verb:
        if not isinstance(context.command, click.Group):
            raise click.UsageError(f"{context.info_name} has no commands: psal help {context.info_name}")
        _, command, _ = context.command.resolve_command(context, [name])
        assert command is not None  # otherwise it fails with an error
        context = click.Context(command, parent=context, info_name=name)
    click.echo(context.get_help())
