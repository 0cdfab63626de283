"""The training loop: Adam, a learning rate schedule, checkpoints from which a run resumes, and a log."""

import json
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol

import click
import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

FINAL_RATE = 0.01  # the learning rate of the last step, relative to the full one
COOLDOWN = 0.2  # the last share of a run by hours, in which the learning rate falls
DECAY = 0.999  # of the running mean of the weights
SAVED_EVERY = 300  # seconds between checkpoints
DIVERGED = 3.0  # times the lowest training error so far: above it, a run is stopped
EXIT_DIVERGED = 3  # exit code of a recipe whose run diverged

Recipe = dict[str, str | int | float | bool | list[str] | None]


class Stateful(Protocol):
    """What a checkpoint can hold: modules and optimizers."""

    def state_dict(self) -> dict[str, object]: ...

    def load_state_dict(self, state: dict[str, object], /) -> object: ...


class DivergedError(click.ClickException):
    """Training failed: the loss is not finite, or the error grew far beyond the lowest one."""

    exit_code = EXIT_DIVERGED


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Gradients of a sharp softmax are full of denormals, which made a step three times as slow."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_without_denormals()
def train(
    path: Path, network: nn.Module, recipe: Recipe, errors: Callable[[int, float], tuple[Tensor, float]],
    validation: Callable[[], float], *, hours: float | None = None, minutes: float | None = None, every: int = 500,
    warmup: int = 0, clip: float | None = None, gradients: str = "highest", cycles: int = 1, best: bool = False,
    beside: Mapping[str, Stateful] | None = None, betas: tuple[float, float] = (0.9, 0.999),
    average: AveragedModel | None = None, resume: Path | None = None,
) -> None:  # fmt: skip
    """Trains until recipe["steps"] steps or `hours` are done. Resumes from path.pt if it exists and logs to path.jsonl.

    With steps the learning rate falls along a cosine. With hours it is constant and falls linearly in the last fifth (Hu et al.
    2024, "warmup-stable-decay"), so that a run can be extended. SIGTERM ends the run after the current step, with a checkpoint.

    Args:
        path: of the run, without a suffix. A row of the log has the step, the mean training error since the row before,
            the validation error and the CPU seconds of the whole run.
        recipe: everything that determines the result, including "steps" and "rate". A checkpoint of another recipe is refused.
        errors: (step, share of the run that is done) -> (loss, error to log).
        validation: the error on held-out data; called with gradients off.
        hours: CPU hours of all threads, earlier runs included; recipe["steps"] is then ignored.
        minutes: stop early, after this many minutes of this process.
        every: steps between two rows of the log. warmup: steps until the full rate. clip: largest norm of the gradient.
        cycles: multiplies the steps; the rate rises again at the start of each cycle (Loshchilov & Hutter 2017).
        best: also keep the weights of the smallest validation error, as path.best.pt.
        beside: further state of the checkpoint, by name.
        betas: of Adam. average: a running mean of the network's weights; path.best.pt then holds that mean.
        gradients: torch's precision of float32 products in the backward pass; the forward pass always uses "highest".
        resume: exported weights of the same recipe, from which to resume if path.pt does not exist.

    Raises:
        ValueError: path.pt is of another recipe.
        DivergedError: the loss is not finite, or the training error exceeds three times the lowest one.
    """
    rate = _number(recipe, "rate")
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, betas=betas)
    parts: dict[str, Stateful] = {"model": network, "optimizer": optimizer, **(beside or {})}
    if average is not None:
        parts["average"] = average
    restored = path.with_suffix(".pt").exists()
    step, seconds = _restore(path.with_suffix(".pt"), parts, recipe, resume)
    began = 0 if restored else step
    steps = int(_number(recipe, "steps"))
    last = None if hours else steps * cycles
    started, cpu_started, saved, seen = time.monotonic(), time.process_time(), time.monotonic(), list[float]()
    with _terminated() as stop:
        while (share := _share(step, seconds, last, hours)) < 1:
            for group in optimizer.param_groups:
                group["lr"] = rate * (_trapezoid(step - began, share, warmup) if hours else _cosine(step, steps, warmup))
            loss, error = errors(step, share)
            if not math.isfinite(error):
                raise DivergedError(f"{path.name}: the loss of step {step} is {error}; the last checkpoint is kept")
            _descend(network, optimizer, loss, gradients, clip)
            if average is not None:
                average.update_parameters(network)
            seen.append(error)
            step += 1
            now, cpu = time.monotonic(), time.process_time()
            seconds, cpu_started = seconds + cpu - cpu_started, cpu
            ends = stop() or (minutes is not None and now - started > minutes * 60) or _share(step, seconds, last, hours) >= 1
            reported = step % every == 0 or (ends and not stop())
            if reported or ends or now - saved > SAVED_EVERY:
                _save(path.with_suffix(".pt"), parts, recipe, step, seconds)
                saved = now
            if reported:
                _report(path, network if average is None else average.module, recipe, step, seconds, seen, validation, best)
                seen = []
                cpu_started = time.process_time()  # without the time of validation
            if ends:
                break


