"""Trains the embedding of `psal colorize`: end to end through attention over a reference, by the colours that come out.

    python -m psal_cli.training.embedding --data ../shared/data --output out/training

Each step takes a pair of the same kind of scene, some places of the target, and all of the reference, beside it at times a
picture that has nothing to do with either. The lightness of each is that of another film, as old photographs have it and as
photographs of two places differ. The loss is the L1 error of the mean chroma under softmax(-distance).
"""

import click
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli.networks.embedding import EmbeddingNetwork, attended
from psal_cli.tasks.chroma import LIGHT, lab, lightness
from psal_cli.tasks.likely import pooled
from psal_cli.training import loop
from psal_cli.training.pairs import Pair, Pairs

SIZE = (240, 424)
PLACES = 1_000  # of the target, in a step
PARTS, CROPS, STRANGERS = 0.4, 0.35, 0.08  # of the steps: see `Pairs.mixed`
BESIDE = 0.25  # of the steps: a reference of another scene is there too
SENSITIVITY, CURVE, GRAIN = 0.12, 0.1, 0.008  # standard deviations: logarithms of each colour's weight and of gamma; of L* / 100
BLURRED = 0.2  # of the pictures
HELD_OUT = 24


View = tuple[Tensor, Tensor, Tensor]  # lightness [1, 1, H, W], and at a quarter of the size values and what counts


def views(pair: Pair, device: str = "cpu", random: np.random.Generator | None = None) -> list[View]:
    """Both pictures as `attended` takes references; values [1, 3, h, w]: a*, b*, divided by 100, and the sum of their squares.

    random: the lightness is then that of other films.
    """
    found = []
    for picture in pair:
        colours = lab(np.rint(picture * 255).astype(np.uint8))
        light = colours[..., 0] if random is None else filmed(picture, random)
        light, chroma = (
            torch.from_numpy(x).to(device) for x in (light[None, None], colours[None, ..., 1:].transpose(0, 3, 1, 2))
        )
        found.append((light.contiguous(), *pooled(chroma, torch.ones_like(light, dtype=torch.bool))))
    return found


def filmed(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """float32 [H, W] in [0, 1]: a picture float32 [H, W, 3] as some film sees it: its sensitivity, curve, sharpness, grain."""
    share = LIGHT * np.exp(random.normal(0, SENSITIVITY, 3)).astype(np.float32)
    light = lightness(np.rint(picture @ (share / share.sum()) * 255).astype(np.uint8)[..., None])
    light = light ** np.float32(np.exp(random.normal(0, CURVE)))
    if random.random() < BLURRED:
        light = cv2.GaussianBlur(light, (0, 0), random.uniform(0.4, 1.5))
    grain = random.standard_normal(light.shape, np.float32) * np.float32(abs(random.normal(0, GRAIN)))
    return (light + grain).clip(0, 1)


def sample(pairs: Pairs, number: int) -> Pair:
    """A training pair; either side may be mirrored by itself."""
    random = np.random.default_rng([pairs.seed, number, 4])
    pair = pairs.mixed(number, random.random(), PARTS, CROPS, STRANGERS)
    return Pair(*(side[:, :: -1 if random.random() < 0.5 else 1] for side in pair))


@click.command()
@loop.options(steps=8_000)
def main(data, output, steps, minutes, rate, seed, threads, device) -> None:
    """Checkpoint and log are OUTPUT/embedding.pt and .jsonl; a run that was stopped goes on."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    pairs, network = Pairs(data, SIZE, seed), EmbeddingNetwork().to(device)
    held_out = [views(pairs.parts(n, True), device) for n in range(HELD_OUT)]
    kept: dict[int, list[View]] = {}

    def both(number: int) -> list[View]:
        if number not in kept:  # each pair serves twice, in both directions, and once more as a stranger
            kept[number] = views(sample(pairs, number), device, np.random.default_rng([seed, number, 8]))
            kept.pop(number - 2, None)
        return kept[number]

    def errors(step: int) -> tuple[Tensor, float]:
        random = np.random.default_rng([seed, step, 5])
        (target, right, _), reference = both(step // 2)[:: -1 if step % 2 else 1]
        others = [both(max(step // 2 - 1, 0))[0]] if random.random() < BESIDE else []
        mask = torch.zeros(right[0, 0].numel(), dtype=torch.bool)
        mask[random.choice(len(mask), PLACES, replace=False)] = True
        mask = mask.view(1, *right.shape[2:]).to(device)
        found = attended(network, target, [reference, *others], mask)
        error = F.l1_loss(found[:, :2, mask[0]], right[:, :2, mask[0]])
        return error * 20, error.item() * 100

    def validation() -> float:
        found = [
            F.l1_loss(attended(network, target, [reference])[:, :2], right[:, :2]) for (target, right, _), reference in held_out
        ]
        return float(torch.stack(found).mean()) * 100

    recipe = {"steps": steps, "rate": rate, "seed": seed}
    loop.train(output / "embedding", network, recipe, errors, validation, minutes=minutes, warmup=200, clip=1.0)


if __name__ == "__main__":
    main()
