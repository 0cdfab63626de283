"""Trains the network that guesses colours without a reference: p(a*, b* | grey).

    python -m psal_cli.training.colour_guess --data ../shared/data --output out/training --hours 15

The loss is the cross entropy of the colours of crops of photographs and scenes. Rare colours count more, by the inverse of a
mixture of their frequency and a uniform distribution (Zhang et al. 2016); otherwise everything would be guessed grey.
"""

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.image.cielab import lab
from psal_cli.networks.colour_guess import COLOURS, ColourGuessNetwork, shares
from psal_cli.networks.unet import half
from psal_cli.training import loop, options, precision
from psal_cli.training.scene_crops import FAR, SceneCrops

SIDE = 192  # pixels of a crop
SCALE = 0.5, 1.0  # of crops: at inference a picture is reduced to a short side of 256 pixels
GAMMA, NOISE = 1.5, 0.03  # largest change of the exponent of lightness, and deviation of its noise: scans are faded and grainy
COUNTED = 200  # crops that measure the frequency of colours
EVEN = 0.5  # share of the uniform distribution in that mixture
HELD_OUT = 64  # crops


def sample(crops: SceneCrops, first: int, count: int) -> tuple[Tensor, Tensor]:
    """(lightness [B, 1, H, W], chroma [B, 2, h, w] at a quarter of the size), both / 100."""
    pictures = torch.from_numpy(np.stack([lab(crops.crop(first + number)) for number in range(count)])).permute(0, 3, 1, 2)
    return pictures[:, :1].contiguous(), half(half(pictures[:, 1:]))


def aged(light: Tensor, random: torch.Generator) -> Tensor:
    """Lightness / 100 [B, 1, H, W] as of faded and grainy scans, with another strength for each picture."""
    gamma, noise = torch.rand(2, len(light), 1, 1, 1, generator=random)
    return (light.clamp(0, 1) ** GAMMA ** (2 * gamma - 1) + NOISE * noise * torch.randn(light.shape, generator=random)).clamp(
        0, 1
    )


def balance(crops: SceneCrops) -> Tensor:
    """float32 [COLOURS]: the weight of each colour, with mean 1 over the pixels of crops."""
    common = torch.stack([shares(sample(crops, number, 1)[1]).mean((0, 2, 3)) for number in range(COUNTED)]).mean(0)
    weight = 1 / ((1 - EVEN) * common + EVEN / COLOURS)
    return weight / (weight * common).sum()


def cross_entropy(logits: Tensor, chroma: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean over all pixels of a batch, in nats."""
    right = shares(chroma)
    counted = (right * weight[:, None, None]).sum(1)
    return (counted * F.cross_entropy(logits, right, reduction="none")).sum() / counted.sum()


@click.command()
@options.run(steps=100_000, rate=5e-4, queued=True)
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True)
def main(run: options.Run, batch: int) -> None:
    """Train the network. Checkpoint and log are OUTPUT/NAME.pt and .jsonl, the best weights OUTPUT/NAME.best.pt."""
    network, name, crops = ColourGuessNetwork(), run.name or "colour_guess", SceneCrops(run.data, SIDE, run.seed, SCALE)
    network.weight.copy_(balance(crops))

    def first_loss(copy: nn.Module) -> Tensor:
        light, chroma = (x.to(run.device) for x in sample(crops, 0, batch))
        return cross_entropy(copy(light).float(), chroma, network.weight)

    setting = precision.fastest(network, first_loss, run.device, run.output / f"{name}.precision.json")
    setting.place(network, run.device)
    average = loop.running_mean(network)

    def error_of(guess: nn.Module, light: Tensor, chroma: Tensor) -> Tensor:
        with setting.autocast(run.device):
            logits = guess(light.to(run.device))
        return cross_entropy(logits.float(), chroma.to(run.device), network.weight)

    def errors(step: int, _: float) -> tuple[Tensor, float]:
        light, chroma = sample(crops, step * batch, batch)
        error = error_of(network, aged(light, torch.Generator().manual_seed(run.seed + step)), chroma)
        return error, error.item()

    def validation() -> float:
        batches = [sample(crops, FAR + first, batch) for first in range(0, HELD_OUT, batch)]
        return float(np.mean([error_of(average, light, chroma).item() for light, chroma in batches]))

    recipe: loop.Recipe = {"run": name, "side": SIDE, "batch": batch, "steps": run.steps, "rate": run.rate, "seed": run.seed}
    loop.train(
        run.output / name, network, recipe, errors, validation,
        hours=run.hours, minutes=run.minutes, warmup=200, clip=1.0, best=True, average=average, resume=run.resume,
    )  # fmt: skip


if __name__ == "__main__":
    main()
