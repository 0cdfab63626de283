"""Exports a checkpoint to a file in weights/ and registers it in the manifest.

python -m psal_cli.training.export out/training/descriptor.pt colorize-descriptor
"""

import hashlib
import json
import shutil
import tomllib
from pathlib import Path

import click
import torch
from safetensors.torch import save

from psal_cli.errors import InputError
from psal_cli.training.queue import LOGS, Run, progress

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "weights"


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("name")
@click.option("--half", is_flag=True, help="Store float16.")
def main(checkpoint: Path, name: str, half: bool) -> None:
    """Write weights/NAME.safetensors from CHECKPOINT, with its recipe, and its entry of the manifest."""
    export(checkpoint, name, half)


def export(checkpoint: Path, name: str, half: bool) -> Path:
    """Writes weights/<name>.safetensors and its entry of the manifest; returns the path."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    sizes = {key: list(x.shape) for key, x in state["model"].items()}
    metadata = {
        "architecture": state["architecture"],
        "sizes": json.dumps(sizes),
        "recipe": json.dumps(state["recipe"]),
        "steps": str(state["step"]),
        "seconds": str(round(state.get("seconds", 0))),
        "revision": state["revision"],
    }
    dtype = torch.float16 if half else torch.float32
    content = save({key: x.to(dtype).contiguous() for key, x in state["model"].items()}, metadata=metadata)
    path = FOLDER / f"{name}.safetensors"
    path.write_bytes(content)
    _enter(name, hashlib.sha256(content).hexdigest())
    return path


def from_queue(run: Run, folder: Path) -> str:
    """Exports the best weights of a run of the queue, in float16, and its log. Returns a message for the user. Raises InputError
    if the run has no weights yet, or should not be exported.
    """
    best = folder / f"{run.name}.best.pt"
    if run.weights is None:
        raise InputError(f"{run.name} has no `weights` in the queue: name the file that it makes")
    if not best.exists():
        raise InputError(f"{run.name} has no weights yet: {best} does not exist")
    path = export(best, run.weights, half=True)
    (ROOT / LOGS).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / f"{run.name}.jsonl", ROOT / LOGS / f"{run.name}.jsonl")
    done = progress(run, folder)
    return f"{path.name}: best validation error {done.best:.4f} of {done.hours:.2f} CPU hours, {done.steps} steps"


def _enter(name: str, digest: str) -> None:
    path = FOLDER / "manifest.toml"
    entries = tomllib.loads(path.read_text()) if path.exists() else {}
    entries[name] = {"file": f"{name}.safetensors", "sha256": digest}
    tables = (f'["{key}"]\n' + "".join(f'{field} = "{x}"\n' for field, x in entries[key].items()) for key in sorted(entries))
    path.write_text("\n".join(tables))


if __name__ == "__main__":
    main()
