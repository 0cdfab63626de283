"""Trains the network of `psal colorize` that weights matches and fills the rest.

    python -m psal_cli.training.fusion --data ../shared/data --output out/training

The matches of all pairs are computed once and cached in OUTPUT (3 MB per pair); each step takes one pair. The colour prior uses
the embedding's temperature of training, because it has seen these pictures. The loss is the L1 error of chroma plus the
likelihood of the error that the network predicts (Laplace).
"""

from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from psal_cli.image.cielab import lab
from psal_cli.networks.fusion import CUES, FusionNetwork
from psal_cli.training import loop, options
from psal_cli.training.pairs import Pairs
from psal_cli.verbs.colorize.matching import atlas_of as canvas
from psal_cli.verbs.colorize.matching import cues, match
from psal_cli.verbs.colorize.prior import colour_prior as likely
from psal_cli.weights import manifest

SIZE = (240, 424)
PARTS, CROPS, STRANGERS = 0.3, 0.25, 0.05  # of the pairs: see `Pairs.mixed`
BESIDE = 0.25  # of the pairs: with an unrelated reference too,
FAR = 1 << 20  # which is that of another pair
CROP = (192, 320)
HELD_OUT, HELD_OUT_PARTS = 24, 12


def prepared(target: np.ndarray, references: list[np.ndarray], seed: int) -> np.ndarray:
    """float16 [CUES + 2, H, W]: cues and true chroma. target, references: float32 [H, W, 3], RGB in [0, 1]."""
    target, *others = (lab(np.rint(x * 255).astype(np.uint8)) for x in (target, *references))
    atlas, light = canvas([(x, None) for x in others]), np.ascontiguousarray(target[..., 0])
    inputs = cues(light, atlas, match(light, atlas, seed), likely(light, atlas, temperature=1).at(light))
    return np.concatenate([inputs[0].numpy(), target[..., 1:].transpose(2, 0, 1)]).astype(np.float16)


def prepare(path: Path, pairs: Pairs, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The prepared pairs, (held out, training); resumes an earlier run. -1 in the first cue marks a missing pair."""
    first = HELD_OUT + HELD_OUT_PARTS
    shape = (first + count, CUES + 2, *SIZE)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        np.lib.format.open_memmap(path, "w+", np.float16, shape)[:, 0, 0, 0] = -1
    stored = np.lib.format.open_memmap(path, "r+")
    held_out = pairs.validation(HELD_OUT) + [pairs.parts(number, True) for number in range(HELD_OUT_PARTS)]
    for number in range(len(stored)):
        if stored[number, 0, 0, 0] < 0:
            if number < first:
                stored[number] = prepared(held_out[number].target, [held_out[number].reference], number)
            else:
                stored[number] = prepared(*sample(pairs, number), number)
    return stored[:first], stored[first:]


def sample(pairs: Pairs, number: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Target and references of a training pair."""
    random = np.random.default_rng([pairs.seed, number, 7])
    pair = pairs.mixed(number, random.random(), PARTS, CROPS, STRANGERS)
    references = [pair.reference]
    if random.random() < BESIDE:
        references.insert(random.integers(2), pairs.mixed(number + FAR, random.random(), PARTS, CROPS, STRANGERS).reference)
    return pair.target, references


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
@options.run(steps=4_000)
@click.option("--pairs", "count", type=click.IntRange(1), default=700, show_default=True)
def main(run: options.Run, count: int) -> None:
    """Checkpoint and log are OUTPUT/fusion.pt and .jsonl; a stopped run resumes."""
    output, seed, device = run.output, run.seed, run.device
    made_with = "_".join(manifest()[f"colorize-{name}"]["sha256"][:8] for name in ("descriptor", "embedding"))  # other cues
    held_out, training = prepare(output / f"fusion_pairs_{count}_{seed}_{made_with}.npy", Pairs(run.data, SIZE, seed), count)
    network = FusionNetwork().to(device)

    def errors(step: int, _: float) -> tuple[Tensor, float]:
        random = np.random.default_rng([seed, step])
        loss, error = losses(network, crop(training[random.integers(len(training))], random))
        return loss, error.item()

    def validation() -> float:
        return float(np.mean([losses(network, x)[1].item() for x in held_out]))

    votes, expected = (np.abs(np.float32(held_out[:, at : at + 2]) - held_out[:, CUES:]).mean() * 100 for at in (3, 5))
    measure = f"mean absolute error of chroma on the {len(held_out)} pairs held out"
    click.echo(f"{measure}, of the votes alone: {votes:.2f}, of what is likely: {expected:.2f}")

    recipe: loop.Recipe = {"pairs": count, "steps": run.steps, "rate": run.rate, "seed": seed}
    loop.train(output / "fusion", network, recipe, errors, validation, minutes=run.minutes, warmup=100, clip=1.0)


if __name__ == "__main__":
    main()
