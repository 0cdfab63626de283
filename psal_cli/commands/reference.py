"""Writes the command reference, examples/commands.md, from the help of every command.

Run from the repository: python -m psal_cli.commands.reference [FILE]
"""

from collections.abc import Iterator
from pathlib import Path

import click

from psal_cli.commands import main

PAGE = Path("examples/commands.md")
WIDTH = 80  # columns of the help texts
HEAD = """# Command reference

What `psal --help` and `psal VERB --help` print. `psal_cli/commands/reference.py` writes this page:

    python -m psal_cli.commands.reference

"""


def helps(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """(command line, help text) of a command and of all commands below it."""
    settings = {**command.context_settings, "terminal_width": WIDTH}
    with command.context_class(command, info_name=name, parent=parent, **settings) as context:
        yield context.command_path, command.get_help(context)
        if isinstance(command, click.Group):
            for child in command.list_commands(context):
                if (subcommand := command.get_command(context, child)) is not None:
                    yield from helps(subcommand, child, context)


def page() -> str:
    """The page as Markdown: a section for each command, with its help as a block."""
    sections = []
    for path, text in helps(main, "psal"):
        lines = "\n".join(line.rstrip() for line in text.splitlines())
        sections.append(f"## {path}\n\n```text\n{lines}\n```\n")
    return HEAD + "\n".join(sections)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=PAGE)
def write(file: Path) -> None:
    """Write the command reference to FILE, by default examples/commands.md."""
    file.write_text(page())


if __name__ == "__main__":
    write(prog_name="python -m psal_cli.commands.reference")
