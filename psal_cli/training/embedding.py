"""Trains the embedding of `psal colorize`: end to end through attention over a reference, by the colours that come out.

    python -m psal_cli.training.embedding --data ../shared/data --output out/training

Each step takes a pair of the same kind of scene, some places of the target, and all of the reference, beside it at times a
picture that has nothing to do with either. The loss is the L1 error of the mean chroma under softmax(-distance).
"""

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli.attention import full_attention
from psal_cli.networks.embedding import EmbeddingNetwork
from psal_cli.networks.unet import half
from psal_cli.tasks.chroma import lab
from psal_cli.training import loop
from psal_cli.training.pairs import Pair, Pairs

SIZE = (240, 424)
PLACES = 1_000  # of the target, in a step
STRANGER = 0.25  # of the steps: a reference of another scene is there too
HELD_OUT, HELD_OUT_PARTS = 8, 24


def views(pair: Pair, device: str = "cpu") -> list[tuple[Tensor, Tensor]]:
    """(lightness [1, 1, H, W], chroma [1, 2, h, w] at a quarter of the size) of both, divided by 100."""
    found = []
    for picture in pair:
        x = torch.from_numpy(lab(np.rint(picture * 255).astype(np.uint8))).permute(2, 0, 1)[None].to(device)
        found.append((x[:, :1].contiguous(), half(half(x[:, 1:]))))
    return found


def colours(network: EmbeddingNetwork, target: Tensor, references: list[tuple[Tensor, Tensor]], mask: Tensor | None) -> Tensor:
    """Chroma [1, 2, h, w] that a target's lightness [1, 1, H, W] gets from all places of the references."""
    keys, values = zip(*((network(light).flatten(2), chroma.flatten(2)) for light, chroma in references), strict=True)
    key, value = (torch.cat(x, 2)[:, :, None] for x in (keys, values))
    return full_attention(network(target), key, value, 1, query_mask=mask)


def sample(pairs: Pairs, number: int) -> Pair:
    """A training pair; either side may be mirrored by itself."""
    random = np.random.default_rng([pairs.seed, number, 4])
    kind = random.random()
    if kind < 0.75:
        pair = pairs.parts(number) if kind < 0.4 else pairs.crops(number)
    else:
        pair = (pairs.stranger(number) if kind < 0.83 else None) or pairs.pair(number)
    return Pair(*(side[:, :: -1 if random.random() < 0.5 else 1] for side in pair))


@click.command()
@loop.options(steps=8_000)
def main(data, output, steps, minutes, rate, seed, threads, device) -> None:
    """Checkpoint and log are OUTPUT/embedding.pt and .jsonl; a run that was stopped goes on."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    pairs, network = Pairs(data, SIZE, seed), EmbeddingNetwork().to(device)
    held_out = [
        views(pair, device) for pair in pairs.validation(HELD_OUT) + [pairs.parts(n, True) for n in range(HELD_OUT_PARTS)]
    ]
    kept: dict[int, list] = {}

    def both(number: int) -> list[tuple[Tensor, Tensor]]:
        if number not in kept:  # each pair serves twice, in both directions, and once more as a stranger
            kept[number] = views(sample(pairs, number), device)
            kept.pop(number - 2, None)
        return kept[number]

    def errors(step: int) -> tuple[Tensor, float]:
        random = np.random.default_rng([seed, step, 5])
        (target, right), reference = both(step // 2)[:: -1 if step % 2 else 1]
        others = [both(max(step // 2 - 1, 0))[0]] if random.random() < STRANGER else []
        mask = torch.zeros(right[0, 0].numel(), dtype=torch.bool)
        mask[random.choice(len(mask), PLACES, replace=False)] = True
        mask = mask.view(1, *right.shape[2:]).to(device)
        found = colours(network, target, [reference, *others], mask)
        error = F.l1_loss(found[:, :, mask[0]], right[:, :, mask[0]])
        return error * 20, error.item() * 100

    def validation() -> float:
        found = [F.l1_loss(colours(network, target, [reference], None), right) for (target, right), reference in held_out]
        return float(torch.stack(found[HELD_OUT:]).mean()) * 100

    recipe = {"steps": steps, "rate": rate, "seed": seed}
    loop.train(output / "embedding", network, recipe, errors, validation, minutes=minutes, warmup=200, clip=1.0)


if __name__ == "__main__":
    main()
