"""Trains the descriptors of `psal colorize` end to end through attention: the error is that of the colours attended to.

    python -m psal_cli.training.descriptor --data ../shared/data --output out/training

A step takes one pair, `QUERIES` places of the target and `KEYS` of the reference. Each query attends to all of the keys,
softmax(-|q - k|^2), and the loss is the L1 error of the chroma that it gets, plus how little it attends to what has its colour.
"""

from pathlib import Path

import click
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psal_cli.networks.descriptor import DescriptorNetwork
from psal_cli.training import loop
from psal_cli.training.pairs import Pair, Pairs

SIZE = (240, 424)
QUERIES, KEYS = 512, 4096
ALIKE = 6.0  # chroma closer than this (of a range of about 100) is the same colour


def lab(picture: np.ndarray) -> Tensor:
    """[H, W, 3] RGB -> [1, 3, H, W]: lightness in [0, 1], a and b of CIE Lab divided by 100."""
    return torch.from_numpy(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2Lab) / 100).permute(2, 0, 1)[None]


def pair_error(network: DescriptorNetwork, pair: Pair, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(loss, mean absolute error of chroma)."""
    target, reference = lab(pair.target), lab(pair.reference)
    (queries, wanted), (keys, offered) = (
        _sampled(network, picture, count, random) for picture, count in ((target, QUERIES), (reference, KEYS))
    )
    logits = 2 * queries @ keys.T - keys.square().sum(1)  # minus the squared distance, but for a constant of each query
    error = F.l1_loss(logits.softmax(1) @ offered, wanted)
    apart = torch.cdist(wanted, offered) * 100
    like = torch.exp(-(apart / ALIKE).square()) + 1e-4
    share = torch.logsumexp(logits + like.log(), 1) - torch.logsumexp(logits, 1)
    return error * 10 - 0.2 * share.mean(), error * 100


def _sampled(network: DescriptorNetwork, picture: Tensor, count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Descriptors [count, 32] and chroma [count, 2] of random pixels."""
    height, width = picture.shape[2:]
    place = torch.from_numpy(random.choice(height * width, count, replace=False))
    row, column = place // width, place % width
    return network.at(network.seen(picture[:, :1]), row, column), picture[0, 1:, row, column].T


@click.command()
@loop.options(steps=5_000)
def main(data, output, steps, minutes, rate, seed, threads) -> None:
    """Checkpoint and log are OUTPUT/descriptor.pt and .jsonl; a run that was stopped goes on."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    network = DescriptorNetwork()
    pairs = Pairs(data, SIZE, seed)
    held_out = pairs.validation(24)

    def errors(step: int) -> tuple[Tensor, float]:
        loss, error = pair_error(network, pairs.pair(step), np.random.default_rng([seed, step, 1]))
        return loss, error.item()

    def validation() -> float:
        return float(np.mean([pair_error(network, x, np.random.default_rng(i))[1].item() for i, x in enumerate(held_out)]))

    recipe = {"steps": steps, "rate": rate, "seed": seed}
    loop.train(output / "descriptor", network, recipe, errors, validation, minutes=minutes, warmup=100, clip=1.0)


if __name__ == "__main__":
    main()
