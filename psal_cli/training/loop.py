"""The training loop: Adam, a rate that falls along a cosine, checkpoints from which a run goes on as if never stopped, a log."""

import json
import math
import os
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

LAST = 0.01  # of the rate, at the last step


def options(steps: int) -> Callable:
    """The options that every recipe has. steps: how many by default."""
    chosen = (
        click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with video/ and photos/."),
        click.option("--output", type=click.Path(path_type=Path), default="out/training", show_default=True),
        click.option("--steps", type=click.IntRange(1), default=steps, show_default=True, help="In all, earlier runs included."),
        click.option("--minutes", type=float, help="Stop after so long; run again to go on."),
        click.option("--rate", type=float, default=1e-3, show_default=True, help="Learning rate; falls to a hundredth."),
        click.option("--seed", type=int, default=0, show_default=True),
        click.option("--device", default="cpu", show_default=True),
        click.option("--threads", type=click.IntRange(1), default=1, show_default=True),
    )

    def decorate(command: Callable) -> Callable:
        for option in reversed(chosen):
            command = option(command)
        return command

    return decorate


def train(
    path: Path,
    network: nn.Module,
    recipe: dict[str, Any],
    errors: Callable[[int], tuple[Tensor, float]],
    validation: Callable[[], float],
    *,
    minutes: float | None = None,
    every: int = 500,
    warmup: int = 0,
    clip: float | None = None,
    gradients: str = "highest",
    cycles: int = 1,
    best: bool = False,
    beside: dict[str, Any] | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
    average: AveragedModel | None = None,
) -> None:
    """Trains for recipe["steps"], or for some minutes; goes on from path.pt where it is there, logs to path.jsonl.

    Args:
        recipe: what makes the run what it is; "steps" and "rate" among it. A checkpoint of another one is refused.
        errors: number of the step -> (loss, error to log).
        validation: the error on what is held out; called with gradients off.
        every: steps between checkpoints. warmup: steps until the full rate. clip: largest norm of the gradient.
        cycles: so many times as long; the rate rises again at the start of each (Loshchilov & Hutter 2017). A run that has
            ended goes on with more of them.
        best: also keep the checkpoint of the smallest validation error, as path.best.pt.
        beside: what else has a state_dict and belongs to the run, by name.
        betas: of Adam. average: the running mean of the network's weights; the best is then that of the mean.
        gradients: torch's precision of float32 products in the backward pass; the forward pass is always "highest".

    Raises:
        ValueError: path.pt is of another recipe.
    """
    torch.set_flush_denormal(True)  # gradients through a sharp softmax are full of them; a step took three times as long
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe["rate"], betas=betas)
    parts = {"model": network, "optimizer": optimizer} | (beside or {}) | ({} if average is None else {"average": average})
    first = _restore(path.with_suffix(".pt"), parts, recipe)
    started, seen = time.monotonic(), []
    last = recipe["steps"] * cycles
    for step in range(first, last):
        for group in optimizer.param_groups:
            group["lr"] = recipe["rate"] * _share(step, recipe["steps"], warmup)
        loss, error = errors(step)
        optimizer.zero_grad()
        torch.set_float32_matmul_precision(gradients)
        loss.backward()
        torch.set_float32_matmul_precision("highest")
        if clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        if average is not None:
            average.update_parameters(network)
        seen.append(error)
        done, seconds = step + 1, time.monotonic() - started
        out_of_time = minutes is not None and seconds > minutes * 60
        if done % every == 0 or done == last or out_of_time:
            _save(path.with_suffix(".pt"), parts, recipe, done)
            with torch.no_grad():
                row = {"step": done, "training": float(np.mean(seen)), "validation": validation(), "seconds": round(seconds, 1)}
            log = path.with_suffix(".jsonl")
            if best and row["validation"] < min((before["validation"] for before in _rows(log)), default=math.inf):
                _save(path.with_suffix(".best.pt"), {"model": network if average is None else average.module}, recipe, done)
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            seen = []
        if out_of_time:
            break


def made(architecture: str, recipe: dict[str, Any], step: int, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What `psal_cli.training.export` needs of a checkpoint."""
    return {"architecture": architecture, "recipe": recipe, "revision": _revision(), "step": step, "model": tensors}


@cache
def _revision() -> str:
    """Of the recipes, as git names it; "unknown" outside a checkout."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _share(step: int, steps: int, warmup: int) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * (step % steps) / steps))
    return min(1, (step + 1) / max(warmup, 1)) * (LAST + (1 - LAST) * cosine)


def _rows(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def _restore(path: Path, parts: dict[str, Any], recipe: dict[str, Any]) -> int:
    """Loads a checkpoint if there is one. Returns the number of steps done."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["recipe"] != recipe:
        changed = sorted(name for name in recipe | state["recipe"] if state["recipe"].get(name) != recipe.get(name))
        raise ValueError(f"{path} was trained with another {', '.join(changed)}: use another folder, or delete it")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["step"]


def _save(path: Path, parts: dict[str, Any], recipe: dict[str, Any], step: int) -> None:
    """Writes a checkpoint; a run killed meanwhile keeps the last one."""
    states = {name: part.state_dict() for name, part in parts.items()}
    state = states | made(type(parts["model"]).__name__, recipe, step, states["model"])
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)
