"""Trains the embedding of `psal colorize`: end to end, through attention over a reference to the predicted colours.

    python -m psal_cli.training.embedding --data ../shared/data --output out/training --hours 3

Each step takes a pair of similar scenes, some pixels of the target and all of the reference, sometimes together with an unrelated
picture. The loss is the L1 error of the mean chroma under softmax(-distance). Needs `pip install 'psal[semantic]'`, which tells
which scenes look alike; the embedding itself does not use it. The kept weights are a running mean.
"""

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli.image.cielab import lab
from psal_cli.networks.embedding import EmbeddingNetwork
from psal_cli.training import loop, options
from psal_cli.training.pairs import Pair, Pairs
from psal_cli.training.scene_pairs import ScenePairs
from psal_cli.verbs.colorize.prior import embedding, pooled

SIZE = (240, 424)
PLACES = 1_000  # of the target, in a step
VIDEO, ALIKE = 0.35, 0.35  # of the steps: pairs of `Pairs.mixed`, and of `ScenePairs.alike`; the rest are of `ScenePairs.parts`
PARTS, CROPS, STRANGERS = 0.2, 0.15, 0.08  # of the pairs of `Pairs.mixed`
BESIDE = 0.2  # of the steps: with an unrelated reference too
HELD_OUT = 24  # pairs of each kind
DECAY = 0.998  # decay of the running mean of the weights


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


def sample(pairs: Pairs, scenes: ScenePairs, number: int) -> Pair:
    """A training pair. The sides of a video's pair may be mirrored independently, as those of scenes are."""
    random = np.random.default_rng([pairs.seed, number, 4])
    kind = random.random()
    if kind < VIDEO:
        pair = pairs.mixed(number, random.random(), PARTS, CROPS, STRANGERS)
        return Pair(*(side[:, :: random.choice([-1, 1])] for side in pair))
    return scenes.alike(number) if kind < VIDEO + ALIKE else scenes.parts(number)


@click.command()
@options.run(steps=30_000, rate=4e-4, queued=True)
@click.option("--start", is_flag=True, help="Start from the weights that ship.")
def main(run: options.Run, start: bool) -> None:
    """Train the network. Checkpoint and log are OUTPUT/NAME.pt and .jsonl, the best weights OUTPUT/NAME.best.pt."""
    seed, device, name = run.seed, run.device, run.name or "embedding"
    pairs, scenes = Pairs(run.data, SIZE, seed), ScenePairs(run.data, seed, run.output / "cache")
    network = EmbeddingNetwork().to(device)
    if start:
        network.load_state_dict(embedding(device).state_dict())
    average = loop.running_mean(network, DECAY)
    still = [pair(number, True) for pair in (scenes.parts, scenes.alike) for number in range(HELD_OUT)]
    held_out = [views(pair, device) for pair in [*still, *pairs.validation(HELD_OUT)]]
    kept: dict[int, list[View]] = {}

    def both(number: int) -> list[View]:
        if number not in kept:  # each pair is used in both directions, and once more as an unrelated reference
            kept[number] = views(sample(pairs, scenes, number), device)
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
        mean = average.module
        assert isinstance(mean, EmbeddingNetwork)
        losses = [
            F.l1_loss(mean.attended(target, [reference])[:, :2], right[:, :2]) for (target, right, _), reference in held_out
        ]
        return float(torch.stack(losses).mean()) * 100

    recipe: loop.Recipe = {"run": name, "steps": run.steps, "rate": run.rate, "seed": seed, "start": start}
    loop.train(
        run.output / name, network, recipe, errors, validation,
        hours=run.hours, minutes=run.minutes, every=1000, warmup=200, clip=1.0, best=True, average=average, resume=run.resume,
    )  # fmt: skip


if __name__ == "__main__":
    main()
