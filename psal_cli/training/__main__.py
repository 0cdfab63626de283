"""Trains the networks of the queue, or prints their progress: `python -m psal_cli.training`."""

from pathlib import Path

import click

from psal_cli.errors import InputError
from psal_cli.training import curves, export, queue, worker


@click.command()
@click.option("--status", is_flag=True, help="Print how far each run is.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the validation curves to this file.")
@click.option("--export", "exported", metavar="RUN", help="Write the best weights of a run, and its log, to this checkout.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--refresh", is_flag=True, help="Train with the last commit of this checkout from now on.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="State [default: ~/.local/state/psal/training]")
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), default=worker.ROOT / "../shared/data",
    help="The folder with photos/, scenes/ and video/ [default: ../shared/data beside the checkout]",
)  # fmt: skip
@click.option(
    "--public", type=click.Path(path_type=Path, file_okay=False),
    help="Checkouts of public repositories with more data [default: public/ in the state folder]",
)  # fmt: skip
def main(
    status: bool,
    plot: Path | None,
    exported: str | None,
    threads: int,
    refresh: bool,
    folder: Path | None,
    data: Path,
    public: Path | None,
) -> None:
    """Train the runs of psal_cli/training/queue.toml in order, until each has its hours.

    Training uses a clone of the last commit and its own environment, so edits of this checkout do not disturb it. It resumes
    where it was stopped; Ctrl-C or SIGTERM stops it with a checkpoint.

    \b
    Examples:
      python -m psal_cli.training --threads 2
      python -m psal_cli.training --status --plot curves.png
      python -m psal_cli.training --export upscale_x4
    """
    folder = folder or worker.default_folder()
    try:
        runs = queue.load()
        if exported:
            click.echo(export.from_queue(_named(runs, exported), folder / "runs"))
        if status:
            click.echo(curves.table(runs, folder / "runs", threads))
        if plot:
            curves.plot(runs, folder / "runs", plot)
        if not (exported or status or plot):
            public = public or folder / "public"
            worker.work(folder, data.resolve(), public.resolve(), threads, refresh, lambda line: click.echo(line, err=True))
    except InputError as error:
        raise click.ClickException(str(error)) from error


def _named(runs: list[queue.Run], name: str) -> queue.Run:
    for run in runs:
        if run.name == name:
            return run
    raise InputError(f"no run {name!r} in the queue: there are {', '.join(run.name for run in runs)}")


if __name__ == "__main__":
    main(prog_name="python -m psal_cli.training")
