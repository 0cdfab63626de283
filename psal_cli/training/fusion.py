"""Trains what `psal colorize` makes of its matches: which to believe, and what to fill the rest with.

    python -m psal_cli.training.fusion --data ../shared/data --output out/training

The matches of all pairs are found once, and kept in a file of OUTPUT (2 MB a pair); each step
takes one of them. The loss is the L1 error of chroma and the likelihood of the error that the network expects (Laplace).
"""

from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from psal_cli.networks.fusion import CUES, FusionNetwork
from psal_cli.tasks.chroma import lab
from psal_cli.tasks.matching import canvas, cues, match
from psal_cli.training import loop
from psal_cli.training.pairs import Pair, Pairs
from psal_cli.weights import manifest

SIZE = (240, 424)
STRANGERS, PARTS = 10, 4  # one pair in so many is of two clips, and of two parts of a photograph
CROP = (192, 320)
HELD_OUT, HELD_OUT_PARTS = 24, 12


def prepared(pair: Pair, seed: int) -> np.ndarray:
    """float16 [CUES + 2, H, W]: cues, and the chroma that is right."""
    target, reference = (lab(np.rint(x * 255).astype(np.uint8)) for x in pair)
    references = canvas([(reference, None)])
    found = cues(target[..., 0], references, match(target[..., 0], references, seed))
    return np.concatenate([found[0].numpy(), target[..., 1:].transpose(2, 0, 1)]).astype(np.float16)


def prepare(path: Path, pairs: Pairs, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The prepared pairs, (held out, of training); goes on where an earlier run stopped. -1 in the first cue: not there yet."""
    first = HELD_OUT + HELD_OUT_PARTS
    shape = (first + count, CUES + 2, *SIZE)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        np.lib.format.open_memmap(path, "w+", np.float16, shape)[:, 0, 0, 0] = -1
    stored = np.lib.format.open_memmap(path, "r+")
    held_out = pairs.validation(HELD_OUT) + [pairs.parts(number, True) for number in range(HELD_OUT_PARTS)]
    for number in range(len(stored)):
        if stored[number, 0, 0, 0] < 0:
            pair = held_out[number] if number < first else _training_pair(pairs, number)
            stored[number] = prepared(pair, number)
    return stored[:first], stored[first:]


def _training_pair(pairs: Pairs, number: int) -> Pair:
    if number % STRANGERS == 0 and (pair := pairs.stranger(number)):
        return pair
    return pairs.parts(number) if number % PARTS == 0 else pairs.pair(number)


def losses(network: FusionNetwork, stored: np.ndarray) -> tuple[Tensor, Tensor]:
    """(loss, mean absolute error of chroma) of one prepared pair, or a crop of it."""
    x = torch.from_numpy(np.ascontiguousarray(stored, np.float32))[None].to(network.believe.weight.device)
    chroma, expected = network(x[:, :CUES])
    error = (chroma - x[:, CUES:]).abs().mean(1, keepdim=True)
    likelihood = error.detach() / (expected + 1e-3) + (expected + 1e-3).log()
    return error.mean() * 20 + 0.1 * likelihood.mean(), error.mean() * 100


def crop(stored: np.ndarray, random: np.random.Generator) -> np.ndarray:
    top, left = (random.integers(size - side + 1) for size, side in zip(SIZE, CROP, strict=True))
    part = stored[:, top : top + CROP[0], left : left + CROP[1]]
    return part[:, :, ::-1] if random.random() < 0.5 else part


@click.command()
@loop.options(steps=4_000)
@click.option("--pairs", "count", type=click.IntRange(1), default=500, show_default=True)
def main(data, output, steps, minutes, rate, seed, threads, count, device) -> None:
    """Checkpoint and log are OUTPUT/fusion.pt and .jsonl; a run that was stopped goes on."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    descriptor = manifest()["colorize-descriptor"]["sha256"][:8]  # other descriptors, other matches
    held_out, training = prepare(output / f"fusion_pairs_{count}_{seed}_{descriptor}.npy", Pairs(data, SIZE, seed), count)
    network = FusionNetwork().to(device)

    def errors(step: int) -> tuple[Tensor, float]:
        random = np.random.default_rng([seed, step])
        loss, error = losses(network, crop(training[random.integers(len(training))], random))
        return loss, error.item()

    def validation() -> float:
        return float(np.mean([losses(network, x)[1].item() for x in held_out]))

    votes = np.abs(np.float32(held_out[:, 3:5]) - held_out[:, CUES:]).mean() * 100
    click.echo(f"mean absolute error of chroma on the {len(held_out)} pairs held out, of the votes alone: {votes:.2f}")

    recipe = {"pairs": count, "steps": steps, "rate": rate, "seed": seed}
    loop.train(output / "fusion", network, recipe, errors, validation, minutes=minutes, warmup=100, clip=1.0)


if __name__ == "__main__":
    main()
