"""`psal completion`: scripts with which a shell completes psal's verbs and options."""

import click
from click.shell_completion import get_completion_class

from psal_cli.commands.command import Command

WHERE = {
    "bash": "psal completion bash > ~/.local/share/bash-completion/completions/psal",
    "zsh": 'psal completion zsh > "${fpath[1]}/_psal"',
    "fish": "psal completion fish > ~/.config/fish/completions/psal.fish",
}


@click.command(
    cls=Command,
    short_help="Completion for bash, zsh or fish.",
    epilog="\b\nPut it where the shell looks for it:\n  "
    + "\n  ".join(WHERE.values())
    + "\n\n\b\nExample:\n  psal completion bash",
)
@click.argument("shell", type=click.Choice(tuple(WHERE)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL."""
    group = ctx.find_root().command
    make = get_completion_class(shell)
    assert make is not None  # click has one for each choice
    click.echo(make(group, {}, "psal", "_PSAL_COMPLETE").source())
