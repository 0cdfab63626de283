"""Trains the network of `psal colorize` that weights matches and guesses, and fills the rest.

    python -m psal_cli.training.fusion --data ../shared/data --output out/training

The cues of all pairs are computed once and cached in OUTPUT (3 MB per pair); each step takes one pair. For videos and photographs
the colour prior uses the embedding's temperature of training, because it has seen them. The loss is the L1 and the squared error
of chroma, plus the likelihood of the error that the network predicts (Laplace). Where colours are uncertain, L1 alone ends near
grey, so most of the weight is on the squared error.

In a part of the steps all true colours are turned and scaled, those of the references too. Then guesses are wrong, and the
network learns to tell from their error on the references that these know better: on pictures that the guess has seen in its own
training it would trust it too much.
"""

from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from psal_cli.image.cielab import lab
from psal_cli.networks.fusion import CUES, FusionNetwork
from psal_cli.training import loop, options
from psal_cli.training.pairs import Pair, Pairs
from psal_cli.training.scene_pairs import ScenePairs
from psal_cli.verbs.colorize.guess import colour_guess, misfit
from psal_cli.verbs.colorize.matching import MISFIT, atlas_of, cues, match
from psal_cli.verbs.colorize.prior import UNSEEN, colour_prior
from psal_cli.weights import load_strict, manifest, resolve

SIZE = (240, 424)  # of frames and photographs; scenes keep their shapes
KINDS = {"frames": 0.4, "alike": 0.22, "strangers": 0.05, "sides": 0.2, "parts": 0.13}  # shares of the pairs: see `Samples`
BESIDE = 0.25  # of the pairs: with an unrelated reference too,
FAR = 1 << 20  # which is that of another pair
CROP = (192, 320)
RECOLOURED = 0.5  # of the steps
TURN, SCALE, NOISE = 0.8, 0.45, 0.2  # deviations of the angle, in radians, and of the logarithms of chroma and of the misfit
BRIGHTER = 0.15  # mean logarithm of the chroma's factor: saturated things are rare in the pictures
L1, SQUARED, LIKELIHOOD = 10, 300, 0.1  # weights in the loss
CHROMA = (1, 3, 5, CUES)  # the first channels of colours that come from the pictures
GUESS_CUE, MISFIT_CUE = 12, 15  # the first channel of the guess, and that of its error on the references
HELD_OUT = {"frames": 24, "sides": 12, "scene sides": 12, "alike": 24}


class Samples:
    """Numbered pairs of several kinds: the same files, seed and number give the same one.

    "frames": of a clip, or a warped photograph; "alike": two scenes that look alike; "strangers": two clips of one place;
    "sides": of a photograph; "parts": of a scene.
    """

    def __init__(self, data: Path, seed: int, cache: Path):
        """cache: a folder for the table of scenes that look alike. Raises what `Pairs` and `ScenePairs` raise."""
        self.seed = seed
        self.pairs, self.scenes = Pairs(data, SIZE, seed), ScenePairs(data, seed, cache)

    def training(self, number: int) -> tuple[Pair, bool]:
        """A pair, and whether the embedding has seen it."""
        random = np.random.default_rng([self.seed, number, 7])
        kind = random.choice(list(KINDS), p=list(KINDS.values()))
        if kind == "alike":
            return self.scenes.alike(number), False
        if kind == "parts":
            return self.scenes.parts(number), False
        if kind == "strangers" and (stranger := self.pairs.stranger(number)):
            return stranger, True
        return self.pairs.pair(number) if kind == "frames" else self.pairs.parts(number), True

    def held_out(self) -> list[Pair]:
        """Of each kind as many as HELD_OUT says, in its order."""
        frames, sides, scene_sides, alike = HELD_OUT.values()
        return [
            *self.pairs.validation(frames),
            *(self.pairs.parts(number, True) for number in range(sides)),
            *(self.scenes.parts(number, True) for number in range(scene_sides)),
            *(self.scenes.alike(number, True) for number in range(alike)),
        ]

    def prepared(self, number: int) -> np.ndarray:
        """The cues of a pair for training, a quarter of them with a further, unrelated reference; see `prepared`."""
        random = np.random.default_rng([self.seed, number, 13])
        pair, seen = self.training(number)
        references = [pair.reference]
        if random.random() < BESIDE:
            references.insert(random.integers(2), self.training(number + FAR)[0].reference)
        return prepared(pair.target, references, number, 1.0 if seen else UNSEEN)


def prepared(target: np.ndarray, references: list[np.ndarray], seed: int, temperature: float) -> np.ndarray:
    """float16 [CUES + 2, H, W]: cues and true chroma. target, references: float32 [H, W, 3], RGB in [0, 1]."""
    target, *others = (lab(np.rint(x * 255).astype(np.uint8)) for x in (target, *references))
    atlas, light = atlas_of([(x, None) for x in others]), np.ascontiguousarray(target[..., 0])
    prior = colour_prior(light, atlas, temperature=temperature)
    inputs = cues(light, atlas, match(light, atlas, seed), prior.at(light), colour_guess(light).at(light), misfit(atlas))
    return np.concatenate([inputs[0].numpy(), target[..., 1:].transpose(2, 0, 1)]).astype(np.float16)


