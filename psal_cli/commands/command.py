"""Base classes of all commands: grouped help in a short and a full form, suggestions for mistyped names, the user's defaults."""

from __future__ import annotations

from functools import cached_property

import click

from psal_cli.commands import configuration, pages
from psal_cli.commands.spelling import did_you_mean


def _show_full(ctx: click.Context, option: click.Parameter, requested: bool) -> None:
    if requested and not ctx.resilient_parsing:
        click.echo(ctx.get_help())
        ctx.exit()


def _show_brief(ctx: click.Context, option: click.Parameter, requested: bool) -> None:
    if requested and not ctx.resilient_parsing:
        click.echo(brief_help(ctx))
        ctx.exit()


def brief_help(ctx: click.Context) -> str:
    """Prints the short help, for -h."""
    formatter = ctx.make_formatter()
    pages.write_brief(ctx.command, ctx, formatter)
    return formatter.getvalue().rstrip("\n")


class Command(click.Command):
    """A command whose options also take defaults from the environment and configuration files."""

    @cached_property
    def own_options(self) -> tuple[click.Option, ...]:
        """The options of every command. They do not read the environment variables that click would derive."""
        config = click.Option(
            ["--config"],
            is_eager=True,
            expose_value=False,
            callback=configuration.use,
            envvar=configuration.VARIABLE,
            allow_from_autoenv=False,
            metavar="FILE",
            help="Read defaults for options from this TOML file, before the user's own. none: read no file.",
        )
        shown = {
            "brief": (["-h", "brief"], _show_brief, "Show the most used options."),
            "full": (["--help", "full"], _show_full, "Show this page."),
        }
        flags = [
            click.Option(
                names,
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=show,
                allow_from_autoenv=False,
                help=text,
            )
            for names, show, text in shown.values()
        ]
        return config, *flags

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*self.params, *self.own_options]

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        return self.own_options[-1]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        pages.write_full(self, ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for param in self.params:
            if isinstance(param, click.Option) and param.allow_from_autoenv and ctx.auto_envvar_prefix:
                param.envvar = f"{ctx.auto_envvar_prefix}_{configuration.key(param).upper().replace('-', '_')}"
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            if error.param and ctx.get_parameter_source(error.param.name or "") is click.core.ParameterSource.ENVIRONMENT:
                text = f"{error.message.rstrip('.')}: correct the environment variable {error.param.envvar}"
                raise click.BadParameter(text, error.ctx, error.param, error.param_hint) from error
            raise


class Group(Command, click.Group):
    """A group that suggests a command for a mistyped one."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(brief_help(ctx), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing and not name.startswith("-"):
            ctx.fail(f"No such command {name!r}.{did_you_mean(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)
