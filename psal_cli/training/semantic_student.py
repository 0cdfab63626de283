"""Distils EfficientNet-Lite0 into the small network that sees for `psal colorize`.

    python -m psal_cli.training.semantic_student --data ../shared/data --output out/training --hours 12

The student sees grey crops of photographs and scenes, larger or smaller than they are, and learns the projected features that the
teacher has of them (psal_cli.verbs.colorize.semantics). The loss is the squared distance, relative to that of the mean: 1 is a
student that says the same everywhere. Needs `pip install 'psal[semantic]'`; nothing of the teacher is kept. Scenes that the bench
measures by are left out.
"""

from pathlib import Path

import click
import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from psal_cli.image.cielab import lightness, tone_of
from psal_cli.networks.semantics import SemanticNetwork
from psal_cli.training import loop
from psal_cli.training.photographs import EVERY, files_of, read, scenes_of
from psal_cli.verbs.colorize.semantics import semantics

SIDE = 224  # pixels of a crop, a multiple of the largest stride
SCALE = 0.6, 1.6  # how much a crop is enlarged
HELD_OUT = 32  # crops
FAR = 1 << 40  # the numbers of the held-out crops
DECAY = 0.999  # of the running mean of the weights
MEASURED = (  # numbers of the scenes of tests/bench/colour_pairs.toml
    3, 17, 24, 51, 62, 67, 69, 71, 75, 87, 105, 131, 136, 142, 145, 156, 171, 178, 201, 219, 256, 277, 326, 347, 354, 359, 381,
    402, 409, 417, 421, 426, 448, 464, 492, 494, 503, 514, 521, 548, 564, 616, 623, 701, 722, 860, 943, 945, 1054, 1109,
)  # fmt: skip


class GreyCrops:
    """Numbered grey crops: the same files, seed and number give the same one. One file in twelve is held out."""

    def __init__(self, data: Path, seed: int):
        """Raises FileNotFoundError when the folder has no pictures."""
        measured = {f"{number:04}" for number in MEASURED}
        files = [*files_of(data), *(path for path in scenes_of(data) if path.stem not in measured)]
        if not files:
            raise FileNotFoundError(f"{data} has neither photos/ nor scenes/ with .webp pictures")
        self.held_out, self.seed = files[::EVERY], seed
        self.training = [path for number, path in enumerate(files) if number % EVERY] or files

    def crop(self, number: int) -> np.ndarray:
        """Lightness / 100, float32 [SIDE, SIDE]. From FAR on of held-out pictures, the same for every seed."""
        held_out = number >= FAR
        random = np.random.default_rng([0 if held_out else self.seed, number])
        files = self.held_out if held_out else self.training
        picture = read(files[number % len(files) if held_out else random.integers(len(files))])
        cut = min(round(SIDE / random.uniform(*SCALE)), *picture.shape[:2])
        top, left = (int(random.integers(size - cut + 1)) for size in picture.shape[:2])
        part = picture[top : top + cut, left : left + cut, :: random.choice([-1, 1])]
        return lightness(cv2.resize(np.ascontiguousarray(part), (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def relative_error(told: list[Tensor], right: list[Tensor]) -> Tensor:
    """The squared distance of features, [B, C, h, w] a stage, over that of the right ones to their mean; the mean of stages."""
    errors = [
        (x - y).square().sum(1).mean() / (y - y.mean((0, 2, 3), keepdim=True)).square().sum(1).mean().clamp_min(1e-6)
        for x, y in zip(told, right, strict=True)
    ]
    return torch.stack(errors).mean()


@click.command()
@loop.options(steps=100_000, rate=5e-4)
@loop.queue_options()
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True)
def main(
    data: Path,
    output: Path,
    steps: int,
    hours: float | None,
    minutes: float | None,
    rate: float,
    seed: int,
    device: str,
    threads: int,
    name: str | None,
    public: Path | None,
    resume: Path | None,
    batch: int,
) -> None:
    """Train the network. Checkpoint and log are OUTPUT/NAME.pt and .jsonl, the best weights OUTPUT/NAME.best.pt."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    network, name, crops = SemanticNetwork().to(device), name or "semantic_student", GreyCrops(data, seed)
    mean = get_ema_multi_avg_fn(DECAY)  # type: ignore[no-untyped-call]
    average = AveragedModel(network, multi_avg_fn=mean)

    def error_of(student: nn.Module, first: int) -> Tensor:
        lights = [crops.crop(first + number) for number in range(batch)]
        seen = [semantics(light).stages for light in lights]
        right = [torch.cat(stage).to(device) for stage in zip(*seen, strict=True)]
        greys = torch.from_numpy(np.stack([tone_of(light) for light in lights]))[:, None].to(device)
        return relative_error(student(greys), right)

    def errors(step: int, _: float) -> tuple[Tensor, float]:
        error = error_of(network, step * batch)
        return error, error.item()

    def validation() -> float:
        return float(np.mean([error_of(average, FAR + first).item() for first in range(0, HELD_OUT, batch)]))

    recipe: loop.Recipe = {"run": name, "side": SIDE, "batch": batch, "steps": steps, "rate": rate, "seed": seed}
    loop.train(
        output / name, network, recipe, errors, validation,
        hours=hours, minutes=minutes, warmup=200, clip=1.0, best=True, average=average, resume=resume,
    )  # fmt: skip


if __name__ == "__main__":
    main()
