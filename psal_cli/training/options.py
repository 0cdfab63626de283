"""The options that the recipes' commands share."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path

import click
import torch

Recipe = Callable[..., None]

data = click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with photos/, scenes/ and video/.")
output = click.option("--output", type=click.Path(path_type=Path), default="out/training", show_default=True)
seed = click.option("--seed", type=int, default=0, show_default=True)


@dataclass(frozen=True)
class Run:
    """The options of a run of training; the last four are those that the queue sets, and not every recipe has.

    Attributes:
        data: the folder with photos/, scenes/ and video/. output: the folder of checkpoints and logs.
        steps: in all, earlier runs included. hours: CPU hours in all, instead of steps. minutes: of this process.
        rate: the learning rate. threads: of torch.
        name: of checkpoint and log. public: checkouts of public repositories with more pictures.
        resume: exported weights of the same run to resume from.
    """

    data: Path
    output: Path
    steps: int
    minutes: float | None
    rate: float
    seed: int
    device: str
    threads: int
    hours: float | None = None
    name: str | None = None
    public: Path | None = None
    resume: Path | None = None


def run(steps: int, rate: float = 1e-3, queued: bool = False) -> Callable[[Recipe], Recipe]:
    """Adds the options of a run to a recipe, which gets them as its first argument, after torch has its threads and its seed.

    Args:
        steps, rate: the default number of steps and learning rate.
        queued: also add the options that the queue sets.
    """
    chosen = [
        data,
        output,
        click.option("--steps", type=click.IntRange(1), default=steps, show_default=True, help="In all, earlier runs included."),
        click.option("--minutes", type=float, help="Stop after so many minutes; run again to resume."),
        click.option("--rate", type=float, default=rate, show_default=True, help="Learning rate; falls to a hundredth."),
        seed,
        click.option("--device", default="cpu", show_default=True),
        click.option("--threads", type=click.IntRange(1), default=1, show_default=True),
    ]
    if queued:
        chosen += [
            click.option("--hours", type=float, help="Train for so many CPU hours in all, instead of --steps."),
            click.option("--name", help="Of checkpoint and log."),
            click.option(
                "--public", type=click.Path(path_type=Path), help="Checkouts of public repositories with more pictures."
            ),
            click.option("--resume", type=click.Path(path_type=Path), help="Exported weights of the same run to resume from."),
        ]
    make: Callable[..., Run] = Run
    known = {field.name for field in fields(Run)}

    def decorate(recipe: Recipe) -> Recipe:
        @wraps(recipe)
        def command(**values: object) -> None:
            options = make(**{name: values.pop(name) for name in known & values.keys()})
            torch.set_num_threads(options.threads)
            torch.manual_seed(options.seed)
            recipe(options, **values)

        decorated: Recipe = command
        for option in reversed(chosen):
            decorated = option(decorated)
        return decorated

    return decorate
