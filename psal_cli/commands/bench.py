"""`psal bench`: the paper's tables on this machine."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypedDict, Unpack

import click

from psal_cli.batch.inputs import as_path
from psal_cli.batch.runner import import_torch
from psal_cli.commands import devices, options, parameters
from psal_cli.commands.command import Group
from psal_cli.commands.console import Console
from psal_cli.commands.cures import flagged
from psal_cli.commands.ranges import Finite, IntRange
from psal_cli.errors import InputError, WriteError
from psal_cli.files import atomic_file, check_output

LAYERS = ("full", "local", "linear", "performer", "reformer", "psal3", "aggregation", "sdpa", "flex")


if TYPE_CHECKING:
    SizesType = click.ParamType[tuple[int, ...]]
    NamesType = click.ParamType[tuple[str, ...]]
else:
    SizesType = NamesType = click.ParamType  # older versions of click have no generic one


class BenchOptions(TypedDict):
    """The options that all commands of `psal bench` share."""

    seed: int
    device: str
    threads: int | None
    as_json: bool
    as_csv: bool
    plot: str | None
    force: bool
    quiet: bool
    verbose: int


class Measurement(Protocol):
    """A benchmark. say: called with the current step. Returns the table to print, see psal_cli.benchmarks."""

    def __call__(self, say: Callable[[str], None], *, seed: int, device: str, threads: int | None) -> dict: ...


class Sizes(SizesType):
    name = "sides"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        text = str(value)
        if not re.fullmatch(r"\d{1,5}(,\d{1,5})*", text):
            self.fail(f"{value!r} is not a list of sides in pixels: e.g. 64,128,256", param, ctx)
        sizes = tuple(sorted({int(side) for side in text.split(",")}))
        if sizes[0] < 16 or sizes[-1] > 8192:
            self.fail(f"{value}: sides from 16 to 8192 are measured", param, ctx)
        return sizes


class Names(NamesType):
    name = "layers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(str(value).split(","))
        if unknown := [name for name in names if name not in LAYERS]:
            self.fail(f"{unknown[0]!r} is not a layer: {', '.join(LAYERS)}", param, ctx)
        return names


bench_options = options.group(
    options.seed_option,
    click.option("--device", type=parameters.Device(), default="cpu", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--threads", type=IntRange(1, 1024), help="CPU threads. Default: chosen by torch."),
    click.option(
        "--json", "as_json", is_flag=True, help="Print JSON instead of the table, with all rows, the machine and versions."
    ),
    click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated rows instead of the table."),
    click.option("--plot", type=parameters.RESULT, help="Also draw the figures as .png, .svg or .pdf. Needs matplotlib."),
    click.option("--force", is_flag=True, help="Overwrite an existing plot."),
    click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
    click.option("-v", "--verbose", count=True, help="-vv adds a traceback when something fails."),
)
pairs_option = click.option(
    "--pairs",
    type=parameters.FILE,
    metavar="FOLDER",
    help="A folder with query.png and key.png, or with one folder of numbered frames per sequence. Default: a pair that ships "
    "with psal.",
)


@click.group(
    cls=Group, short_help="The paper's tables on this machine.", epilog="\b\nExample:\n  psal bench memory --sizes 64,128"
)
def bench() -> None:
    """Measure PSAL and the attention layers it is compared with, as the tables of the paper (arXiv 2202.03163) do.

    Each prints a table on stdout, with the paper's own figures in the last column.
    """


@bench.command(
    short_help="Table 1: memory, seconds, operations.",
    epilog="\b\nExample:\n  psal bench memory --sizes 64,128,256 --plot memory.png",
)
@click.option(
    "--sizes",
    type=Sizes(),
    default="64,128,256,512",
    show_default=True,
    help="Sides of the feature maps, separated by commas; 16 to 8192.",
)
@click.option(
    "--layers", type=Names(), default=",".join(LAYERS), show_default=True, help="Layers to measure, separated by commas."
)
@click.option(
    "--seconds",
    type=Finite(0, min_open=True),
    default=3.0,
    show_default=True,
    help="Time budget of a case. Slower cases run on a part of their queries, or are skipped.",
)
@bench_options
def memory(sizes: tuple[int, ...], layers: tuple[str, ...], seconds: float, **shared: Unpack[BenchOptions]) -> None:
    """Table 1: memory, seconds and operations by size, without gradient and with; patches of 7x7, 16 channels.

    What does not fit into the free memory is not run; the table says how much it would take.
    """

    def measured(say: Callable[[str], None], *, seed: int, device: str, threads: int | None) -> dict:
        from psal_cli.benchmarks.memory import measure

        return measure(sizes, layers, seconds=seconds, say=say, seed=seed, device=device, threads=threads)

    _run(measured, **shared)


@bench.command(
    short_help="Tables 2, 3: the error of rebuilt pictures.", epilog="\b\nExample:\n  psal bench reconstruct --sizes 64,128"
)
@click.option(
    "--sizes",
    type=Sizes(),
    default="64,128,256,512",
    show_default=True,
    help="Sides to which pictures are resized, separated by commas; 16 to 8192.",
)
@pairs_option
@click.option(
    "--seconds",
    type=Finite(0, min_open=True),
    default=12.0,
    show_default=True,
    help="Leave out layers that take longer for a pair.",
)
@click.option("--temperature", type=Finite(0, min_open=True), default=0.1, show_default=True, help="Temperature of the softmax.")
@bench_options
def reconstruct(
    sizes: tuple[int, ...], pairs: str | None, seconds: float, temperature: float, **shared: Unpack[BenchOptions]
) -> None:
    """Tables 2 and 3: the error of pictures rebuilt from others, 10 frames apart.

    The layers are full attention with strides and all others.
    """

    def measured(say: Callable[[str], None], *, seed: int, device: str, threads: int | None) -> dict:
        from psal_cli.benchmarks.reconstruct import measure

        folder = None if pairs is None else as_path(pairs)
        return measure(sizes, folder, seconds=seconds, temperature=temperature, say=say, seed=seed, device=device)

    _run(measured, **shared)


@bench.command(short_help="Table 8: another layer than in training.", epilog="\b\nExample:\n  psal bench swap --table 8")
@click.option(
    "--table",
    type=click.Choice(["8", "all"]),
    default="8",
    show_default=True,
    help="all adds tables 4 and 5, each layer with its own weights.",
)
@pairs_option
@bench_options
def swap(table: str, pairs: str | None, **shared: Unpack[BenchOptions]) -> None:
    """Table 8: the paper's colorization network trained with one layer and run with another, with the weights that ship."""

    def measured(say: Callable[[str], None], *, seed: int, device: str, threads: int | None) -> dict:
        from psal_cli.benchmarks.swap import PAPER, TABLE_8, measure

        folder = None if pairs is None else as_path(pairs)
        return measure(folder, wanted=tuple(TABLE_8 if table == "8" else PAPER), say=say, seed=seed, device=device)

    _run(measured, **shared)