def _descend(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, gradients: str, clip: float | None) -> None:
    """One step of the optimizer. gradients, clip: see `train`."""
    optimizer.zero_grad()
    torch.set_float32_matmul_precision(gradients)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.set_float32_matmul_precision("highest")
    if clip is not None:
        nn.utils.clip_grad_norm_(network.parameters(), clip)
    optimizer.step()


def _report(
    path: Path,
    network: nn.Module,
    recipe: Recipe,
    step: int,
    seconds: float,
    seen: list[float],
    validation: Callable[[], float],
    best: bool,
) -> None:
    """Writes a row of the log, and the weights if they are the best so far. Raises DivergedError."""
    log = path.with_suffix(".jsonl")
    before = rows(log)
    training = float(np.mean(seen))
    with torch.no_grad():
        error = validation()
    row = {"step": step, "training": training, "validation": error, "seconds": round(seconds, 1)}
    if best and error < min((float(row["validation"]) for row in before), default=math.inf):
        _save(path.with_suffix(".best.pt"), {"model": network}, recipe, step, seconds)
    with log.open("a") as file:
        file.write(json.dumps(row) + "\n")
    lowest = min((float(row["training"]) for row in before), default=math.inf)
    if not math.isfinite(error) or training > DIVERGED * lowest > 0:
        raise DivergedError(f"{path.name}: the training error rose to {training:.4g} from {lowest:.4g}; stopped at step {step}")


def running_mean(network: nn.Module, decay: float = DECAY) -> AveragedModel:
    """An exponential moving average of the network's weights, for the argument `average` of `train`. decay: per step."""
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]


def made(architecture: str, recipe: Recipe, step: int, tensors: Mapping[str, object], seconds: float = 0) -> dict[str, object]:
    """The entries of a checkpoint that `psal_cli.training.export` needs."""
    return {
        "architecture": architecture,
        "recipe": recipe,
        "revision": _revision(),
        "step": step,
        "seconds": seconds,
        "model": tensors,
    }


def rows(log: Path) -> list[dict[str, float]]:
    """The rows of a log, see `train`; none if it does not exist."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@cache
def _revision() -> str:
    """The git revision of the recipes; "unknown" outside a checkout."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@contextmanager
def _terminated() -> Iterator[Callable[[], bool]]:
    """Yields a function that tells whether SIGTERM has arrived; it is deferred meanwhile. Signals reach the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    arrived = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: arrived.set())
    try:
        yield arrived.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def _share(step: int, seconds: float, last: int | None, hours: float | None) -> float:
    """How much of the run is done, 1 = all."""
    return step / last if last is not None else seconds / (3600 * (hours or math.inf))


def _cosine(step: int, steps: int, warmup: int) -> float:
    """The learning rate relative to the full one, for a run by steps."""
    cosine = 0.5 * (1 + math.cos(math.pi * (step % steps) / steps))
    return min(1.0, (step + 1) / max(warmup, 1)) * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


def _trapezoid(step: int, share: float, warmup: int) -> float:
    """As `_cosine`, for a run by hours, given the share that is done. step: since the optimizer's state was reset."""
    fall = min(1.0, max(0.0, 1 - share) / COOLDOWN)
    return min(1.0, (step + 1) / max(warmup, 1)) * (FINAL_RATE + (1 - FINAL_RATE) * fall)


def _number(recipe: Recipe, name: str) -> float:
    value = recipe[name]
    if not isinstance(value, int | float):
        raise TypeError(f"recipe[{name!r}] is {value!r}, expected a number")
    return value


def _restore(path: Path, parts: Mapping[str, Stateful], recipe: Recipe, resume: Path | None) -> tuple[int, float]:
    """Loads the checkpoint, or else the exported weights, if there are any. Returns the steps and CPU seconds done."""
    if not path.exists():
        return (0, 0.0) if resume is None else _resumed(resume, parts, recipe)
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["recipe"] != recipe:
        changed = sorted(name for name in recipe | state["recipe"] if state["recipe"].get(name) != recipe.get(name))
        raise ValueError(f"{path} was trained with another {', '.join(changed)}: use another folder, or delete it")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["step"], state.get("seconds", 0.0)


def _resumed(weights: Path, parts: Mapping[str, Stateful], recipe: Recipe) -> tuple[int, float]:
    """Loads exported weights if their recipe is the same. The optimizer is reset; the running mean starts from the weights."""
    with safe_open(weights, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    if json.loads(metadata.get("recipe", "{}")) != json.loads(json.dumps(recipe)):
        return 0, 0.0
    parts["model"].load_state_dict(dict(tensors))
    average = parts.get("average")
    if isinstance(average, AveragedModel):
        average.module.load_state_dict(tensors)
        average.n_averaged.fill_(1)
    return int(metadata["steps"]), float(metadata.get("seconds", 0))


def _save(path: Path, parts: Mapping[str, Stateful], recipe: Recipe, step: int, seconds: float) -> None:
    """Writes a checkpoint atomically: if the run is killed, the previous one survives."""
    states = {name: part.state_dict() for name, part in parts.items()}
    state = states | made(type(parts["model"]).__name__, recipe, step, states["model"], seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)
