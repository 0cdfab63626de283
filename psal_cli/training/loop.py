"""What training loops share: checkpoints that resume to the same run, and a log."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn


def restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, recipe: dict[str, Any]) -> int:
    """Loads a checkpoint if there is one. Returns the number of steps done.

    Raises ValueError when the checkpoint is of another recipe: its file is kept.
    """
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["recipe"] != recipe:
        changed = sorted(name for name in recipe if state["recipe"].get(name) != recipe[name])
        raise ValueError(f"{path} was trained with another {', '.join(changed)}: use another folder, or delete it")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, recipe: dict[str, Any], step: int) -> None:
    """Writes a checkpoint; a run killed meanwhile keeps the last one."""
    state = {"recipe": recipe, "step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def log(path: Path, **row: Any) -> None:
    """Appends a line of JSON."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
