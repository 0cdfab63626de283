"""The help pages of a command: the full one, its options in groups, and the short one."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

from psal_cli.commands.ranges import in_words

Row = tuple[str, str]

REQUIRED, REST = "Required", "Method"
ALTERNATIVES = {  # options -> heading, for commands that have all of them
    ("mask", "box", "polygon"): "Required, at least one of these",
    ("ref", "hints", "auto"): "Required, at least one of these",
    ("scale", "width", "height", "long_side", "megapixels"): "Required, one of these",
}
SECTIONS = {  # heading -> options, as far as a command has them; all others are below REST
    "Input": {"recursive", "from_file", "max_pixels", "pairs"},
    "Mask": {
        "mask", "mask_layer", "box", "polygon", "polygon_file", "polygon_label", "if_masked", "mask_invert", "dilate", "feather",
        "source_mask", "expand", "keep",
    },
    "Reference": {"ref", "source"},
    "Output": {
        "output", "results", "size", "suffix", "format", "force", "skip_existing", "quality", "compression", "background",
        "strip_metadata", "compare", "confidence", "sheet", "save_offsets", "arrows", "plot",
    },
    REST: set[str](),
    "Performance": {"device", "threads", "max_memory", "jobs", "shard", "cluster"},
    "Diagnostics": {
        "dry_run", "keep_going", "failed_list", "report", "as_json", "as_csv", "quiet", "verbose", "config", "version",
        "brief", "full",
    },
}  # fmt: skip
BRIEF = {  # on the short page, besides the required ones
    "recursive", "mask", "box", "dilate", "output", "results", "size", "force", "dry_run", "model", "strength", "seed",
    "sizes", "plot", "scale", "width", "ref", "hints", "auto",
}  # fmt: skip
NARROW, WIDE = 12, 22  # columns: width up to which choices are listed as the value; width of the names of options
EXAMPLE = "\b\nExample:"
KEPT = "\N{NO-BREAK SPACE}"  # a blank where lines do not break


def write_full(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """The full page: usage, what the command does, its subcommands or its options in groups, an example."""
    command.format_usage(ctx, formatter)
    command.format_help_text(ctx, formatter)
    _write_commands(command, ctx, formatter)
    for heading, rows in sections(options_of(command, ctx)):
        with formatter.section(heading):
            _write_rows(formatter, rows)
    if command.params and not isinstance(command, click.Group):
        _write_sources(ctx, formatter)
    command.format_epilog(ctx, formatter)


def write_brief(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """The short page, which fits on a screen: usage, the purpose, required and most used options, an example."""
    command.format_usage(ctx, formatter)
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(command.short_help or (command.help or "").partition("\n")[0])
    options = [x for x in options_of(command, ctx) if x.required or x.name in BRIEF]
    if options:
        with formatter.section("Options"):
            _write_rows(formatter, [(names(x), _text(x, brief=True)) for x in sorted(options, key=lambda x: not x.required)])
    _write_commands(command, ctx, formatter)
    _, mark, example = (command.epilog or "").rpartition(EXAMPLE)
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(mark + example)
        formatter.write_paragraph()
        formatter.write_text("--help shows all options.")


def options_of(command: click.Command, ctx: click.Context) -> list[click.Option]:
    return [x for x in command.get_params(ctx) if isinstance(x, click.Option) and not x.hidden]


def sections(options: Iterable[click.Option]) -> list[tuple[str, list[Row]]]:
    """(heading, rows) of the non-empty groups, the required options first."""
    options = list(options)
    rows_by_heading: dict[str, list[Row]] = {heading: [] for heading in (REQUIRED, *ALTERNATIVES.values(), *SECTIONS)}
    there = {option.name for option in options}
    one_of = {name: heading for those, heading in ALTERNATIVES.items() if there.issuperset(those) for name in those}
    for option in options:
        heading = next((heading for heading, those in SECTIONS.items() if option.name in those), REST)
        heading = REQUIRED if option.required else one_of.get(option.name or "", heading)
        rows_by_heading[heading].append((names(option), _text(option)))
    return [(heading, rows) for heading, rows in rows_by_heading.items() if rows]


def names(option: click.Option) -> str:
    """An option as it is typed: "-o, --output FILE"."""
    text = ", ".join(sorted(option.opts, key=len))
    if option.secondary_opts:
        text += f" / {', '.join(option.secondary_opts)}"
    return text if option.is_flag or option.count else f"{text} {_value(option)}"


def _value(option: click.Option) -> str:
    """The placeholder for the value of an option."""
    kind = option.type
    if option.metavar:
        return option.metavar
    if isinstance(kind, click.Choice):
        short = "|".join(kind.choices)
        return short if len(short) <= NARROW else (option.name or "").upper()
    return "N" if in_words(kind) else kind.name.upper()


def _text(option: click.Option, brief: bool = False) -> str:
    """What an option does, then in brackets its range and default; brief: only the first sentence."""
    text = option.help or ""
    if brief:
        text = text.partition(". ")[0].rstrip(".") + "."
    facts = list[str]()
    if isinstance(option.type, click.Choice) and _value(option) != "|".join(option.type.choices):
        facts.append(", ".join(option.type.choices))
    if not (option.is_flag or option.count) and (words := in_words(option.type)):
        facts.append(words)
    if option.show_default:
        facts.append(f"default: {_default(option)}")
    return f"{text}  [{_kept_together('; '.join(facts))}]" if facts else text


def _kept_together(facts: str) -> str:
    """The text with line breaks allowed only after a comma or semicolon."""
    return re.sub(r"(?<![,;]) ", KEPT, facts)


def _default(option: click.Option) -> str:
    if option.secondary_opts:
        return (option.opts if option.default else option.secondary_opts)[0].lstrip("-")
    return str(option.default).replace(",", ", ")


def _write_rows(formatter: click.HelpFormatter, rows: list[Row]) -> None:
    before = len(formatter.buffer)
    formatter.write_dl([(first.ljust(WIDE), text) for first, text in rows], col_max=WIDE)
    formatter.buffer[before:] = [text.replace(KEPT, " ") for text in formatter.buffer[before:]]


def _write_commands(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    if isinstance(command, click.Group):
        commands = ((name, command.get_command(ctx, name)) for name in command.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl([(name, child.get_short_help_str(formatter.width)) for name, child in commands if child])


def _write_sources(ctx: click.Context, formatter: click.HelpFormatter) -> None:
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(
            f"Options may also be set in a configuration file or by environment variables named {ctx.auto_envvar_prefix}_OPTION: "
            "see examples/configuration.md."
        )
