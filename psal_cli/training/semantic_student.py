"""Distils EfficientNet-Lite0 into a small network for `psal colorize`.

    python -m psal_cli.training.semantic_student --data ../shared/data --output out/training --hours 12

The student sees rescaled grey crops of photographs and scenes, and learns the teacher's projected features of them
(psal_cli.verbs.colorize.semantics). The loss is the squared distance relative to that of the mean: 1 means a constant student.
Needs `pip install 'psal[semantic]'`; none of the teacher's weights are stored. Scenes of the benchmark are excluded.
"""

import click
import numpy as np
import torch
from torch import Tensor, nn

from psal_cli.image.cielab import lightness, tone_of
from psal_cli.networks.semantics import SemanticNetwork
from psal_cli.training import loop, options
from psal_cli.training.scene_crops import FAR, SceneCrops
from psal_cli.verbs.colorize.semantics import semantics

SIDE = 224  # pixels of a crop, a multiple of the largest stride
HELD_OUT = 32  # crops


def relative_error(told: list[Tensor], right: list[Tensor]) -> Tensor:
    """The squared distance of features, [B, C, h, w] per stage, relative to that of the true ones from their mean; averaged over
    stages."""
    errors = [
        (x - y).square().sum(1).mean() / (y - y.mean((0, 2, 3), keepdim=True)).square().sum(1).mean().clamp_min(1e-6)
        for x, y in zip(told, right, strict=True)
    ]
    return torch.stack(errors).mean()


@click.command()
@options.run(steps=100_000, rate=5e-4, queued=True)
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True)
def main(run: options.Run, batch: int) -> None:
    """Train the network. Checkpoint and log are OUTPUT/NAME.pt and .jsonl, the best weights OUTPUT/NAME.best.pt."""
    network, name, crops = SemanticNetwork().to(run.device), run.name or "semantic_student", SceneCrops(run.data, SIDE, run.seed)
    average = loop.running_mean(network)

    def error_of(student: nn.Module, first: int) -> Tensor:
        lights = [lightness(crops.crop(first + number)) for number in range(batch)]
        seen = [semantics(light).stages for light in lights]
        right = [torch.cat(stage).to(run.device) for stage in zip(*seen, strict=True)]
        greys = torch.from_numpy(np.stack([tone_of(light) for light in lights]))[:, None].to(run.device)
        return relative_error(student(greys), right)

    def errors(step: int, _: float) -> tuple[Tensor, float]:
        error = error_of(network, step * batch)
        return error, error.item()

    def validation() -> float:
        return float(np.mean([error_of(average, FAR + first).item() for first in range(0, HELD_OUT, batch)]))

    recipe: loop.Recipe = {"run": name, "side": SIDE, "batch": batch, "steps": run.steps, "rate": run.rate, "seed": run.seed}
    loop.train(
        run.output / name, network, recipe, errors, validation,
        hours=run.hours, minutes=run.minutes, warmup=200, clip=1.0, best=True, average=average, resume=run.resume,
    )  # fmt: skip


if __name__ == "__main__":
    main()
