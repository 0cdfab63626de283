"""Help in groups, short and full, in plain words; a word for a slip."""

import re

import click
import pytest

from psal_cli.commands import COMMANDS, main, pages
from psal_cli.commands.batch import batch
from psal_cli.commands.bench import bench

from .photos import psal

VERBS = ("inpaint", "colorize", "upscale", "generate", "reconstruct")
HELPS = [
    (),
    *((name,) for name in COMMANDS),
    *(("bench", name) for name in bench.commands),
    *(("batch", name) for name in batch.commands),
]
GROUPS = (
    "Required",
    "Required, at least one of these",
    "Required, one of these",
    "Input",
    "Mask",
    "Reference",
    "Output",
    "Method",
    "Performance",
    "Diagnostics",
)


def groups(text):
    """heading -> its lines."""
    parts = re.split(r"^(\w[\w ,]*):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def command(path):
    node = main
    for name in path:
        node = node.get_command(click.Context(node), name)
    return node


@pytest.mark.parametrize("path", HELPS, ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_fits_80_columns_and_tells_ranges_in_words(path, option):
    text = psal(*path, option).stdout
    before, _, _ = text.rpartition("Example:")
    assert max(map(len, before.splitlines())) <= 80
    for jargon in ("INTEGER", "FLOAT", "RANGE", "<=", "x<", "x>", pages.KEPT):
        assert jargon not in text


@pytest.mark.parametrize("verb", VERBS)
def test_options_are_in_groups_the_required_ones_first(verb):
    headings = groups(psal(verb, "--help").stdout)
    assert list(headings) == [name for name in GROUPS if name in headings]
    assert {"Input", "Output", "Method", "Performance", "Diagnostics"} < set(headings)
    if verb != "generate":  # which requires nothing but a picture
        assert next(iter(headings)).startswith("Required")
    listed = "".join(headings.values())
    for option in command([verb]).params[1:]:
        assert len(re.findall(rf"^  (?:-\w, )?{re.escape(max(option.opts, key=len))}(?![\w-])", listed, re.MULTILINE)) == 1


def test_what_each_group_holds():
    headings = groups(psal("inpaint", "--help").stdout)
    for heading, option in (
        ("Input", "--recursive"),
        ("Mask", "--feather"),
        ("Output", "--output FILE"),
        ("Method", "--engine ENGINE"),
        ("Performance", "--threads N"),
        ("Diagnostics", "--json"),
    ):
        assert option in headings[heading]
    assert all(
        option in headings["Required, at least one of these"] for option in ("--mask FILE", "--box X,Y,W,H", "--polygon X,Y")
    )
    assert "[1 to 64; default: 1]" in " ".join(headings["Performance"].split())
    assert "[combined, patch, network; default: combined]" in " ".join(headings["Method"].split())
    sources = groups(psal("colorize", "--help").stdout)["Required, at least one of these"]
    assert all(option in sources for option in ("--ref FILE", "--hints FILE", "--auto"))
    sizes = groups(psal("upscale", "--help").stdout)["Required, one of these"]
    assert all(option in sizes for option in ("-x, --scale FACTOR", "--width PX", "--long-side PX", "--megapixels N"))


@pytest.mark.parametrize("path", HELPS, ids=" ".join)
def test_the_short_help_is_short_and_leads_on(path):
    brief, full = psal(*path, "-h").stdout, psal(*path, "--help").stdout
    lines = brief.rstrip().splitlines()
    assert lines[0] == full.splitlines()[0] and lines[-1].strip() == "--help shows all options."
    assert lines[2].strip() and len(brief) < len(full) and len(lines) <= 30
    assert lines[-3] == full.rstrip().splitlines()[-1]  # the example
    listed = brief.partition("Example:")[0]
    for option in command(path).params:
        assert not (isinstance(option, click.Option) and option.required) or option.opts[0] in listed


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        (["inpiant"], "inpaint"),
        (["upscal", "photo.jpg"], "upscale"),
        (["bench", "memmory"], "memory"),
        (["help", "colourize"], "colorize"),
        (["help", "bench", "swop"], "swap"),
        (["generate", "--patch-sise", "3"], "--patch-size"),
    ],
)
def test_slips_get_a_word(args, meant):
    done = psal(*args)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert f"Did you mean '{meant}'?" in done.stderr


def test_a_name_that_is_like_no_command_gets_no_advice():
    done = psal("zzz")
    assert done.exit_code == 2 and "No such command 'zzz'." in done.stderr and "mean" not in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["inpaint", "a.png", "--jobs", "65"], "65 is not in the range 1 to 64"),
        (["inpaint", "a.png", "--patch-size", "33"], "33 is not in the range 3 to 31"),
        (["colorize", "a.png", "--strength", "-1"], "-1.0 is not in the range 0 to 2"),
        (["reconstruct", "a.png", "--temperature", "0"], "0.0 is not in the range above 0"),
    ],
)
def test_errors_tell_ranges_in_words(args, words):
    done = psal(*args, "--mask" if args[0] == "inpaint" else "--ref" if args[0] == "colorize" else "--from", "b.png")
    assert done.exit_code == 2 and words in done.stderr


@pytest.mark.parametrize("args", [[], ["bench"]])
def test_without_a_command_the_short_help_goes_to_stderr(args):
    done = psal(*args)
    assert done.exit_code == 2 and done.stdout == "" and done.stderr == psal(*args, "-h").stdout


def test_help_of_a_command_below_another():
    assert psal("help", "bench", "memory").stdout == psal("bench", "memory", "--help").stdout != ""
    assert psal("help", "doctor", "x").exit_code == 2
