"""Trains the network of `psal inpaint`.

    python -m psal_cli.training.inpainting psal --data ../shared/data --output out/training

A step takes crops of photographs and of everyday scenes, and a hole in each. The loss is the spatially discounted L1 error of
both generators in the hole (Yu et al. 2018, section 3), on pixels and on means of larger squares; with --adversarial also the
hinge loss of a patch critic (Yu et al. 2019).
"""

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli.networks.contextual_attention import FILLS, InpaintingNetwork, composed
from psal_cli.patchmatch.regions import depth
from psal_cli.training import loop, options
from psal_cli.training.critic import Critic
from psal_cli.training.inpainting_crops import FAR, Crops
from psal_cli.training.photographs import SIDE
from psal_cli.verbs.inpaint.options import ATTENTIONS
from psal_cli.verbs.inpaint.painter import attention_of, network_of

DISCOUNT = 0.97  # of the error, per pixel from the hole's edge: deep inside, many contents are possible
BLOCKS = 1, 4, 8  # sides of the squares whose means are compared: the gradient of single pixels is dominated by texture
HELD_OUT = 48  # crops for validation


def discounts(holes: Tensor) -> Tensor:
    """float32 [B, 1, H, W]: the weight of errors at each pixel of holes [B, 1, H, W], 1 = hole; 0 outside."""
    weights = [DISCOUNT ** depth(x) * x for x in holes[:, 0].numpy() > 0]
    return torch.from_numpy(np.stack(weights).astype(np.float32))[:, None]


def discounted(drawn: Tensor, image: Tensor, discount: Tensor, blocks: tuple[int, ...] = (1,)) -> Tensor:
    """The sum of weighted mean absolute differences of [B, 3, H, W] and of the means of larger blocks."""
    gap = (drawn - image) * discount
    return sum(F.avg_pool2d(gap, size).abs().sum() * size**2 for size in blocks) / (3 * discount.sum())


@click.command()
@click.argument("attention", type=click.Choice(ATTENTIONS))
@options.run(steps=40_000)
@click.option("--width", type=click.IntRange(2), default=32, show_default=True, help="Channels of the first convolution.")
@click.option("--fill", type=click.Choice(FILLS), default="zeros", show_default=True, help="What the network sees in the hole.")
@click.option("--residual", is_flag=True, help="Add to what is seen, instead of drawing anew.")
@click.option("--side", type=click.IntRange(64, SIDE), default=128, show_default=True, help="Of the crops, in pixels.")
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True)
@click.option("--adversarial", type=float, default=0.0, show_default=True, help="Weight of the critic's judgement.")
@click.option("--start", help="Start from these weights: a name of weights/, or a file.")
@click.option("--name", help="Of checkpoint and log; default inpaint_ATTENTION.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
def main(
    run: options.Run, attention: str, width: int, fill: str, residual: bool, side: int, batch: int, adversarial: float,
    start: str | None, precision: str,
) -> None:  # fmt: skip
    """Trains with ATTENTION. Checkpoint and log are OUTPUT/NAME.pt and .jsonl, the best by validation OUTPUT/NAME.best.pt."""
    network = InpaintingNetwork(width, attention_of(attention), fill=fill, residual=residual)
    if residual:
        _start_near_input(network)
    if start:
        network.load_state_dict(network_of(attention, start).state_dict())
    network.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # which torch does not declare
    critic = Critic().to(run.device)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=run.rate, betas=(0.5, 0.9))
    crops = Crops(run.data, side, run.seed, cache=run.output / "cache", synthetic=0)

    def batch_at(number: int, count: int) -> tuple[Tensor, Tensor]:
        """Pictures in [-1, 1] and holes, see `Crops.batch`."""
        image, mask = crops.batch(number, count)
        return (image * 2 - 1).to(run.device), mask.to(run.device)

    def drawn(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(torch.device(run.device).type, torch.bfloat16, enabled=precision == "bfloat16"):
            first, second = network(image, mask)
        return first.float(), second.float()

    def errors(step: int, _: float) -> tuple[Tensor, float]:
        image, mask = batch_at(step * batch, batch)
        discount = discounts(mask.cpu()).to(run.device)
        first, second = drawn(image, mask)
        error = discounted(second, image, discount)
        loss = discounted(first, image, discount, BLOCKS) + discounted(second, image, discount, BLOCKS)
        if adversarial:
            filled = composed(image, second, mask)
            judged = critic.loss(image, filled.detach(), mask)
            critic_optimizer.zero_grad()
            judged.backward()
            critic_optimizer.step()
            critic.requires_grad_(False)
            loss = loss - adversarial * critic(filled, mask).mean()
            critic.requires_grad_(True)
        return loss, error.item() * 127.5

    def validation() -> float:
        """The mean absolute error in the hole, in grey levels."""
        losses = []
        for first in range(0, HELD_OUT, 8):
            image, mask = batch_at(FAR + first, 8)
            _, second = drawn(image, mask)
            losses.append(((second - image).abs() * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)) / 3)
        return float(torch.cat(losses).mean()) * 127.5

    recipe: loop.Recipe = {
        "attention": attention, "width": width, "fill": fill, "residual": residual, "side": side, "batch": batch,
        "steps": run.steps, "rate": run.rate, "seed": run.seed, "adversarial": adversarial, "start": start,
        "precision": precision,
    }  # fmt: skip
    loop.train(
        run.output / (run.name or f"inpaint_{attention}"), network, recipe, errors, validation,
        minutes=run.minutes, warmup=200, clip=1.0, best=True, beside={"critic": critic, "critic_optimizer": critic_optimizer},
    )  # fmt: skip


def _start_near_input(network: InpaintingNetwork) -> None:
    """Makes the residuals of both generators small, so that the network initially returns approximately its input."""
    for generator, last in ((network.coarse_generator, "conv17"), (network.fine_generator, "allconv17")):
        getattr(generator, last).conv.weight.data.mul_(0.02)
        getattr(generator, last).conv.bias.data.zero_()


if __name__ == "__main__":
    main()
