"""Trains the colorization network with one attention layer (Cherel et al., arXiv 2202.03163, sections 4.3 and 4.7).

    python -m psal_cli.training.colorization aggregation --data ../shared/data --output out/training

As in the paper: 256x256 pairs, batch 1, Adam, mean squared error inside a frame of 7 pixels. Unlike the paper, the error of a
step is taken in one random window of the target, so that 20,000 steps take an hour on one core; whole pictures took a day (full
attention: a week). The reference is always whole. Pair, window and random search depend only on the number of the step, so every
layer sees the same.
"""

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psal_cli.attention import PSAttention
from psal_cli.networks.colorization import ColorizationNetwork, grey
from psal_cli.training import loop, options
from psal_cli.training.pairs import Pair, Pairs
from psal_cli.verbs.colorize.paper import LAYERS, PATCH, layer, network_of, reseed

FRAME = 7  # pixels at the border that are excluded from the error
SIDE = 256
FEW_UNTIL = 1 / 3  # share of the run with --first matches


def tensors(pair: Pair) -> tuple[Tensor, Tensor]:
    """Target and reference as [1, 3, H, W]."""
    target, reference = (torch.from_numpy(np.ascontiguousarray(x)).permute(2, 0, 1)[None] for x in pair)
    return target, reference


def window_error(network: nn.Module, pair: Pair, side: int, random: np.random.Generator, device: str) -> Tensor:
    """Mean squared error of RGB in a random window of side x side inside the frame; 0 = everything inside the frame."""
    target, reference = (x.to(device) for x in tensors(pair))
    height, width = target.shape[2:]
    if side:
        top, left = (int(random.integers(FRAME, size - FRAME - side + 1)) for size in (height, width))
        bottom, right = top + side, left + side
    else:
        top, left, bottom, right = FRAME, FRAME, height - FRAME, width - FRAME
    margin = 1 + (PATCH // 2 if getattr(network.attention, "aggregation", False) else 0)  # of the last convolution; of patches
    mask = torch.zeros((1, height, width), dtype=torch.bool, device=device)
    mask[:, max(top - margin, 0) : bottom + margin, max(left - margin, 0) : right + margin] = True
    colours = network(grey(target), reference, mask)
    return F.mse_loss(colours[:, :, top:bottom, left:right], target[:, :, top:bottom, left:right])


def validation_error(network: ColorizationNetwork, pairs: list[Pair], device: str) -> float:
    """Mean of `window_error` over pairs, in fixed windows of 96 x 96."""
    random = np.random.default_rng(0)
    reseed(network, 0)
    return float(np.mean([float(window_error(network, pair, 96, random, device)) for pair in pairs]))


@click.command()
@click.argument("attention", metavar="LAYER", type=click.Choice(LAYERS))
@options.run(steps=20_000, queued=True)
@click.option("--window", type=click.IntRange(0, SIDE - 2 * FRAME), default=40, show_default=True, help="0 = whole pictures.")
@click.option(
    "--gradients", type=click.Choice(["highest", "medium"]), default="highest", show_default=True,
    help="medium = the products of full and local attention's gradients in bfloat16: two thirds of the time.",
)  # fmt: skip
@click.option(
    "--cycles", type=click.IntRange(1), default=1, show_default=True, help="How often the rate falls: so many times STEPS."
)
@click.option("--start", type=click.Choice(LAYERS), help="Start from the weights that ship for this layer.")
@click.option("--first", type=click.IntRange(1), help="Matches of PSAL in the first third of the run; default all of LAYER's.")
def main(
    run: options.Run, attention: str, window: int, gradients: str, cycles: int, start: str | None, first: int | None
) -> None:
    """Trains with LAYER. Checkpoint and log are OUTPUT/NAME.pt and .jsonl, by default colorization_LAYER or
    colorization_LAYER_from_START; a stopped run resumes.

    With many matches the layer spreads its weights at first and may stay like that; fewer in the beginning (--first 3) prevent
    it.
    """
    network = ColorizationNetwork(layer(attention))
    matches = network.attention.k if isinstance(network.attention, PSAttention) else None
    if first is not None and (matches is None or first > matches):
        raise click.UsageError(f"--first is {first}, {attention} has {matches or 'no'} matches a pixel")
    if start:
        network.load_state_dict(network_of(start).state_dict())
    network.to(run.device)
    pairs = Pairs(run.data, (SIDE, SIDE), run.seed)
    held_out = pairs.validation(12)

    def errors(step: int, share: float) -> tuple[Tensor, float]:
        reseed(network, step)  # another random search in each step
        if isinstance(network.attention, PSAttention) and first is not None and matches is not None:
            network.attention.k = first if share < FEW_UNTIL else matches
        error = window_error(network, pairs.pair(step), window, np.random.default_rng([run.seed, step, 1]), run.device)
        return error, error.item()

    recipe: loop.Recipe = {"layer": attention, "steps": run.steps, "window": window, "rate": run.rate, "seed": run.seed}
    name = run.name or f"colorization_{attention}" + (f"_from_{start}" if start else "")
    recipe |= {key: value for key, value in (("start", start), ("first", first)) if value is not None}
    loop.train(
        run.output / name, network, recipe, errors, lambda: validation_error(network, held_out, run.device),
        hours=run.hours, minutes=run.minutes, every=1000, gradients=gradients, cycles=cycles, best=True, resume=run.resume,
    )  # fmt: skip


if __name__ == "__main__":
    main()