@bench.command(
    short_help="All figures of a CUDA device.",
    epilog="\b\nExample:\n  psal bench device -o device.json",
)
@click.option("-o", "--output", type=parameters.RESULT, help="Also write the figures as JSON, anew after each row.")
@click.option("--device", type=parameters.Device(), default="cuda", show_default=True, help="cuda or cuda:N.")
@click.option("--tests/--no-tests", default=True, show_default=True, help="Run psal's tests on the device, in a checkout.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@options.seed_option
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", count=True, help="-vv adds a traceback when something fails.")
def device(
    output: str | None, device: str, tests: bool, as_json: bool, seed: int, force: bool, quiet: bool, verbose: int
) -> None:
    """Measure a CUDA device in under five minutes: search, exact search, gradients, a fill of 3300x3300 pixels and memory.

    Quick measurements come first. Then psal's tests run on the device, if psal runs from a checkout. There, the CUDA library is
    compiled if it is missing and nvcc and cmake are on the PATH. Without a CUDA device the command says so and exits with 2.
    """
    path = None if output is None else as_path(output)
    with Console(quiet, verbose, as_json) as console, flagged({"output": "--output"}):
        if path is not None:
            check_output(path, force)
        if device == "cpu":
            raise InputError("--device cpu: psal bench device measures a CUDA device: cuda or cuda:N")
        import_torch()
        if missing := devices.why_no_gpu():
            raise InputError(f"psal bench device needs a CUDA device: {missing}")
        from psal_cli.benchmarks import device as bench_device
        from psal_cli.benchmarks import output as shown

        def keep(results: dict) -> None:
            if path is not None:
                with atomic_file(path, True) as file:
                    file.write(json.dumps(results, indent=1).encode())

        results = bench_device.measure(devices.numbered(device), tests=tests, seed=seed, say=console.say, keep=keep)
        console.data(json.dumps(results) if as_json else shown.text(results))
        if console.lost:
            raise WriteError("the table could not be written to stdout")


def _run(
    measure: Measurement, *, seed: int, device: str, threads: int | None, as_json: bool, as_csv: bool, plot: str | None,
    force: bool, quiet: bool, verbose: int,
) -> None:  # fmt: skip
    """Measures and prints. A plot that cannot be written is refused first."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv would both go to stdout: give one of the two")
    path = None if plot is None else as_path(plot)
    with Console(quiet, verbose, as_json) as console, flagged({"pairs": "--pairs", "plot": "--plot"}):
        from psal_cli.benchmarks import output

        if path is not None:
            output.check_plot(path)
            check_output(path, force)
        import_torch()
        device, _ = devices.choose_device(device)
        devices.set_threads(threads)
        results = measure(console.say, seed=seed, device=device, threads=threads)
        console.data(json.dumps(results) if as_json else output.comma_separated(results) if as_csv else output.text(results))
        if path is not None:
            with atomic_file(path, force) as file:
                output.plot(results, file, path.suffix[1:].lower())
        if console.lost:
            raise WriteError("the table could not be written to stdout")
