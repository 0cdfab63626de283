"""Trains the networks of `psal upscale`.

    python -m psal_cli.training.super_resolution 4 --data ../shared/data --hours 40

A step takes crops of photographs, and the same crops reduced with the antialiased cubic kernel. The loss is the L1 error and, at
the end of a run, the L2 error, which PSNR measures. The kept weights are a running mean.
"""

from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli import weights as stored
from psal_cli.networks.residual_psal import ResidualPSAL
from psal_cli.training import loop, options, precision
from psal_cli.training.upscaling_crops import Crops, luminance

EVERY = 2_000  # steps between validations
L2_FROM = 0.9  # share of the run after which the loss is the L2 error
L2_WEIGHT = 20.0  # weight of the L2 error, so that its gradients are about as large as those of L1


def start(network: ResidualPSAL) -> None:
    """Initial weights: small residuals of the network, of each block and of the attention."""
    with torch.no_grad():
        network.tail.weight.mul_(0.1)
        for block in network.body:
            getattr(block, "second").weight.mul_(0.3)  # noqa: B009  # torch types it as a module
        if network.cross:
            network.cross.out.weight.mul_(0.1)
            network.cross.to_key.load_state_dict(network.cross.to_query.state_dict())  # similar patches have similar features
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                assert module.bias is not None
                module.bias.zero_()


def load_start(network: ResidualPSAL, source: str, kept: tuple[int, ...] = ()) -> None:
    """Takes every tensor that has the same name and shape from shipped weights, by name, from exported ones or a checkpoint.

    Of a longer trunk it takes the blocks `kept`. An `UpscalingNetwork` has no merging convolution: what stands for its sum of the
    first and the last features is set instead.
    """
    known, _ = stored.resolve(source)
    blocks = {int(name.split(".")[1]) for name in known if name.startswith("body.")}
    if kept and len(blocks) > len(kept):
        parts = network.body[0].state_dict()
        body = {f"body.{new}.{part}": known[f"body.{old}.{part}"] for new, old in enumerate(kept) for part in parts}
        known = {name: x for name, x in known.items() if not name.startswith("body.")} | body
    if "merge.weight" not in known:
        features = network.merge.weight.shape[0]
        eye, none = torch.eye(features)[..., None, None], torch.zeros(features, 2 * features, 1, 1)
        known["merge.weight"] = torch.cat([eye, eye, none], 1)  # first, last, second, before the last: see ResidualPSAL.parts
    own = network.state_dict()
    network.load_state_dict({key: known[key] if key in known and known[key].shape == x.shape else x for key, x in own.items()})


@click.command()
@click.argument("scale", type=click.Choice(["2", "3", "4"]))
@options.run(steps=500_000, queued=True)
@click.option("--features", type=click.IntRange(1), default=64, show_default=True)
@click.option("--blocks", type=click.IntRange(2), default=10, show_default=True)
@click.option("--before", type=click.IntRange(1), default=3, show_default=True, help="Blocks before the attention.")
@click.option("--cross/--no-cross", default=True, show_default=True, help="Attention across scales.")
@click.option("--degraded", is_flag=True, help="Learn from noisy and compressed pictures.")
@click.option("--start", "source", help="Start from these weights, a file or the name of shipped ones, as far as they fit.")
@click.option("--keep", default="", help="Of a longer trunk, start from these blocks, as 0,1,4; as many as there are blocks.")
def main(
    run: options.Run, scale: str, features: int, blocks: int, before: int, cross: bool, degraded: bool, source: str | None,
    keep: str,
) -> None:  # fmt: skip
    """Train for SCALE. Checkpoint and log are OUTPUT/NAME.pt and .jsonl, the best weights OUTPUT/NAME.best.pt."""
    ratio, name = int(scale), run.name or f"upscale_x{scale}"
    network = ResidualPSAL(ratio, features, blocks, before, cross=cross)
    start(network)
    if source:
        load_start(network, source, tuple(int(number) for number in keep.split(",")) if keep else ())
    crops = Crops(run.data, ratio, run.seed, public=run.public, cache=run.output / "cache", degraded=degraded)
    path = run.output / name

    def first_loss(copy: nn.Module) -> Tensor:
        small, large = (x.to(run.device) for x in crops.batch(0))
        return F.l1_loss(copy(small).float(), large)

    setting = precision.fastest(network, first_loss, run.device, run.output / f"{name}.precision.json")
    setting.place(network, run.device)
    average = loop.running_mean(network)

    def errors(step: int, share: float) -> tuple[Tensor, float]:
        small, large = (x.to(run.device) for x in crops.batch(step))
        with setting.autocast(run.device):
            enlarged = network(small)
        gap = enlarged.float() - large
        l1 = gap.abs().mean()
        loss = l1 if share < L2_FROM else L2_WEIGHT * gap.square().mean()
        return loss, l1.item() * 255

    def validation() -> float:
        """Minus the mean PSNR of the luminance, in dB."""
        decibels = []
        for number in range(len(crops.held_out)):
            small, large = (x.to(run.device) for x in crops.validation(number))
            with setting.autocast(run.device):
                drawn = average(small).float()
            gap = (luminance(drawn.clamp(0, 1)) - luminance(large))[:, ratio:-ratio, ratio:-ratio]
            decibels.append(10 * gap.square().mean().log10().item())
        return float(np.mean(decibels))

    recipe: loop.Recipe = {
        "run": name, "scale": ratio, "features": features, "blocks": blocks, "before": before, "cross": cross,
        "degraded": degraded, "steps": run.steps, "rate": run.rate, "seed": run.seed,
        "start": Path(source).name if source else None, "keep": keep or None,
    }  # fmt: skip
    loop.train(
        path, network, recipe, errors, validation,
        hours=run.hours, minutes=run.minutes, every=EVERY, warmup=200, clip=0.5, best=True, betas=(0.9, 0.99), average=average,
        resume=run.resume,
    )  # fmt: skip


if __name__ == "__main__":
    main()