def prepare(samples: Samples, folder: Path, count: int) -> tuple[list[Path], list[Path]]:
    """The files of the prepared pairs, (held out, training), each made once."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = samples.held_out()
    held_out = [folder / f"held_out_{number}.npy" for number in range(len(pairs))]
    training = [folder / f"{number}.npy" for number in range(count)]
    for number, path in enumerate(held_out):
        if not path.exists():
            _save(path, prepared(pairs[number].target, [pairs[number].reference], number, UNSEEN))
    for number, path in enumerate(training):
        if not path.exists():
            _save(path, samples.prepared(number))
    return held_out, training


def _save(path: Path, cues: np.ndarray) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, cues)
    part.replace(path)


def losses(network: FusionNetwork, stored: np.ndarray) -> tuple[Tensor, Tensor]:
    """(loss, mean absolute error of chroma) of one prepared pair, or a crop of it."""
    x = torch.from_numpy(np.ascontiguousarray(stored, np.float32))[None].to(network.believe.weight.device)
    chroma, expected = network(x[:, :CUES])
    error = (chroma - x[:, CUES:]).abs().mean(1, keepdim=True)
    likelihood = error.detach() / (expected + 1e-3) + (expected + 1e-3).log()
    squared = (chroma - x[:, CUES:]).square()
    loss = L1 * error.mean() + SQUARED * squared.mean() + LIKELIHOOD * likelihood.mean()
    return loss, error.mean() * 100


def recoloured(stored: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A prepared pair whose true colours are turned and scaled alike, so that the guess is wrong. Its error on the references is
    replaced by that on the target, with noise."""
    stored = np.array(stored, np.float32)
    angle, scale = random.normal(0, TURN), np.exp(random.normal(BRIGHTER, SCALE))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    for first in CHROMA:
        stored[first : first + 2] = np.einsum("ij,jhw->ihw", turn, stored[first : first + 2])
    stored[CHROMA[2] + 2] *= scale  # the deviation of likely colours
    error = np.abs(stored[GUESS_CUE : GUESS_CUE + 2] - stored[CUES:]).mean()
    stored[MISFIT_CUE] = MISFIT * error * np.exp(random.normal(0, NOISE))
    return stored


def crop(stored: np.ndarray, random: np.random.Generator) -> np.ndarray:
    sides = [min(size, side) for size, side in zip(stored.shape[1:], CROP, strict=True)]
    top, left = (random.integers(size - side + 1) for size, side in zip(stored.shape[1:], sides, strict=True))
    part = stored[:, top : top + sides[0], left : left + sides[1]]
    return part[:, :, ::-1] if random.random() < 0.5 else part


@click.command()
@options.run(steps=8_000)
@click.option("--pairs", "count", type=click.IntRange(1), default=1_000, show_default=True)
@click.option("--start", "source", help="Start from these weights, a file or the name of shipped ones.")
def main(run: options.Run, count: int, source: str | None) -> None:
    """Checkpoint and log are OUTPUT/fusion.pt and .jsonl; a stopped run resumes."""
    output, seed, device = run.output, run.seed, run.device
    made_with = "_".join(manifest()[f"colorize-{name}"]["sha256"][:8] for name in ("descriptor", "embedding", "guess"))
    held_out, training = prepare(Samples(run.data, seed, output), output / f"fusion_pairs_{seed}_{made_with}", count)
    network = FusionNetwork().to(device)
    if source:
        load_strict(network, resolve(source)[0], source).train().requires_grad_(True)
    measured = [np.load(path) for path in held_out]

    def errors(step: int, _: float) -> tuple[Tensor, float]:
        random = np.random.default_rng([seed, step])
        stored = np.load(training[random.integers(len(training))])
        if random.random() < RECOLOURED:
            stored = recoloured(stored, random)
        loss, error = losses(network, crop(stored, random))
        return loss, error.item()

    def validation() -> float:
        """The mean of the kinds' mean losses."""
        each = iter([losses(network, x)[0].item() for x in measured])
        kinds = {kind: float(np.mean([next(each) for _ in range(count)])) for kind, count in HELD_OUT.items()}
        click.echo(", ".join(f"{kind} {loss:.3f}" for kind, loss in kinds.items()))
        return float(np.mean(list(kinds.values())))

    start = source and Path(source).name
    recipe: loop.Recipe = {"pairs": count, "steps": run.steps, "rate": run.rate, "seed": seed, "start": start}
    loop.train(output / "fusion", network, recipe, errors, validation, minutes=run.minutes, warmup=100, clip=1.0, best=True)


if __name__ == "__main__":
    main()
