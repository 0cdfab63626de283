"""Trains the network that guides `psal inpaint`.

    python -m psal_cli.training.learned_copying --data ../shared/data --hours 50

A step takes crops with a hole. The loss is the negative log likelihood of the hidden colours under a Laplace distribution, and
the expected error of copying: hidden pixels choose among known ones by the distance of their features, and the cost of a choice
is the difference of the patch there from the hidden truth.
"""

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.networks.learned_copying import CopyingNetwork
from psal_cli.training import loop, options, precision
from psal_cli.training.inpainting_crops import FAR, Crops

PATCH = 7  # side of the copied patches
QUERIES, KEYS = 192, 1024  # of each crop, in a step
# Weight of the roughness of a patch relative to its colours. Two patches of one texture differ in colour by twice its variance, a
# patch of it and a smooth one by once: without this term, smooth patches would be the best sources wherever a texture cannot be
# predicted.
TEXTURE = 6.0
ROUGHNESS = 5  # pixels: side of the squares whose mean gradient is compared
# Factor of the softmax over squared distances. The search takes the nearest patch, not a mean over near ones; with 1, the bound
# of the features (networks.learned_copying) keeps the choice too soft. With a sharper softmax, the same features have an expected
# error 4 % lower.
SHARPNESS = 4.0
LIKELIHOOD = 0.2  # weight of the likelihood relative to the expected error
EVERY = 1_000  # steps between validations
HELD_OUT = 128  # crops


def copy_errors(
    features: Tensor, truth: Tensor, mask: Tensor, random: np.random.Generator, keys: int = KEYS, queries: int = QUERIES
) -> Tensor:
    """[B, 2]: the expected error of copying, and that of copying at random, for the patches of each picture.

    Args:
        features: [B, F, H, W]. truth: [B, 3, H, W] in [0, 1]. mask: [B, 1, H, W], 1 = hole.
        keys, queries: numbers of random pixels whose patch is known, and of pixels in the hole.
    """
    errors = []
    maps = torch.cat([truth, TEXTURE * _roughness(truth)], 1)
    touched = F.max_pool2d(mask, PATCH, 1, PATCH // 2)
    inside = torch.zeros_like(mask)
    edge = PATCH // 2
    inside[..., edge:-edge, edge:-edge] = 1  # whole patches
    for picture_features, picture, hidden, near in zip(
        features, maps, mask[:, 0] * inside[:, 0], (1 - touched[:, 0]) * inside[:, 0], strict=True
    ):
        query, key = _drawn(hidden, queries, random), _drawn(near, keys, random)
        if len(query) == 0 or len(key) == 0:
            continue
        distance = _distances(_patches(picture_features, query), _patches(picture_features, key)) / PATCH**2
        weight = (-SHARPNESS * distance).softmax(1)
        error = (_distances(_patches(picture, query), _patches(picture, key)) / (len(picture) * PATCH**2) + 1e-5).sqrt()
        errors.append(torch.stack([(weight * error).sum(1).mean(), error.mean()]))
    return torch.stack(errors)


def _roughness(image: Tensor) -> Tensor:
    """[B, 3, H, W] -> [B, 2, H, W]: local means of the absolute differences of grey to the next row and column."""
    grey = image.mean(1, keepdim=True)
    steps = torch.cat([F.pad(grey.diff(dim=2), (0, 0, 0, 1)), F.pad(grey.diff(dim=3), (0, 1))], 1).abs()
    return F.avg_pool2d(steps, ROUGHNESS, 1, ROUGHNESS // 2, count_include_pad=False)


def _drawn(where: Tensor, count: int, random: np.random.Generator) -> Tensor:
    """int64 [n, 2]: up to this many random pixels where [H, W] is 1."""
    places = where.nonzero()
    if len(places) <= count:
        return places
    return places[torch.from_numpy(random.choice(len(places), count, replace=False)).to(places.device)]


def _patches(maps: Tensor, places: Tensor) -> Tensor:
    """[C, H, W] -> [n, PATCH^2 * C]: the patches around the places."""
    step = torch.arange(PATCH, device=maps.device) - PATCH // 2
    rows, columns = places[:, 0, None, None] + step[:, None], places[:, 1, None, None] + step
    pixels = maps.flatten(1).T.contiguous()  # channels last: four times as fast to gather
    return pixels.index_select(0, (rows * maps.shape[2] + columns).flatten()).view(len(places), -1)


def _distances(first: Tensor, second: Tensor) -> Tensor:
    """[n, D] and [m, D] -> squared distances [n, m]."""
    square = first.square().sum(1)[:, None] + second.square().sum(1) - 2 * first @ second.T
    return square.clamp_min(0)


def likelihood(expected: Tensor, scale: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """The mean negative log likelihood of the colours in the hole under a Laplace distribution of that scale's logarithm."""
    each = (expected - truth).abs() * (-scale).exp() + scale
    return (each * mask).sum() / (3 * mask.sum())


@click.command()
@options.run(steps=1_000_000, rate=4e-4, queued=True)
@click.option("--side", type=click.IntRange(48), default=128, show_default=True, help="Of the crops, in pixels.")
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True)
@click.option("--synthetic", type=click.FloatRange(0, 1), default=0.4, show_default=True, help="Share of synthetic scenes.")
def main(run: options.Run, side: int, batch: int, synthetic: float) -> None:
    """Train the network. Checkpoint and log are OUTPUT/NAME.pt and .jsonl, the best weights OUTPUT/NAME.best.pt."""
    network, name = CopyingNetwork(), run.name or "learned_copying"
    crops = Crops(run.data, side, run.seed, cache=run.output / "cache", synthetic=synthetic)

    def loss_of(copy: nn.Module, first: int, setting: precision.Setting | None = None) -> tuple[Tensor, Tensor]:
        """The loss, and the expected error of copying relative to copying at random."""
        image, mask = (x.to(run.device) for x in crops.batch(first, batch))
        with setting.autocast(run.device) if setting else torch.autocast(run.device, enabled=False):
            expected, scale, features = copy(image, mask)
        copying, at_random = copy_errors(features, image, mask, np.random.default_rng([run.seed, first])).unbind(1)
        relative = (copying / at_random).mean()
        return relative + LIKELIHOOD * likelihood(expected, scale, image, mask), relative

    setting = precision.fastest(network, lambda copy: loss_of(copy, 0)[0], run.device, run.output / f"{name}.precision.json")
    setting.place(network, run.device)
    average = loop.running_mean(network)

    def errors(step: int, _: float) -> tuple[Tensor, float]:
        loss, relative = loss_of(network, step * batch, setting)
        return loss, relative.item()

    def validation() -> float:
        """The expected error of copying relative to copying at random, on held-out photographs."""
        losses = [loss_of(average, FAR + first, setting)[1].item() for first in range(0, HELD_OUT, batch)]
        return float(np.mean(losses))

    recipe: loop.Recipe = {
        "run": name, "side": side, "batch": batch, "synthetic": synthetic, "steps": run.steps, "rate": run.rate, "seed": run.seed,
    }  # fmt: skip
    loop.train(
        run.output / name, network, recipe, errors, validation,
        hours=run.hours, minutes=run.minutes, every=EVERY, warmup=500, clip=1.0, best=True, average=average, resume=run.resume,
    )  # fmt: skip


if __name__ == "__main__":
    main()
