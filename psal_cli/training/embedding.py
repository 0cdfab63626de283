"""Trains the embedding of `psal colorize`: end to end, through attention over a reference to the predicted colours.

    python -m psal_cli.training.embedding --data ../shared/data --output out/training

Each step takes a pair of similar scenes, some pixels of the target and all of the reference, sometimes together with an unrelated
picture. The loss is the L1 error of the mean chroma under softmax(-distance).
"""

from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli.image.cielab import lab
from psal_cli.networks.embedding import EmbeddingNetwork
from psal_cli.training import loop
from psal_cli.training.pairs import Pair, Pairs
from psal_cli.verbs.colorize.prior import pooled

SIZE = (240, 424)
PLACES = 1_000  # of the target, in a step
PARTS, CROPS, STRANGERS = 0.4, 0.35, 0.08  # of the steps: see `Pairs.mixed`
BESIDE = 0.25  # of the steps: with an unrelated reference too
HELD_OUT = 24


View = tuple[Tensor, Tensor, Tensor]  # lightness [1, 1, H, W]; at a quarter of the size, values and valid pixels


def views(pair: Pair, device: str = "cpu") -> list[View]:
    """Both pictures as `EmbeddingNetwork.attended` takes references.

    Values [1, 3, h, w]: a*, b*, divided by 100, and the sum of their squares.
    """
    prepared = []
    for picture in pair:
        x = torch.from_numpy(lab(np.rint(picture * 255).astype(np.uint8))).permute(2, 0, 1)[None].to(device)
        prepared.append((x[:, :1].contiguous(), *pooled(x[:, 1:], torch.ones_like(x[:, :1], dtype=torch.bool))))
    return prepared


def sample(pairs: Pairs, number: int) -> Pair:
    """A training pair; each side may be mirrored independently."""
    random = np.random.default_rng([pairs.seed, number, 4])
    pair = pairs.mixed(number, random.random(), PARTS, CROPS, STRANGERS)
    return Pair(*(side[:, :: -1 if random.random() < 0.5 else 1] for side in pair))


@click.command()
@loop.options(steps=8_000)
def main(data: Path, output: Path, steps: int, minutes: float | None, rate: float, seed: int, threads: int, device: str) -> None:
    """Checkpoint and log are OUTPUT/embedding.pt and .jsonl; a stopped run resumes."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    pairs, network = Pairs(data, SIZE, seed), EmbeddingNetwork().to(device)
    held_out = [views(pairs.parts(n, True), device) for n in range(HELD_OUT)]
    kept: dict[int, list[View]] = {}

    def both(number: int) -> list[View]:
        if number not in kept:  # each pair is used in both directions, and once more as an unrelated reference
            kept[number] = views(sample(pairs, number), device)
            kept.pop(number - 2, None)
        return kept[number]

    def errors(step: int, _: float) -> tuple[Tensor, float]:
        random = np.random.default_rng([seed, step, 5])
        (target, right, _valid), reference = both(step // 2)[:: -1 if step % 2 else 1]
        others = [both(max(step // 2 - 1, 0))[0]] if random.random() < BESIDE else []
        mask = torch.zeros(right[0, 0].numel(), dtype=torch.bool)
        mask[random.choice(len(mask), PLACES, replace=False)] = True
        mask = mask.view(1, *right.shape[2:]).to(device)
        attended = network.attended(target, [reference, *others], mask)
        error = F.l1_loss(attended[:, :2, mask[0]], right[:, :2, mask[0]])
        return error * 20, error.item() * 100

    def validation() -> float:
        losses = [
            F.l1_loss(network.attended(target, [reference])[:, :2], right[:, :2]) for (target, right, _), reference in held_out
        ]
        return float(torch.stack(losses).mean()) * 100

    recipe: loop.Recipe = {"steps": steps, "rate": rate, "seed": seed}
    loop.train(output / "embedding", network, recipe, errors, validation, minutes=minutes, warmup=200, clip=1.0)


if __name__ == "__main__":
    main()
